# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader

from monai_diffae.support.finite_weights import not_finite
from monai_diffae.support.torch_files import read_torch_file
from monai_diffae.support.weight_differences import weight_differences

__all__ = ["WeightsLoader"]

logger = logging.getLogger(__name__)


class WeightsLoader(CheckpointLoader):
    """MONAI's ``CheckpointLoader`` for an evaluator whose weights may be given from outside.

    - Weights that the networks got after this handler was attached are kept: those of a server of MONAI FL, or of a
      program that calls ``load_state_dict``. The file is not read then.
    - It says in one sentence why weights do not fit, in place of a list of all sizes, and what to do where there are
      none.

    Args:
        args: and ``kwargs``, those of ``CheckpointLoader``.
    """

    _known: list[torch.Tensor] | None = None  # checksums of the weights when they were last seen

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: that runs the networks.
        """
        super().attach(engine)
        self._known = self._checksums()

    def _checksums(self) -> list[torch.Tensor]:
        """Of the weights as they are, one number for each tensor."""
        tensors = [x for network in self.load_dict.values() for x in network.state_dict().values()]
        return [x.detach().float().sum().cpu() for x in tensors]

    def __call__(self, engine: Engine) -> None:
        """
        Args:
            engine: that starts.

        Raises:
            FileNotFoundError: if there are no weights.
            ValueError: for weights of another network or that are not finite, naming the file and what is wrong.
        """
        if self._known is None or self._known == self._checksums():
            self._load(engine)
            self._known = self._checksums()
            return
        logger.info(f"The networks have weights that were given to them: {self.load_path!r} is not loaded.")
        self._check_numbers("given")

    def _load(self, engine: Engine) -> None:
        if not os.path.isfile(self.load_path):
            raise FileNotFoundError(
                f"There are no weights {os.fspath(self.load_path)!r}: train.yaml makes them (models/model.pt in its "
                "output_dir), or give others with ckpt_path."
            )
        content = read_torch_file(self.load_path)
        if not isinstance(content, Mapping):
            raise ValueError(
                f"{os.fspath(self.load_path)!r} holds no weights by name, but a {type(content).__name__}; give others "
                "with ckpt_path."
            )
        try:
            super().__call__(engine)
        except RuntimeError:
            for key, network in self.load_dict.items():
                if differences := weight_differences(content.get(key, content), network.state_dict()):
                    raise ValueError(
                        f"The weights in {self.load_path!r} are of another network: {differences}; or give other "
                        "weights with ckpt_path."
                    ) from None
            raise
        self._check_numbers(f"in {self.load_path!r}")

    def _check_numbers(self, which: str) -> None:
        for network in self.load_dict.values():
            if wrong := not_finite(network.state_dict()):
                raise ValueError(
                    f"The weights {which} are of a training that failed: {wrong}; give others with ckpt_path."
                )
