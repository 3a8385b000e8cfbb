# SPDX-License-Identifier: Apache-2.0
"""What compressing a large volume in windows changes, and the memory that it takes, on the shipped compression model.

    python tests/benchmarks/compression_windows.py

Cubes from the middle of the MNI152 T1 template at 1 mm, its 0th to 99.75th percentile mapped to [-1, 1], are compressed
and expanded whole and in windows of 48 voxels. Written to the hippocampus bundle's ``docs/compression_windows.csv``:
seconds, MiB beside the volume itself at the highest, PSNR against the volume, and PSNR of the windowed result against
the whole one.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.metrics import PSNRMetric
from monai.transforms import CenterSpatialCrop, ScaleIntensityRangePercentiles
from nilearn.datasets import load_mni152_template
from speed.memory import peak_memory

from monai_diffae.checkpoints import load_weights
from monai_diffae.networks import Compression

BUNDLE = Path(__file__).parents[2] / "bundles" / "hippocampus_mri_diffae"
ROI = 48


def read_template() -> torch.Tensor:
    volume = torch.as_tensor(np.asarray(load_mni152_template(resolution=1).dataobj, dtype=np.float32))[None]
    return ScaleIntensityRangePercentiles(0, 99.75, -1, 1, clip=True)(volume)


def read_model() -> torch.nn.Module:
    config = ConfigParser()
    config.read_config([BUNDLE / "configs" / f"{name}.yaml" for name in ("inference", "volumes", "latent_space")])
    config["bundle_root"] = str(BUNDLE)
    return load_weights(config.get_parsed_content("stage_1_def"), BUNDLE / "models" / "volumes" / "stage_1.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[48, 96, 144], help="sides of cubes, multiples of 4")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=BUNDLE / "docs" / "compression_windows.csv")
    args = parser.parse_args()
    device, template, model = torch.device(args.device), read_template(), read_model()
    ways = {way: Compression(model, roi_size=roi).to(device) for way, roi in (("whole", None), ("windows", ROI))}
    rows, psnr = [], PSNRMetric(max_val=2.0)
    for side in args.sizes:
        volume = torch.as_tensor(CenterSpatialCrop(side)(template))[None].to(device)
        results = {}
        for way, compression in ways.items():
            start = time.perf_counter()
            memory = peak_memory(lambda: results.update({way: compression.reconstruct(volume)}), device)  # noqa: B023
            row = {"side": side, "way": way, "seconds": time.perf_counter() - start, "memory_mib": memory}
            row["psnr"] = psnr(results[way], volume).item()
            row["psnr_to_whole"] = psnr(results[way], results["whole"]).item()
            rows.append({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()})
            print(rows[-1], flush=True)
    with open(args.output, "w", newline="") as f:
        table = csv.DictWriter(f, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
