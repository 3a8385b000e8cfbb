# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

from monai_diffae.semantics.statistics import LatentStatistics

__all__ = ["AttributeDirections"]


class AttributeDirections(nn.Module):
    """Linear classifiers of binary attributes on z_sem, and the directions in which to edit them.

    All methods take and give raw z_sem; the normalisation is inside.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2.

    Args:
        names: of the K attributes.
        weight: of the classifiers on normalised z_sem, shape ``(K, D)``.
        bias: shape ``(K,)``.
        statistics: of z_sem.
        auroc: cross-validated area under the ROC curve of each attribute; empty if it was not measured.

    Raises:
        ValueError: if the shapes do not fit.
    """

    def __init__(
        self,
        names: Sequence[str],
        weight: torch.Tensor,
        bias: torch.Tensor,
        statistics: LatentStatistics,
        auroc: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if weight.shape != (len(names), len(statistics.mean)) or bias.shape != (len(names),):
            raise ValueError(
                f"Expected weight of shape {(len(names), len(statistics.mean))} and bias of shape {(len(names),)} for "
                f"{len(names)} attributes, got {tuple(weight.shape)} and {tuple(bias.shape)}."
            )
        self.names = list(names)
        self.auroc = dict(auroc or {})
        self.statistics = statistics
        self.register_buffer("weight", weight.detach().clone().float())
        self.register_buffer("bias", bias.detach().clone().float())

    @classmethod
    def fit(
        cls,
        z_sem: torch.Tensor,
        labels: Mapping[str, torch.Tensor],
        groups: torch.Tensor | None = None,
        regularization: float = 0.01,
        num_folds: int = 5,
    ) -> AttributeDirections:
        """Logistic regression on normalised codes, classes weighted to be balanced.

        Args:
            z_sem: codes of a data set, shape ``(N, D)``.
            labels: for each attribute 0 or 1 a code, shape ``(N,)``.
            groups: which codes belong together (slices of one subject), integers of shape ``(N,)``; the folds of the
                cross-validation keep them together. ``None``: every code for itself.
            regularization: inverse strength, scikit-learn's ``C``. A small value turns the direction towards the
                difference of the class means, which edits better than the sharpest boundary.
            num_folds: of the cross-validated AUROC; skipped where a class has fewer groups.

        Raises:
            ValueError: if an attribute is not binary, or one of its classes is missing.
        """
        statistics = LatentStatistics.fit(z_sem.cpu())
        z_normalized = statistics.normalize(z_sem.cpu()).double().numpy()
        group_ids = np.arange(len(z_sem)) if groups is None else groups.cpu().numpy()
        weights, biases, auroc = [], [], {}
        for name, values in labels.items():
            y = np.asarray(values.cpu()).astype(float)
            if y.shape != (len(z_sem),) or set(np.unique(y)) != {0.0, 1.0}:
                raise ValueError(
                    f"Attribute {name!r} needs {len(z_sem)} labels of 0 and 1, both of them present; "
                    f"got shape {y.shape} with the values {np.unique(y)[:10].tolist()}."
                )
            classifier = LogisticRegression(C=regularization, class_weight="balanced", max_iter=2000)
            if min(len(np.unique(group_ids[y == c])) for c in (0, 1)) >= num_folds:
                folds = StratifiedGroupKFold(num_folds)
                scores = cross_val_score(classifier, z_normalized, y, groups=group_ids, cv=folds, scoring="roc_auc")
                auroc[name] = float(scores.mean())
            classifier.fit(z_normalized, y)
            weights.append(torch.from_numpy(classifier.coef_[0]))
            biases.append(float(classifier.intercept_[0]))
        return cls(list(labels), torch.stack(weights), torch.tensor(biases), statistics, auroc)

    def index(self, name: str) -> int:
        """Place of an attribute; ValueError for an unknown one."""
        if name not in self.names:
            raise ValueError(f"Unknown attribute {name!r}; there are {', '.join(self.names)}.")
        return self.names.index(name)

    def scores(self, z_sem: torch.Tensor) -> torch.Tensor:
        """Logits of the attributes, ``(B, D) -> (B, K)``; above 0 where the attribute is likelier than not."""
        return nn.functional.linear(self.statistics.normalize(z_sem), self.weight, self.bias)

    def move(self, z_sem: torch.Tensor, name: str, amount: float) -> torch.Tensor:
        """Strengthen an attribute: ``z_n + amount * sqrt(D) * w / |w|`` on the normalised code, as the authors do.

        Args:
            z_sem: shape ``(B, D)``.
            name: of the attribute.
            amount: about 0.3 is a clear change in the paper; negative values weaken it.
        """
        w = self.weight[self.index(name)]
        step = amount * math.sqrt(len(w)) * w / w.norm()
        return self.statistics.denormalize(self.statistics.normalize(z_sem) + step)

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one file, which :meth:`load` reads without running code from it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        torch.save({"names": self.names, "auroc": self.auroc, "state_dict": self.state_dict()}, partial)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> AttributeDirections:
        """Read a file of :meth:`save`."""
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content["state_dict"]
        statistics = LatentStatistics(state["statistics.mean"], state["statistics.std"])
        return cls(content["names"], state["weight"], state["bias"], statistics, content["auroc"])
