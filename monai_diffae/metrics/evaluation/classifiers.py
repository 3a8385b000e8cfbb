# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn

__all__ = ["ClassifierScore"]

_SURE = 1e-6  # a probability of 0 has no odds


class ClassifierScore(nn.Module):
    """One number of a classifier: above 0 it says yes.

    Of a network with one output that is the output, a logit. Of one with K classes it is the log of the odds of one
    class, ``l_k - log sum_{j != k} exp l_j``, with ``softmax``; or the k-th output, a logit by itself. Of outputs p
    that are probabilities it is ``log p_k - log(1 - p_k)``.

    Args:
        classifier: from images ``(B, C, *spatial)`` to ``(B,)`` or ``(B, K)``.
        index: of the output.
        softmax: the outputs are logits of classes of which one is true.
        value_range: what -1 and 1 of the images are for the classifier.
        outputs: ``logits`` or ``probabilities``; ``None`` for logits, of which :meth:`check_outputs` says whether they
            can be that.

    Raises:
        ValueError: for other ``outputs``; when it is called, for an output of another shape, an index that it does not
            have, or probabilities that are none.
    """

    depends_on = ("state", "code", "index", "softmax", "low", "high", "outputs")  # TorchScript cannot be looked into

    def __init__(
        self,
        classifier: nn.Module,
        index: int = 0,
        softmax: bool = False,
        value_range: Sequence[float] = (-1.0, 1.0),
        outputs: str | None = None,
    ) -> None:
        super().__init__()
        if outputs not in (None, "logits", "probabilities"):
            raise ValueError(f"The outputs of a classifier are logits or probabilities, got {outputs!r}.")
        self.outputs, self._lowest, self._highest = outputs, math.inf, -math.inf
        self.classifier, self.index, self.softmax = classifier, index, softmax
        self.low, self.high = map(float, value_range)

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """Weights of the classifier."""
        return dict(self.classifier.state_dict())

    @property
    def code(self) -> str:
        """What the classifier does with them, as far as it says: the code of TorchScript, or its layers."""
        return str(getattr(self.classifier, "code", self.classifier))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores ``(B,)`` of images in about [-1, 1]."""
        outputs = self.classifier((images + 1) / 2 * (self.high - self.low) + self.low)
        outputs = outputs.reshape(len(images), -1) if outputs.ndim != 2 else outputs
        count = outputs.shape[1]
        if not 0 <= self.index < count or (self.softmax and count < 2):
            raise ValueError(
                f"The classifier has {count} outputs; got index {self.index}{' and softmax' * self.softmax}."
            )
        self._lowest = min(self._lowest, float(outputs.min()))
        self._highest = max(self._highest, float(outputs.max()))
        chosen = outputs[:, self.index]
        if self.outputs == "probabilities":
            if not 0 <= self._lowest <= self._highest <= 1:
                raise ValueError(
                    f"The outputs of the classifier are no probabilities: {self._lowest:.3g} to {self._highest:.3g}; "
                    "set classifier_outputs to logits."
                )
            return chosen.double().clamp(_SURE, 1 - _SURE).logit().float()
        if not self.softmax:
            return chosen
        others = [k for k in range(count) if k != self.index]
        return chosen - outputs[:, others].logsumexp(dim=1)

    def check_outputs(self) -> None:
        """After some images.

        Raises:
            ValueError: if ``outputs`` does not say what they are, and all were between 0 and 1: of probabilities that
                are taken for logits each would say yes.
        """
        if self.outputs is None and 0 <= self._lowest <= self._highest <= 1:
            raise ValueError(
                "All outputs of the classifier lie between 0 and 1, as probabilities do; logits are expected. Set "
                "classifier_outputs to probabilities, or to logits if that is what they are."
            )
