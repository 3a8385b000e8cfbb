# SPDX-License-Identifier: Apache-2.0
"""Does typicality tell what the brain bundle does not know? Writes docs/typicality.csv of it.

    python tests/benchmarks/typicality_quality.py --known_dir HELD_OUT

Known: slices of volumes that neither training nor the typicality has seen (by default ten subjects of seed 2000 of the
generator). Unknown: the same slices upside down, faces and noise of the same size, and the CT that pydicom carries, by
the bundle's own preprocessing. Of each kind the AUROC of the distance, the share beyond all withheld codes, and the
mean percentile; and the AUROC of the noise loss (option noise_losses) at each level.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Resize
from monai.utils import convert_to_tensor
from pydicom.data import get_testdata_file
from skimage.data import lfw_subset
from sklearn.metrics import roc_auc_score

from monai_diffae.checkpoints import load_weights
from monai_diffae.datasets import generate_brain_slices
from monai_diffae.inferers import NoiseLosses
from monai_diffae.semantics import LatentTypicality

NUM_FACES = 100  # of lfw_subset the first hundred; the others are no faces


def slices_of(bundle_root: Path, dataset_dir: Path) -> torch.Tensor:
    parser = ConfigParser()
    parser.read_config([bundle_root / "configs" / f"{name}.yaml" for name in ("inference", "encode")])
    parser["bundle_root"], parser["dataset_dir"] = str(bundle_root), str(dataset_dir)
    dataset = parser.get_parsed_content("dataset")
    return torch.stack([convert_to_tensor(item["image"], track_meta=False) for item in dataset])


def pictures(side: int) -> dict[str, torch.Tensor]:
    resize, generator = Resize((side, side)), torch.Generator().manual_seed(0)
    faces = torch.stack(
        [resize(torch.from_numpy(face[::-1].T[None].copy()).float()) for face in lfw_subset()[:NUM_FACES]]
    )
    noise = torch.randn(NUM_FACES, 1, side, side, generator=generator).clamp(-1, 1)
    return {"faces": 2 * faces - 1, "noise": noise}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/brain_slices_diffae"))
    arguments.add_argument("--known_dir", type=Path, default=Path("data/typical"), help="made if there is none")
    arguments.add_argument("--typicality_path", type=Path, help="the bundle's models/typicality.pt by default")
    arguments.add_argument("--output", type=Path, help="the bundle's docs/typicality.csv by default")
    args = arguments.parse_args()
    if not args.known_dir.exists():
        generate_brain_slices(args.known_dir, num_subjects=10, seed=2000, lesions="balls")
    typicality = LatentTypicality.load(args.typicality_path or args.bundle_root / "models" / "typicality.pt")
    parser = ConfigParser()
    parser.read_config(args.bundle_root / "configs" / "inference.yaml")
    network = load_weights(parser.get_parsed_content("network_def"), args.bundle_root / "models" / "model.pt").eval()
    noise_losses = NoiseLosses(network, parser.get_parsed_content("scheduler"))
    known = slices_of(args.bundle_root, args.known_dir)
    kinds = {"known": known, "upside down": known.flip(dims=(3,))} | pictures(known.shape[-1])
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(get_testdata_file("CT_small.dcm"), folder)
        kinds["CT"] = slices_of(args.bundle_root, Path(folder))
    rows, found = [], {}

    def auroc(measure: str, name: str) -> str:
        if name == "known":
            return ""
        both = np.concatenate([found["known"][measure], found[name][measure]])
        labels = np.repeat([0, 1], [len(found[kind][measure]) for kind in ("known", name)])
        return f"{roc_auc_score(labels, both):.4g}"

    for name, images in kinds.items():
        with torch.no_grad():
            z_sem = torch.cat([network.encode(part) for part in images.split(32)])
        losses = [noise_losses(image, z) for image, z in zip(images, z_sem)]
        found[name] = {key: np.array([loss[key] for loss in losses]) for key in losses[0]}
        found[name]["distance"], percentile = typicality.distance(z_sem).numpy(), typicality(z_sem).numpy()
        beyond = typicality.beyond(z_sem).numpy()
        rows.append(
            {
                "images": name,
                "count": len(images),
                "auroc": auroc("distance", name),
                **{f"auroc_{key}": auroc(key, name) for key in losses[0]},
                "beyond_all": f"{beyond.mean():.4g}",
                "mean_percentile": f"{percentile.mean():.4g}",
                "withheld_codes": len(typicality.withheld),
            }
        )
        print(*rows[-1].values(), sep=", ", flush=True)
    output = args.output or args.bundle_root / "docs" / "typicality.csv"
    partial = output.with_name(output.name + ".partial")
    with open(partial, "w", newline="") as f:
        table = csv.DictWriter(f, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    os.replace(partial, output)


if __name__ == "__main__":
    main()
