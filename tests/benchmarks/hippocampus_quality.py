# SPDX-License-Identifier: Apache-2.0
"""What z_sem of the hippocampus bundle tells of the volume of test subjects, and whether its counterfactuals keep their
word.

    python tests/benchmarks/hippocampus_quality.py --dataset_dir DIR --ckpt_path MODEL --output_dir OUT
    ... --overlays volumes latent_space        # of a model of whole volumes

Test subjects were seen by no network. Rows of the table (``--output``):

- ``dice``, ``r2``, ``mae`` of ``judge``: the segmentation network (hippocampus_judge.py) against the expert masks; and
  ``slope`` of ``judge, images scaled``: of the change that it measures where the whole image is scaled about the
  hippocampus to ``--shares`` of its volume, against that change. A perfect counterfactual would have this slope.
- ``r2``, ``mae`` and 95 % intervals over subjects of a ridge regression that was fitted to training subjects: of z_sem
  (of slices: the sum over a volume's slices, as its volume is the sum of their areas; their number tells the crop's
  width), of an untrained encoder, of as many principal components (at most one for each training volume) of the
  volumes at 2 mm, edges repeated, and of the size of the crop, which tells part of the volume without any image.
  ``difference``: R^2 of z_sem minus that of the row's features, with a paired interval. ``crop``: R^2 with which the
  features tell the size of the crop. ``seen``: cross-validated over training subjects, whose images the encoder saw.
- ``counterfactual``: each test volume at ``--shares`` of its volume by the workflow ``manipulate.yaml``, measured by
  the judge in the files that it wrote: ``slope`` and ``mean error`` of measured against asked change, relative to the
  judge's own measure of the reconstruction; ``change outside``, share of the squared change that lies further than
  3 mm from the hippocampus.

A stopped run goes on by the same command.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from hippocampus_judge import Judge, preparation
from monai.bundle import ConfigParser, ConfigWorkflow
from scipy.ndimage import affine_transform, distance_transform_edt

from monai_diffae.datasets import find_hippocampus, write_hippocampus_labels
from monai_diffae.metrics import (
    LabelledFeatures,
    PixelComponents,
    Probe,
    bootstrap_intervals,
    linear_probe,
    score_predictions,
    untrained_copy,
)
from monai_diffae.support.atomic_files import replacing

BUNDLE = Path(__file__).parents[2] / "bundles" / "hippocampus_mri_diffae"
LABELS = ("volume_ml", "anterior_share")
SIDES = ("crop_x", "crop_y", "crop_z")
SHARES = (0.8, 0.9, 1.1, 1.2)
FAR = 3.0  # mm from the hippocampus

Row = dict[str, str]


class Bundle:
    """The bundle's workflows and parts, with the same options in each."""

    def __init__(self, overlays: Sequence[str], options: dict[str, Any]) -> None:
        self.overlays, self.options = list(overlays), options

    def files(self, *names: str) -> list[str]:
        return [str(BUNDLE / "configs" / f"{name}.yaml") for name in ("inference", *self.overlays, *names)]

    def run(self, *names: str, **options: Any) -> None:
        workflow = ConfigWorkflow(
            self.files(*names), logging_file=False, bundle_root=str(BUNDLE), **(self.options | options)
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()

    def parser(self, **options: Any) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config(self.files("encode"))
        for key, value in ({"bundle_root": str(BUNDLE)} | self.options | options).items():
            parser[key] = value
        return parser


def row(
    of: str, measure: str, value: float, low: float | None = None, high: float | None = None, count: int = 0
) -> Row:
    cells = {"value": value, "low": low, "high": high}
    numbers = {key: "" if number is None else f"{number:.3f}" for key, number in cells.items()}
    return {"of": of, "measure": measure, **numbers, "count": str(count)}


def data_list(items: Sequence[dict[str, str]], path: Path) -> str:
    """As a file that the workflows read."""
    entries = [{"image": item["image"], "subject": item["subject"]} for item in items]
    path.write_text(json.dumps({"training": entries}))
    return str(path)


def features_of(bundle: Bundle, listed: str) -> dict[str, np.ndarray]:
    """Of each volume, in their order: z_sem, and an untrained encoder's."""
    parser = bundle.parser(data_list=listed)
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(parser.get_parsed_content("ckpt_path"), map_location="cpu", weights_only=True))
    images, device = parser.get_parsed_content("images"), parser.get_parsed_content("device")
    networks = {"z_sem": network.eval().to(device), "untrained encoder": untrained_copy(network).to(device)}
    features: dict[str, list[np.ndarray]] = {name: [] for name in networks}
    items = (images[k]["image"] for k in range(len(images)))
    for _, slices in itertools.groupby(items, key=lambda image: image.meta["filename_or_obj"]):
        batch = torch.stack([image.as_tensor() for image in slices]).to(device)
        for name, each in networks.items():
            with torch.no_grad():
                z_sem = each.encode(batch).cpu().double().numpy()
            features[name].append(z_sem.sum(axis=0))
    return {name: np.stack(codes) for name, codes in features.items()}


