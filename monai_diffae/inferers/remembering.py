# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import monai
import torch
import torch.nn as nn
from monai.inferers import Inferer

from monai_diffae.inferers.fingerprints import fingerprint
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input, plain

__all__ = ["RememberingInferer"]


class RememberingInferer(Inferer):
    """Keeps what another inferer gives for an image in a file, and takes it from there the next time.

    So a run that was interrupted goes on where it stopped, in whatever batches: what was computed before is read. A
    result is used for the same image, the same weights, and an inferer with the same settings only (see
    :func:`~monai_diffae.inferers.fingerprints.fingerprint`), by the same code.

    Args:
        inferer: with a method ``predict(inputs, network, **others)`` that gives a dictionary of tensors with the batch
            first, functions of each image by itself; those with the shape of an image at their end get the metadata of
            ``inputs``.
        folder: for the files, ``<hash>.pt`` each; made when it is needed.
        enabled: False computes everything and keeps nothing.
    """

    def __init__(self, inferer: Any, folder: str | os.PathLike, enabled: bool = True) -> None:
        self.inferer = inferer
        self.folder = Path(folder)
        self.enabled = enabled
        self._settings: str | None = None
        self._weights: tuple[tuple, str] = ((), "")

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
        paths = self._paths(images, network, others)
        results = [self._read(path) for path in paths]
        missing = [k for k, result in enumerate(results) if result is None]
        if missing:
            computed = self.inferer.predict(images[missing], network, **_select(others, missing))
            for place, k in enumerate(missing):
                results[k] = {key: plain(value[place]).cpu() for key, value in computed.items()}
                self._write(paths[k], results[k])
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
            for path in list(self.folder.glob("[0-9a-f]" * 64 + ".pt*")):  # and .partial ones of killed runs
                path.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: nn.Module, **others: torch.Tensor | Sequence[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """As :meth:`predict`."""
        return self.predict(inputs, network, **others)

    def _paths(self, images: torch.Tensor, network: nn.Module, others: Mapping) -> list[Path]:
        if self._settings is None:  # once: the scheduler's grid moves while it is used
            self._settings = fingerprint(self.inferer)
        state = tuple((p.data_ptr(), p._version) for p in network.state_dict(keep_vars=True).values())
        if state != self._weights[0]:
            self._weights = (state, fingerprint(network))
        common = f"{self._settings} {self._weights[1]} {images.device.type} {_code()}"
        return [self.folder / f"{fingerprint([common, images[k], _select(others, k)])}.pt" for k in range(len(images))]

    @staticmethod
    def _read(path: Path) -> dict[str, torch.Tensor] | None:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # missing, or damaged in any of many ways: it can be computed again
            return None

    @staticmethod
    def _write(path: Path, result: Mapping[str, torch.Tensor]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        torch.save({key: value.clone() for key, value in result.items()}, partial)
        os.replace(partial, path)


@functools.cache
def _code() -> str:
    """Of this package every line, and the versions of what it runs on: results of other code are not the same."""
    digest = hashlib.sha256(f"{torch.__version__} {monai.__version__}".encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _select(batches: Any, index: int | list[int]) -> Any:
    """Items of batches, or of mappings and lists of such."""
    if isinstance(batches, torch.Tensor):
        return plain(batches)[index]
    if isinstance(batches, Mapping):
        return {name: _select(batch, index) for name, batch in batches.items()}
    return [_select(batch, index) for batch in batches]
