# SPDX-License-Identifier: Apache-2.0
"""What the shipped weights of the bundle for pictures reach on digits that training never saw; writes docs/metrics.csv.

    python tests/benchmarks/digits_quality.py

Reconstruction: PSNR on 500 test digits with encoded and random x_T. Code: a linear probe on z_sem for the digit, beside
the same on as many principal components of the pixels, and R^2 of measured slant and stroke thickness. Edits: share of
"towards 8" edits that an independent classifier of images calls an 8. Samples: that classifier's verdict on conditional
samples from 20 labels a class, and the Frechet distance of unconditional ones in its features, beside that of as many
real images.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.metrics import FIDMetric, PSNRMetric
from monai.networks.nets import Classifier
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from monai_diffae.checkpoints import load_weights
from monai_diffae.data import add_labels, ensure_digits, find_images
from monai_diffae.inferers import (
    ConditionalLatentSampler,
    DiffusionAutoencoderInferer,
    ReconstructionInferer,
    SamplingInferer,
)
from monai_diffae.semantics import AttributeDirections, fit_few_shot

LABELS = ("digit", "slant", "thickness")


def load_split(config: ConfigParser, folder: Path, split: str) -> dict[str, torch.Tensor]:
    """Images and labels of a split, through the bundle's own transforms."""
    ensure_digits(folder, folder, split=split)
    config["dataset_dir"] = str(folder)
    config["data"] = add_labels(find_images(folder), folder / "labels.csv", LABELS)
    config.parse(reset=True)
    batches = list(DataLoader(config.get_parsed_content("dataset"), batch_size=250))
    images = torch.cat([batch["image"].as_tensor() for batch in batches])
    return {"image": images} | {name: torch.cat([batch[name] for batch in batches]) for name in LABELS}


def in_parts(function, x: torch.Tensor, size: int = 125) -> torch.Tensor:
    return torch.cat([function(part) for part in x.split(size)])


