# SPDX-License-Identifier: Apache-2.0
"""What simple features tell of a hippocampus, and of the size of its crop, for several ways to frame it.

    python tests/benchmarks/hippocampus_baselines.py --dataset_dir DIR

Crops of the data set were made around the masks: their size alone tells part of the volume. For each way to make them
equally large (zeros around, repeated edges, mirrored edges, the central part that every crop has) a row for each set of
features: principal components of the whole volumes at 2 mm; of repeated edges the mean and standard deviation over
slices of an untrained encoder's codes; and the size of the crop. Ridge regression, fitted on training subjects and
measured on test subjects: R^2 and mean error with 95 % intervals over subjects. ``leak`` is the R^2 with which the
features tell the size of the crop (the mean over its three sides).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from monai.transforms import CenterSpatialCrop, LoadImage, ScaleIntensityRangePercentiles, SpatialPad

from monai_diffae.datasets import find_hippocampus, write_hippocampus_labels
from monai_diffae.metrics import LabelledFeatures, PixelComponents, linear_probe, untrained_copy

BUNDLE = Path(__file__).parents[2] / "bundles" / "hippocampus_mri_diffae"
RESULTS = Path(__file__).parent / "results" / "hippocampus_baselines.csv"
BOX = (48, 64, 48)  # holds every crop
COMMON = (31, 40, 24)  # the sides that every crop has
LABELS = ("volume_ml", "anterior_share", "crop_x", "crop_y", "crop_z")
FRAMES = {
    "zeros": SpatialPad(BOX, mode="constant", value=-1),
    "edges": SpatialPad(BOX, mode="replicate"),
    "mirror": SpatialPad(BOX, mode="reflect"),
    "common part": CenterSpatialCrop(COMMON),
}


def read(items: list[dict], frame: str) -> torch.Tensor:
    load, scale = LoadImage(ensure_channel_first=True), ScaleIntensityRangePercentiles(0, 99.75, -1, 1, clip=True)
    return torch.stack([FRAMES[frame](scale(load(item["image"]))).as_tensor() for item in items])


def untrained_codes(volumes: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation over the slices across the first axis."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.yaml")
    encoder = untrained_copy(parser.get_parsed_content("network_def")).encoder
    size = parser["image_size"]
    codes = []
    with torch.no_grad():
        for volume in volumes:
            slices = SpatialPad((size, size), mode="edge")(volume[0]).unsqueeze(1)
            z_sem = encoder(slices)
            codes.append(torch.cat([z_sem.mean(dim=0), z_sem.std(dim=0)]))
    return torch.stack(codes)


def rows_of(frame: str, name: str, features: np.ndarray, labels: dict, subjects: np.ndarray, is_test: np.ndarray):
    def data(label: str, chosen: np.ndarray) -> LabelledFeatures:
        return LabelledFeatures(features[chosen], labels[label][chosen], subjects[chosen])

    leak = np.mean([linear_probe(data(side, is_test), data(side, ~is_test)).scores()["r2"] for side in LABELS[2:]])
    for label in LABELS[:2]:
        held_out = linear_probe(data(label, is_test), data(label, ~is_test))
        low, high = held_out.intervals()["r2"]
        scores = held_out.scores()
        numbers = {"r2": scores["r2"], "r2_low": low, "r2_high": high, "mae": scores["mae"], "leak": leak}
        row = {"frame": frame, "features": name, "label": label}
        yield row | {key: f"{value:.3f}" for key, value in numbers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    train, test = (find_hippocampus(args.dataset_dir, split) for split in ("train", "test"))
    items = train + test
    table = args.output.with_name("hippocampus_labels.tmp.csv")
    table.parent.mkdir(parents=True, exist_ok=True)
    write_hippocampus_labels(items, args.dataset_dir, table)
    with open(table) as f:
        table_rows = list(csv.DictReader(f))
    table.unlink()
    labels = {name: np.array([float(row[name]) for row in table_rows]) for name in LABELS}
    subjects = np.array([item["subject"] for item in items])
    is_test = np.arange(len(items)) >= len(train)
    rows = []
    for frame in FRAMES:
        volumes = read(items, frame)
        coarse = F.avg_pool3d(volumes, 2)
        components = PixelComponents(coarse[~is_test], 128).encode(coarse).numpy()
        sets = {"128 components at 2 mm": components}
        if frame == "edges":
            sets["untrained encoder"] = untrained_codes(volumes).double().numpy()
        for name, features in sets.items():
            rows += rows_of(frame, name, features, labels, subjects, is_test)
            print(*rows[-2:], sep="\n", flush=True)
    sizes = np.stack([labels[side] for side in LABELS[2:]], axis=1)
    rows += rows_of("", "size of the crop", sizes, labels, subjects, is_test)
    print(*rows[-2:], sep="\n")
    with open(args.output, "w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
