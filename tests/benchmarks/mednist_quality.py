# SPDX-License-Identifier: Apache-2.0
"""What edits and samples of the MedNIST bundle are, as a classifier that has seen real pictures only and measures of
the pictures say; on test pictures, which training never saw.

    python tests/benchmarks/mednist_quality.py --dataset_dir DIR --output bundles/mednist_diffae/docs/edits.csv

- ``judge``: accuracy of the classifier, MONAI's DenseNet121 trained on training pictures, on test pictures.
- ``class_edits``: of pictures of the five other classes, edited towards a class (``to_class_mean``) with their exact
  x_T, the share that the judge takes for that class.
- ``shape_edits``: sizes, tilt and elongation at asked values, measured on the decoded pictures by the functions that
  made the labels (monai_diffae/datasets/mednist/measures.py): slope of measured against asked change, and mean error;
  of sizes also aimed (``max_aims``).
- ``shapes_changed``: the same of the pictures themselves, scaled, turned or stretched as asked. An edit that does all
  that is asked would be measured with this slope.
- ``class_samples``: of samples of a class from 20 labels (20 others, 1,000 unlabelled), the share that the judge takes
  for it.
- ``samples``: Frechet distance in the judge's features to as many test pictures, beside that of training pictures.

A run goes on with the judge that it finds in ``--work_dir``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from densenet import densenet, in_parts, trained_densenet
from monai.bundle import ConfigParser
from scipy import ndimage
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from monai_diffae.checkpoints import load_weights
from monai_diffae.data import add_labels
from monai_diffae.datasets.mednist import CLASSES, find_mednist, write_mednist_labels
from monai_diffae.datasets.mednist.measures import MEASURES, foreground, measure_shapes
from monai_diffae.inferers import ConditionalLatentSampler, ManipulationInferer, SamplingInferer
from monai_diffae.metrics import bootstrap_intervals, frechet_distance
from monai_diffae.metrics.evaluation import Part
from monai_diffae.semantics import AttributeDirections, Edit, fit_few_shot
from monai_diffae.support.atomic_files import replacing

BUNDLE = Path(__file__).parents[2] / "bundles" / "mednist_diffae"
SHARES = (0.5, 0.75, 1.0)  # of the way to the class mean
ASKED = {  # of each shape: values as shares of the picture's own, or as differences to it
    "hand_size": ("share", (0.8, 0.9, 1.1, 1.2)),
    "head_size": ("share", (0.8, 0.9, 1.1, 1.2)),
    "hand_tilt": ("difference", (-15.0, -7.5, 7.5, 15.0)),
    "head_elongation": ("difference", (-0.2, -0.1, 0.1, 0.2)),
}
FEW, UNLABELLED = 20, 1000

Row = dict[str, str]


def row(measure: str, of: str, value: float, count: int, low: float | None = None, high: float | None = None) -> Row:
    numbers = {"value": value, "low": low, "high": high}
    return {
        "measure": measure,
        "of": of,
        **{k: "" if v is None else f"{v:.4g}" for k, v in numbers.items()},
        "count": str(count),
    }


def interval(measure: Callable[[np.ndarray], float], count: int) -> tuple[float, float]:
    """95 % of draws of so many pictures with replacement."""
    return bootstrap_intervals(lambda rows: {"value": measure(rows)}, np.arange(count))["value"]


def changed_shape(picture: torch.Tensor, name: str, value: float) -> torch.Tensor:
    """A picture ``(1, rows, columns)`` whose shape is changed about the object's centre, as :data:`ASKED` has it."""
    if name.endswith("size"):
        matrix = np.eye(2) * math.sqrt(value)  # of places, down and right
    elif name.endswith("tilt"):
        angle = math.radians(value)
        matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    else:
        matrix = np.diag([2 ** (value / 2), 2 ** (-value / 2)])
    image = picture[0].numpy()
    center, inverse = np.argwhere(foreground(image)).mean(axis=0), np.linalg.inv(matrix)
    moved = ndimage.affine_transform(image, inverse, center - inverse @ center, order=1, mode="nearest")
    return torch.from_numpy(moved)[None]