def train_classifier(images: torch.Tensor, labels: torch.Tensor, epochs: int = 12) -> Classifier:
    """A small convolutional network that has seen real images only."""
    torch.manual_seed(0)
    network = Classifier((1, 32, 32), 10, channels=(16, 32, 64), strides=(2, 2, 2), num_res_units=1, norm="batch")
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * -(-len(images) // 64))
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(64):
            shift = torch.randint(-2, 3, (2,)).tolist()
            loss = torch.nn.functional.cross_entropy(network(images[part].roll(shift, (2, 3))), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/natural_images_diffae"))
    arguments.add_argument("--models", type=Path, help="folder of the weights; the bundle's models by default")
    arguments.add_argument("--output", type=Path, help="the bundle's docs/metrics.csv by default")
    arguments.add_argument("--num_images", type=int, default=500, help="to reconstruct, and to sample")
    arguments.add_argument("--device", default="cpu")
    args = arguments.parse_args()
    models = args.models or args.bundle_root / "models"
    config, sampling = ConfigParser(), ConfigParser()
    config.read_config(args.bundle_root / "configs" / "inference.yaml")
    sampling.read_config([args.bundle_root / "configs" / f"{name}.yaml" for name in ("inference", "sample")])
    for parser in (config, sampling):
        parser["bundle_root"], parser["device"] = str(args.bundle_root), args.device
        parser["progress"] = False
    sampling["latent_ckpt_path"], sampling["statistics_path"] = str(models / "latent.pt"), str(models / "statistics.pt")
    train = load_split(config, args.bundle_root / "data" / "train", "train")
    test = load_split(config, args.bundle_root / "data" / "test", "test")
    network = load_weights(config.get_parsed_content("network"), models / "model.pt").eval()
    exact = config.get_parsed_content("autoencoding")
    steps = exact.num_inference_steps
    explicit = DiffusionAutoencoderInferer(exact.scheduler, 100, verbose=False)
    rows: list[tuple[str, float, str]] = []

    def add(name: str, value: float, unit: str = "") -> None:
        rows.append((name, value, unit))
        print(f"{name}: {value:.4g} {unit}", flush=True)

    # Reconstruction
    chosen = test["image"][: args.num_images].to(args.device)
    psnr = PSNRMetric(max_val=2.0, reduction="none")
    for name, inferer, x_T in (
        (f"encoded x_T ({exact.inversion}), {steps} steps", exact, "encode"),
        ("encoded x_T (explicit), 100 + 100 steps", explicit, "encode"),
        (f"random x_T, {steps} steps", exact, "random"),
    ):
        task = ReconstructionInferer(inferer, x_T=x_T)
        result = in_parts(lambda part, task=task: task(part, network), chosen)
        add(f"PSNR, {name}", psnr(result, chosen).mean().item(), "dB")

    # Code
    with torch.no_grad():
        codes = {k: in_parts(network.encode, d["image"].to(args.device)).cpu() for k, d in (("a", train), ("b", test))}
    pca = PCA(config["z_dim"], random_state=0).fit(train["image"].flatten(1))
    features = {
        f"z_sem ({config['z_dim']})": (codes["a"].numpy(), codes["b"].numpy()),
        f"{config['z_dim']} principal components": tuple(pca.transform(d["image"].flatten(1)) for d in (train, test)),
    }
    for name, (x_train, x_test) in features.items():
        probe = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-3, 1, 5), max_iter=1000))
        add(
            f"accuracy of the digit, linear probe on {name}",
            probe.fit(x_train, train["digit"]).score(x_test, test["digit"]),
        )
        for label in ("slant", "thickness"):
            probe = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
            add(
                f"R^2 of the {label}, linear probe on {name}",
                probe.fit(x_train, train[label]).score(x_test, test[label]),
            )

    # The judge
    judge = train_classifier(train["image"], train["digit"].long()).to(args.device)

    @torch.no_grad()
    def verdict(images: torch.Tensor) -> torch.Tensor:
        return in_parts(judge, images.to(args.device)).argmax(dim=1).cpu()

    @torch.no_grad()
    def judge_features(images: torch.Tensor) -> torch.Tensor:
        return in_parts(lambda part: judge.net(part).mean(dim=(2, 3)), images.to(args.device)).cpu().double()

    add("accuracy of the judge on real test digits", (verdict(test["image"]) == test["digit"]).double().mean().item())

    # Edits
    directions = AttributeDirections.load(models / "attributes.pt")
    other = test["image"][test["digit"] != 8][:200].to(args.device)
    with torch.no_grad():
        z_sem = network.encode(other)
    x_T = exact.invert(other, network, z_sem)
    for amount in (0.5, 1.0, 1.5, 2.0):
        edits = exact.decode(directions.move(z_sem, "is_8", amount), x_T, network)
        add(
            f"share of edits towards 8 by {amount} that the judge calls an 8",
            (verdict(edits) == 8).double().mean().item(),
        )

    # Samples
    loops, sampler = sampling.get_parsed_content("autoencoding"), sampling.get_parsed_content("any_latent_sampler")
    shape = test["image"].shape[1:]
    indices = torch.arange(args.num_images, device=args.device)
    samples = in_parts(lambda part: SamplingInferer(loops, sampler, shape)(part, network), indices).cpu()
    real = judge_features(test["image"][: args.num_images])
    fid = FIDMetric()
    add(f"Frechet distance, {args.num_images} samples to test digits", fid(judge_features(samples), real).item())
    add(
        f"Frechet distance, {args.num_images} training digits to test digits",
        fid(judge_features(train["image"][: args.num_images]), real).item(),
    )
    right, tries = [], []
    for digit in range(10):
        is_digit = test["digit"] == digit
        few = torch.cat([torch.nonzero(is_digit)[:20, 0], torch.nonzero(~is_digit)[:20, 0]])
        few_labels = is_digit[few].double()
        classifier = fit_few_shot(codes["b"][few], few_labels, "digit")
        conditional = ConditionalLatentSampler(sampler, classifier, "digit", prior=0.1)
        result = SamplingInferer(loops, conditional, shape).predict(torch.arange(20, device=args.device), network)
        right.append((verdict(result["sample"]) == digit).double().mean().item())
        tries.append(result["tries"].double().mean().item())
        print(f"conditional samples of {digit}: {right[-1]:.2f} right, {tries[-1]:.1f} tries each", flush=True)
    add("accuracy of the judge on conditional samples, 20 labels of the class and 20 others", float(np.mean(right)))
    add("acceptance rate of conditional samples", 1 / float(np.mean(tries)))

    output = args.output or args.bundle_root / "docs" / "metrics.csv"
    with open(output, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["measure", "value", "unit"])
        table.writerows([name, f"{value:.4g}", unit] for name, value, unit in rows)


if __name__ == "__main__":
    main()
