# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_diffae.results.nifti_files import read_stored_volume
from monai_diffae.results.source_grid import place_slices
from monai_diffae.support.finite import check_finite

__all__ = ["put_into_source"]


def put_into_source(
    result: torch.Tensor,
    image: MetaTensor,
    preprocessing: Compose,
    minus: torch.Tensor | None = None,
    channel: int | None = None,
    load: Callable | None = None,
    identifiers: str = "pseudonyms",
) -> nib.Nifti1Image:
    """A result of a whole prepared volume, in the file that the volume came from: what Python has for what
    :class:`~monai_diffae.results.SourceVolumeSaver` does in a workflow.

    Args:
        result: in [-1, 1] (what lies outside is clipped), shape of ``image``.
        image: the prepared volume ``(1, X, Y, Z)``, as ``preprocessing`` gave it.
        preprocessing: its transforms, with an invertible scaling of intensities.
        minus: same shape: the source plus ``result - minus``, which keeps its detail, instead of ``result``. Of an
            edit, the reconstruction; ``image`` itself where x_T is exact and they are the same.
        channel: of a source with four dimensions, the one that was processed.
        load: MONAI transform of ``{"image": file}``, for sources that are not NIfTI.
        identifiers: of the header's text, ``pseudonyms`` for none or ``keep``.

    Returns:
        The source with its shape, affine, header (without text) and data type; voxels outside the prepared volume are
        unchanged to the last bit. ``nibabel.save`` writes it.

    Raises:
        ValueError: for another shape than that of ``image``, a result that is not finite, and where ``preprocessing``
            scales no intensities.
    """
    results = [result] if minus is None else [result, minus]
    for one in results:
        if one.shape != image.shape:
            raise ValueError(f"Expected the shape of the prepared volume, {list(image.shape)}, got {list(one.shape)}.")
        check_finite(one, "result", str(image.meta["filename_or_obj"]))
    stored = read_stored_volume(image.meta["filename_or_obj"], channel, load, identifiers)
    affine = torch.as_tensor(np.asarray(image.meta.get("original_affine", stored.affine)))
    values = torch.cat([one.detach().cpu() for one in results])
    shape = stored.grid(stored.numbers).shape
    placed = place_slices(values, range(image.shape[-1]), image.cpu(), preprocessing, affine, shape)
    new = placed.values[0] if minus is None else placed.values[0] - placed.values[1]
    numbers = stored.changed(placed.box, placed.covered.numpy(), new.numpy(), add=minus is not None)
    return stored.image(numbers)
