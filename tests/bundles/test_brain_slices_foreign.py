# SPDX-License-Identifier: Apache-2.0
"""``inference.yaml`` + ``manipulate.yaml`` on a folder of files that this project did not make, mixed as they come."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table, root_cause
from nibabel.testing import data_path

from monai_diffae.results import source_volumes
from monai_diffae.semantics import AttributeDirections

CONFIGS = ("inference", "manipulate")
NIFTI = {"anatomical.nii": None, "example4d.nii.gz": 1, "sub-1/turned.nii.gz": None, "flat.nii": None}
DICOM = ["CT_small.dcm", "MR_small.dcm"]
KINDS = ("reconstruction", "edit", "difference")
TEXT = ("data_type", "db_name", "descrip", "aux_file", "intent_name")  # blank in results


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    pydicom = pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")
    data = tmp_path_factory.mktemp("data")
    for name in ("anatomical.nii", "example4d.nii.gz"):
        shutil.copy(Path(data_path) / name, data / name)
    source = nib.load(data / "anatomical.nii")
    (data / "sub-1").mkdir()
    tilt = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.1, 0.1))
    turned = source.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))  # the axes permuted, two of them flipped
    nib.save(nib.Nifti1Image(turned.get_fdata(), tilt @ turned.affine), data / "sub-1" / "turned.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(source.dataobj)[..., 12], source.affine, source.header), data / "flat.nii")
    (data / "dicom").mkdir()
    for name in DICOM:
        shutil.copy(pydicom.data.get_testdata_file(name), data / "dicom" / name)
    return data


@pytest.fixture(scope="module")
def bundle(folder, tmp_path_factory) -> Bundle:
    weights = tmp_path_factory.mktemp("weights")
    codes, labels = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    AttributeDirections.fit(codes + labels[:, None], {"trait": labels}).save(weights / "attributes.pt")
    options = {"z_dim": 8, "image_size": 32, "dataset_dir": str(folder), "progress": False, "batch_size": 4}
    options |= {"num_inference_steps": 2, "inversion": "explicit", "num_slices": 2, "spacing": [6.0, 6.0, 4.0]}
    options |= {"attributes_path": str(weights / "attributes.pt"), "attribute": "trait", "amount": 0.5}
    return Bundle("brain_slices_diffae", weights, **options).randomize()


def stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".nii").removesuffix(".dcm")


def stored(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj.get_unscaled())


def test_a_folder_with_a_4d_file_is_refused_unless_the_channel_is_named(bundle, tmp_path):
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run(*CONFIGS, output_dir=str(tmp_path))
    assert "example4d.nii.gz has 2 channels" in root_cause(raised.value)


def test_a_mixed_folder_comes_back_and_an_interrupted_run_ends_as_a_whole_one(bundle, folder, tmp_path, monkeypatch):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    bundle.run(*CONFIGS, output_dir=str(whole), channel=1)

    for name, channel in NIFTI.items():
        source = nib.load(folder / name)
        reconstruction, edit, difference = (nib.load(whole / f"{stem(name)}_{kind}.nii.gz") for kind in KINDS)
        inside = difference.get_fdata() != 0
        assert inside.any()
        for image in (reconstruction, edit):
            assert type(image) is type(source)
            for field in source.header:
                expected = b"" if field in TEXT else source.header[field]
                np.testing.assert_array_equal(image.header[field], expected, err_msg=f"{name} {field}")
            np.testing.assert_array_equal(image.affine, source.affine)
            assert image.header.get_zooms() == source.header.get_zooms()
            assert (image.dataobj.slope, image.dataobj.inter) == (source.dataobj.slope, source.dataobj.inter)
        before, after = stored(source), stored(edit)
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        if channel is not None:
            assert np.delete(after, channel, -1).tobytes() == np.delete(before, channel, -1).tobytes()
            before, after = before[..., channel], after[..., channel]
        assert after[~inside].tobytes() == before[~inside].tobytes()
        assert (after[inside] != before[inside]).any()
    for name in DICOM:
        assert nib.load(whole / "dicom" / f"{stem(name)}_edit.nii.gz").shape[2] == 1

    def stop_at_the_third_volume(*arguments) -> None:
        if len(saved) == 2 * len(KINDS) + 1:  # in the middle of the third
            raise KeyboardInterrupt
        saved.append(arguments)
        save_nifti(*arguments)

    saved, save_nifti = [], source_volumes.save_nifti
    monkeypatch.setattr(source_volumes, "save_nifti", stop_at_the_third_volume)
    with pytest.raises(KeyboardInterrupt):
        bundle.run(*CONFIGS, output_dir=str(halves), channel=1)
    assert list((halves / ".resume" / "slices").glob("*.pt"))
    assert not (halves / "latents.csv").exists()
    monkeypatch.undo()
    bundle.run(*CONFIGS, output_dir=str(halves), channel=1)
    assert not (halves / ".resume" / "slices").exists()

    results = sorted(path.relative_to(whole) for path in whole.rglob("*.nii.gz"))
    assert len(results) == len(KINDS) * (len(NIFTI) + len(DICOM))
    assert sorted(path.relative_to(halves) for path in halves.rglob("*.nii.gz")) == results
    for path in results:
        expected, found = (nib.load(out / path) for out in (whole, halves))
        unit = 1 if stored(expected).dtype.kind in "iu" else 1e-3 * np.ptp(expected.get_fdata())
        np.testing.assert_allclose(stored(found).astype(float), stored(expected).astype(float), atol=unit)
    tables = [[row["file"] + row["slice"] for row in read_table(out / "latents.csv")] for out in (whole, halves)]
    assert tables[0] == tables[1]
