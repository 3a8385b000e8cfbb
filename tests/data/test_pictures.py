# SPDX-License-Identifier: Apache-2.0
"""Picture files of every kind, read by MONAI's LoadImaged to [-1, 1], and written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged, SaveImaged
from PIL import Image
from skimage.data import astronaut, camera

from monai_diffae.data import CenterCropToAspectd, PasteIntoSourced, PictureReader, PictureWriter, ResizePictured
from monai_diffae.support.root_cause import root_cause

GREY = camera()[::16, ::20]  # 32 rows, 26 columns
RGB = astronaut()[::16, ::20]


def load(file: Path, channels: int, **options) -> MetaTensor:
    reader = PictureReader(channels, **options)
    return Compose([LoadImaged("image", reader=reader, ensure_channel_first=True)])({"image": str(file)})["image"]


def scaled(pixels: np.ndarray, white: float = 255) -> np.ndarray:
    """``(rows, columns[, C])`` to ``(C, rows, columns)`` in [-1, 1]."""
    values = 2 * pixels.astype(np.float64) / white - 1
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


def check(found: MetaTensor, expected: np.ndarray, levels: float = 0.01) -> None:
    """Equal up to ``levels`` of 256."""
    assert found.dtype == torch.float32
    assert tuple(found.meta["spatial_shape"]) == found.shape[1:]
    np.testing.assert_allclose(found.as_tensor().numpy(), expected, atol=levels * 2 / 255)


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
def test_8_bits_are_read_as_they_are(tmp_path, extension):
    Image.fromarray(GREY).save(tmp_path / f"grey.{extension}")
    Image.fromarray(RGB).save(tmp_path / f"rgb.{extension}")
    check(load(tmp_path / f"grey.{extension}", 1), scaled(GREY))
    check(load(tmp_path / f"grey.{extension}", 3), np.repeat(scaled(GREY), 3, axis=0))
    check(load(tmp_path / f"rgb.{extension}", 3), scaled(RGB))
    check(load(tmp_path / f"rgb.{extension}", 1), scaled(luma(RGB)), levels=1)


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_lossy_files_are_read_nearly_as_they_were(tmp_path, extension):
    smooth = np.asarray(Image.fromarray(RGB).resize((8, 8)).resize((64, 48), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / f"a.{extension}", quality=98)
    check(load(tmp_path / f"a.{extension}", 3), scaled(smooth), levels=16)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "big_endian.tif"])
def test_16_bit_grey_is_scaled_by_what_16_bits_hold(tmp_path, name, channels):
    pixels = GREY.astype(np.uint16) * 250 + 3
    pixels[0, 0], pixels[0, 1] = 0, 65535
    if name.endswith(".png"):
        Image.fromarray(pixels).save(tmp_path / name)
    else:
        tifffile.imwrite(tmp_path / name, pixels, byteorder=">" if "big" in name else "<")
    found = load(tmp_path / name, channels)
    assert found.shape == (channels, *GREY.shape)
    check(found, np.repeat(scaled(pixels, 65535), channels, axis=0), levels=0.001)
    assert (found.min(), found.max()) == (-1, 1)


def test_1_bit_is_black_and_white(tmp_path):
    bits = GREY > 128
    for extension in ("png", "tif"):
        Image.fromarray(bits).save(tmp_path / f"a.{extension}")
        assert Image.open(tmp_path / f"a.{extension}").mode == "1"
        check(load(tmp_path / f"a.{extension}", 1), scaled(bits, 1))
        check(load(tmp_path / f"a.{extension}", 3), np.repeat(scaled(bits, 1), 3, axis=0))


def test_palettes_are_looked_up(tmp_path):
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    expected = np.asarray(palette.getpalette()).reshape(-1, 3)[np.asarray(palette)]
    check(load(tmp_path / "a.png", 3), scaled(expected))
    check(load(tmp_path / "a.png", 1), scaled(luma(expected)), levels=1)


@pytest.mark.parametrize("background", [1.0, -1.0, 0.2])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_show_the_background(tmp_path, background, channels):
    alpha = np.linspace(0, 255, GREY.shape[1]).round().astype(np.uint8)[None].repeat(len(GREY), 0)
    source = GREY[..., None] if channels == 1 else RGB
    mode = "LA" if channels == 1 else "RGBA"
    Image.fromarray(np.dstack([source, alpha])).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == mode
    expected = background + (scaled(source) - background) * alpha / 255
    found = load(tmp_path / "a.png", channels, background=background)
    check(found, expected, levels=2)
    assert torch.allclose(found[:, :, 0], torch.tensor(background), atol=1 / 255)


def test_a_transparent_colour_of_a_palette_shows_the_background(tmp_path):
    palette = Image.fromarray((GREY > 128).astype(np.uint8), mode=None).convert("P")
    palette.putpalette([10, 10, 10, 200, 100, 50])
    palette.save(tmp_path / "a.png", transparency=0)
    expected = np.where((GREY > 128)[..., None], [200, 100, 50], 255)
    check(load(tmp_path / "a.png", 3), scaled(expected))


def test_cmyk_photographs_become_rgb(tmp_path):
    smooth = Image.fromarray(RGB).resize((8, 8)).resize((64, 48), Image.Resampling.BICUBIC)
    smooth.convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    assert Image.open(tmp_path / "a.jpg").mode == "CMYK"
    check(load(tmp_path / "a.jpg", 3), scaled(np.asarray(smooth)), levels=16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_exif_says(tmp_path, orientation):
    """Of the EXIF standard: where row 0 and column 0 of the stored pixels belong."""
    stored = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB),
        7: np.rot90(RGB.transpose(1, 0, 2), 2),
        8: np.rot90(RGB, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    check(load(tmp_path / "a.png", 3), scaled(RGB))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16])
def test_pixels_without_a_black_and_white_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype))
    with pytest.raises(RuntimeError) as raised:
        load(tmp_path / "a.tif", 1)
    error = root_cause(raised.value)
    assert isinstance(error, ValueError)
    assert str(error).startswith(f"{tmp_path / 'a.tif'} cannot be read")
    assert "rescale it to 8 or 16 bits" in str(error)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "missing"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, damage):
    file = tmp_path / "a.png"
    Image.fromarray(GREY).save(file)
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"truncated": file.read_bytes()[:200], "text": b"no picture", "empty": b""}[damage])
    reader = PictureReader(1)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture"):
        reader.get_data(reader.read(file))
    with pytest.raises(RuntimeError, match="applying transform"):  # and MONAI does not go on to other readers
        load(file, 1)


@pytest.mark.parametrize("arguments", [(2, 0.0), (1, 255), (1, -1.1)])
def test_arguments_that_are_not_known_are_refused(arguments):
    with pytest.raises(ValueError, match=r"channels 1 \(grey\) or 3 \(RGB\) and background in"):
        PictureReader(*arguments)


def save(picture: torch.Tensor, folder: Path) -> Path:
    meta = {"filename_or_obj": str(folder / "a.jpg")}
    options = {"writer": PictureWriter, "output_ext": ".png", "resample": False, "separate_folder": False}
    options |= {"output_postfix": "edit", "squeeze_end_dims": False, "print_log": False}
    SaveImaged("image", output_dir=folder / "out", **options)({"image": MetaTensor(picture, meta=meta)})
    assert [path.name for path in (folder / "out").iterdir()] == ["a_edit.png"]
    return folder / "out" / "a_edit.png"


@pytest.mark.parametrize("pixels", [GREY, RGB, GREY[:1], GREY[:, :1], RGB[:1, :1]], ids=lambda x: str(x.shape))
def test_what_was_read_is_written_unchanged(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    file = save(load(tmp_path / "a.png", 1 if pixels.ndim == 2 else 3), tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)


def test_pictures_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(Exception, match="") as raised:
        save(torch.tensor([[[0.0, torch.nan]]]), tmp_path)
    assert "a_edit.png: 1 of the 2 numbers of its picture are NaN or infinite" in str(root_cause(raised.value))
    assert list((tmp_path / "out").iterdir()) == []


def test_values_are_rounded_and_clipped(tmp_path):
    values = torch.tensor([[-1.5, -1.0, 0.0, 0.999, 1.0, 7.0]])[None]
    assert np.asarray(Image.open(save(values, tmp_path))).tolist() == [[0, 0, 128, 255, 255, 255]]


@pytest.mark.parametrize(
    ("source", "size", "expected"),
    [
        ((40, 60), (32, 32), (slice(0, 40), slice(10, 50))),
        ((60, 40), (32, 32), (slice(10, 50), slice(0, 40))),
        ((40, 60), (16, 48), (slice(10, 30), slice(0, 60))),
        ((41, 60), (16, 48), (slice(10, 30), slice(0, 60))),
        ((8, 5), (64, 64), (slice(2, 7), slice(0, 5))),
        ((1, 9), (32, 32), (slice(0, 1), slice(4, 5))),
    ],
)
def test_the_crop_is_the_largest_centred_one_and_is_pasted_back_where_it_was(tmp_path, source, size, expected):
    pixels = np.random.default_rng(0).integers(0, 256, source, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load(tmp_path / "a.png", 1)
    crop = CenterCropToAspectd("image", size)({"image": image})["image"]
    torch.testing.assert_close(crop.as_tensor(), image.as_tensor()[(slice(None), *expected)], rtol=0, atol=0)
    result = MetaTensor(torch.full((1, *size), 0.5)).copy_meta_from(crop)
    pasted = PasteIntoSourced("result", PictureReader(1))({"result": result})["result"]
    wanted = image.as_tensor().clone()
    wanted[(slice(None), *expected)] = 0.5
    torch.testing.assert_close(pasted.as_tensor(), wanted, rtol=0, atol=1e-5)
    assert pasted.meta["filename_or_obj"] == str(tmp_path / "a.png")


def test_what_the_network_sees_unchanged_is_pasted_unchanged(tmp_path, device):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    image = load(tmp_path / "a.png", 3)
    crop = CenterCropToAspectd("image", (8, 8))({"image": image})["image"]
    series = MetaTensor(torch.stack([crop.as_tensor(), -crop.as_tensor()]).to(device)).copy_meta_from(crop)
    pasted = PasteIntoSourced("result", PictureReader(3))({"result": series})["result"]
    assert pasted.shape == (2, *image.shape)
    torch.testing.assert_close(pasted[0].as_tensor().cpu(), image.as_tensor(), rtol=0, atol=1e-4)
    rows, columns = image.shape[1:]
    torch.testing.assert_close(pasted[1, :, : (rows - columns) // 2].cpu(), image[:, : (rows - columns) // 2])
    middle = pasted[:, :, rows // 2].as_tensor().cpu()
    torch.testing.assert_close(middle[1], -middle[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(7, 5), (30, 40), (90, 101)])
def test_resizing_an_even_picture_leaves_no_frame_at_its_edges(size):
    image = MetaTensor(torch.full((3, 30, 40), 0.9), meta={"filename_or_obj": "a.png"})
    resized = ResizePictured("image", size)({"image": image})["image"]
    assert resized.shape == (3, *size)
    assert resized.meta["filename_or_obj"] == "a.png"
    torch.testing.assert_close(resized.as_tensor(), torch.full((3, *size), 0.9))


def test_resizing_keeps_a_picture_of_that_size_and_averages_a_larger_one():
    image = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(ResizePictured("image", (24, 24))({"image": image})["image"], image)
    pillow = Image.fromarray(image[0].numpy(), mode="F").resize((6, 8), Image.Resampling.BILINEAR)
    resized = ResizePictured("image", (8, 6))({"image": image})["image"]
    torch.testing.assert_close(resized[0], torch.from_numpy(np.asarray(pillow).copy()), atol=1e-5, rtol=0)


def test_a_result_of_a_smaller_network_is_a_smooth_picture_of_the_source(tmp_path):
    pixels = np.asarray(Image.fromarray(astronaut()).resize((96, 96)))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load(tmp_path / "a.png", 3)
    small = torch.nn.functional.interpolate(image.as_tensor()[None], (48, 48), mode="area")[0]
    result = MetaTensor(small).copy_meta_from(image)
    pasted = PasteIntoSourced("result", PictureReader(3))({"result": result})["result"].as_tensor()
    assert pasted.shape == image.shape
    assert pasted.abs().max() <= 1
    error, naive = (
        (x - image.as_tensor()).square().mean()
        for x in (pasted, small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2))
    )
    assert error < naive
