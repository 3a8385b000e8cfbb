# SPDX-License-Identifier: Apache-2.0
"""Folders as users have them: a run's results inside the data, linked subjects, and files that are no images."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from latent_workflows import Bundle, read_table
from PIL import Image

from monai_diffae.support.root_cause import root_cause

SMALL = {"z_dim": 8, "progress": False, "batch_size": 4, "num_inference_steps": 2, "inversion": "explicit"}
AFFINE = np.diag([-4.0, 4.0, 4.0, 1.0])


@pytest.fixture(scope="module", params=["natural_images_diffae", "brain_slices_diffae"])
def bundle(request, tmp_path_factory) -> Bundle:
    options = SMALL | {"num_slices": 1, "volume_figures": False} if request.param.startswith("brain") else SMALL
    return Bundle(request.param, tmp_path_factory.mktemp("weights"), **options)


def save(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(1, 255, (20, 20, 20), dtype=np.uint8)
    if file.suffix == ".png":
        Image.fromarray(values[0]).save(file)
    else:
        nib.save(nib.Nifti1Image(values, AFFINE), file)


def test_a_second_run_takes_no_results_for_images(bundle, tmp_path, caplog):
    extension = ".png" if "natural" in str(bundle.root) else ".nii.gz"
    data = tmp_path / "data"
    for k, name in enumerate(("a", "p1/b", "p1/b_mask", "p1/.c")):
        save(data / f"{name}{extension}", k)
    save(tmp_path / "store" / f"d{extension}", 9)
    (data / "p2").symlink_to(tmp_path / "store", target_is_directory=True)
    (data / f"e{extension}").symlink_to(tmp_path / "nowhere")
    expected = [f"{name}{extension}" for name in ("a", "p1/b", "p2/d")]
    for name in ("out", "other"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            bundle.run("inference", dataset_dir=str(data), output_dir=str(data / name))
        assert [row["file"] for row in read_table(data / name / "latents.csv")] == expected
        said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
        assert [sum(word in line for line in said) for word in ("hidden", "named as masks", "lead nowhere")] == [1] * 3
        assert sum("left out folders with results of runs: 1" in line for line in said) == (name == "other")
    assert (data / "other" / f"a_reconstruction{extension}").exists()


def test_results_among_the_images_are_refused_before_anything_is_written(bundle, tmp_path):
    extension = ".png" if "natural" in str(bundle.root) else ".nii.gz"
    save(tmp_path / f"a{extension}", 0)
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run("inference", dataset_dir=str(tmp_path), output_dir=f"{tmp_path}/")
    assert "output_dir and dataset_dir are both" in str(root_cause(raised.value))
    assert [path.name for path in tmp_path.iterdir()] == [f"a{extension}"]


def test_a_pair_and_a_file_in_upper_case_come_back_with_their_header(bundle, tmp_path):
    if "natural" in str(bundle.root):
        pytest.skip("of volumes")
    (tmp_path / "data").mkdir()
    values = np.random.default_rng(0).integers(1, 255, (20, 20, 20)).astype(np.int16)
    for name, image_class in (("a.nii", nib.Nifti1Image), ("b.img", nib.Nifti1Pair)):
        image = image_class(values, AFFINE)
        image.set_sform(AFFINE, code=4)
        nib.save(image, tmp_path / "data" / name)
    shutil.move(tmp_path / "data" / "a.nii", tmp_path / "data" / "A.NII")
    bundle.run("inference", dataset_dir=str(tmp_path / "data"), output_dir=str(tmp_path / "out"))
    for stem in ("A", "b"):
        result = nib.load(tmp_path / "out" / f"{stem}_reconstruction.nii.gz")
        assert (result.get_data_dtype(), int(result.header["sform_code"])) == (np.int16, 4)
        np.testing.assert_array_equal(result.affine, AFFINE)
        changed = np.asarray(result.dataobj) != values
        assert 0 < changed.mean() < 0.5  # one slice of the network's
