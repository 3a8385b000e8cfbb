# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

__all__ = ["ClassifierScore"]


class ClassifierScore(nn.Module):
    """One number of a classifier: above 0 it says yes.

    Of a network with one output that is the output, a logit. Of one with K classes it is the log of the odds of one
    class, ``l_k - log sum_{j != k} exp l_j``, with ``softmax``; or the k-th output, a logit by itself.

    Args:
        classifier: from images ``(B, C, *spatial)`` to ``(B,)`` or ``(B, K)``.
        index: of the output.
        softmax: the outputs are logits of classes of which one is true.
        value_range: what -1 and 1 of the images are for the classifier.

    Raises:
        ValueError: when it is called, for an output of another shape or an index that it does not have.
    """

    depends_on = ("state", "code", "index", "softmax", "low", "high")  # TorchScript cannot be looked into

    def __init__(
        self,
        classifier: nn.Module,
        index: int = 0,
        softmax: bool = False,
        value_range: Sequence[float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
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
        chosen = outputs[:, self.index]
        if not self.softmax:
            return chosen
        others = [k for k in range(count) if k != self.index]
        return chosen - outputs[:, others].logsumexp(dim=1)
