# SPDX-License-Identifier: Apache-2.0
"""Files that this project did not make, from the packages of nibabel, nilearn and pydicom, there and back again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator
from monai.transforms import (
    Compose,
    CropForegroundd,
    FlattenSubKeysd,
    Orientationd,
    ResizeWithPadOrCropd,
    Spacingd,
)
from nibabel.testing import data_path
from PIL import Image

from monai_diffae.data import LoadVolumed, RescaleIntensityd, VolumeSlices, find_volumes
from monai_diffae.results import SourceVolumeSaver

NIBABEL = Path(data_path)

TEXT = ("data_type", "db_name", "descrip", "aux_file", "intent_name")  # of headers, blank in results


def template(axes: str, turn: float = 0.0) -> nib.Nifti1Image:
    """nilearn's MNI152 template, coarse, with other axes, and tilted where asked for."""
    datasets = pytest.importorskip("nilearn.datasets")
    image = datasets.load_mni152_template(resolution=6)
    ornt = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    image = image.as_reoriented(ornt)
    tilt = nib.affines.from_matvec(nib.eulerangles.euler2mat(turn, turn / 2, -turn))
    return nib.Nifti1Image(image.get_fdata(dtype=np.float32), tilt @ image.affine)


def flat(image: nib.Nifti1Image, third: tuple) -> nib.Nifti1Image:
    """One slice, as a file of two dimensions, or of three with a single slice."""
    header = image.header.copy()
    return nib.Nifti1Image(np.ascontiguousarray(np.asanyarray(image.dataobj)[(..., *third)]), image.affine, header)


def stored_as(image: nib.Nifti1Image, dtype: type, slope: float = 1.0, inter: float = 0.0) -> nib.Nifti1Image:
    """The same intensities, from 0 to 200, in another data type, with units and codes of its own."""
    values = image.get_fdata().clip(0)
    stored = (200 * values / values.max() - inter) / slope
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm", "msec")
    whole = np.rint(stored) if np.issubdtype(dtype, np.integer) else stored
    stored_image = nib.Nifti1Image(whole.astype(dtype), None, header)
    stored_image.set_qform(image.affine, code=2)
    stored_image.set_sform(image.affine, code=3)
    stored_image.header.set_slope_inter(slope, inter)
    return stored_image


SOURCES: dict[str, Callable[[], nib.Nifti1Image]] = {
    "big-endian": lambda: nib.load(NIBABEL / "anatomical.nii"),
    "tiny": lambda: nib.load(NIBABEL / "standard.nii.gz"),
    "4D oblique": lambda: nib.load(NIBABEL / "example4d.nii.gz"),
    "4D NIfTI-2": lambda: nib.load(NIBABEL / "example_nifti2.nii.gz"),
    "4D scaled and anisotropic": lambda: nib.load(NIBABEL / "functional.nii"),
    "2D": lambda: flat(nib.load(NIBABEL / "anatomical.nii"), (12,)),
    "one slice": lambda: flat(nib.load(NIBABEL / "anatomical.nii"), (slice(12, 13),)),
    "flipped": lambda: template("LPS"),
    "permuted": lambda: template("SRA"),
    "permuted and flipped": lambda: template("ILP"),
    "oblique": lambda: template("PIR", turn=0.3),
    "flipped uint8": lambda: stored_as(template("LPI"), np.uint8),
    "permuted and scaled int16": lambda: stored_as(template("ASL"), np.int16, 0.125, -3.0),
    "oblique float64": lambda: stored_as(template("RIA", turn=-0.2), np.float64),
}


def prepare(channel: int | None, spacing: float = 8.0, axcodes: str = "RAS") -> Compose:
    return Compose(
        [
            LoadVolumed("image", channel),
            Orientationd("image", axcodes=axcodes, labels=None),
            Spacingd("image", pixdim=(spacing,) * 3),
            CropForegroundd("image", source_key="image", allow_smaller=True),
            ResizeWithPadOrCropd("image", spatial_size=(16, 16, -1)),
            RescaleIntensityd("image", percentiles=[0, 99]),
        ]
    )


def brighten(inputs: torch.Tensor, network: Callable) -> dict:
    reconstruction = torch.full_like(inputs, -0.5)
    return {"reconstruction": reconstruction, "edit": reconstruction + 0.5}


def run(folder: Path, out: Path, device: str, channel: int | None = None, **prepared) -> CacheDataset:
    preprocessing = prepare(channel, **prepared)
    volumes = CacheDataset(find_volumes(folder), preprocessing, progress=False)
    files = [
        {"postfix": "edit", "key": "edit", "mode": "residual", "minus": "reconstruction"},
        {"postfix": "difference", "key": "edit", "mode": "difference", "minus": "reconstruction"},
    ]
    saver = SourceVolumeSaver(out, files, volumes, preprocessing, folder, channel, LoadVolumed("image", channel))
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(VolumeSlices(volumes, num_slices=2, slice_range=(0.2, 0.8)), batch_size=3),
        network=torch.nn.Identity(),
        inferer=brighten,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[saver],
    ).run()
    return volumes


