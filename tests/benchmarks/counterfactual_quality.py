# SPDX-License-Identifier: Apache-2.0
"""Counterfactuals of the brain bundle against the generator's ground truth: the same subject with the other anatomy.

    python tests/benchmarks/counterfactual_quality.py

Subjects of seed 1000 of the generator, which training never saw, are rendered with and without their lesion, and
without it at several sizes of the ventricles. The shipped weights remove the lesion, add one, and set the enlargement
of the ventricles, by the moves of counterfactual.yaml: along the pattern of the attribute or along its weight, as they
are (max_aims 0: the code reaches the score) and aimed (the image, encoded again, reaches it). Figures show edits of
three subjects along the first of ``--along``, lesions aimed and ventricles as they are:

    python tests/benchmarks/counterfactual_quality.py --figures --num_subjects 4

docs/counterfactuals.csv has a row for each way, with means over the slices (``--num_slices`` of each subject,
per_subject in the table); rows of other ``--along``, ``--num_slices`` and ``--parts`` stay in it. Its other columns:

- score_*: of the attribute before, of the moved code and of the edited image encoded again; reached: share of slices
  whose re-encoded score has gone nine tenths of the way to the target.
- changed: mean change over that of the truth, in the lesion's mask; visible: share of slices where removing undoes half
  of the change in half of the mask, or adding darkens 20 pixels by 0.5 (intensities are -1 to 1; a true lesion darkens
  by 1.1) where lesions of that side can lie; unseen: share whose code crossed the boundary while that did not happen.
- *_inside, *_outside: the lesion's mask (for the ventricles: the strip that their wall crosses) and the rest of the
  brain; root mean squared error to the truth and mean SSIM, of the edit, and of doing nothing (source, reconstruction).
- region_share: of the squared change, that where lesions of the side can lie, which is region_of_brain of the brain.
- ventricles_mm: enlargement read off the image by its area of fluid (brain_pairs.VentricleRuler), its mean error, that
  of doing nothing (source_mm_error), and slope and correlation over the targets. After a removal it tells whether the
  ventricles beside the lesion are right.
- kept_*: scores of the attributes in the column keep, in that order; lesion_gone: share of the lesion's darkness that a
  change of the ventricles takes away.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from brain_pairs import Place, VentricleRuler, load_places, write_variants
from counterfactual_figures import draw_lesions, draw_ventricles
from counterfactual_measures import lesion_measures, ventricle_measures
from monai.bundle import ConfigParser

import monai_diffae  # noqa: F401  (the configs name it)
from monai_diffae.inferers import DiffusionAutoencoderInferer, Inversion, ManipulationInferer
from monai_diffae.semantics import AttributeDirections, Edit
from monai_diffae.support.atomic_files import replacing

VENTRICLES = "ventricle_enlargement_mm"
TARGETS_MM = (0.0, 3.0, 6.0)
SHOWN = 3  # subjects in a figure


class InvertsOnce(DiffusionAutoencoderInferer):
    """Several edits of one batch share its inversion."""

    def invert_with_report(self, images: torch.Tensor, network: torch.nn.Module, z_sem: torch.Tensor) -> Inversion:
        self.found = getattr(self, "found", {})
        key = images.cpu().numpy().tobytes()
        if key not in self.found:
            self.found[key] = super().invert_with_report(images, network, z_sem)
        return self.found[key]


class Editor:
    """The edits of places' images by one attribute's moves, a batch for each side of the lesion."""

    def __init__(self, args: argparse.Namespace, parser: ConfigParser) -> None:
        self.device, self.max_aims = args.device, args.max_aims
        self.network = parser.get_parsed_content("network_def").to(args.device).eval()
        weights = args.ckpt_path or args.bundle_root / "models" / "model.pt"
        self.network.load_state_dict(torch.load(weights, map_location=args.device, weights_only=True))
        self.attributes = AttributeDirections.load(
            args.attributes_path or args.bundle_root / "models" / "attributes.pt"
        )
        options = {name: parser.get_parsed_content(name) for name in ("num_inference_steps", "inversion", "tolerance")}
        self.loops = InvertsOnce(parser.get_parsed_content("scheduler"), verbose=False, **options)

    def edit(
        self,
        places: list[Place],
        source: str,
        attribute: str,
        target: float | str,
        along: str,
        aimed: bool,
        keep: list[str],
    ) -> Iterator[tuple[Place, dict]]:
        """Each place with the inferer's results; ``{side}`` in names stands for the side of its lesion."""
        for side in ("left", "right"):
            batch = [place for place in places if place.side == side]
            if not batch:
                continue
            inferer = ManipulationInferer(
                self.loops,
                self.attributes,
                Edit(
                    attribute.format(side=side),
                    target=target,
                    keep=[name.format(side=side) for name in keep],
                    max_aims=self.max_aims if aimed else 0,
                    along=along,
                ),
            )
            images = torch.stack([place.variants[source] for place in batch]).to(self.device)
            result = {key: value.cpu() for key, value in inferer.predict(images, self.network).items()}
            for k, place in enumerate(batch):
                yield place, {key: value[k] for key, value in result.items()}


