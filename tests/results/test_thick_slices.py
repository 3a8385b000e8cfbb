# SPDX-License-Identifier: Apache-2.0
"""Slices of a finer grid than the source's: those between its slices cannot be put back, and that is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, FlattenSubKeysd, Orientationd, ResizeWithPadOrCropd, Spacingd

from monai_diffae.data import LoadVolumed, RescaleIntensityd, VolumeSlices, find_volumes
from monai_diffae.results import SourceVolumeSaver


def write(file: Path, axes: str, spacing: float) -> None:
    """Axial slices that lie ``spacing`` mm apart, with the axes of the file in any order."""
    values = np.random.default_rng(0).integers(50, 200, (24, 24, 8), dtype=np.int16)
    image = nib.Nifti1Image(values, np.diag([2.0, 2.0, spacing, 1.0]))
    to = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(to), file)


def run(folder: Path, out: Path, device: str, thickness: float) -> None:
    preprocessing = Compose(
        [
            LoadVolumed("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(4.0, 4.0, thickness)),
            ResizeWithPadOrCropd("image", spatial_size=(12, 12, -1)),
            RescaleIntensityd("image", percentiles=[0, 100]),
        ]
    )
    volumes = CacheDataset(find_volumes(folder), preprocessing, progress=False)

    def brighten(inputs: torch.Tensor, network: Callable) -> dict:
        return {"edit": torch.full_like(inputs, 0.5)}

    files = [{"postfix": "edit", "key": "edit", "mode": "decoded"}]
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(VolumeSlices(volumes), batch_size=4),
        network=torch.nn.Identity(),
        inferer=brighten,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[SourceVolumeSaver(out, files, volumes, preprocessing, folder)],
    ).run()


@pytest.mark.parametrize("axes", ["RAS", "SPL"])
def test_slices_between_those_of_the_file_are_warned_of_with_its_name_and_spacing(tmp_path, device, axes):
    write(tmp_path / "data" / "thick.nii.gz", axes, spacing=9.0)
    # 8 slices 9 mm apart are 22 of 3 mm: 8 of them hold one, 14 hold none.
    message = r"thick\.nii\.gz: 14 of its 22 processed slices, 3 mm thick, lie between .* 9 mm apart"
    with pytest.warns(UserWarning, match=message) as caught:
        run(tmp_path / "data", tmp_path / "out", device, thickness=3.0)
    [text] = [str(w.message) for w in caught if "thick.nii.gz" in str(w.message)]
    assert '--spacing "[4,4,9]"' in text


@pytest.mark.parametrize(("spacing", "thickness"), [(9.0, 9.0), (2.0, 3.0), (3.0, 3.0)])
def test_no_warning_where_every_slice_can_be_put_back(tmp_path, device, spacing, thickness):
    write(tmp_path / "data" / "a.nii", "LPS", spacing)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*processed slices")
        run(tmp_path / "data", tmp_path / "out", device, thickness)
    source, edit = (np.asarray(nib.load(tmp_path / f).dataobj) for f in ("data/a.nii", "out/a_edit.nii.gz"))
    assert (source != edit).mean() > 0.9
