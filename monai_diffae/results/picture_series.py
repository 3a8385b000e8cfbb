# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from ignite.engine import Engine
from monai.utils import convert_to_tensor
from PIL import Image

from monai_diffae.results.evaluator_handler import EvaluatorHandler
from monai_diffae.results.sources import result_stem, source_file
from monai_diffae.support.atomic_files import replacing
from monai_diffae.support.finite import check_finite

__all__ = ["PictureSeriesSaver"]


class PictureSeriesSaver(EvaluatorHandler):
    """Writes results as PNG files at the size that they have, a series as numbered ones.

    Written is ``<output_dir>/<stem>_<postfix>.png``, or ``<stem>_<postfix>_<k>.png`` for the k-th of a series, with as
    many digits as the last one needs. Folders of the source below ``data_root_dir`` are kept. Where pictures are joined
    (:class:`~monai_diffae.data.ImageChains`), the stem is ``<first>_to_<last>``.

    Args:
        output_dir: folder to write to.
        keys: from a key of the evaluator's output to the postfix of its files. Outputs are ``(C, rows, columns)``, or
            ``(N, C, rows, columns)`` for a series, with one channel (grey) or three (RGB); -1 becomes black, 1 white,
            and what lies outside is clipped.
        data_root_dir: folder of the sources.

    Raises:
        ValueError: while it runs, for another number of channels, and for a picture that is not finite.
    """

    def __init__(
        self, output_dir: str | os.PathLike, keys: Mapping[str, str], data_root_dir: str | os.PathLike = ""
    ) -> None:
        self.output_dir = Path(output_dir)
        self.keys = dict(keys)
        self.data_root_dir = data_root_dir

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            stem = result_stem(item, self.data_root_dir)
            for key, postfix in self.keys.items():
                pictures = convert_to_tensor(output[key], track_meta=False)
                if pictures.shape[-3] not in (1, 3):
                    raise ValueError(f"{key!r} must have 1 or 3 channels, got the shape {list(pictures.shape)}.")
                check_finite(pictures, key, source_file(item, self.data_root_dir))
                if pictures.ndim == 3:
                    self._save(pictures, f"{stem}_{postfix}.png")
                    continue
                digits = len(str(len(pictures) - 1))
                for k, picture in enumerate(pictures):
                    self._save(picture, f"{stem}_{postfix}_{k:0{digits}d}.png")

    def _save(self, picture: torch.Tensor, name: str) -> None:
        pixels = ((picture.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        with replacing(self.output_dir / name) as partial:
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(partial, format="PNG")
