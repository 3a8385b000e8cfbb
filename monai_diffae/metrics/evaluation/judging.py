# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from monai_diffae.metrics.evaluation.bench import EvaluationBench
from monai_diffae.metrics.evaluation.kinds import checked_kinds
from monai_diffae.metrics.image_classifier import ImageClassifier, train_image_classifier
from monai_diffae.metrics.scores import infer_kind, score_predictions
from monai_diffae.support.atomic_files import PARTIAL, replacing

__all__ = ["Judge"]

logger = logging.getLogger(__name__)


class Judge:
    """The classifier of images that judges edits, and whose features samples are compared in: trained on the training
    images when it is first asked, or the user's own.

    Args:
        bench: with training images and their labels.
        own: an :class:`~monai_diffae.metrics.ImageClassifier`, or a module with its ``names`` and ``kinds`` that gives
            ``(B, K)`` logits or values, and features by ``features`` where it has that; ``None`` to train one.
        num_iterations: of the training.
        kinds: of the labels, by name; those of ``classes`` are left out.
    """

    def __init__(
        self,
        bench: EvaluationBench,
        own: ImageClassifier | None = None,
        num_iterations: int = 700,
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        self.bench, self.own, self.num_iterations = bench, own, num_iterations
        self.kinds = checked_kinds(kinds, bench.heldout.attributes)
        self._result: tuple[ImageClassifier | None, str] | None = None

    def network(self) -> tuple[ImageClassifier | None, str]:
        """The classifier, or None and why there is none."""
        if self._result is None:
            self._result = (self.own.to(self.bench.device).eval(), "") if self.own is not None else self._trained()
        return self._result

    @torch.no_grad()
    def seen(self, images: torch.Tensor) -> np.ndarray:
        """What it sees in ``(N, C, *spatial)`` images: logits and values, ``(N, K)``."""
        network, _ = self.network()
        assert network is not None
        return torch.cat([network(part.to(self.bench.device)).cpu() for part in images.split(64)]).numpy()

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Of ``(N, C, *spatial)`` images ``(N, D)``."""
        network, _ = self.network()
        assert network is not None
        return torch.cat([network.features(part.to(self.bench.device)).cpu() for part in images.split(64)])

    def accuracy(self) -> dict[str, dict[str, float]]:
        """How well it tells each attribute of the held-out images that are reconstructed."""
        network, _ = self.network()
        assert network is not None
        chosen = self.bench.chosen
        seen, scores = self.seen(chosen["image"]), {}
        for k, (name, kind) in enumerate(zip(network.names, network.kinds)):
            if name in chosen and (~np.isnan(chosen[name])).any():
                known = ~np.isnan(chosen[name])
                scores[name] = score_predictions(kind, chosen[name][known], seen[known, k])
        return scores

    def _trained(self) -> tuple[ImageClassifier | None, str]:
        data = self.bench.train_chosen
        if data is None:
            return None, "there is no classifier of images: give training images with labels, or a judge"
        labels = {}
        for name in self.bench.train.attributes:
            values = data[name]
            known = values[~np.isnan(values)]
            if self.kinds.get(name) == "binary" and infer_kind(known) != "binary":
                continue  # what the probes say of it, too
            if self.kinds.get(name) != "classes" and len(np.unique(known)) > 1:
                labels[name] = values
        if not labels:
            return None, "there is no classifier of images: the training images have no labels that vary"
        path = self.bench.folder / f"classifier_{self._fingerprint(data['image'], labels)}.pt"
        kinds = {name: self.kinds[name] for name in labels if name in self.kinds}
        arguments = {"num_iterations": self.num_iterations, "seed": self.bench.seed, "device": self.bench.device}
        if self.bench.resume and path.exists():
            network = train_image_classifier(data["image"], labels, kinds, **arguments | {"num_iterations": 0})
            network.load_state_dict(torch.load(path, map_location=self.bench.device, weights_only=True))
            logger.info(f"Re-used the classifier of images {path}.")
            return network.eval(), ""
        network = train_image_classifier(data["image"], labels, kinds, progress=self.bench.progress, **arguments)
        with replacing(path) as partial:
            torch.save(network.state_dict(), partial)
        return network, ""

    def _fingerprint(self, images: torch.Tensor, labels: Mapping[str, np.ndarray]) -> str:
        digest = hashlib.sha256(f"{self.num_iterations} {self.bench.seed} {sorted(self.kinds.items())}".encode())
        digest.update(images.contiguous().numpy().tobytes())
        for name, values in labels.items():
            digest.update(name.encode() + values.tobytes())
        return digest.hexdigest()[:16]

    def forget(self) -> None:
        """Delete what a stopped run would go on from."""
        folder = Path(self.bench.folder)
        for path in [*folder.glob("classifier_*.pt"), *folder.glob(f"{PARTIAL}classifier_*.pt")]:
            path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
