# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from monai_diffae.metrics.edit_response import monotonic_response
from monai_diffae.metrics.evaluation.bench import EvaluationBench
from monai_diffae.metrics.evaluation.codes import DecodingInferer
from monai_diffae.metrics.evaluation.findings import Curve, Findings, Gallery, Measure
from monai_diffae.metrics.evaluation.judging import Judge
from monai_diffae.semantics import AttributeDirections, LatentTypicality
from monai_diffae.support.spacing import evenly_spaced

__all__ = ["EditingSection"]

_SHOWN = 4


class EditingSection:
    """Can an edit be trusted? Each attribute is moved by several strengths; a classifier of images says what became of
    it and of the others.

    Args:
        bench: network and images.
        attributes: opens the directions; only called when they are needed.
        judge: tells attributes of images.
        strengths: amounts of :meth:`~monai_diffae.semantics.AttributeDirections.move`, below and above 0.
        names: attributes to edit; ``None`` for those that the judge tells.
        num_images: to edit for each attribute, evenly spaced among the chosen ones that have a label of it.
        mask_key: of items, the mask outside of which edits should change nothing.
        masks: masks of certain attributes, by name; those of the others is ``mask_key``.
        typicality: opens what codes are compared with, or gives ``None`` where there is nothing.

    Raises:
        ValueError: unless there are strengths on both sides of 0.
    """

    name = "editing"

    def __init__(
        self,
        bench: EvaluationBench,
        attributes: Callable[[], AttributeDirections],
        judge: Judge,
        strengths: Sequence[float] = (-0.6, -0.3, 0.3, 0.6),
        names: Sequence[str] | None = None,
        num_images: int = 16,
        mask_key: str = "mask",
        masks: Mapping[str, str] | None = None,
        typicality: Callable[[], LatentTypicality | None] = lambda: None,
    ) -> None:
        if not strengths or not min(strengths) < 0 < max(strengths):
            raise ValueError(f"strengths must lie on both sides of 0, got {list(strengths)}.")
        self.bench, self.attributes, self.judge = bench, attributes, judge
        self.strengths = sorted(strengths)
        self.names, self.num_images, self.mask_key = names, num_images, mask_key
        self.masks, self.typicality = dict(masks or {}), typicality

    def measure(self) -> Findings:
        """Edits of all attributes that both the directions and the judge know."""
        found = Findings(
            self.name,
            "Editing",
            "What a classifier that was trained on real images sees in edited ones: the share of images that change "
            "sides, or the slope of a quantity; whether it follows the strength; and what happens to the other "
            "attributes, in standard deviations of what it sees in the unedited images. Extrapolation is how far "
            "edited codes lie outside the scores of the training, in standard deviations; typicality, how many of the "
            "codes of withheld images lie nearer to the training's, in all directions.",
        )
        try:
            directions = self.attributes()
        except FileNotFoundError as error:
            found.skipped["edits"] = str(error)
            return found
        network, why = self.judge.network()
        if network is None:
            found.skipped["edits"] = why
            return found
        for name, scores in self.judge.accuracy().items():
            found.add_scores(f"the classifier of images, {name}", scores)
        wanted = list(network.names) if self.names is None else list(self.names)
        for name in wanted:
            if name not in directions.names or name not in network.names:
                found.skipped[f"edits of {name}"] = (
                    f"the directions know {', '.join(directions.names)}, the classifier {', '.join(network.names)}"
                )
                continue
            self._edit(found, directions, network, name)
        return found

    def _edit(self, found: Findings, directions: AttributeDirections, network: torch.nn.Module, name: str) -> None:
        bench, codes = self.bench, self.bench.codes()
        rows = self._edited(name)
        count = len(rows)
        z_sem, x_T, plain = (codes[key][rows] for key in ("z_sem", "x_T", "reconstruction"))
        decode = DecodingInferer(bench.inferer)
        moved = [directions.move(z_sem, name, strength) for strength in self.strengths]
        edits = [
            bench.run(decode, x_T, f"{name} {strength:+g}", z_sem=z)["decoded"]
            for strength, z in zip(self.strengths, moved)
        ]
        place = self.strengths_with_zero.index(0.0)
        edits.insert(place, plain)
        seen = np.stack([self.judge.seen(images) for images in edits], axis=1)  # (N, S, K)
        k = network.names.index(name)
        of, own = f"{name}, {count} images", seen[:, :, k]
        before = own[:, place]
        if network.kinds[k] == "binary":
            for word, side, end in (("added", before <= 0, -1), ("removed", before > 0, 0)):
                if not side.any():
                    found.skipped[f"{name} {word}"] = "no image is on the other side"
                    continue
                changed = (own[side, end] > 0) != (before[side] > 0)
                strength = self.strengths_with_zero[end]
                found.add(f"share with it {word}", f"{name} {strength:+g}", changed.mean(), count=int(side.sum()))
        else:
            slope = np.polyfit(self.strengths_with_zero, own.mean(axis=0), 1)[0]
            found.add("slope of what is seen", of, slope, unit="per strength")
        for measure, value in monotonic_response(self.strengths_with_zero, own).items():
            found.add(f"response: {measure}", of, value, count=count)
        others = [j for j in range(len(network.names)) if j != k]
        deviation = seen[:, place].std(axis=0)
        for j in others:
            if deviation[j] > 0:
                change = np.abs(seen[:, [0, -1], j] - seen[:, [place], j]).mean() / deviation[j]
                found.add(f"change of {network.names[j]}", of, change, unit="standard deviations", count=count)
        scores = torch.stack([directions.scores(z)[:, directions.index(name)] for z in (moved[0], moved[-1])])
        outside = directions.extrapolation(name, scores)
        if not outside.isnan().any():
            found.measures.append(Measure.over_images("extrapolation", of, outside.flatten(), "standard deviations"))
        self._typicality(found, name, {0.0: z_sem} | dict(zip(self.strengths, moved)))
        self._outside_mask(found, name, rows, plain, edits[-1])
        titles = ["reconstruction" if s == 0 else f"{name} {s:+g}" for s in self.strengths_with_zero]
        shown = range(min(_SHOWN, count))
        found.galleries.append(
            Gallery(f"edits of {name}", titles, [[edit[i] for edit in edits] for i in shown], [""] * len(shown))
        )
        found.curves.append(
            Curve(
                f"response of {name}",
                name,
                self.strengths_with_zero,
                own.mean(axis=0).tolist(),
                "strength",
                "seen (mean logit)" if network.kinds[k] == "binary" else "seen (mean)",
            )
        )

    def _edited(self, name: str) -> np.ndarray:
        """Some of those with the label, evenly spaced."""
        labels = self.bench.chosen.get(name)
        known = np.arange(len(self.bench.chosen["image"]))
        if labels is not None and not np.isnan(labels).all():
            known = np.flatnonzero(~np.isnan(labels))
        return known[evenly_spaced(len(known), self.num_images)]

    @property
    def strengths_with_zero(self) -> list[float]:
        """In ascending order; 0 is the reconstruction."""
        return sorted({*self.strengths, 0.0})

    def _typicality(self, found: Findings, name: str, codes: Mapping[float, torch.Tensor]) -> None:
        """How far edited codes lie from those of the training in all directions, not along the attribute alone."""
        known = self.typicality()
        if known is None:
            found.skipped["typicality of edited codes"] = "there is no typicality.pt (fit-typicality makes it)"
            return
        for strength in self.strengths_with_zero:
            of = f"{name} {strength:+g}" if strength else f"{name}, unedited"
            percentiles = known(codes[strength].cpu())
            found.measures.append(Measure.over_images("typicality of the code", of, percentiles, "percentile"))

    def _outside_mask(
        self, found: Findings, name: str, rows: np.ndarray, plain: torch.Tensor, edit: torch.Tensor
    ) -> None:
        ratios, key = [], self.masks.get(name, self.mask_key)
        items = [self.bench.chosen["items"][row] for row in rows]
        for item, before, after in zip(items, plain, edit):
            mask = item.get(key)
            if mask is None or not (mask > 0.5).any() or bool((mask > 0.5).all()):
                continue
            squared, inside = (after - before).square(), torch.as_tensor(mask > 0.5).expand_as(before)
            ratios.append(float(squared[~inside].sum() / squared.sum().clamp(min=1e-12)))
        if ratios:
            of = f"{name} {self.strengths[-1]:+g}, mask {key}"
            found.add("share of the squared change outside the mask", of, float(np.mean(ratios)), count=len(ratios))
        else:
            found.skipped[f"change of {name} outside a mask"] = f"the images have no mask {key!r}"
