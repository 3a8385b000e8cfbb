# SPDX-License-Identifier: Apache-2.0
"""What the shipped weights of the brain bundle reach on subjects that training never saw; writes docs/metrics.csv.

    python tests/benchmarks/brain_slices_quality.py

Reconstruction: PSNR and SSIM on 200 slices (4 of each of 50 subjects, seed 1000 of the generator) with encoded and
random x_T, beside two reconstructions that need no diffusion: the mean training slice, and as many principal components
of the training pixels as z_sem has numbers. Lesion: AUROC, on all slices of the same subjects, of a logistic regression
on z_sem and of the same on principal components; both choose their regularisation by cross-validation over training
subjects, and the interval is a bootstrap over test subjects.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.metrics import PSNRMetric, SSIMMetric
from monai.utils import convert_to_tensor
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import monai_diffae
from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer

LESIONS = ("lesion", "lesion_left", "lesion_right")


def load_slices(parser: ConfigParser, dataset_dir: Path, num_slices: int | None) -> dict[str, torch.Tensor]:
    """Images, lesion labels and volume numbers of a labelled data set, through the bundle's own transforms."""
    parser["dataset_dir"] = str(dataset_dir)
    parser["num_slices"] = num_slices
    parser.parse(reset=True)
    batches = list(DataLoader(parser.get_parsed_content("dataset"), batch_size=64))
    return {
        key: torch.cat([convert_to_tensor(batch[key], track_meta=False) for batch in batches])
        for key in ("image", "volume", *LESIONS)
    }


def encode(network: torch.nn.Module, images: torch.Tensor, device: str) -> np.ndarray:
    with torch.no_grad():
        return torch.cat([network.encode(part.to(device)).cpu() for part in images.split(64)]).numpy()


def probe_auroc(features: dict[str, np.ndarray], label: str, train: dict, test: dict) -> tuple[float, float, float]:
    """AUROC on the test subjects, and the bounds of its 95 % bootstrap interval. A label may be NaN: not known."""
    known = {name: ~torch.isnan(data[label]).numpy() for name, data in (("train", train), ("test", test))}
    y_train, y_test = train[label].numpy()[known["train"]], test[label].numpy()[known["test"]]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=5000)),
        {"logisticregression__C": np.logspace(-4, 1, 11)},
        scoring="roc_auc",
        cv=GroupKFold(5),
    )
    search.fit(features["train"][known["train"]], y_train, groups=train["volume"].numpy()[known["train"]])
    scores = search.decision_function(features["test"][known["test"]])
    random, volumes = np.random.default_rng(0), test["volume"].numpy()[known["test"]]
    places = [np.flatnonzero(volumes == v) for v in np.unique(volumes)]
    draws = []
    for _ in range(1000):
        chosen = np.concatenate([places[i] for i in random.integers(len(places), size=len(places))])
        if 0 < y_test[chosen].sum() < len(chosen):
            draws.append(roc_auc_score(y_test[chosen], scores[chosen]))
    return roc_auc_score(y_test, scores), *np.quantile(draws, [0.025, 0.975])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/brain_slices_diffae"))
    arguments.add_argument("--ckpt_path", type=Path, help="weights; the bundle's models/model.pt by default")
    arguments.add_argument("--heldout_dir", type=Path, default=Path("data/heldout"), help="made if there is none")
    arguments.add_argument("--output", type=Path, help="the bundle's docs/metrics.csv by default")
    arguments.add_argument("--steps", type=int, default=100)
    arguments.add_argument("--device", default="cpu")
    args = arguments.parse_args()

    if not (args.heldout_dir / "labels.csv").exists():
        monai_diffae.datasets.generate_brain_slices(args.heldout_dir, num_subjects=50, seed=1000)
    parser = ConfigParser()
    parser.read_config([args.bundle_root / "configs" / f"{name}.yaml" for name in ("inference", "fit_attributes")])
    parser["bundle_root"] = str(args.bundle_root)
    train = load_slices(parser, args.bundle_root / "data" / "train", None)
    test = load_slices(parser, args.heldout_dir, None)
    chosen = load_slices(parser, args.heldout_dir, 4)["image"]

    network = parser.get_parsed_content("network_def").to(args.device).eval()
    weights = args.ckpt_path or args.bundle_root / "models" / "model.pt"
    network.load_state_dict(torch.load(weights, map_location=args.device, weights_only=True))
    exact = parser.get_parsed_content("autoencoding")
    explicit = DiffusionAutoencoderInferer(parser.get_parsed_content("scheduler"), args.steps)

    def reconstruct(inferer: DiffusionAutoencoderInferer, x_T: str) -> torch.Tensor:
        task = ReconstructionInferer(inferer, x_T=x_T)
        return torch.cat([task(part.to(args.device), network).cpu() for part in chosen.split(25)])

    pixels = train["image"].flatten(1).numpy()
    z_dim = parser["z_dim"]
    pca = {n: PCA(n, random_state=0).fit(pixels) for n in (64, z_dim)}
    flat = chosen.flatten(1).numpy()
    from_pca = pca[z_dim].inverse_transform(pca[z_dim].transform(flat)).astype(np.float32)
    reconstructions = {
        f"encoded x_T ({exact.inversion}), {exact.num_inference_steps} steps": reconstruct(exact, "encode"),
        f"encoded x_T (explicit), {args.steps} + {args.steps} steps": reconstruct(explicit, "encode"),
        f"random x_T, {args.steps} steps": reconstruct(explicit, "random"),
        f"{z_dim} principal components": torch.from_numpy(from_pca).reshape(chosen.shape),
        "mean training slice": train["image"].mean(dim=0, keepdim=True).expand_as(chosen).contiguous(),
    }
    rows = []
    psnr, ssim = PSNRMetric(max_val=2.0, reduction="none"), SSIMMetric(spatial_dims=2, data_range=2.0, reduction="none")
    for name, images in reconstructions.items():
        for metric_name, metric, unit in (("PSNR", psnr, "dB"), ("SSIM", ssim, "")):
            values = metric(images, chosen).flatten()
            rows.append([f"{metric_name}, {name}", values.mean(), *values.quantile(torch.tensor([0.025, 0.975])), unit])
    features = {
        f"z_sem ({z_dim})": {k: encode(network, d["image"], args.device) for k, d in (("train", train), ("test", test))}
    }
    for n, model in pca.items():
        features[f"{n} principal components"] = {
            "train": model.transform(pixels),
            "test": model.transform(test["image"].flatten(1).numpy()),
        }
    for label in LESIONS:
        for name, feature in features.items():
            title = f"AUROC of the {label.replace('_', ', ')}, linear probe on {name}"
            rows.append([title, *probe_auroc(feature, label, train, test), ""])
    counts = {"slices for PSNR and SSIM": len(chosen), "slices for AUROC": len(test["lesion"])}
    counts["of them with a lesion"] = int(test["lesion"].sum())
    rows += [[name, count, "", "", ""] for name, count in counts.items()]

    output = args.output or args.bundle_root / "docs" / "metrics.csv"
    with open(output, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["measure", "value", "2.5 %", "97.5 %", "unit"])
        for name, *values, unit in rows:
            shown = [f"{float(v):.4g}" if isinstance(v, (float, torch.Tensor)) else v for v in values]
            table.writerow([name, *shown, unit])
            print(f"{name}: {' '.join(map(str, shown))} {unit}")


if __name__ == "__main__":
    main()