def summary(rows: list[dict]) -> dict:
    """Means over slices; of targets in mm, slope and correlation of what was read off the images, too."""
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    if len({row.get("asked_mm") for row in rows}) > 1 and "ventricles_mm" in means:
        asked, read = (np.array([row[name] for row in rows]) for name in ("asked_mm", "ventricles_mm"))
        means |= {"slope": float(np.polyfit(asked, read, 1)[0]), "correlation": float(np.corrcoef(asked, read)[0, 1])}
    return means


def write(path: Path, rows: list[dict]) -> None:
    columns = list({name: None for row in rows for name in row})
    with replacing(path) as partial, open(partial, "w", newline="") as f:
        table = csv.DictWriter(f, columns)
        table.writeheader()
        table.writerows({n: f"{v:.4g}" if isinstance(v, float) else v for n, v in row.items()} for row in rows)


def rows_of_other_runs(path: Path, args: argparse.Namespace) -> list[dict]:
    """What the table has and this run does not measure."""
    if not path.exists():
        return []
    parts, ways = {"ruler", *args.parts}, {"", *args.along}
    with open(path, newline="") as f:
        return [
            row
            for row in csv.DictReader(f)
            if row["part"] not in parts or row["along"] not in ways or int(row["per_subject"]) != args.num_slices
        ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/brain_slices_diffae"))
    arguments.add_argument("--ckpt_path", type=Path, help="weights; the bundle's models/model.pt by default")
    arguments.add_argument("--attributes_path", type=Path, help="the bundle's models/attributes.pt by default")
    arguments.add_argument("--variants_dir", type=Path, default=Path("data/variants"), help="made if there is none")
    arguments.add_argument("--output_dir", type=Path, help="the bundle's docs by default")
    arguments.add_argument("--num_subjects", type=int, default=8)
    arguments.add_argument("--num_slices", type=int, default=1, help="of each subject")
    arguments.add_argument("--max_aims", type=int, default=6)
    arguments.add_argument("--along", nargs="+", choices=["pattern", "weight"], default=["pattern", "weight"])
    arguments.add_argument("--figures", action="store_true", help="draw the figures and leave the table as it is")
    parts = ["lesions", "ventricles", "kept"]
    arguments.add_argument("--parts", nargs="+", choices=parts, default=parts)
    arguments.add_argument("--device", default="cpu")
    args = arguments.parse_args()

    write_variants(args.variants_dir, args.num_subjects)
    parser = ConfigParser()
    parser.read_config(args.bundle_root / "configs" / "inference.yaml")
    parser["bundle_root"] = str(args.bundle_root)
    places = load_places(parser, args.variants_dir, args.num_subjects, args.num_slices)
    # One slice a subject: the body of the ventricles has the same size in both.
    with_ruler = list({place.subject: place for place in reversed(places) if VentricleRuler(place).is_usable}.values())
    output_dir = args.output_dir or args.bundle_root / "docs"
    editor, table = Editor(args, parser), []
    lesions_shown: list[tuple[str, Place, str, str, dict]] = []
    ventricles_shown: dict[str, list[tuple[float, Place, dict]]] = {}

    table_path, part = output_dir / "counterfactuals.csv", "ruler"
    table_path.parent.mkdir(parents=True, exist_ok=True)
    others = rows_of_other_runs(table_path, args)

    def report(row: dict) -> None:
        table.append({"part": part, "per_subject": args.num_slices} | row)
        if not args.figures:
            write(table_path, [*table, *others])
        print({n: round(v, 3) if isinstance(v, float) else v for n, v in row.items()}, flush=True)

    rulers = [(VentricleRuler(place), place) for place in with_ruler]
    error = [abs(ruler.millimetres(place.variants["without"]) - place.enlargement_mm) for ruler, place in rulers]
    print(f"{len(places)} slices; ventricles are read off {len(rulers)} true images to {np.mean(error):.3f} mm")
    ruler_row = {"edit": "none (the ruler)", "along": "", "slices": len(rulers)}
    report(ruler_row | {"ventricles_mm_error": float(np.mean(error))})

    def lesions(edit: str, target: float | str, along: str, aimed: bool, keep: list[str]) -> None:
        source, truth = ("with", "without") if edit == "remove lesion" else ("without", "with")
        done = list(editor.edit(places, source, "lesion_{side}", target, along, aimed, keep))
        rows = [lesion_measures(place, out, source, truth, target) for place, out in done]
        named = {"edit": edit, "along": along, "target": target, "aimed": aimed, "keep": " ".join(keep)}
        report(named | {"slices": len(rows)} | summary(rows))
        if aimed and not keep and along == args.along[0]:
            first = {place.subject: (edit, place, source, truth, out) for place, out in reversed(done)}
            lesions_shown.extend(first[subject] for subject in sorted(first)[:SHOWN])

    def ventricles(source: str, along: str, aimed: bool, keep: list[str], targets: tuple[float, ...]) -> None:
        rows, named = [], {"edit": f"ventricles, {source} lesion", "along": along}
        for target in targets:
            done = list(editor.edit(with_ruler, source, VENTRICLES, target, along, aimed, keep))
            goal = float(editor.attributes.summary(VENTRICLES).target_scores(torch.zeros(1), target))
            rows += (now := [ventricle_measures(place, out, source, target, goal) for place, out in done])
            named |= {"target": target, "aimed": aimed, "keep": " ".join(keep)}
            report(named | {"slices": len(now)} | summary(now))
            if source == "without" and not aimed and along == args.along[0]:
                for place, out in sorted(done, key=lambda one: one[0].subject)[:SHOWN]:
                    ventricles_shown.setdefault(place.subject, []).append((target, place, out))
        if len(targets) > 1:
            report(named | {"target": "all", "slices": len(rows)} | summary(rows))

    figures = output_dir / "figures"
    if args.figures:
        if "lesions" in args.parts:
            for edit in ("remove lesion", "add lesion"):
                lesions(edit, "across", args.along[0], True, [])
            draw_lesions(figures / "counterfactual_lesions.png", lesions_shown)
        if "ventricles" in args.parts:
            ventricles("without", args.along[0], False, [], TARGETS_MM)
            draw_ventricles(figures / "counterfactual_ventricles.png", ventricles_shown)
        return
    for along, part in itertools.product(args.along, args.parts):
        if part == "lesions":
            for edit in ("remove lesion", "add lesion"):
                for target, aimed in (("boundary", False), ("across", False), ("across", True)):
                    lesions(edit, target, along, aimed, [])
        elif part == "ventricles":
            for aimed in (False, True):
                ventricles("without", along, aimed, [], TARGETS_MM)
        else:
            for keep in ([], ["lesion_{side}"]):
                ventricles("with", along, True, keep, TARGETS_MM[-1:])
            lesions("remove lesion", "across", along, True, [VENTRICLES, "head_scale", "contrast"])


if __name__ == "__main__":
    main()
