# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn as nn

__all__ = ["ClassifierScore", "open_classifier"]


def open_classifier(path: str | os.PathLike | None, device: torch.device | str = "cpu") -> nn.Module:
    """A classifier of the user's from a file that holds the network with its weights: an exported program (``.pt2``) or
    TorchScript (any other name), as ``python -m monai.bundle ckpt_export`` writes it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if none is given; for a file of another kind, a state dict for one: that needs its network, see
            ``classifier`` in explain.yaml.
    """
    if path is None:
        raise ValueError("Give your classifier with classifier_path, a TorchScript or .pt2 file.")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no classifier {os.fspath(path)!r}; give a TorchScript or .pt2 file.")
    try:
        if path.suffix == ".pt2":
            return torch.export.load(path).module().to(device)
        return torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is neither TorchScript nor an exported program ({type(error).__name__}). Weights "
            "alone need their network: give both as classifier."
        ) from None  # users are shown the first error of a chain


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
