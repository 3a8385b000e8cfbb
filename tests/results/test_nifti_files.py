# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_diffae.results.nifti_files import read_stored_volume

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
BOX = (slice(0, 4),) * 3


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_intensities_beyond_a_type_become_its_ends_and_do_not_wrap(tmp_path, dtype, slope):
    image = nib.Nifti1Image(np.full((4, 4, 4), 7, dtype=dtype), np.eye(4), dtype=dtype)
    image.header.set_slope_inter(slope, 0)
    nib.save(image, tmp_path / "a.nii")
    stored = read_stored_volume(tmp_path / "a.nii")
    assert stored.numbers.dtype == dtype
    for value in (1e19, 1e30, -1e19, -1e30, 300, -300, 9.3e18, 1.9e19):
        for add in (False, True):
            changed = stored.changed(BOX, np.ones((4, 4, 4), bool), np.full((4, 4, 4), value), add=add)
            assert changed.dtype == dtype
            limits = np.iinfo(dtype)
            exact = min(max(round(value / stored.slope) + (7 if add else 0), limits.min), limits.max)
            assert int(changed[0, 0, 0]) == pytest.approx(exact, rel=1e-12)


def test_floats_beyond_their_type_become_its_ends(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), tmp_path / "a.nii")
    stored = read_stored_volume(tmp_path / "a.nii")
    changed = stored.changed(BOX, np.ones((4, 4, 4), bool), np.full((4, 4, 4), -1e300))
    assert np.all(changed == np.finfo(np.float32).min)


@pytest.mark.parametrize(("shape", "channel"), [((4, 4, 4, 1, 1), None), ((4, 4, 4, 2, 1), 1), ((4, 4, 4, 2, 1, 1), 0)])
def test_dimensions_of_length_one_stay(tmp_path, shape, channel):
    numbers = np.random.default_rng(0).integers(0, 100, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(numbers, np.eye(4)), tmp_path / "a.nii")
    stored = read_stored_volume(tmp_path / "a.nii", channel)
    covered = np.zeros((4, 4, 4), bool)
    covered[1, 2, 3] = True
    changed = stored.changed(BOX, covered, np.full((4, 4, 4), 500.0))
    assert changed.shape == stored.image(changed).shape == shape
    assert np.argwhere(changed != numbers).tolist() == [[1, 2, 3, channel or 0, *[0] * (len(shape) - 4)]]


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair])
def test_text_of_headers_is_blank_or_kept(tmp_path, image_class):
    image = image_class(np.zeros((4, 4, 4), np.int16), np.eye(4))
    texts = [name for name in ("data_type", "db_name", "descrip", "aux_file", "intent_name") if name in image.header]
    assert len(texts) >= 3
    for name in texts:
        image.header[name] = b"name"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"name"))
    file = tmp_path / ("a.img" if image_class is nib.Nifti1Pair else "a.nii")
    nib.save(image, file)
    for identifiers, expected in (("pseudonyms", b""), ("keep", b"name")):
        stored = read_stored_volume(str(file), identifiers=identifiers)
        for written in (stored.image(stored.numbers), stored.map_image(stored.numbers)):
            nib.save(written, tmp_path / "b.nii")
            assert (b"name" in (tmp_path / "b.nii").read_bytes()) == bool(expected)
            assert all(nib.load(tmp_path / "b.nii").header[name] == expected for name in texts)
    with pytest.raises(ValueError, match="identifiers must be one of pseudonyms, keep, got 'hide'"):
        read_stored_volume(str(file), identifiers="hide")
