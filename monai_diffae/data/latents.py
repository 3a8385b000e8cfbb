# SPDX-License-Identifier: Apache-2.0
"""z_sem of a data set: encoded once, kept in a file, re-used while it still fits."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
import torch.nn as nn
from monai.data import DataLoader
from monai.utils import convert_to_tensor, evenly_divisible_all_gather
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

from monai_diffae.data.sample_names import sample_name
from monai_diffae.data.usable_items import UsableItems
from monai_diffae.support import processes
from monai_diffae.support.fingerprints import file_states, fingerprint
from monai_diffae.support.finite import check_finite
from monai_diffae.support.kept import Kept
from monai_diffae.support.precision import full_float32
from monai_diffae.support.root_cause import root_cause

__all__ = ["encode_dataset", "encode_once", "encoding_fingerprint"]

logger = logging.getLogger(__name__)


@torch.no_grad()
def encode_dataset(
    dataset: Dataset,
    network: nn.Module,
    batch_size: int,
    device: torch.device | str = "cpu",
    keys: Sequence[str] = (),
    num_workers: int = 0,
    encode: Callable[[torch.Tensor, nn.Module], torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """z_sem of all items, batch by batch, the network in evaluation mode, with a progress bar.

    Several processes (:mod:`monai_diffae.support.processes`) share the items, and all of them get all codes.

    Args:
        dataset: items with ``image`` in [-1, 1], shape ``(C, *spatial)``, and ``volume`` for slices of a volume.
        network: a :class:`~monai_diffae.networks.DiffusionAutoencoder` on ``device``; its mode is restored.
        batch_size: images a batch.
        device: where the network is.
        keys: numbers of the items to collect as well.
        num_workers: of the data loader.
        encode: from images and the network to z_sem, ``encode`` of
            :class:`~monai_diffae.inferers.DiffusionAutoencoderInferer` for one, which has a precision; ``None`` for the
            network's own.

    Returns:
        On the CPU: ``z_sem`` ``(N, D)`` float32; ``source`` ``(N,)``, the item's ``volume``, or where it has none its
        index (of :class:`~monai_diffae.data.UsableItems` that in the data list); ``(N,)`` float64 for each of ``keys``.

    Raises:
        ValueError: for a code that is not finite, by the file of its image.
    """
    share = processes.part(range(len(dataset)))
    loader = DataLoader(Subset(dataset, share), batch_size=batch_size, num_workers=num_workers)
    codes, sources, numbers = [], [], {key: [] for key in keys}
    was_training, count = network.training, share.start
    network.eval()
    try:
        for batch in tqdm(loader, desc="encode", unit="batch"):
            images = convert_to_tensor(batch["image"], track_meta=False).to(device)
            with full_float32(images.device):
                z_sem = network.encode(images) if encode is None else encode(images, network)
            codes.append(z_sem.float().cpu())
            for k in (~torch.isfinite(codes[-1]).all(dim=1)).nonzero()[:1, 0].tolist():
                check_finite(codes[-1][k], "z_sem", sample_name(dataset, count + k))
            places = range(count, count + len(images))
            if isinstance(dataset, UsableItems):
                places = [dataset.place(place) for place in places]
            sources.append(torch.as_tensor(batch.get("volume", torch.tensor(places))))
            for key, values in numbers.items():
                values.append(torch.as_tensor(batch[key], dtype=torch.float64).cpu())
            count += len(images)
    finally:
        network.train(was_training)
    collected = {"z_sem": codes, "source": sources} | numbers
    joined = {key: torch.cat(values) for key, values in collected.items()}
    return {key: evenly_divisible_all_gather(values).cpu() for key, values in joined.items()}


def encoding_fingerprint(
    encoder: nn.Module,
    data: Sequence[Mapping[str, Any]],
    preprocessing: Any,
    settings: Mapping[str, Any] | None = None,
    dataset: Any = None,
) -> dict[str, str]:
    """What the codes of a data set depend on, as one hash for each part.

    Args:
        encoder: its weights, and what else it is made of.
        data: a MONAI data list: path, size and time of change of each ``image``; of all files of one that is a folder.
        preprocessing: the transform of an item of ``data``: its parameters, as far as they can be looked into, and what
            it makes of the first and the last file.
        settings: what else decides on the codes, e.g. the precision.
        dataset: of the items that are encoded, if they are not those of ``data``: which slices of a volume, say
            (its ``depends_on``).
    """
    first_and_last = [_prepared(preprocessing, item) for item in (data[0], data[-1])]
    images = [[image] if isinstance(image, (str, os.PathLike)) else image for image in (i["image"] for i in data)]
    items = {name: getattr(dataset, name) for name in getattr(type(dataset), "depends_on", ())}
    return {
        "weights of the encoder": fingerprint(encoder),
        "files of the data set": fingerprint([file_states(files) for files in images]),
        "preprocessing": fingerprint([fingerprint(preprocessing, strict=False), *first_and_last]),
        "settings": fingerprint([type(dataset), items, dict(settings or {})]),
    }


def _prepared(preprocessing: Any, item: Mapping[str, Any]) -> Any:
    """The image of an item, or the error of one that the data set has to leave out."""
    try:
        return convert_to_tensor(preprocessing(dict(item))["image"], track_meta=False)
    except Exception as error:
        return str(root_cause(error))


def encode_once(
    path: str | os.PathLike,
    dataset: Dataset,
    network: nn.Module,
    fingerprint: Mapping[str, str],
    batch_size: int,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    encode: Callable[[torch.Tensor, nn.Module], torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """:func:`encode_dataset`, or what an earlier call has written to ``path`` if its fingerprint is the same.

    The file appears when all is encoded: an interrupted call leaves the old one, or none. Codes of a file of another
    version, or made from something else, are encoded again; the log says so.

    Args:
        path: file to read or to write.
        dataset: see :func:`encode_dataset`; not touched where the file fits.
        network: a diffusion autoencoder with its weights.
        fingerprint: of :func:`encoding_fingerprint`.
        batch_size: images a batch.
        device: where the network is.
        num_workers: of the data loader.
        encode: see :func:`encode_dataset`.

    Returns:
        ``z_sem`` ``(N, D)`` and ``source`` ``(N,)``.
    """
    kept = Kept(path, fingerprint, "the data set is encoded", key="latents")
    latents = kept.read()
    if latents is not None:
        logger.info(f"Re-used {len(latents['z_sem'])} codes of {path}.")
        return latents
    latents = encode_dataset(dataset, network, batch_size, device, num_workers=num_workers, encode=encode)
    if idist.get_rank() == 0:
        kept.write(latents)
    return latents