@pytest.mark.parametrize("axcodes", ["RAS", "ASR"])
@pytest.mark.parametrize("name", SOURCES)
def test_a_foreign_volume_comes_back_in_its_geometry_and_unchanged_elsewhere(tmp_path, device, name, axcodes):
    (tmp_path / "data").mkdir()
    nib.save(SOURCES[name](), tmp_path / "data" / "a.nii")
    source = nib.load(tmp_path / "data" / "a.nii")
    channel = 1 if source.ndim == 4 else None
    spacing = 2.0 if name == "tiny" else 8.0
    volumes = run(tmp_path / "data", tmp_path / "out", device, channel, spacing=spacing, axcodes=axcodes)
    edit, difference = (nib.load(tmp_path / "out" / f"a_{kind}.nii.gz") for kind in ("edit", "difference"))

    assert type(edit) is type(source)
    assert edit.shape == source.shape
    for field in source.header:
        expected = b"" if field in TEXT else source.header[field]
        np.testing.assert_array_equal(edit.header[field], expected, err_msg=field)
    np.testing.assert_array_equal(edit.affine, source.affine)
    np.testing.assert_array_equal(difference.affine, source.affine)
    stored, changed = (np.asarray(image.dataobj.get_unscaled()) for image in (source, edit))
    assert changed.dtype == stored.dtype
    differences = difference.get_fdata()
    if source.ndim == 4:
        assert difference.shape == source.shape[:3]
        assert np.delete(changed, channel, -1).tobytes() == np.delete(stored, channel, -1).tobytes()
        stored, changed = stored[..., channel], changed[..., channel]
    inside = differences != 0
    assert inside.any()
    assert source.ndim < 3 or source.shape[2] == 1 or not inside.all()
    assert (edit.dataobj.slope, edit.dataobj.inter) == (source.dataobj.slope, source.dataobj.inter)
    assert changed[~inside].tobytes() == stored[~inside].tobytes()
    # Half of the network's range, less what the type of the file rounds.
    limits = volumes[0]["image"].applied_operations[-1]["extra_info"]
    quarter = (limits["high"] - limits["low"]) / 4
    np.testing.assert_allclose(differences[inside], quarter, rtol=1e-3)
    added = (changed.astype(float) - stored)[inside] * source.dataobj.slope
    clipped = changed[inside] == (np.iinfo(stored.dtype).max if stored.dtype.kind in "iu" else np.inf)
    rounding = 0.51 * source.dataobj.slope if stored.dtype.kind in "iu" else 0
    np.testing.assert_allclose(added[~clipped], quarter, atol=rounding, rtol=1e-3)
    assert (~clipped).any()


def test_mixed_shapes_and_spacings_in_one_folder_come_back(tmp_path, device):
    for k, name in enumerate(("big-endian", "flipped", "one slice", "oblique")):
        (tmp_path / "data" / f"sub-{k}").mkdir(parents=True)
        nib.save(SOURCES[name](), tmp_path / "data" / f"sub-{k}" / "T1.nii.gz")
    run(tmp_path / "data", tmp_path / "out", device)
    for k in range(4):
        source = nib.load(tmp_path / "data" / f"sub-{k}" / "T1.nii.gz")
        edit = nib.load(tmp_path / "out" / f"sub-{k}" / "T1_edit.nii.gz")
        assert edit.shape == source.shape
        np.testing.assert_array_equal(edit.affine, source.affine)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_a_picture_comes_back_as_a_volume_of_one_slice(tmp_path, device, extension):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 56), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    Image.fromarray(pixels).save(tmp_path / "data" / f"a.{extension}")
    run(tmp_path / "data", tmp_path / "out", device, spacing=2.0)
    edit = nib.load(tmp_path / "out" / "a_edit.nii.gz")
    assert edit.shape == (56, 40, 1)
    np.testing.assert_array_equal(edit.affine, np.diag([-1, -1, 1, 1]))
    inside = nib.load(tmp_path / "out" / "a_difference.nii.gz").get_fdata() != 0
    original = (pixels / 127.5 - 1).T[..., None]
    np.testing.assert_allclose(edit.get_fdata()[~inside], original[~inside], atol=1e-6)
    assert 0.05 < inside.mean() < 0.9


@pytest.mark.parametrize(("name", "dtype"), [("CT_small.dcm", np.int16), ("MR_small.dcm", np.int16)])
def test_a_dicom_file_comes_back_with_its_intensities(tmp_path, device, name, dtype):
    pydicom = pytest.importorskip("pydicom")
    (tmp_path / "data").mkdir()
    shutil.copy(pydicom.data.get_testdata_file(name), tmp_path / "data" / name)
    dataset = pydicom.dcmread(tmp_path / "data" / name)
    run(tmp_path / "data", tmp_path / "out", device, spacing=2.0)
    edit = nib.load(tmp_path / "out" / f"{name[:-4]}_edit.nii.gz")
    assert edit.shape == (dataset.Columns, dataset.Rows, 1)
    assert edit.get_data_dtype() == dtype
    position = np.asarray(dataset.ImagePositionPatient, dtype=float) * [-1, -1, 1]
    np.testing.assert_allclose(edit.affine[:3, 3], position, atol=1e-3)
    rows, columns = (float(s) for s in dataset.PixelSpacing)
    right = np.asarray(dataset.ImageOrientationPatient[:3], dtype=float) * [-1, -1, 1] * columns
    down = np.asarray(dataset.ImageOrientationPatient[3:], dtype=float) * [-1, -1, 1] * rows
    np.testing.assert_allclose(edit.affine[:3, :2], np.stack([right, down], axis=1), atol=1e-4)
    assert np.linalg.det(edit.affine[:3, :3]) != 0
    intensities = dataset.pixel_array.T.astype(float) * float(dataset.get("RescaleSlope", 1))
    intensities = (intensities + float(dataset.get("RescaleIntercept", 0)))[..., None]
    inside = nib.load(tmp_path / "out" / f"{name[:-4]}_difference.nii.gz").get_fdata() != 0
    assert inside.any()
    np.testing.assert_array_equal(edit.get_fdata()[~inside], intensities[~inside])
