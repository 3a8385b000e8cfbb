# SPDX-License-Identifier: Apache-2.0
"""Are edits with the exact x_T as good as those with the paper's? On test digits and the shipped weights.

    python tests/benchmarks/x_T_edits.py

Writes docs/x_T_edits.csv of the bundle for pictures: test digits that are no 8, moved towards 8, and made thicker and
thinner, with the exact x_T of 20 steps and with the explicit one of 250, both decoded in 20 steps. Of each, the share
that a classifier trained on images calls an 8, the share that it calls what the digit was, and the mean of the stroke
thickness that is measured on the images, in pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from digits_judge import load_split, train_classifier
from inversion_quality import shown, write
from monai.bundle import ConfigParser

from monai_diffae.checkpoints import load_weights
from monai_diffae.datasets.digits import measure_thickness
from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.semantics import AttributeDirections

EDITS = (("is_8", 0.0), ("is_8", 1.0), ("is_8", 2.0), ("thickness", 1.0), ("thickness", -1.0))


def thickness(images: torch.Tensor) -> float:
    return float(np.mean([measure_thickness(image) for image in ((images[:, 0].cpu() + 1) / 2).clamp(0, 1).numpy()]))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/natural_images_diffae"))
    arguments.add_argument("--data", type=Path, help="folder with train and test; the bundle's data by default")
    arguments.add_argument("--output", type=Path, help="the bundle's docs/x_T_edits.csv by default")
    arguments.add_argument("--num_images", type=int, default=64)
    arguments.add_argument("--explicit_steps", type=int, default=250)
    arguments.add_argument("--device", default="cpu")
    args = arguments.parse_args()
    config = ConfigParser()
    config.read_config(args.bundle_root / "configs" / "inference.yaml")
    config["bundle_root"], config["device"], config["progress"] = str(args.bundle_root), args.device, False
    data, models = args.data or args.bundle_root / "data", args.bundle_root / "models"
    train, test = (load_split(config, data / split, split) for split in ("train", "test"))
    network = load_weights(config.get_parsed_content("network"), models / "model.pt").eval()
    directions = AttributeDirections.load(models / "attributes.pt")
    exact = config.get_parsed_content("autoencoding")
    explicit = DiffusionAutoencoderInferer(
        exact.scheduler, exact.num_inference_steps, args.explicit_steps, verbose=False
    )
    judge = train_classifier(train["image"], train["digit"].long()).to(args.device)
    others = torch.nonzero(test["digit"] != 8)[:, 0]
    others = others[:: max(1, len(others) // args.num_images)][: args.num_images]
    images, digits = test["image"][others].to(args.device), test["digit"][others].long()
    with torch.no_grad():
        z_sem = network.encode(images)
    rows = []
    for name, inferer in (("exact", exact), ("explicit", explicit)):
        found = inferer.invert_with_report(images, network, z_sem)
        for attribute, amount in EDITS:
            edits = inferer.decode(directions.move(z_sem, attribute, amount), found.x_T, network)
            with torch.no_grad():
                verdict = judge(edits).argmax(dim=1).cpu()
            row = {
                "x_T": name,
                "steps": f"{inferer.num_inversion_steps} + {inferer.num_inference_steps}",
                "images": len(images),
                "edit": f"{attribute} {amount:+g}" if amount else "none",
                "called_8": (verdict == 8).double().mean().item(),
                "called_what_it_was": (verdict == digits).double().mean().item(),
                "thickness": thickness(edits),
            }
            rows.append(shown(row))
            print(*rows[-1].values(), sep=", ", flush=True)
            write(args.output or args.bundle_root / "docs" / "x_T_edits.csv", rows)


if __name__ == "__main__":
    main()
