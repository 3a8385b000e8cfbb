# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import torch

from monai_diffae.inferers import ExplanationInferer
from monai_diffae.metrics.evaluation.bench import EvaluationBench
from monai_diffae.metrics.evaluation.classifiers import ClassifierScore
from monai_diffae.metrics.evaluation.findings import Curve, Findings, Gallery, Measure
from monai_diffae.metrics.linear_probe import LabelledFeatures, linear_probe
from monai_diffae.semantics import AttributeDirections
from monai_diffae.support.spacing import evenly_spaced

__all__ = ["ExplanationSection"]

_NAME = "classifier"
_SHOWN = 8


class ExplanationSection:
    """What does a classifier look at? Its score becomes an attribute of z_sem; then images are changed until it changes
    its mind.

    Args:
        bench: network and images; the attribute is fitted to all held-out ones.
        score: the classifier.
        num_steps: see :class:`~monai_diffae.inferers.ExplanationInferer`; likewise ``max_aims``, ``margin`` and
            ``along``.
        max_aims: see above.
        margin: see above.
        along: see above.
        regularization: inverse strength, of the regression.
    """

    name = "explanation"

    def __init__(
        self,
        bench: EvaluationBench,
        score: ClassifierScore,
        num_steps: int = 4,
        max_aims: int = 8,
        margin: float = 1.0,
        along: str = "pattern",
        regularization: float = 0.01,
    ) -> None:
        self.bench, self.score = bench, score.to(bench.device).eval()
        self.options = {"num_steps": num_steps, "max_aims": max_aims, "margin": margin, "along": along}
        self.regularization = regularization

    def measure(self) -> Findings:
        """The fit, and counterfactuals of the chosen images."""
        bench = self.bench
        found = Findings(
            self.name,
            "Explanation",
            "What the classifier says of images that are changed along its own score until it says the contrary. z_sem "
            "must tell the score for that: an explanation counts as much as the share of its variance that z_sem "
            "explains (R^2, cross-validated over subjects). What the difference shows is what the classifier goes by.",
        )

        @torch.no_grad()
        def of_images(images: torch.Tensor) -> torch.Tensor:
            return self.score(images.to(bench.device))[:, None]

        features, _, groups = bench.heldout.features({"z_sem": bench.encode, _NAME: of_images}, bench.batch_size)
        scores = torch.from_numpy(features[_NAME][:, 0])
        found.add("share that it says yes to", "all images", float((scores > 0).double().mean()), count=len(scores))
        if len(scores) < 2 or float(scores.std()) == 0:
            found.skipped["the explanation"] = "the classifier gives all images one score"
            return found
        self.score.check_outputs()
        numbers = np.unique(groups, return_inverse=True)[1]
        directions = AttributeDirections.fit(
            torch.from_numpy(features["z_sem"]).float(),
            {_NAME: scores},
            torch.from_numpy(numbers),
            kinds={_NAME: "continuous"},
            regularization=self.regularization,
        )
        of = "the classifier's score, linear in z_sem"
        try:
            probe = linear_probe(LabelledFeatures(features["z_sem"], scores.numpy(), numbers), kind="continuous")
        except ValueError as error:
            found.skipped["R^2 of the classifier's score"] = str(error)
        else:
            found.add_scores(of, probe.scores(), probe.intervals(seed=bench.seed), len(scores))
        inferer = ExplanationInferer(bench.inferer, directions, _NAME, self.score, **self.options)
        result = bench.run(inferer, bench.chosen["image"], "explain")
        self._report(found, result)
        return found

    def _report(self, found: Findings, result: dict[str, torch.Tensor]) -> None:
        after, before, flipped = result["score_after"], result["score_reconstruction"], result["flipped"]
        count = len(before)
        for side, rows in (("yes to no", before > 0), ("no to yes", before <= 0)):
            if rows.any():
                rate = float(flipped[rows].double().mean())
                found.add("flip rate", side, rate, count=int(rows.sum()))
        found.measures.append(
            Measure.over_images("distance", "moves of the normalised z_sem", result["distance"][:, -1])
        )
        same = (result["score"] > 0) == (before > 0)
        found.add("same verdict on image and reconstruction", "images", float(same.double().mean()), count=count)
        steps = [0.0, *((k + 1) / after.shape[1] for k in range(after.shape[1]))]
        for side, rows in (("said yes", before > 0), ("said no", before <= 0)):
            if rows.any():
                seen = torch.cat([before[rows, None], after[rows]], dim=1).mean(dim=0).tolist()
                found.curves.append(Curve("scores on the way", side, steps, seen, "share of the way", "score (mean)"))
        titles = ["original", "reconstruction", *(f"step {k + 1}" for k in range(after.shape[1])), "difference"]
        shown = evenly_spaced(count, _SHOWN)
        images = [
            [
                self.bench.chosen["image"][i],
                result["reconstruction"][i],
                *result["edit"][i],
                result["edit"][i, -1] - result["reconstruction"][i],
            ]
            for i in shown
        ]
        labels = [f"{float(before[i]):+.1f} to {float(after[i, -1]):+.1f}" for i in shown]
        found.galleries.append(Gallery("counterfactuals", titles, images, labels, (len(titles) - 1,)))
        found.tables["explanations"] = [
            {
                **self.bench.described(i),
                "score": float(result["score"][i]),
                "score_reconstruction": float(before[i]),
                **{f"score_step_{k + 1}": float(value) for k, value in enumerate(after[i])},
                "distance": float(result["distance"][i, -1]),
                "flipped": int(flipped[i]),
            }
            for i in range(count)
        ]
