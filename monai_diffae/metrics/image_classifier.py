# SPDX-License-Identifier: Apache-2.0
"""A small network that tells attributes of images, trained on real ones: it judges edits and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn as nn
from monai.networks.nets import Classifier
from tqdm import tqdm

from monai_diffae.metrics.scores import infer_kind

__all__ = ["ImageClassifier", "train_image_classifier"]

_CHANNELS = (16, 32, 64)


class ImageClassifier(nn.Module):
    """MONAI's ``Classifier``, a convolutional network, with an output for each attribute.

    Args:
        image_shape: ``(C, *spatial)``; sides of 8 or more.
        names: of the K attributes.
        kinds: ``binary`` or ``continuous``, one each.

    Raises:
        ValueError: for another kind, different numbers of names and kinds, or smaller images.
    """

    def __init__(self, image_shape: Sequence[int], names: Sequence[str], kinds: Sequence[str]) -> None:
        super().__init__()
        if not names or len(names) != len(kinds) or not set(kinds) <= {"binary", "continuous"}:
            raise ValueError(f"Expected names and as many kinds, binary or continuous; got {names} and {kinds}.")
        if min(image_shape[1:]) < 2 ** len(_CHANNELS):
            raise ValueError(f"The sides must be {2 ** len(_CHANNELS)} pixels or more, got {list(image_shape[1:])}.")
        self.names, self.kinds = list(names), list(kinds)
        strides = (2,) * len(_CHANNELS)
        self.network = Classifier(tuple(image_shape), len(names), _CHANNELS, strides, num_res_units=1, norm="batch")
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("std", torch.ones(len(names)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of binary attributes and values of continuous ones, ``(B, C, *spatial) -> (B, K)``."""
        return self.network(images) * self.std + self.mean

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The last layer before the attributes, averaged over space: ``(B, C, *spatial) -> (B, 64)``."""
        return self.network.net(images).flatten(2).mean(dim=2)


def train_image_classifier(
    images: torch.Tensor,
    labels: Mapping[str, np.ndarray],
    kinds: Mapping[str, str] | None = None,
    num_iterations: int = 700,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> ImageClassifier:
    """Train an :class:`ImageClassifier`: cross-entropy of binary attributes, squared error of continuous ones in
    standard deviations, images shifted by up to 2 pixels. The random state outside is left as it is.

    Args:
        images: shape ``(N, C, *spatial)``, in [-1, 1].
        labels: by attribute, shape ``(N,)``; NaN where there is none.
        kinds: ``binary`` or ``continuous`` by attribute; those not named are binary if their labels are 0 and 1.
        num_iterations: steps of Adam.
        batch_size: images a step.
        learning_rate: the highest of a cycle.
        seed: of weights and order.
        device: where it is trained.
        progress: show a bar.

    Raises:
        ValueError: for an attribute without two values, or a binary one of other values than 0 and 1.
    """
    known = {name: ~np.isnan(values) for name, values in labels.items()}
    for name, values in labels.items():
        if len(np.unique(values[known[name]])) < 2:
            raise ValueError(f"Attribute {name!r} has one value in {known[name].sum()} images; it cannot be learnt.")
    kinds = {name: infer_kind(values[known[name]]) for name, values in labels.items()} | dict(kinds or {})
    for name, values in labels.items():
        if kinds[name] == "binary" and infer_kind(values[known[name]]) != "binary":
            raise ValueError(f"Attribute {name!r} is to be binary, but its labels are not 0 and 1.")
    targets = torch.from_numpy(np.stack(list(labels.values()), axis=1)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ImageClassifier(images.shape[1:], list(labels), [kinds[name] for name in labels])
    is_binary = torch.tensor([kind == "binary" for kind in network.kinds])
    network.mean.copy_(torch.where(is_binary, 0.0, targets.nanmean(dim=0)))
    deviation = [float(np.nanstd(values)) for values in labels.values()]
    network.std.copy_(torch.where(is_binary, 1.0, torch.tensor(deviation)))
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=num_iterations + 1)
    generator = torch.Generator().manual_seed(seed)
    batch_size = min(batch_size, len(images))
    order, axes = torch.empty(0, dtype=torch.int64), tuple(range(2, images.ndim))
    for _ in tqdm(range(num_iterations), desc="train the classifier", disable=not progress, leave=False):
        if len(order) < batch_size:
            order = torch.randperm(len(images), generator=generator)
        part, order = order[:batch_size], order[batch_size:]
        shift = torch.randint(-2, 3, (len(axes),), generator=generator).tolist()
        loss = _loss(network, images[part].roll(shift, axes).to(device), targets[part].to(device), is_binary.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _loss(
    network: ImageClassifier, images: torch.Tensor, targets: torch.Tensor, is_binary: torch.Tensor
) -> torch.Tensor:
    known = ~targets.isnan()
    wanted = torch.where(known, (targets - network.mean) / network.std, 0.0)
    got = network.network(images)
    entropy = nn.functional.binary_cross_entropy_with_logits(got, wanted.clamp(0, 1), reduction="none")
    losses = torch.where(is_binary, entropy, (got - wanted).square())
    return (losses * known).sum() / known.sum().clamp(min=1)