def representation(bundle: Bundle, train: list[dict], test: list[dict], folder: Path, dataset_dir: str) -> list[Row]:
    items = train + test
    table = folder / "labels.csv"
    write_hippocampus_labels(items, dataset_dir, table)
    with open(table, newline="") as f:
        known = list(csv.DictReader(f))
    values = {name: np.array([float(each[name]) for each in known]) for name in (*LABELS, *SIDES)}
    subjects = np.array([int(item["subject"]) for item in items])
    is_test = np.arange(len(items)) >= len(train)
    features = features_of(bundle, data_list(items, folder / "all.json"))
    prepare = preparation()
    volumes = F.avg_pool3d(torch.stack([prepare({"image": item["image"]})["image"] for item in items]), 2)
    components = PixelComponents(volumes[~is_test], features["z_sem"].shape[1])
    features[f"{components.num_components} components"] = components.encode(volumes).numpy()
    features["size of the crop"] = np.stack([values[side] for side in SIDES], axis=1)
    rows = []
    for label in LABELS:
        probes = {name: probe(found, values[label], subjects, is_test) for name, found in features.items()}
        for name, found in features.items():
            of = f"{label}, {name}"
            scores, intervals = probes[name].scores(), probes[name].intervals()
            rows += [row(of, key, scores[key], *intervals[key], count=int(is_test.sum())) for key in ("r2", "mae")]
            if name != "z_sem":
                rows.append(difference(of, probes["z_sem"], probes[name]))
            inside = LabelledFeatures(found[~is_test], values[label][~is_test], subjects[~is_test])
            rows.append(row(of, "seen r2", linear_probe(inside).scores()["r2"], count=int((~is_test).sum())))
    for name, found in features.items():
        crop = np.mean([probe(found, values[side], subjects, is_test).scores()["r2"] for side in SIDES])
        rows.append(row(f"size of the crop, {name}", "r2", float(crop), count=int(is_test.sum())))
    return rows


def probe(features: np.ndarray, values: np.ndarray, subjects: np.ndarray, is_test: np.ndarray) -> Probe:
    held_out, basis = (LabelledFeatures(features[of], values[of], subjects[of]) for of in (is_test, ~is_test))
    return linear_probe(held_out, basis)


def difference(of: str, ours: Probe, other: Probe) -> Row:
    """R^2 of ours minus that of the other, over the same draws of subjects."""

    def scores(drawn: np.ndarray) -> dict[str, float]:
        both = (score_predictions(p.kind, p.labels[drawn], p.predictions[drawn])["r2"] for p in (ours, other))
        first, second = both
        return {"r2": first - second}

    everything = np.arange(len(ours.labels))
    low, high = bootstrap_intervals(scores, ours.groups, 1000, 0)["r2"]
    return row(of, "difference", scores(everything)["r2"], low, high, count=len(ours.labels))


