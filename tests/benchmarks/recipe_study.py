# SPDX-License-Identifier: Apache-2.0
"""Which recipe learns most from the same images: short trainings that differ from a base recipe in one factor.

    python tests/benchmarks/recipe_study.py --dataset mednist --dataset_dir DIR --recipes base,muon_batch_32 --seeds 0

One row a training in ``results/recipe_study.csv`` (rows that are there are not computed again): seconds of training,
validation loss of the moving average at fixed noise levels with fixed noise, PSNR of decoding from a random x_T in 20
steps, accuracy of a linear probe of the class on z_sem (mednist: of all images seen and of 504, 1 % of the training
labels; brain_slices: AUROC of lesions, of all slices seen and of 100). The training is the bundles' own:
DiffusionTrainer, SampledDiffusionPrepareBatch, SeededDataset, ForeachEMAHandler with EMAWarmUp, clipping at 1, warm-up
and cosine of the learning rate to 0.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from monai.metrics import PSNRMetric
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from study_images import Images, read_images
from study_training import Recipe, train

from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, SemanticEncoder
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.support.atomic_files import replacing

RESULTS = Path(__file__).parent / "results" / "recipe_study.csv"
LEVELS = (20, 100, 250, 500, 800, 980)  # timesteps of the validation
NETWORKS = {  # both have 6.0 million weights
    "patch_4": {
        "encoder": {"channels": (64, 128, 128, 128), "attention_levels": (False, True, False, False), "patch_size": 4},
        "decoder": {"channels": (64, 96, 128), "attention_levels": (False, True, False), "patch_size": 4},
    },
    "patch_2": {  # today's, of the brain slices
        "encoder": {
            "channels": (32, 64, 128, 128, 128),
            "attention_levels": (False, False, True, False, False),
            "patch_size": 2,
        },
        "decoder": {"channels": (64, 96, 128), "attention_levels": (False, False, True), "patch_size": 2},
    },
}
RECIPES = {  # fields of Recipe that differ from its defaults, and the network where it is not patch_4
    "base": {},
    "logit_normal": {"density": "logit_normal"},
    "min_snr": {"density": "min_snr"},
    "lr_2e-3": {"learning_rate": 2e-3},
    "batch_32": {"batch_size": 32},
    "batch_8": {"batch_size": 8},
    "muon": {"optimizer": "muon"},
    "muon_batch_32": {"optimizer": "muon", "batch_size": 32, "learning_rate": 2e-3},
    "patch_2": {"network": "patch_2"},
}


def build_network(name: str, z_dim: int = 128) -> DiffusionAutoencoder:
    shared = {"spatial_dims": 2, "in_channels": 1, "z_dim": z_dim, "num_res_blocks": 1}
    parts = NETWORKS[name]
    return DiffusionAutoencoder(
        SemanticEncoder(**shared, **parts["encoder"]), DiffAEUNet(**shared, out_channels=1, **parts["decoder"])
    )


@torch.no_grad()
def level_losses(network: torch.nn.Module, images: torch.Tensor, precision: str) -> dict[str, float]:
    """Noise loss at each of the levels, the same noise for every recipe; and over all levels, of uniform timesteps."""
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    inferer = DiffusionAutoencoderInferer(scheduler, 20, precision=precision)
    generator = torch.Generator().manual_seed(0)
    losses = {}
    for level in (*LEVELS, "all"):
        errors = []
        for batch in images.split(64):
            noise = torch.randn(batch.shape, generator=generator)
            if level == "all":
                t = torch.randint(1000, (len(batch),), generator=generator)
            else:
                t = torch.full((len(batch),), level)
            target = scheduler.get_velocity(batch, noise, t)
            errors.append((inferer(batch, network, noise, t).float() - target).square().flatten(1).mean(1))
        losses[f"loss_{level}"] = torch.cat(errors).mean().item()
    return losses


def decoding_psnr(network: torch.nn.Module, images: torch.Tensor, precision: str) -> float:
    """dB, of [-1, 1] images decoded from z_sem and a random x_T."""
    scheduler = InvertibleDDIMScheduler(prediction_type="v_prediction")
    inferer = DiffusionAutoencoderInferer(scheduler, 20, precision=precision, verbose=False)
    x_T = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    decoded = inferer.decode(inferer.encode(images, network), x_T, network)
    return PSNRMetric(max_val=2.0)(decoded.float(), images).mean().item()


def probe(network: torch.nn.Module, images: Images, precision: str) -> dict[str, float]:
    """Accuracy (two classes: AUROC) on the validation images, of the labels of all training images and of a few."""
    inferer = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), 20, precision=precision)

    def encode(x: torch.Tensor) -> np.ndarray:
        return torch.cat([inferer.encode(batch, network).float() for batch in x.split(256)]).numpy()

    z, z_val = encode(images.train), encode(images.val)
    order = np.random.default_rng(0).permutation(len(z))
    scores = {}
    for name, chosen in (("all", order), ("few", order[: images.few])):
        scaler = StandardScaler().fit(z[chosen])
        model = LogisticRegression(C=0.1, max_iter=500).fit(scaler.transform(z[chosen]), images.train_labels[chosen])
        x = scaler.transform(z_val)
        if images.train_labels.max() > 1:
            scores[f"probe_{name}"] = model.score(x, images.val_labels)
        else:
            scores[f"probe_{name}"] = roc_auc_score(images.val_labels, model.decision_function(x))
    return scores


def read(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def append(new: list[dict], path: Path) -> None:
    rows = [*read(path), *new]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, open(partial, "w", newline="") as f:
        columns = list(dict.fromkeys(key for r in rows for key in r))
        table = csv.DictWriter(f, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["mednist", "brain_slices"], default="mednist")
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="names of RECIPES; a+b has the factors of both")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--images", type=int, default=15_000)
    parser.add_argument("--precision", default="bfloat16", help="float32 on processors without bfloat16")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--save_dir", type=Path, help="where to keep the weights")
    args = parser.parse_args()
    images = read_images(args.dataset, args.dataset_dir, args.images)
    for name in args.recipes.split(","):
        settings = {key: value for part in name.split("+") for key, value in RECIPES[part].items()}
        network_name = settings.pop("network", "patch_4")
        for seed in map(int, args.seeds.split(",")):
            key = {"dataset": args.dataset, "images": str(args.images), "recipe": name, "seed": str(seed)}
            if any(key.items() <= row.items() for row in read(args.output)):
                continue
            torch.manual_seed(seed)
            network, seconds = train(
                build_network(network_name), Recipe(**settings), images.train, args.images, seed, args.precision, name
            )
            row = key | {"seconds": round(seconds, 1), "images_per_second": round(args.images / seconds, 1)}
            numbers = level_losses(network, images.val[:512], args.precision)
            numbers["psnr_random_x_T"] = decoding_psnr(network, images.val[:128], args.precision)
            numbers |= probe(network, images, args.precision)
            append([row | {key: f"{value:.5g}" for key, value in numbers.items()}], args.output)
            print(row, numbers, flush=True)
            if args.save_dir is not None:
                args.save_dir.mkdir(parents=True, exist_ok=True)
                torch.save(network.state_dict(), args.save_dir / f"{args.dataset}-{name}-{seed}.pt")


if __name__ == "__main__":
    main()
