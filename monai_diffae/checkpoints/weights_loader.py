# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from ignite.engine import Engine
from monai.handlers import CheckpointLoader

from monai_diffae.support.finite_weights import not_finite
from monai_diffae.support.torch_files import read_torch_file
from monai_diffae.support.weight_differences import weight_differences

__all__ = ["WeightsLoader"]


class WeightsLoader(CheckpointLoader):
    """MONAI's ``CheckpointLoader`` that says in one sentence why weights do not fit, in place of a list of all sizes,
    and what to do where there are none.

    Args:
        args: and ``kwargs``, those of ``CheckpointLoader``.
    """

    def __call__(self, engine: Engine) -> None:
        """
        Args:
            engine: that starts.

        Raises:
            FileNotFoundError: if there are no weights.
            ValueError: for weights of another network or that are not finite, naming the file and what is wrong.
        """
        if not os.path.isfile(self.load_path):
            raise FileNotFoundError(
                f"There are no weights {os.fspath(self.load_path)!r}: train.yaml makes them (models/model.pt in its "
                "output_dir), or give others with ckpt_path."
            )
        content = read_torch_file(self.load_path)
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
        for network in self.load_dict.values():
            if wrong := not_finite(network.state_dict()):
                raise ValueError(
                    f"The weights in {self.load_path!r} are of a training that failed: {wrong}; give others with "
                    "ckpt_path."
                )
