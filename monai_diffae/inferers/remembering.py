# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
import torch.nn as nn
from monai.inferers import Inferer

from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input, plain
from monai_diffae.support.atomic_files import PARTIAL
from monai_diffae.support.fingerprints import code_fingerprint, fingerprint
from monai_diffae.support.kept import Kept, made_from

__all__ = ["RememberingInferer"]

_HASH = "[0-9a-f]" * 64


class RememberingInferer(Inferer):
    """Keeps what another inferer gives for an image in a file, and takes it from there the next time.

    So a run that was interrupted goes on where it stopped, in whatever batches: what was computed before is read. A
    result is used for the same image, the same weights, and an inferer with the same settings only, by the same code:
    each has its :func:`~monai_diffae.support.fingerprints.fingerprint` in the file's name. Inferers say themselves what
    their results depend on, in ``depends_on``.

    Args:
        inferer: with a method ``predict(inputs, network, **others)`` that gives a dictionary of tensors with the batch
            first, functions of each image by itself; those with the shape of an image at their end get the metadata of
            ``inputs``.
        folder: for the files, ``<hash>.pt`` each; made when it is needed.
        enabled: False computes everything and keeps nothing.
        part: images that are computed before they are written, at most: a run that is stopped loses no more.

    Raises:
        ValueError: for a ``part`` below 1.
    """

    def __init__(self, inferer: Any, folder: str | os.PathLike, enabled: bool = True, part: int = 128) -> None:
        if part < 1:
            raise ValueError(f"part must be 1 or more, got {part}.")
        self.inferer = inferer
        self.folder = Path(folder)
        self.enabled = enabled
        self.part = part

    @inference
    def predict(
        self, inputs: torch.Tensor, network: nn.Module, **others: torch.Tensor | Sequence[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """What the inferer's own ``predict`` gives.

        Args:
            inputs: images, shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.
            others: further batches of images, or lists of such.
        """
        if not self.enabled:
            return self.inferer.predict(inputs, network, **others)
        images = plain(inputs)
        kept = self._kept(images, network, others)
        results = [one.read() for one in kept]
        missing = [k for k, result in enumerate(results) if result is None]
        for start in range(0, len(missing), self.part):
            part = missing[start : start + self.part]
            computed = self.inferer.predict(images[part], network, **_select(others, part))
            computed = {key: plain(value).cpu() for key, value in computed.items()}
            for place, k in enumerate(part):
                results[k] = {key: value[place].clone() for key, value in computed.items()}
                kept[k].write(results[k])
        batch = {key: torch.stack([r[key] for r in results]).to(images.device) for key in results[0]}
        shape = images.shape[1:]
        return {
            key: like_input(value, inputs) if value.shape[-len(shape) :] == shape else value
            for key, value in batch.items()
        }

    def forget(self) -> None:
        """Delete the files, when all processes have come here: for the end of a run, whose results are written."""
        idist.barrier()
        if idist.get_rank() == 0 and self.folder.is_dir():
            for name in (f"{_HASH}.pt*", f"{PARTIAL}*.{_HASH}.pt"):  # and those of killed runs
                for path in list(self.folder.glob(name)):
                    path.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: nn.Module, **others: torch.Tensor | Sequence[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """As :meth:`predict`."""
        return self.predict(inputs, network, **others)

    def _kept(self, images: torch.Tensor, network: nn.Module, others: Mapping) -> list[Kept]:
        common = made_from(settings=self.inferer, network=network, device=images.device.type) | {
            "code": code_fingerprint()
        }
        images, others = images.cpu(), _on_cpu(others)
        bases = [common | made_from(image=images[k], others=_select(others, k)) for k in range(len(images))]
        return [Kept(self.folder / f"{fingerprint(basis)}.pt", basis) for basis in bases]


def _on_cpu(batches: Any) -> Any:
    """All of them, in one copy each."""
    if isinstance(batches, torch.Tensor):
        return plain(batches).cpu()
    if isinstance(batches, Mapping):
        return {name: _on_cpu(batch) for name, batch in batches.items()}
    return [_on_cpu(batch) for batch in batches]


def _select(batches: Any, index: int | list[int]) -> Any:
    """Items of batches, or of mappings and lists of such."""
    if isinstance(batches, torch.Tensor):
        return plain(batches)[index]
    if isinstance(batches, Mapping):
        return {name: _select(batch, index) for name, batch in batches.items()}
    return [_select(batch, index) for batch in batches]
