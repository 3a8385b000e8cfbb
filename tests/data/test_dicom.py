# SPDX-License-Identifier: Apache-2.0
"""DICOM of the kinds that hospitals and archives give, made here with pydicom: values, places and what is left out."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, Spacingd

from monai_diffae.data import LoadVolumed, find_volumes

pydicom = pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid  # noqa: E402

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
AXIAL = [1, 0, 0, 0, 1, 0]


def image(pixels: np.ndarray, **tags) -> Dataset:
    """A CT image of these pixels, ``([frames,] rows, columns[, 3])``, with these tags; None takes one away."""
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SOPClassUID, d.SOPInstanceUID, d.SeriesInstanceUID = CT, generate_uid(), "1.2.3"
    d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
    d.PatientID, d.Modality, d.InstanceNumber = "patient", "CT", 1
    d.SamplesPerPixel = 3 if pixels.shape[-1] == 3 else 1
    shape = pixels.shape[:-1] if d.SamplesPerPixel == 3 else pixels.shape
    d.Rows, d.Columns = shape[-2:]
    d.PhotometricInterpretation = "RGB" if d.SamplesPerPixel == 3 else "MONOCHROME2"
    if d.SamplesPerPixel == 3:
        d.PlanarConfiguration = 0
    d.BitsAllocated = d.BitsStored = 8 * pixels.dtype.itemsize
    d.HighBit = d.BitsStored - 1
    d.PixelRepresentation = int(pixels.dtype.kind == "i")
    d.PixelSpacing, d.ImagePositionPatient, d.ImageOrientationPatient = [2, 3], [-10, -20, 30], AXIAL
    d.PixelData = pixels.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(d, name)
        else:
            setattr(d, name, value)
    return d


def save(d: Dataset, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    d.save_as(file, enforce_file_format=True)
    return file


def load(file: Path) -> tuple[np.ndarray, np.ndarray]:
    found = LoadVolumed("image")({"image": str(file)})["image"]
    return found[0].numpy(), found.affine.numpy()


def found(folder: Path, **options) -> list[str]:
    return [Path(item["image"]).relative_to(folder).as_posix() for item in find_volumes(folder, **options)]


def random_pixels(*shape: int, dtype: type = np.int16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def series(pixels: np.ndarray, step=(0, 0, 5), start=(-10, -20, 30), orientation=AXIAL, **tags) -> list[Dataset]:
    """Slices ``(slices, rows, columns)``, in the order of ``step``, numbered backwards."""
    positions = np.asarray(start, float) + np.arange(len(pixels))[:, None] * np.asarray(step, float)
    return [
        image(
            one,
            ImagePositionPatient=[f"{x:.9g}" for x in place],
            ImageOrientationPatient=[f"{x:.9g}" for x in orientation],
            InstanceNumber=len(pixels) - k,
            **tags,
        )
        for k, (one, place) in enumerate(zip(pixels, positions))
    ]


def save_all(datasets: list[Dataset], folder: Path) -> Path:
    for k, d in enumerate(datasets):
        save(d, folder / f"IM{k:04d}")
    return folder


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


# Values


@pytest.mark.parametrize(
    ("dtype", "bits", "turned"),
    [(np.uint8, 8, lambda v: 255 - v), (np.uint16, 12, lambda v: 4095 - v), (np.int16, 16, lambda v: -1 - v)],
)
def test_monochrome1_is_turned_over_in_the_range_of_its_bits(tmp_path, said, dtype, bits, turned):
    pixels = random_pixels(4, 5, dtype=dtype)
    file = save(
        image(pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=bits, HighBit=bits - 1), tmp_path / "a"
    )
    values, _ = load(file)
    np.testing.assert_array_equal(values[..., 0], turned(pixels.astype(float)).T)
    assert said() == [
        f"{file}: has low values for bright (MONOCHROME1) and is turned over (said once for all such files)"
    ]


def test_slices_of_monochrome1_are_turned_over_in_one_range_and_said_once(tmp_path, said):
    pixels = random_pixels(3, 4, 5, dtype=np.uint16)
    pixels[1] *= 10
    tags = {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 2, "RescaleIntercept": -1000}
    values, _ = load(save_all(series(pixels, **tags), tmp_path))
    np.testing.assert_array_equal(values.transpose(2, 1, 0), 2.0 * (65535 - pixels.astype(float)) - 1000)
    assert len(said()) == 1


def test_the_slope_of_each_slice_is_its_own(tmp_path):
    pixels = random_pixels(3, 4, 5, dtype=np.uint16)
    slices = series(pixels)
    for k, d in enumerate(slices):
        d.RescaleSlope, d.RescaleIntercept = 0.5 * (k + 1), 10 * k
    values, _ = load(save_all(slices, tmp_path))
    expected = [0.5 * (k + 1) * one.astype(float) + 10 * k for k, one in enumerate(pixels)]
    np.testing.assert_allclose(values.transpose(2, 1, 0), expected)


def test_a_slope_without_intercept_counts(tmp_path):
    pixels = random_pixels(4, 5)
    values, _ = load(save(image(pixels, RescaleSlope=3), tmp_path / "a"))
    np.testing.assert_array_equal(values[..., 0], 3 * pixels.T)


def test_a_table_of_values_is_looked_up(tmp_path):
    pixels = random_pixels(4, 5, dtype=np.uint8)
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.add_new("LUTData", "US", [k * k for k in range(256)])
    table.ModalityLUTType = "US"
    values, _ = load(save(image(pixels, ModalityLUTSequence=Sequence([table])), tmp_path / "a"))
    np.testing.assert_array_equal(values[..., 0], pixels.T.astype(float) ** 2)


def test_colours_become_one_grey_slice(tmp_path, said):
    colours = random_pixels(4, 5, 3, dtype=np.uint8)
    grey = np.rint(colours @ [0.299, 0.587, 0.114]).T[..., None]
    placeless = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    file = save(image(colours, **placeless), tmp_path / "rgb")
    np.testing.assert_array_equal(load(file)[0], grey)
    assert said()[1:] == [f"{file}: is in colour (RGB) and becomes grey (said once for all such files)"]
    planar = image(colours, PlanarConfiguration=1, PixelData=colours.transpose(2, 0, 1).tobytes(), **placeless)
    np.testing.assert_array_equal(load(save(planar, tmp_path / "planar"))[0], grey)
    ybr = pydicom.pixels.convert_color_space(colours, "RGB", "YBR_FULL")
    values, _ = load(save(image(ybr, PhotometricInterpretation="YBR_FULL", **placeless), tmp_path / "ybr"))
    np.testing.assert_allclose(values, grey, atol=2)
    assert [d["image"] for d in find_volumes(tmp_path)] == [str(tmp_path / name) for name in ("planar", "rgb", "ybr")]


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_looked_up(tmp_path, bits):
    indices = random_pixels(4, 5, dtype=np.uint8)
    palette = np.random.default_rng(1).integers(0, 2**bits, (3, 256)).astype(f"uint{bits}")
    d = image(indices, PhotometricInterpretation="PALETTE COLOR")
    for name, colours in zip(("Red", "Green", "Blue"), palette):
        setattr(d, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(d, f"{name}PaletteColorLookupTableData", colours.tobytes())
    values, _ = load(save(d, tmp_path / "a"))
    expected = np.rint(np.moveaxis(palette[:, indices], 0, -1) @ [0.299, 0.587, 0.114])
    np.testing.assert_array_equal(values[..., 0], expected.T)


def test_compression_without_a_decoder_names_the_file_and_what_to_install(tmp_path):
    file = pydicom.data.get_testdata_file("JPEGLSNearLossless_16.dcm")
    with pytest.raises(ValueError, match=r"JPEGLSNear.*compressed \(JPEG-LS.*no decoder.*pip install pylibjpeg"):
        load(Path(file))


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"])
def test_other_encodings_hold_the_same_image(name):
    expected = load(Path(pydicom.data.get_testdata_file("MR_small.dcm")))
    for one, other in zip(load(Path(pydicom.data.get_testdata_file(name))), expected):
        np.testing.assert_array_equal(one, other)


# Places


def turned(angles: tuple[float, float, float]) -> np.ndarray:
    """Two directions and their normal, ``(3, 3)``."""
    cx, cy, cz = np.cos(angles)
    sx, sy, sz = np.sin(angles)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (x @ y @ z).T


def check_places(values: np.ndarray, affine: np.ndarray, marks: dict[tuple[float, float, float], int]) -> None:
    """Marked voxels lie at their place in the patient (LPS, mm), to a hundredth."""
    for place, value in marks.items():
        (voxel,) = np.argwhere(values == value)
        np.testing.assert_allclose((affine @ [*voxel, 1])[:3] * [-1, -1, 1], place, atol=0.01)


@pytest.mark.parametrize("angles", [(0, 0, 0), (np.pi / 2, 0, 0), (0, np.pi / 2, np.pi / 2), (0.3, -0.2, 0.1)])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("direction", [1, -1])
def test_marked_voxels_lie_where_the_file_says(tmp_path, angles, count, direction):
    right, down, normal = turned(angles)
    pixels = np.zeros((count, 6, 7), np.int16)
    start, step = np.array([-30.0, 12.5, 7.25]), direction * 4.5 * normal
    marks = {}
    for value, (k, row, column) in enumerate([(0, 0, 0), (count - 1, 5, 1), (count // 2, 2, 6)], start=1):
        pixels[k, row, column] = value
        marks[tuple(start + column * 3 * right + row * 2 * down + k * step)] = value
    save_all(series(pixels, step=step, start=start, orientation=[*right, *down]), tmp_path)
    (item,) = find_volumes(tmp_path)
    values, affine = load(Path(item["image"]))
    assert values.shape == (7, 6, count)
    check_places(values, affine, {place: value for place, value in marks.items() if (values == value).any()})
    assert np.linalg.det(affine[:3, :3]) > 0  # x to the left, y to the back, z up: right-handed in LPS and in RAS


def test_a_gantry_tilt_is_kept_as_a_shear_and_said(tmp_path, said):
    pixels = np.zeros((5, 6, 7), np.int16)
    tilt = np.deg2rad(20)
    right, down = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    pixels[4, 1, 2] = 9
    save_all(series(pixels, step=(0, 0, 5), orientation=[*right, *down]), tmp_path)
    values, affine = load(tmp_path)
    place = np.array([-10, -20, 30]) + 2 * 3 * right + 1 * 2 * down + 4 * np.array([0, 0, 5])
    check_places(values, affine, {tuple(place): 9})
    assert len(said()) == 1
    assert "tilted gantry" in said()[0]


@pytest.mark.parametrize("degrees", [0, 20])
def test_what_is_seen_stays_where_it_is_when_a_tilted_volume_is_prepared(tmp_path, degrees):
    tilt = np.deg2rad(degrees)
    right, down, step = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)]), np.array([0, 0, 4.0])
    k, row, column = np.mgrid[:20, :40, :30]
    places = [-50, -40, 0] + column[..., None] * 3 * right + row[..., None] * 2 * down + k[..., None] * step
    centre = places[12, 25, 20]
    pixels = (1000 * np.exp(-np.square(places - centre).sum(axis=-1) / (2 * 8**2))).astype(np.int16)
    save_all(series(pixels, step=step, start=(-50, -40, 0), orientation=[*right, *down]), tmp_path)
    prepare = Compose([LoadVolumed("image"), Orientationd("image", "RAS", labels=None), Spacingd("image", (3, 3, 3))])
    prepared = prepare({"image": str(tmp_path)})["image"]
    weights = prepared[0].numpy() * (prepared[0].numpy() > 200)
    middle = [float((weights * axis).sum() / weights.sum()) for axis in np.indices(weights.shape)]
    found = (prepared.affine.numpy() @ [*middle, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(found, centre, atol=0.2)  # mm, of voxels of 3 mm


def test_without_a_place_the_pixel_spacing_is_kept_and_rows_stay_rows(tmp_path, said):
    pixels = random_pixels(4, 5)
    d = image(pixels, ImagePositionPatient=None, ImageOrientationPatient=None)
    values, affine = load(save(d, tmp_path / "a"))
    np.testing.assert_array_equal(values[..., 0], pixels.T)
    np.testing.assert_allclose(affine, np.diag([-3, -2, 1, 1]))
    assert [line.split(": ")[-1] for line in said()] == [
        "has no place in the patient and is taken for an axial slice, its left the patient's right (said once for all "
        "such files)"
    ]


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"ImagerPixelSpacing": [0.2, 0.3]}, (0.3, 0.2)),
        ({"NominalScannedPixelSpacing": [0.5, 0.4]}, (0.4, 0.5)),
        ({"PixelAspectRatio": [2, 1]}, (1, 2)),
        ({}, (1, 1)),
    ],
)
def test_another_size_of_pixels_is_taken_where_there_is_no_pixel_spacing(tmp_path, said, tags, spacing):
    d = image(random_pixels(4, 5), PixelSpacing=None, ImagePositionPatient=None, ImageOrientationPatient=None, **tags)
    _, affine = load(save(d, tmp_path / "a"))
    np.testing.assert_allclose(np.diag(affine), [-spacing[0], -spacing[1], 1, 1])
    assert len(said()) == 2


def test_images_of_a_series_without_places_are_images_each(tmp_path):
    for k in range(3):
        d = image(random_pixels(4, 5), ImagePositionPatient=None, ImageOrientationPatient=None, InstanceNumber=k)
        save(d, tmp_path / f"{k}.dcm")
    assert found(tmp_path) == ["0.dcm", "1.dcm", "2.dcm"]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([0, 5, 15], r"not evenly spaced: between 5\.000 and 10\.000 mm; is one missing"),
        ([0, 5, 5], r"not evenly spaced: between 0\.000 and 5\.000"),
        ([0, 0, 5, 5], "are there several volumes"),
        ([0, 5, 9, 15], "not evenly spaced"),
    ],
)
def test_slices_that_make_no_volume_are_refused(tmp_path, places, message):
    slices = series(random_pixels(len(places), 4, 5))
    for d, z in zip(slices, places):
        d.ImagePositionPatient = [-10, -20, z]
    save_all(slices, tmp_path)
    assert found(tmp_path) == ["."]
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_numbers_that_are_no_place_are_named_in_one_line(tmp_path):
    (only,) = series(random_pixels(1, 4, 5))
    only.PixelSpacing = [0, 0]
    save_all([only], tmp_path)
    with pytest.raises(ValueError, match=r"orientation \[1\.0, .* or spacing \[0\.0, 0\.0\] is no place$"):
        load(tmp_path)


def test_one_missing_slice_of_many_is_noticed(tmp_path):
    for missing in (1, 50, 98):
        slices = series(random_pixels(100, 2, 2))
        del slices[missing]
        save_all(slices, tmp_path / str(missing))
        with pytest.raises(ValueError, match="is one missing"):
            load(tmp_path / str(missing))


def test_positions_that_were_rounded_are_even(tmp_path):
    slices = series(random_pixels(40, 2, 2))
    for k, d in enumerate(slices):
        d.ImagePositionPatient = [-10, -20, round(0.625 * k, 1)]
    values, affine = load(save_all(slices, tmp_path))
    assert values.shape == (2, 2, 40)
    np.testing.assert_allclose(affine[2, 2], 0.625, atol=0.005)


def test_slices_that_are_shifted_are_refused(tmp_path):
    slices = series(random_pixels(4, 6, 6))
    slices[2].ImagePositionPatient = [22, -20, 40]
    with pytest.raises(ValueError, match=r"shifted against each other, by up to 10\.7 pixels"):
        load(save_all(slices, tmp_path))


# What lies beside


@pytest.mark.parametrize("marked", [True, False])
def test_a_topogram_in_the_series_is_left_out(tmp_path, said, marked):
    pixels = random_pixels(3, 4, 5)
    save_all(series(pixels), tmp_path)
    topogram = image(random_pixels(40, 50, seed=1), ImageOrientationPatient=[0, 1, 0, 0, 0, -1], InstanceNumber=0)
    if marked:
        topogram.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(topogram, tmp_path / "AA")
    assert found(tmp_path) == ["."]
    values, affine = load(tmp_path)
    np.testing.assert_array_equal(values.transpose(2, 1, 0), pixels)
    np.testing.assert_allclose(affine[:3, 2], [0, 0, 5])
    kind = "topograms and localizers" if marked else "slices that lie across the others of their series"
    assert said() == [f"{tmp_path}: left out DICOM {kind}: 1, e.g. {tmp_path / 'AA'}"]


def without_pixels(kind: str) -> Dataset:
    d = image(random_pixels(2, 2))
    for name in ("PixelData", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(d, name)
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = UID(kind)
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return d


def test_what_is_no_image_beside_a_series_is_left_out(tmp_path, said):
    pixels = random_pixels(3, 4, 5)
    save_all(series(pixels), tmp_path)
    save(without_pixels("1.2.840.10008.1.3.10"), tmp_path / "DICOMDIR")
    save(without_pixels("1.2.840.10008.5.1.4.1.1.88.22"), tmp_path / "report.dcm")
    save(without_pixels("1.2.840.10008.5.1.4.1.1.481.5"), tmp_path / "plan.dcm")
    save(without_pixels("1.2.840.10008.5.1.4.1.1.481.3"), tmp_path / "structures")
    segmentation = image(random_pixels(2, 4, 5, dtype=np.uint8), SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    save(segmentation, tmp_path / "segmentation")
    save(image(random_pixels(4, 5), SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2", NumberOfFrames=1), tmp_path / "dose")
    film = image(random_pixels(3, 4, 5, dtype=np.uint8), NumberOfFrames=3, ImagePositionPatient=None)
    save(film, tmp_path / "film")
    spectra = without_pixels("1.2.840.10008.5.1.4.1.1.4.2")
    spectra.Rows, spectra.Columns = 2, 2
    save(spectra, tmp_path / "spectra")
    save(image(random_pixels(4, 5), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), tmp_path / "mosaic")
    screen = image(
        random_pixels(8, 8, 3, dtype=np.uint8), SeriesInstanceUID="9", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"
    )
    del screen.ImagePositionPatient
    save(screen, tmp_path / "screen")
    assert found(tmp_path) == ["."]
    np.testing.assert_array_equal(load(tmp_path)[0].transpose(2, 1, 0), pixels)
    assert sorted(line.removeprefix(f"{tmp_path}: left out DICOM ").split(", e.g.")[0] for line in said()) == [
        "files without pixels (DICOMDIR, reports, plans and the like): 5",
        "films (frames without places in the patient): 1",
        "images without a place in the patient beside a series (screenshots): 1",
        "mosaics of slices (Siemens; dcm2niix converts them): 1",
        "segmentations and doses, which are no images: 2",
    ]


def test_a_list_that_names_a_folder_says_what_is_left_out_of_it(tmp_path, said):
    save_all(series(random_pixels(3, 4, 5)), tmp_path / "ct")
    save(without_pixels("1.2.840.10008.1.3.10"), tmp_path / "ct" / "DICOMDIR")
    (tmp_path / "list.csv").write_text("image\nct\n")
    assert found(tmp_path, data_list=tmp_path / "list.csv") == ["ct"]
    (line,) = said()
    assert line.endswith(
        f"DICOM files without pixels (DICOMDIR, reports, plans and the like): 1, e.g. {tmp_path}/ct/DICOMDIR"
    )


def test_copies_of_slices_are_left_out(tmp_path, said):
    pixels = random_pixels(3, 4, 5)
    slices = series(pixels)
    save_all([*slices, copy.deepcopy(slices[1])], tmp_path)
    assert found(tmp_path) == ["."]
    assert load(tmp_path)[0].shape == (5, 4, 3)
    assert said() == [f"{tmp_path}: left out copies of DICOM images that are taken already: 1, e.g. {tmp_path}/IM0003"]


def test_two_stacks_in_a_folder_are_refused_and_a_single_slice_of_another_series_is_an_image(tmp_path):
    save_all(series(random_pixels(3, 4, 5)), tmp_path / "a")
    save(image(random_pixels(4, 5), SeriesInstanceUID="4.5"), tmp_path / "a" / "single")
    assert found(tmp_path) == ["a", "a/single"]
    assert load(tmp_path / "a")[0].shape == (5, 4, 3)
    for k, d in enumerate(series(random_pixels(2, 4, 5), SeriesInstanceUID="6.7")):
        save(d, tmp_path / "a" / f"other{k}")
    with pytest.raises(ValueError, match=r"a holds 3 DICOM series with 2 stacks of slices \(3, 2 slices\)"):
        find_volumes(tmp_path)


def test_many_slices_of_as_many_directions_are_images_each(tmp_path):
    angles = np.linspace(0, np.pi, 40, endpoint=False)
    for k, angle in enumerate(angles):
        directions = [np.cos(angle), np.sin(angle), 0, 0, 0, -1]
        save(
            image(random_pixels(4, 5), ImageOrientationPatient=[f"{x:.9g}" for x in directions]), tmp_path / f"{k:02d}"
        )
    assert found(tmp_path) == [f"{k:02d}" for k in range(40)]


@pytest.mark.parametrize("tags", [{"PatientID": None}, {}])
def test_files_without_a_preamble_are_read(tmp_path, tags):
    pixels = random_pixels(4, 5)
    d = image(pixels, **tags)
    del d.file_meta
    (tmp_path / "sub").mkdir()
    d.save_as(tmp_path / "sub" / "a", implicit_vr=True, little_endian=True)
    d.save_as(tmp_path / "sub" / "b.dcm", implicit_vr=False, little_endian=True)
    assert (tmp_path / "sub" / "a").read_bytes()[128:132] != b"DICM"
    for name in ("a", "b.dcm"):
        np.testing.assert_array_equal(load(tmp_path / "sub" / name)[0][..., 0], pixels.T)
    (tmp_path / "sub" / "c").write_bytes(b"\x08\x00" + bytes(range(200)))  # begins like one
    assert found(tmp_path) == ["sub/a"] if "PatientID" in tags else ["sub/a", "sub/b.dcm"]


def test_a_damaged_file_is_named(tmp_path):
    file = save(image(random_pixels(64, 64)), tmp_path / "a.dcm")
    file.write_bytes(file.read_bytes()[:2000])
    assert found(tmp_path) == ["a.dcm"]
    with pytest.raises(ValueError, match=r"a\.dcm cannot be read as an image"):
        load(file)


# Several frames


def enhanced(pixels: np.ndarray, places: list, **tags) -> Dataset:
    """An enhanced MR file, with slopes of its frames."""
    d = image(pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", NumberOfFrames=len(pixels), **tags)
    for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(d, name)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, orientation.ImageOrientationPatient = [2, 3], [0, 1, 0, 0, 0, -1]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    frames = []
    for k, place in enumerate(places):
        frame, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = list(place)
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = k + 1, 10, "US"
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([values])
        frames.append(frame)
    d.SharedFunctionalGroupsSequence = Sequence([shared])
    d.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return d


def test_frames_of_an_enhanced_file_are_a_volume_in_the_order_of_their_places(tmp_path):
    pixels = random_pixels(4, 5, 6)
    places = [(x, -20, 30) for x in (8, 4, 0, 12)]
    save(enhanced(pixels, places), tmp_path / "a.dcm")
    assert found(tmp_path) == ["a.dcm"]
    values, affine = load(tmp_path / "a.dcm")
    order = [3, 0, 1, 2]  # along the normal, to the right
    expected = np.stack([(k + 1.0) * pixels[k].T + 10 for k in order], axis=-1)
    np.testing.assert_array_equal(values, expected)
    for k, slice_ in zip(order, range(4)):
        np.testing.assert_allclose((affine @ [0, 0, slice_, 1])[:3] * [-1, -1, 1], places[k])
    np.testing.assert_allclose(affine[:3, 0] * [-1, -1, 1], [0, 3, 0])
    np.testing.assert_allclose(affine[:3, 1] * [-1, -1, 1], [0, 0, -2])


def test_frames_that_make_no_volume_are_refused(tmp_path):
    pixels = random_pixels(4, 5, 6)
    twice = save(enhanced(pixels, [(0, 0, 0), (5, 0, 0)] * 2), tmp_path / "twice.dcm")
    with pytest.raises(ValueError, match=r"twice\.dcm .*are there several volumes"):
        load(twice)
    cine = save(image(pixels, NumberOfFrames=4, ImagePositionPatient=None, PixelSpacing=None), tmp_path / "cine.dcm")
    with pytest.raises(ValueError, match="mosaic of slices"):
        load(save(image(pixels[0], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), tmp_path / "mosaic"))
    with pytest.raises(ValueError, match=r"cine\.dcm .* 4 frames have no places in the patient; convert it"):
        load(cine)


def test_intensities_of_float32_are_those_of_the_file(tmp_path):
    assert load(save(image(random_pixels(4, 5)), tmp_path / "a"))[0].dtype == np.float32
    assert torch.is_tensor(LoadVolumed("image")({"image": tmp_path / "a"})["image"])