def judged(judge: Judge, test: list[dict]) -> list[Row]:
    """The judge against the expert masks."""
    dice, pairs = [], []
    for item in test:
        found = judge.segment(item["image"])
        truth = judge_frame(item["mask"])
        dice.append(2 * ((found > 0) & (truth > 0)).sum() / ((found > 0).sum() + (truth > 0).sum()))
        pairs.append((judge.measure(item["image"])["volume_ml"], expert_volume(item["mask"])))
    found, truth = np.array(pairs).T
    scores = score_predictions("continuous", truth, found)
    rows = [row("judge", "dice", float(np.mean(dice)), count=len(test))]
    return rows + [row("judge, volume_ml", key, scores[key], count=len(test)) for key in ("r2", "mae")]


def judged_scaling(judge: Judge, test: list[dict], shares: Sequence[float], folder: Path) -> list[Row]:
    """What the judge makes of images whose hippocampus has another size beyond doubt."""
    asked, measured = [], []
    for item in test:
        image, mask = nib.load(item["image"]), np.asanyarray(nib.load(item["mask"]).dataobj)
        center, whole = np.argwhere(mask > 0).mean(axis=0), judge.measure(item["image"])["volume_ml"]
        for share in shares:
            zoom = share ** (-1 / 3)
            scaled = affine_transform(
                image.get_fdata(), np.full(3, zoom), center - zoom * center, order=1, mode="nearest"
            )
            file = folder / "scaled.nii.gz"
            nib.save(nib.Nifti1Image(scaled.astype(np.float32), image.affine), file)
            asked.append(share - 1)
            measured.append(judge.measure(file)["volume_ml"] / whole - 1)
    file.unlink()
    x, y = np.array(asked), np.array(measured)
    rows = [row("judge, images scaled", "slope", float((x * y).sum() / (x * x).sum()), count=len(x))]
    for share in shares:
        of_share = y[x == share - 1]
        rows.append(
            row(
                "judge, images scaled",
                f"measured at {100 * share:g} %",
                1 + float(of_share.mean()),
                count=len(of_share),
            )
        )
    return rows


def judge_frame(mask: str) -> np.ndarray:
    """As the judge's answers are framed."""
    return preparation(["image", "mask"])({"image": mask, "mask": mask})["mask"][0].numpy()


def expert_volume(mask: str) -> float:
    image = nib.load(mask)
    return float((np.asanyarray(image.dataobj) > 0).sum() * abs(np.linalg.det(image.affine[:3, :3])) / 1000)


def counterfactuals(bundle: Bundle, judge: Judge, test: list[dict], args: argparse.Namespace) -> list[Row]:
    listed = data_list(test, args.output_dir / "test.json")
    asked, measured, outside = [], [], []
    for share in args.shares:
        folder = args.output_dir / f"counterfactual_{100 * share:g}"
        bundle.run(
            "manipulate",
            data_list=listed,
            output_dir=str(folder),
            attribute=args.attribute,
            target=f"{100 * share:g}%",
            attributes_path=str(args.attributes_path),
            max_aims=args.max_aims,
            along=args.along,
            edit_mode=args.edit_mode,
        )
        for item in test:
            name = Path(item["image"]).name.removesuffix(".nii.gz")
            (edit,) = folder.rglob(f"{name}_edit.nii.gz")
            (reconstruction,) = folder.rglob(f"{name}_reconstruction.nii.gz")
            before, after = (judge.measure(path)["volume_ml"] for path in (reconstruction, edit))
            asked.append(share - 1)
            measured.append(after / before - 1)
            outside.append(share_outside(edit, reconstruction, item["mask"]))
    asked_, measured_ = np.array(asked), np.array(measured)
    groups = np.tile([int(item["subject"]) for item in test], len(args.shares))

    def scores(drawn: np.ndarray) -> dict[str, float]:
        x, y = asked_[drawn], measured_[drawn]
        return {"slope": float((x * y).sum() / (x * x).sum()), "mean error": float(np.abs(y - x).mean())}

    intervals = bootstrap_intervals(scores, groups, 1000, 0)
    of = f"counterfactual volume by {args.attribute}, max_aims {args.max_aims}, along {args.along}, {args.edit_mode}"
    rows = [
        row(of, key, value, *intervals[key], count=len(asked)) for key, value in scores(np.arange(len(asked))).items()
    ]
    for share in args.shares:
        of_share = measured_[asked_ == share - 1]
        rows.append(row(of, f"measured at {100 * share:g} %", 1 + float(of_share.mean()), count=len(of_share)))
    return [*rows, row(of, "change outside", float(np.mean(outside)), count=len(outside))]


