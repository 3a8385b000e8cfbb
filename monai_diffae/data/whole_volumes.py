# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import MetaTensor

from monai_diffae.data.usable_items import UsableItems
from monai_diffae.data.volume_slices import without_history
from monai_diffae.support.bad_files import BadFiles

__all__ = ["WholeVolumes"]


class WholeVolumes(UsableItems):
    """Volumes as they are, one item each: what :class:`~monai_diffae.data.VolumeSlices` is for a network of slices.

    Args:
        data: volumes, dictionaries of tensors ``(C, X, Y, Z)`` under ``keys``. Other entries are passed on.
        keys: images; an item may lack some of them.
        bad_files: what becomes of volumes that cannot be prepared; by default the first of them ends the run.

    An item has ``volume``, its index in ``data``, by which results find their source. Of the metadata of MetaTensors
    it keeps file name and affine, which volumes of any format have, so that they make batches.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        keys: Sequence[str] = ("image",),
        bad_files: BadFiles | None = None,
    ) -> None:
        super().__init__(data, BadFiles() if bad_files is None else bad_files)
        self.keys = tuple(keys)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        item = dict(super().__getitem__(index))
        for key in self.keys:
            if isinstance(item.get(key), MetaTensor):
                item[key] = without_history(item[key])
        return item | {"volume": self.place(index)}
