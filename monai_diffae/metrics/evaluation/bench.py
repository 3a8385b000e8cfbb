# SPDX-License-Identifier: Apache-2.0
"""What the sections of an evaluation share: the network, the images, and results that are computed once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from monai_diffae.inferers import DiffusionAutoencoderInferer, RememberingInferer
from monai_diffae.metrics.baselines import PixelComponents
from monai_diffae.metrics.evaluation.codes import CodesInferer
from monai_diffae.support.groups import group_of
from monai_diffae.support.names import named_from
from monai_diffae.support.pseudonyms import Pseudonyms
from monai_diffae.support.spacing import evenly_spaced

__all__ = ["EvaluationBench", "Part"]


class Part:
    """A data set of an evaluation, read item by item and never held as a whole.

    Args:
        dataset: items with ``image`` in [-1, 1], ``(C, *spatial)``; a number for each of ``attributes``, NaN where it
            is not known; ``subject``, or else ``volume``, says which items belong together.
        attributes: labels to take.
        progress: show bars.
        data_root_dir: files are named from here.

    Raises:
        ValueError: for an empty data set.
    """

    def __init__(
        self,
        dataset: Dataset,
        attributes: Sequence[str] = (),
        progress: bool = True,
        data_root_dir: str | os.PathLike = "",
    ) -> None:
        if not len(dataset):
            raise ValueError("There are no images to evaluate with; check dataset_dir, and slice_range of volumes.")
        self.dataset = dataset
        self.attributes = list(attributes)
        self.progress = progress
        self.data_root_dir = data_root_dir

    def chosen(self, count: int | None) -> dict[str, Any]:
        """So many of the images (``None``: all), evenly spaced: ``image`` ``(N, C, *spatial)``, ``groups`` ``(N,)``,
        ``items`` without their images, ``places`` where each comes from (``file``, and ``slice`` of a volume), and of
        each attribute the labels ``(N,)``."""
        places = evenly_spaced(len(self.dataset), count)
        items = [self.dataset[i] for i in tqdm(places, desc="read images", disable=not self.progress, leave=False)]
        images = torch.stack([convert_to_tensor(item["image"], track_meta=False).float() for item in items])
        return {
            "image": images,
            "groups": _groups(items, places),
            "items": [{key: value for key, value in item.items() if key != "image"} for item in items],
            "places": [self._place(item, place) for item, place in zip(items, places)],
            **{name: np.array([_label(item, name) for item in items]) for name in self.attributes},
        }

    def _place(self, item: Mapping[str, Any], index: int) -> dict[str, Any]:
        """An image without a file goes by its number."""
        file = getattr(item["image"], "meta", {}).get("filename_or_obj")
        place: dict[str, Any] = {"file": named_from(str(file), self.data_root_dir) if file else index}
        return place | ({"slice": int(item["slice"])} if "slice" in item else {})

    def features(
        self, encoders: Mapping[str, Callable[[torch.Tensor], torch.Tensor]], batch_size: int, desc: str = "encode"
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
        """Features by encoder ``(N, D)``, labels by attribute ``(N,)``, and groups ``(N,)``, of all images."""
        features: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
        labels: dict[str, list[float]] = {name: [] for name in self.attributes}
        groups: list[np.ndarray] = []
        starts = range(0, len(self.dataset), batch_size)
        for start in tqdm(starts, desc=desc, unit="batch", disable=not self.progress):
            places = np.arange(start, min(start + batch_size, len(self.dataset)))
            items = [self.dataset[int(i)] for i in places]
            images = torch.stack([convert_to_tensor(item["image"], track_meta=False).float() for item in items])
            for name, encode in encoders.items():
                features[name].append(encode(images).detach().cpu().double().numpy())
            for name, values in labels.items():
                values += [_label(item, name) for item in items]
            groups.append(_groups(items, places))
        joined = {name: np.concatenate(parts) for name, parts in features.items()}
        return joined, {name: np.array(values) for name, values in labels.items()}, np.concatenate(groups)


def _label(item: Mapping[str, Any], name: str) -> float:
    if name not in item:
        raise ValueError(f"There is no label {name!r} for {sorted(item)}; check labels_file and attributes.")
    return float(item[name])


def _groups(items: Sequence[Mapping[str, Any]], places: Sequence[int]) -> np.ndarray:
    """What belongs together, by name: subjects, or volumes, or every image for itself."""
    return np.array([" ".join(map(str, group_of(item, int(place)))) for item, place in zip(items, places)])


class EvaluationBench:
    """The network under evaluation with its data.

    Args:
        network: a :class:`~monai_diffae.networks.DiffusionAutoencoder` with its weights, on ``device``.
        inferer: the loops as the bundle has them.
        heldout: images that training never saw.
        train: images of the training, for baselines and classifiers; ``None`` where they are not at hand.
        folder: for what a stopped run goes on from.
        num_images: of the held-out ones that are reconstructed, evenly spaced; ``None`` for all.
        max_train_images: of the training, for principal components, classifiers and nearest images; ``None`` for all.
        batch_size: images at once.
        device: where the network is.
        seed: of all that is drawn.
        resume: use what a stopped run left in ``folder``.
        progress: show bars.
        pseudonyms: from subjects to what tables call them; ``None`` for pseudonyms whose salt is kept in ``folder``.
    """

    def __init__(
        self,
        network: nn.Module,
        inferer: DiffusionAutoencoderInferer,
        heldout: Part,
        train: Part | None,
        folder: str | os.PathLike,
        num_images: int | None = 64,
        max_train_images: int | None = 2000,
        batch_size: int = 16,
        device: torch.device | str = "cpu",
        seed: int = 0,
        resume: bool = True,
        progress: bool = True,
        pseudonyms: Callable[[str], str] | None = None,
    ) -> None:
        self.network = network.eval()
        self.inferer = inferer
        self.heldout, self.train = heldout, train
        self.folder = Path(folder)
        self.num_images, self.max_train_images = num_images, max_train_images
        self.batch_size, self.device, self.seed = batch_size, torch.device(device), seed
        self.resume, self.progress = resume, progress
        self.pseudonyms = pseudonyms or Pseudonyms(self.folder)
        self._remembering: list[RememberingInferer] = []

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """The held-out images that are reconstructed, see :meth:`Part.chosen`."""
        return self.heldout.chosen(self.num_images)

    @cached_property
    def train_chosen(self) -> dict[str, Any] | None:
        """Images of the training, or None."""
        return None if self.train is None else self.train.chosen(self.max_train_images)

    @cached_property
    def components(self) -> PixelComponents:
        """As many principal components of the pixels as z_sem has numbers: of the training images, or where there are
        none of the held-out ones, which favours them."""
        images = (self.train_chosen or self.heldout.chosen(self.max_train_images))["image"]
        return PixelComponents(images, self.encode(images[:1]).shape[1])

    def codes(self) -> dict[str, torch.Tensor]:
        """Both codes and the reconstruction of the chosen images, by the bundle's own settings."""
        return self.run(CodesInferer(self.inferer), self.chosen["image"], "encode and decode")

    def described(self, i: int) -> dict[str, Any]:
        """Which of the chosen images this is, for tables: ``file``, ``slice`` of a volume, and ``subject``, empty where
        the data do not say."""
        subject = self.chosen["items"][i].get("subject")
        return self.chosen["places"][i] | {"subject": "" if subject in (None, "") else self.pseudonyms(str(subject))}

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """z_sem ``(B, D)``, on the CPU."""
        return self.inferer.encode(images.to(self.device), self.network).cpu()

    def run(self, inferer: Inferer, images: torch.Tensor, desc: str, **others: torch.Tensor) -> dict[str, torch.Tensor]:
        """What an inferer gives for images, batch by batch, on the CPU; what was computed before is read."""
        remembered = RememberingInferer(inferer, self.folder, self.resume)
        self._remembering.append(remembered)
        parts = []
        starts = range(0, len(images), self.batch_size)
        for start in tqdm(starts, desc=desc, unit="batch", disable=not self.progress):
            part = slice(start, start + self.batch_size)
            inputs = {name: value[part].to(self.device) for name, value in others.items()}
            result = remembered.predict(images[part].to(self.device), self.network, **inputs)
            parts.append({name: value.cpu() for name, value in result.items()})
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def forget(self) -> None:
        """Delete what a stopped run would go on from, when all is written."""
        for remembered in self._remembering[:1]:
            remembered.forget()