def share_outside(edit: Path, reconstruction: Path, mask: str) -> float:
    """Of the squared change, that further than FAR from the expert's hippocampus."""
    change = nib.load(edit).get_fdata() - nib.load(reconstruction).get_fdata()
    image = nib.load(mask)
    distance = distance_transform_edt(np.asanyarray(image.dataobj) == 0, sampling=image.header.get_zooms()[:3])
    total = float((change**2).sum())
    return float((change[distance > FAR] ** 2).sum() / total) if total else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, help="holds Task04_Hippocampus")
    parser.add_argument("--ckpt_path", type=Path, default=BUNDLE / "models" / "model.pt")
    parser.add_argument("--attributes_path", type=Path, help="default: attributes.pt beside the weights")
    parser.add_argument("--output_dir", type=Path, required=True, help="judge, edited volumes")
    parser.add_argument("--output", type=Path, default=BUNDLE / "docs" / "quality.csv")
    parser.add_argument("--overlays", nargs="*", default=[], help="volumes, or volumes latent_space")
    parser.add_argument("--sections", nargs="*", default=["judge", "representation", "counterfactual"])
    parser.add_argument("--shares", nargs="*", type=float, default=list(SHARES))
    parser.add_argument("--max_aims", type=int, default=0, help="of manipulate.yaml")
    parser.add_argument("--attribute", default="hippocampus_area", help="of manipulate.yaml; or volume_ml")
    parser.add_argument("--along", default="weight", help="of manipulate.yaml")
    parser.add_argument("--edit_mode", default="decoded", help="of manipulate.yaml; the network's own image is judged")
    parser.add_argument("--num_volumes", type=int, help="test volumes; all by default")
    parser.add_argument("--judge_iterations", type=int, default=1200)
    parser.add_argument("--options", type=json.loads, default={}, help="of the bundle, as JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    args.attributes_path = args.attributes_path or args.ckpt_path.with_name("attributes.pt")
    train, test = (find_hippocampus(args.dataset_dir, split) for split in ("train", "test"))
    test = test[: args.num_volumes]
    options = {"dataset_dir": args.dataset_dir, "ckpt_path": str(args.ckpt_path), "progress": False}
    bundle = Bundle(args.overlays, options | args.options)
    rows: list[Row] = []
    if {"judge", "counterfactual"} & set(args.sections):
        judge = Judge(args.output_dir / "judge.pt", train, args.judge_iterations, torch.device(args.device))
    if "judge" in args.sections:
        rows += told(judged(judge, test))
        rows += told(judged_scaling(judge, test, args.shares, args.output_dir))
    if "representation" in args.sections:
        rows += told(representation(bundle, train, test, args.output_dir, args.dataset_dir))
    if "counterfactual" in args.sections:
        rows += told(counterfactuals(bundle, judge, test, args))
    model = " ".join(args.overlays) or "slices"
    with replacing(args.output) as partial, open(partial, "w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=["model", *rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"model": model} | each for each in merged(args.output, model, rows))


def merged(path: Path, model: str, rows: list[Row]) -> list[dict[str, str]]:
    """With the rows of the table that are of another model, or that were not measured now."""
    if not path.exists():
        return rows
    now = {(model, each["of"], each["measure"]) for each in rows}
    with open(path, newline="") as f:
        return [each for each in csv.DictReader(f) if (each["model"], each["of"], each["measure"]) not in now] + rows


def told(rows: list[Row]) -> list[Row]:
    for each in rows:
        print(*each.values(), sep="  ", flush=True)
    return rows


if __name__ == "__main__":
    main()