class Bench:
    """The networks, and test and training pictures with their classes and shapes."""

    SECTIONS = ("judge", "class_edits", "shape_edits", "shapes_changed", "class_samples", "samples")

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, torch.device(args.device)
        configs = BUNDLE / "configs"
        self.config = ConfigParser()
        self.config.read_config([configs / f"{name}.yaml" for name in ("inference", "sample", "conditional_sample")])
        models = args.models
        self.config.update({"bundle_root": str(BUNDLE), "device": self.device, "progress": False})
        self.config.update({"latent_ckpt_path": str(models / "latent.pt"), "ckpt_path": str(models / "model.pt")})
        self.config.update({"statistics_path": str(models / "statistics.pt"), "output_dir": str(args.work_dir)})
        self.config.update({"dataset_dir": args.dataset_dir, "precision": args.precision} | args.options)
        self.network = load_weights(self.config.get_parsed_content("network"), models / "model.pt").eval()
        self.directions = AttributeDirections.load(models / "attributes.pt")
        inference = ConfigParser()  # where samples are decoded otherwise than pictures
        inference.read_config(configs / "inference.yaml")
        inference.update(
            {"bundle_root": str(BUNDLE), "device": self.device, "precision": args.precision} | args.options
        )
        self.exact = inference.get_parsed_content("autoencoding")
        self.exact.verbose = False
        self.test = self.pictures(inference, "test", args.num_test)
        self.train = self.pictures(inference, "train", args.num_train)

    @cached_property
    def judge(self) -> torch.nn.Module:
        path = self.args.work_dir / "judge.pt"
        if not path.exists():
            labels, seen = self.train["class"], self.args.judge_images
            network = trained_densenet(self.train["image"], labels, len(CLASSES), cross_entropy, seen, self.device)
            with replacing(path) as partial:
                torch.save(network.state_dict(), partial)
        judge = densenet(1, len(CLASSES))
        judge.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return judge.to(self.device).eval()

    def pictures(self, config: ConfigParser, split: str, count: int) -> dict[str, torch.Tensor]:
        """So many of a split, evenly spaced, prepared as the bundle does, with their classes and shapes."""
        items = find_mednist(self.args.dataset_dir, split)
        places = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
        items = [items[k] for k in places]
        table = write_mednist_labels(items, self.args.dataset_dir, self.args.work_dir / f"{split}_{len(items)}.csv")
        items = add_labels(items, table, list(MEASURES), self.args.dataset_dir)
        config.parse(reset=True)
        preparation = config.get_parsed_content("preprocessing")
        chosen = Part([preparation(dict(item)) for item in tqdm(items, desc=split)], list(MEASURES)).chosen(None)
        classes = torch.tensor([CLASSES.index(Path(str(item["image"])).parent.name) for item in items])
        shapes = {name: torch.from_numpy(chosen[name]) for name in MEASURES}
        return {"image": chosen["image"], "class": classes, **shapes}

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """Class as the judge says."""
        return in_parts(self.judge, images, self.device).argmax(dim=1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return in_parts(lambda x: self.judge.features(x).relu().mean(dim=(2, 3)), images, self.device).double()

    @torch.no_grad()
    def encoded(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images = images.to(self.device)
        z_sem = self.exact.encode(images, self.network)
        return z_sem, self.exact.invert(images, self.network, z_sem)

    @torch.no_grad()
    def decoded(self, z_sem: torch.Tensor, x_T: torch.Tensor) -> torch.Tensor:
        parts = zip(z_sem.split(32), x_T.split(32))
        return torch.cat([self.exact.decode(z, x, self.network).cpu() for z, x in parts])

    def some_of(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        places = torch.nonzero(rows).flatten()
        return places[torch.linspace(0, len(places) - 1, min(count, len(places))).round().long()]

    def judge_rows(self) -> Iterator[Row]:
        right = (self.seen(self.test["image"]) == self.test["class"]).double().numpy()
        low, high = interval(lambda rows: float(right[rows].mean()), len(right))
        yield row("accuracy", "the judge on test pictures", right.mean(), len(right), low, high)

    def class_edits(self) -> Iterator[Row]:
        count = self.args.num_edits
        rows = torch.cat([self.some_of(self.test["class"] == k, count) for k in range(len(CLASSES))])
        classes = self.test["class"][rows]
        z_sem, x_T = self.encoded(self.test["image"][rows])
        for share in SHARES:
            right: list[float] = []
            for k, name in enumerate(CLASSES):
                others = classes != k
                moved = self.directions.move_to_class_mean(z_sem[others], f"is_{name}", share)
                is_class = (self.seen(self.decoded(moved, x_T[others])) == k).double().tolist()
                yield row(
                    "share taken for the class", f"{share:.0%} to {name}", float(np.mean(is_class)), len(is_class)
                )
                right += is_class
            yield row("share taken for the class", f"{share:.0%} to any", float(np.mean(right)), len(right))

    def shape_edits(self) -> Iterator[Row]:
        for name, (kind, asked) in ASKED.items():
            rows = self.some_of(~self.test[name].isnan(), self.args.num_shapes)
            yield from self.answers(name, kind, asked, rows, self.moved_shapes(name, kind, asked, rows), name)
            if kind == "share":
                aimed = self.aimed_shapes(name, asked, rows)
                yield from self.answers(name, kind, asked, rows, aimed, f"{name}, {self.args.max_aims} aims")

    def shapes_changed(self) -> Iterator[Row]:
        for name, (kind, asked) in ASKED.items():
            rows = self.some_of(~self.test[name].isnan(), self.args.num_shapes)
            own = self.test["image"][rows]
            changed = [torch.stack([changed_shape(x, name, value) for x in own]) for value in asked]
            yield from self.answers(name, kind, asked, rows, [own, *changed], f"{name}, the picture changed")

    def moved_shapes(self, name: str, kind: str, asked: Sequence[float], rows: torch.Tensor) -> list[torch.Tensor]:
        """Reconstructions, and pictures with each asked value: the code has it."""
        z_sem, x_T = self.encoded(self.test["image"][rows])
        codes = [z_sem]
        for value in asked:
            own = self.test[name][rows].tolist()
            targets = [f"{100 * value:g}%" if kind == "share" else each + value for each in own]
            moved = [
                self.directions.move_to(z[None], name, target, along="pattern") for z, target in zip(z_sem, targets)
            ]
            codes.append(torch.cat(moved))
        return [self.decoded(z, x_T) for z in codes]

    def aimed_shapes(self, name: str, asked: Sequence[float], rows: torch.Tensor) -> list[torch.Tensor]:
        """The same, moved until the picture, encoded again, has it."""
        ends = [f"{100 * value:g}%" for value in asked]
        edit = Edit(name, target=ends, along="pattern", max_aims=self.args.max_aims)
        inferer = ManipulationInferer(self.exact, self.directions, edit)
        parts = self.test["image"][rows].to(self.device).split(24)
        results = [inferer.predict(part, self.network) for part in parts]
        reconstruction, edits = (torch.cat([r[key].cpu() for r in results]) for key in ("reconstruction", "edit"))
        return [reconstruction, *edits.unbind(dim=1)]

    @staticmethod
    def answers(
        name: str, kind: str, asked: Sequence[float], rows: torch.Tensor, pictures: Sequence[torch.Tensor], of: str
    ) -> Iterator[Row]:
        """Asked against measured changes."""
        measured = np.array([[measure_shapes(x[0].numpy(), MEASURES[name][0])[name] for x in p] for p in pictures])
        before, after = measured[:1], measured[1:]
        change = (after / before - 1 if kind == "share" else after - before).T
        asked_change = np.broadcast_to(np.array(asked) - (kind == "share"), change.shape)

        def slope(chosen: np.ndarray) -> float:
            known = ~np.isnan(change[chosen])
            x, y = asked_change[chosen][known], change[chosen][known]
            return float((x * y).sum() / (x * x).sum())

        low, high = interval(slope, len(rows))
        yield row("slope of measured against asked change", of, slope(np.arange(len(rows))), len(rows), low, high)
        unit = "share of its own" if kind == "share" else "its unit"
        yield row("mean error", f"{of}, {unit}", float(np.nanmean(np.abs(change - asked_change))), len(rows))
        yield row("not measurable after the edit", of, float(np.isnan(change).mean()), change.size)

    def class_samples(self) -> Iterator[Row]:
        sampler, loops, regularization = (
            self.config.get_parsed_content(key) for key in ("any_latent_sampler", "autoencoding", "regularization")
        )
        z_train = in_parts(self.network.encode, self.train["image"], self.device)
        per_draw, every = self.args.num_class_samples // self.args.label_draws, []
        for k, name in enumerate(CLASSES):
            right: list[float] = []
            for draw in range(self.args.label_draws):
                random, is_class = np.random.default_rng([k, draw]), (self.train["class"] == k).numpy()
                few = [random.permutation(np.flatnonzero(mask))[:FEW] for mask in (is_class, ~is_class)]
                unlabelled = random.permutation(len(z_train))[:UNLABELLED]
                labels = np.concatenate([np.ones(len(few[0])), np.zeros(len(few[1])), np.full(len(unlabelled), np.nan)])
                codes = z_train[np.concatenate([*few, unlabelled])]
                classifier = fit_few_shot(codes, torch.from_numpy(labels), name, regularization=regularization)
                conditional = ConditionalLatentSampler(sampler, classifier, name, prior=1 / len(CLASSES))
                numbers = torch.arange(per_draw * draw, per_draw * (draw + 1), device=self.device)
                result = SamplingInferer(loops, conditional, self.test["image"].shape[1:]).predict(
                    numbers, self.network
                )
                right += (self.seen(result["sample"]) == k).double().tolist()
            yield row(
                "share taken for the class", f"samples of {name} from {FEW} labels", float(np.mean(right)), len(right)
            )
            every += right
        yield row(
            "share taken for the class", f"samples of a class from {FEW} labels", float(np.mean(every)), len(every)
        )

    def samples(self) -> Iterator[Row]:
        sampler, loops = (self.config.get_parsed_content(key) for key in ("any_latent_sampler", "autoencoding"))
        inferer = SamplingInferer(loops, sampler, self.test["image"].shape[1:])
        numbers = torch.arange(self.args.num_samples, device=self.device).split(32)
        images = torch.cat(
            [inferer.predict(part, self.network)["sample"].cpu() for part in tqdm(numbers, desc="sample")]
        )
        count = len(images)
        others = {"samples": images, "training pictures": self.evenly(self.train["image"], count)}
        real = self.features(self.evenly(self.test["image"], count))
        for name, pictures in others.items():
            yield row("Frechet distance", name, frechet_distance(self.features(pictures), real), count)
        shares = torch.bincount(self.seen(images), minlength=len(CLASSES)) / count
        for name, share in zip(CLASSES, shares.tolist()):
            yield row("share taken for the class", f"samples of any class: {name}", share, count)

    @staticmethod
    def evenly(images: torch.Tensor, count: int) -> torch.Tensor:
        return images[torch.linspace(0, len(images) - 1, min(count, len(images))).round().long()]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, help="holds MedNIST")
    parser.add_argument("--models", type=Path, default=BUNDLE / "models", help="folder of the weights")
    parser.add_argument("--output", type=Path, required=True, help="the table")
    parser.add_argument("--work_dir", type=Path, default=Path("mednist_quality"), help="for the judge")
    parser.add_argument("--num_test", type=int, default=1500, help="test pictures, evenly spaced")
    parser.add_argument("--num_train", type=int, default=6000, help="training pictures, for the judge and few labels")
    parser.add_argument("--judge_images", type=int, default=20_000, help="that the judge's training sees")
    parser.add_argument("--num_edits", type=int, default=8, help="pictures a class to edit to the other classes")
    parser.add_argument("--num_shapes", type=int, default=48, help="pictures whose shape is edited")
    parser.add_argument("--max_aims", type=int, default=6, help="of sizes, in a second measurement")
    parser.add_argument("--num_class_samples", type=int, default=60, help="of each class")
    parser.add_argument("--label_draws", type=int, default=3, help="of the 20 labels")
    parser.add_argument("--num_samples", type=int, default=500)
    parser.add_argument("--only", nargs="+", choices=Bench.SECTIONS, default=Bench.SECTIONS)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--options", type=json.loads, default={}, help="of the configurations, as JSON")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(words)
    kept: list[dict[str, str]] = []
    if args.output.exists():
        with open(args.output, newline="") as f:
            kept = [r for r in csv.DictReader(f) if r["section"] not in args.only]
    bench = Bench(args)
    columns = ("section", "measure", "of", "value", "low", "high", "count")
    for section in args.only:
        method = bench.judge_rows if section == "judge" else getattr(bench, section)
        for found in method():
            kept.append({"section": section} | found)
            print(f"{section}: {found['measure']}, {found['of']}: {found['value']}", flush=True)
        kept.sort(key=lambda r: Bench.SECTIONS.index(r["section"]))
        with replacing(args.output) as partial, open(partial, "w", newline="") as f:
            table = csv.DictWriter(f, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(kept)


if __name__ == "__main__":
    main()
