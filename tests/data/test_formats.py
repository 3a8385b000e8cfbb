# SPDX-License-Identifier: Apache-2.0
"""Volumes in the formats that MONAI's readers read: their values, and a marked voxel where it lies in the patient."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_diffae.data import LoadVolumed, find_images, find_volumes
from monai_diffae.data.formats import DICOM, MGH, NIFTI, PAIRS, PICTURES, VOLUMES, extension_of
from monai_diffae.results.nifti_files import read_stored_volume
from monai_diffae.support.names import NIBABEL_EXTENSIONS, source_stem, without_extension

SHAPE = (5, 6, 7)
VOXEL = (4, 1, 2)  # the marked one
# Oblique, with axes that are neither in order nor all positive.
TURN = nib.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
AFFINE = nib.affines.from_matvec(TURN @ np.diag([2.0, 1.5, 3.0]), [-11.0, 7.5, 31.0])  # RAS
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def volume(dtype: str) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 100, SHAPE).astype(dtype)
    values[VOXEL] = 120
    return values


def by_nibabel(image_class: type) -> Callable:
    def save(file: Path, values: np.ndarray) -> None:
        plain = file.with_name(file.name.lower())  # nibabel writes extensions of mixed case in another one
        nib.save(image_class(values, AFFINE), plain)
        plain.rename(file)

    return save


def by_itk(file: Path, values: np.ndarray) -> None:
    itk = pytest.importorskip("itk", reason="the extra 'itk' is not installed")
    image = itk.image_from_array(np.ascontiguousarray(values.T))
    lps = LPS @ AFFINE
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing([float(x) for x in spacing])
    image.SetOrigin([float(x) for x in lps[:3, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    itk.imwrite(image, str(file))


def by_nrrd(space: str, signs: tuple[int, int, int]) -> Callable:
    def save(file: Path, values: np.ndarray) -> None:
        nrrd = pytest.importorskip("nrrd", reason="the extra 'nrrd' is not installed")
        there = np.diag([*signs, 1.0]) @ AFFINE
        header = {"space": space, "space directions": there[:3, :3].T, "space origin": there[:3, 3]}
        nrrd.write(str(file), values, header)

    return save


FORMATS = {
    "a.nii": by_nibabel(nib.Nifti1Image),
    "A.NII": by_nibabel(nib.Nifti1Image),
    "A.NII.GZ": by_nibabel(nib.Nifti1Image),
    "b.nii": by_nibabel(nib.Nifti2Image),
    "a.img": by_nibabel(nib.Nifti1Pair),
    "b.img": by_nibabel(nib.Nifti2Pair),
    "a.mgz": by_nibabel(nib.MGHImage),
    "a.mgh": by_nibabel(nib.MGHImage),
    "a.mha": by_itk,
    "a.mhd": by_itk,
    "b.nrrd": by_itk,
    "a.nrrd": by_nrrd("left-posterior-superior", (-1, -1, 1)),
    "c.nrrd": by_nrrd("LPS", (-1, -1, 1)),
    "d.nrrd": by_nrrd("right-anterior-superior", (1, 1, 1)),
    "e.nrrd": by_nrrd("left-anterior-superior", (-1, 1, 1)),
    "a.nhdr": by_nrrd("right-anterior-superior", (1, 1, 1)),
}


def load(file: Path, **options) -> tuple[np.ndarray, np.ndarray]:
    image = LoadVolumed("image", **options)({"image": str(file)})["image"]
    return image[0].numpy(), image.affine.numpy()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_marked_voxel_lies_where_the_file_says_and_results_have_its_type(tmp_path, caplog, name, dtype):
    values = volume(dtype)
    FORMATS[name](tmp_path / name, values)
    (item,) = find_volumes(tmp_path)
    assert item["image"] == str(tmp_path / name)
    found, affine = load(tmp_path / name)
    np.testing.assert_array_equal(found, values)
    place = affine @ [*np.argwhere(found == 120)[0], 1]
    np.testing.assert_allclose(place, AFFINE @ [*VOXEL, 1], atol=1e-3)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-4)

    assert not caplog.records  # nothing is converted or lacking
    stored = read_stored_volume(str(tmp_path / name), load=LoadVolumed("image"))
    image = stored.image(stored.numbers)
    nib.save(image, tmp_path / "result.nii.gz")
    result = nib.load(tmp_path / "result.nii.gz")
    assert result.get_data_dtype() == np.dtype(dtype)
    np.testing.assert_array_equal(np.asarray(result.dataobj), values)
    np.testing.assert_allclose(result.affine, AFFINE, atol=1e-4)


@pytest.mark.parametrize("name", ["a.nii", "A.NII", "A.NII.GZ", "a.img", "A.IMG"])
def test_results_keep_the_header_of_nifti_files_and_pairs(tmp_path, name):
    image_class = nib.Nifti1Pair if name.lower().endswith(".img") else nib.Nifti1Image
    image = image_class(volume("int16"), None)
    image.set_qform(AFFINE, code=3)
    image.set_sform(AFFINE, code=4)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a name"
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / name)
    source = nib.load(tmp_path / name)
    stored = read_stored_volume(str(tmp_path / name))
    nib.save(stored.image(stored.numbers), tmp_path / "result.nii.gz")
    result = nib.load(tmp_path / "result.nii.gz")
    for field in source.header:
        if field not in ("magic", "vox_offset", "descrip"):
            np.testing.assert_array_equal(result.header[field], source.header[field], err_msg=field)
    assert not result.header["descrip"].item()  # free text can name a patient
    assert (result.dataobj.slope, result.dataobj.inter) == (0.5, -3)
    np.testing.assert_array_equal(result.get_fdata(), source.get_fdata())


def test_analyze_files_are_read_as_nibabel_reads_them_and_say_that_they_tell_no_orientation(tmp_path, caplog):
    image = nib.AnalyzeImage(volume("int16"), np.diag([-2.0, 3.0, 4.0, 1.0]))
    nib.save(image, tmp_path / "a.img")
    values, affine = load(tmp_path / "a.img")
    np.testing.assert_array_equal(values, volume("int16"))
    np.testing.assert_allclose(affine, nib.load(tmp_path / "a.img").affine)
    np.testing.assert_allclose(np.diag(affine), [-2, 3, 4, 1])
    assert "tells no orientation (Analyze)" in caplog.text
    stored = read_stored_volume(str(tmp_path / "a.img"))
    np.testing.assert_array_equal(stored.image(stored.numbers).affine, affine)


def test_an_extension_of_which_nibabel_mixes_up_the_case_is_to_be_renamed(tmp_path):
    by_nibabel(nib.Nifti1Image)(tmp_path / "A.Nii.GZ", volume("int16"))
    with pytest.raises(ValueError, match=r"A\.Nii\.GZ cannot be read as an image: .* mixed case; rename it"):
        load(tmp_path / "A.Nii.GZ")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7)])
def test_arrays_are_taken_for_1_mm_and_say_so(tmp_path, caplog, name, shape):
    values = np.random.default_rng(0).integers(0, 100, shape).astype(np.uint16)
    if name.endswith("npz"):
        np.savez(tmp_path / name, values)
    else:
        np.save(tmp_path / name, values)
    found, affine = load(tmp_path / name)
    np.testing.assert_array_equal(found, values.reshape((*shape, 1)[:3]))
    np.testing.assert_array_equal(affine, np.eye(4))
    assert "tells no places; voxels are taken for 1 mm" in caplog.text
    assert read_stored_volume(str(tmp_path / name), load=LoadVolumed("image")).numbers.dtype == np.uint16


class Opens:
    def __reduce__(self):
        return (open, ("harm", "w"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((4, 4)), "b": np.zeros((4, 4))}, r"it holds 2 arrays \(a, b\), expected one"),
        ({"a": np.zeros((2, 4, 4, 4))}, r"its array has the shape \[2, 4, 4, 4\], expected two or three"),
        ({"a": np.zeros((4, 4), complex)}, "holds complex128; expected integers or floats"),
        ({"a": np.array([[Opens()]])}, "allow_pickle"),
    ],
)
def test_arrays_that_are_no_volume_are_refused(tmp_path, monkeypatch, arrays, message):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", **arrays)
    with pytest.raises(ValueError, match=rf"a\.npz.*{message}"):
        load(Path("a.npz"))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("axis", [0, 3])
def test_channels_of_nrrd_lie_along_any_axis(tmp_path, axis):
    nrrd = pytest.importorskip("nrrd", reason="the extra 'nrrd' is not installed")
    values = np.stack([volume("int16"), 2 * volume("int16")], axis=axis)
    directions = np.insert((LPS @ AFFINE)[:3, :3].T, axis, np.nan, axis=0)
    header = {"space": "left-posterior-superior", "space directions": directions}
    nrrd.write(str(tmp_path / "a.nrrd"), values, {**header, "space origin": (LPS @ AFFINE)[:3, 3]})
    found, affine = load(tmp_path / "a.nrrd", channel=1)
    np.testing.assert_array_equal(found, 2 * volume("int16"))
    np.testing.assert_allclose(affine, AFFINE, atol=1e-6)
    with pytest.raises(ValueError, match=r"a\.nrrd has 2 channels"):
        load(tmp_path / "a.nrrd")


def test_nrrd_without_directions_or_of_an_unknown_space_says_what_is_taken(tmp_path, caplog):
    nrrd = pytest.importorskip("nrrd", reason="the extra 'nrrd' is not installed")
    nrrd.write(str(tmp_path / "a.nrrd"), volume("int16"), {"spacings": [2.0, 3.0, 4.0]})
    np.testing.assert_array_equal(load(tmp_path / "a.nrrd")[1], np.diag([2, 3, 4, 1]))
    assert "tells no directions" in caplog.text
    header = {"space": "scanner-xyz", "space directions": np.eye(3), "space origin": np.ones(3)}
    nrrd.write(str(tmp_path / "b.nrrd"), volume("int16"), header)
    np.testing.assert_array_equal(load(tmp_path / "b.nrrd")[1][:3], [[-1, 0, 0, -1], [0, -1, 0, -1], [0, 0, 1, 1]])
    assert "'scanner-xyz', which is taken for left-posterior-superior" in caplog.text


def write_meta_image(file: Path, values: np.ndarray, **fields: object) -> None:
    header = {"ObjectType": "Image", "NDims": values.ndim, "BinaryData": True, "BinaryDataByteOrderMSB": False}
    header |= {"DimSize": " ".join(map(str, values.shape)), "ElementType": "MET_SHORT"} | fields
    lines = "".join(f"{key} = {value}\n" for key, value in (header | {"ElementDataFile": "LOCAL"}).items())
    file.write_bytes(lines.encode() + values.tobytes(order="F"))


def test_flat_meta_images_are_read(tmp_path):
    pytest.importorskip("itk", reason="the extra 'itk' is not installed")
    flat = volume("int16")[..., 0]
    write_meta_image(tmp_path / "a.mha", flat, ElementSpacing="2 3", Offset="5 7")
    values, affine = load(tmp_path / "a.mha")
    np.testing.assert_array_equal(values[..., 0], flat)
    np.testing.assert_allclose(affine, [[-2, 0, 0, -5], [0, -3, 0, -7], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_meta_images_of_signed_bytes_are_read(tmp_path):
    pytest.importorskip("itk", reason="the extra 'itk' is not installed")
    values = volume("int8") - 60
    write_meta_image(tmp_path / "a.mha", values.astype(np.int8), ElementType="MET_CHAR")
    np.testing.assert_array_equal(load(tmp_path / "a.mha")[0], values)
    (tmp_path / "b.mha").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"b\.mha cannot be read as an image"):
        load(tmp_path / "b.mha")


def test_channels_of_meta_images_are_read(tmp_path):
    pytest.importorskip("itk", reason="the extra 'itk' is not installed")
    both = np.stack([volume("int16"), 2 * volume("int16")])  # channels vary fastest
    fields = {"NDims": 3, "DimSize": "5 6 7", "ElementNumberOfChannels": 2}
    write_meta_image(tmp_path / "a.mha", both, **fields)
    np.testing.assert_array_equal(load(tmp_path / "a.mha", channel=1)[0], both[1])
    with pytest.raises(ValueError, match=r"a\.mha has 2 channels"):
        load(tmp_path / "a.mha")


@pytest.mark.parametrize(("name", "module", "extra"), [("a.mha", "itk", "itk"), ("a.nrrd", "nrrd", "nrrd")])
def test_what_needs_a_package_names_it(tmp_path, caplog, monkeypatch, name, module, extra):
    """In a process that cannot import it."""
    from monai_diffae.data import formats

    formats._is_installed.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ImportError
    try:
        for other in (name, "b.nii"):
            (tmp_path / other).touch()
        caplog.set_level(logging.WARNING)
        assert [Path(item["image"]).name for item in find_volumes(tmp_path)] == ["b.nii"]
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.endswith(f"to read them: pip install 'monai-diffae[{extra}]': 1, e.g. {tmp_path / name}")
        with pytest.raises(ImportError, match=rf"{module}; to read them: pip install 'monai-diffae\[{extra}\]'"):
            load(tmp_path / name)
    finally:
        formats._is_installed.cache_clear()


def test_data_of_detached_headers_are_not_taken_for_files_of_their_own(tmp_path, caplog):
    by_itk(tmp_path / "a.mhd", volume("int16"))
    by_nrrd("right-anterior-superior", (1, 1, 1))(tmp_path / "b.nhdr", volume("int16"))
    assert len(list(tmp_path.iterdir())) == 4
    assert [Path(item["image"]).name for item in find_volumes(tmp_path)] == ["a.mhd", "b.nhdr"]
    assert not caplog.records


def test_every_extension_is_known_where_results_are_named():
    for known in (*VOLUMES, DICOM):
        for extension in known.extensions:
            assert source_stem(f"/x/a.b{extension}") == "a.b"
            assert without_extension(f"A{extension.upper()}") == "A"
            assert extension_of(f"x.y{extension.upper()}") == extension
    assert set(NIBABEL_EXTENSIONS) == {*NIFTI.extensions, *PAIRS.extensions, *MGH.extensions}
    assert PICTURES in VOLUMES
    assert without_extension(".png") == ".png"


def test_volumes_that_differ_in_the_extension_only_are_refused(tmp_path):
    for name in ("a.nrrd", "a.mha"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="differ in the extension only"):
        find_volumes(tmp_path)
    with pytest.raises(ValueError, match="No pictures"):
        find_images(tmp_path)
