# SPDX-License-Identifier: Apache-2.0
"""Does the decoder use z_sem? The measure, and the warning of a run in which it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

__all__ = ["SemanticGap", "SemanticGapWarning"]

logger = logging.getLogger(__name__)


class SemanticGap(Metric):
    """The noise loss with z_sem of another image, divided by the noise loss with the right z_sem.

    1 means that the decoder does as well with a wrong z_sem: it ignores z_sem, or z_sem is the same for all images.
    The more the decoder relies on z_sem, the more the gap exceeds 1. Batches of a single image, in which there is no
    other z_sem, are left out; without any other batch the gap is NaN.

    Args:
        loss_fn: the noise loss, e.g. ``torch.nn.MSELoss()``; called with one image's ``(1, C, *spatial)``.
        output_transform: gives (shuffled predictions, predictions, targets) of a batch, each a sequence of
            ``(C, *spatial)``, as :class:`~monai_diffae.inferers.SemanticGapInferer` predicts them.
        device: where the sums are kept.
    """

    def __init__(
        self,
        loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        output_transform: Callable = lambda x: x,
        device: str | torch.device = "cpu",
    ) -> None:
        self.loss_fn = loss_fn
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        self._shuffled = torch.zeros((), dtype=torch.float64, device=self._device)
        self._right = torch.zeros((), dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: Sequence[Sequence[torch.Tensor]]) -> None:
        """Add the losses of a batch; ``output`` is what ``output_transform`` gives."""
        shuffled, right, targets = output
        if len(targets) < 2:
            return
        for other, own, target in zip(shuffled, right, targets, strict=True):
            self._shuffled += self.loss_fn(other[None], target[None]).detach().to(self._shuffled)
            self._right += self.loss_fn(own[None], target[None]).detach().to(self._right)

    @sync_all_reduce("_shuffled", "_right")
    def compute(self) -> float:
        """The ratio of the two losses over all batches since the last reset."""
        return float(self._shuffled / self._right)


class SemanticGapWarning:
    """Warns once, in the log, of a run whose semantic gap is still at 1 after some iterations, or is so again.

    Args:
        evaluator: has a :class:`SemanticGap` metric; a ``ValidationHandler`` of the same trainer runs it. Place this
            handler after that one.
        threshold: gaps below it count as 1.
        patience: iterations of training before the first warning.
        metric: name of the metric.

    Raises:
        ValueError: for a ``threshold`` below 1 or a negative ``patience``.
    """

    def __init__(
        self, evaluator: Engine, threshold: float = 1.02, patience: int = 2000, metric: str = "semantic_gap"
    ) -> None:
        if threshold < 1 or patience < 0:
            raise ValueError(
                "Expected a threshold of at least 1 (the gap of a decoder that ignores z_sem) and a patience of at "
                f"least 0 iterations, got {threshold} and {patience}."
            )
        self.evaluator = evaluator
        self.threshold = threshold
        self.patience = patience
        self.metric = metric
        self._warned = False

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: a MONAI trainer.
        """
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        # MONAI's ValidationHandler gives the evaluator the trainer's epoch: an older one has an older result.
        if self._warned or self.evaluator.state.epoch != engine.state.epoch or engine.state.iteration < self.patience:
            return
        gap = self.evaluator.state.metrics[self.metric]
        if not gap < self.threshold:  # NaN: there was nothing to compare
            return
        self._warned = True
        logger.warning(
            f"The encoder does not seem to learn: after {engine.state.iteration} iterations the noise loss with the "
            f"z_sem of another image is {gap:.4f} times the loss with the right one (below {self.threshold}), so the "
            "decoder makes next to no use of z_sem. What to look at: (1) encoder_grad_norm in the training log: at 0, "
            "z_sem does not reach the decoder (conditioning of the network) or the encoder is frozen; (2) the images: "
            "they must be in [-1, 1] and differ from each other, since with a data set, or with batches, of equal "
            "images the gap is 1 by definition; (3) learning_rate: too low, or so high that the loss stands still; "
            "(4) ema_decay: the averaged weights are the ones validated, and 0.9999 needs tens of thousands of "
            "iterations to forget the untrained ones; (5) z_dim: too small to tell the images apart; (6) time: a small "
            "data set, or a gap that rises from validation to validation, may need more iterations."
        )
