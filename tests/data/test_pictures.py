# SPDX-License-Identifier: Apache-2.0
"""Picture files of every kind, read by MONAI's LoadImaged to [-1, 1], and written again."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged, SaveImaged
from PIL import Image
from skimage.data import astronaut, camera

from monai_diffae.data import (
    CenterCropToAspectd,
    CheckFinited,
    PasteIntoSourced,
    PictureReader,
    PictureWriter,
    ResizePictured,
)
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


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_exif_says(tmp_path, orientation, extension):
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
    options = {"quality": 95, "subsampling": 0} if extension == "jpg" else {}
    options |= {"lossless": True} if extension == "webp" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{extension}", exif=exif, **options)
    found = load(tmp_path / f"a.{extension}", 3)
    assert found.shape[1:] == RGB.shape[:2]
    error = np.abs(found.as_tensor().numpy() - scaled(RGB)).mean()
    assert error < (0.05 if extension == "jpg" else 1e-5)  # 0.4 where it is turned wrongly


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16])
def test_pixels_without_a_black_and_white_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype))
    with pytest.raises(RuntimeError) as raised:
        load(tmp_path / "a.tif", 1)
    error = root_cause(raised.value)
    assert isinstance(error, ValueError)
    assert str(error).startswith(f"{tmp_path / 'a.tif'} cannot be read")
    assert "rescale it to 8 or 16 bits" in str(error)


def test_signed_pixels_of_8_bits_are_refused(tmp_path):
    """Pillow takes them for unsigned."""
    tifffile.imwrite(tmp_path / "a.tif", (GREY.astype(np.int16) - 128).astype(np.int8))
    with pytest.raises(ValueError, match=r"a\.tif cannot be read.*signed.*rescale it to 8 or 16 bits"):
        PictureReader(1).get_data(tmp_path / "a.tif")


def packed_tiff(file: Path, pixels: np.ndarray, bits: int, photometric: int) -> None:
    """A plain TIFF file of pixels of ``bits``, packed as the format has it."""
    rows = ["".join(format(int(pixel), f"0{bits}b") for pixel in row) for row in pixels]
    data = b"".join(int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in rows)
    height, width = pixels.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    file.write_bytes(head + data + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))


@pytest.mark.parametrize(
    ("bits", "white_is_zero"), [(2, True), (2, False), (4, True), (4, False), (8, True), (12, False)]
)
def test_any_number_of_bits_is_scaled_by_what_they_hold(tmp_path, bits, white_is_zero):
    pixels = np.random.default_rng(0).integers(0, 2**bits, (5, 8))
    pixels[0, :2] = 0, 2**bits - 1
    packed_tiff(tmp_path / "a.tif", pixels, bits, 0 if white_is_zero else 1)
    expected = scaled(pixels, 2**bits - 1)
    check(load(tmp_path / "a.tif", 1), -expected if white_is_zero else expected)


@pytest.mark.parametrize(
    ("bits", "white_is_zero", "kind"),
    [(10, False, "10 bits, grey"), (12, True, "12 bits, grey with white as zero"), (14, False, "14 bits, grey")],
)
def test_pixels_that_pillow_does_not_read_are_named(tmp_path, bits, white_is_zero, kind):
    packed_tiff(tmp_path / "a.tif", np.zeros((5, 8), dtype=int), bits, 0 if white_is_zero else 1)
    with pytest.raises(ValueError, match=rf"a\.tif cannot be read as a picture: .* {kind}; save it with 8 or 16 bits"):
        PictureReader(1).get_data(tmp_path / "a.tif")


def test_floating_point_pixels_of_64_bits_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8)))
    with pytest.raises(ValueError, match=r"TIFF with 1 channel of 64 floating-point bits, grey; save it with"):
        PictureReader(1).get_data(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "it is empty"), (b"<html>", "it is no picture of a kind"), (b"II*\0\x08\0\0\0\xff", "it is a damaged TIFF")],
)
def test_what_is_no_picture_is_said(tmp_path, content, why):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.tif cannot be read as a picture: {why}"):
        PictureReader(1).get_data(tmp_path / "a.tif")


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_with_white_as_zero_are_turned_over(tmp_path, channels):
    pixels = GREY.astype(np.uint16) * 250
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    check(load(tmp_path / "a.tif", channels), np.repeat(-scaled(pixels, 65535), channels, axis=0), levels=0.001)


@pytest.mark.parametrize("white_is_zero", [True, False])
def test_1_bit_may_have_white_as_zero(tmp_path, white_is_zero):
    bits = GREY > 128
    tifffile.imwrite(tmp_path / "a.tif", bits, photometric="miniswhite" if white_is_zero else "minisblack")
    check(load(tmp_path / "a.tif", 1), scaled(bits, 1) * (-1 if white_is_zero else 1))


@pytest.mark.parametrize("background", [1.0, -0.5])
def test_a_transparent_level_of_16_bit_png_shows_the_background(tmp_path, background):
    pixels = GREY.astype(np.uint16) * 250
    pixels[3:5] = 777
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=777)
    assert Image.open(tmp_path / "a.png").info["transparency"] == 777
    expected = np.where(pixels == 777, background, scaled(pixels, 65535))
    check(load(tmp_path / "a.png", 1, background=background), expected, levels=0.001)


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_a_transparent_colour_of_png_shows_the_background(tmp_path, mode):
    pixels = {"L": GREY, "RGB": RGB, "1": GREY > 128}[mode].copy()
    pixels[3:5] = {"L": 77, "RGB": (1, 2, 3), "1": False}[mode]
    key = {"L": 77, "RGB": (1, 2, 3), "1": 0}[mode]
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=key)
    found = load(tmp_path / "a.png", 3, background=0.2)
    assert torch.allclose(found[:, 3:5].as_tensor(), torch.tensor(0.2), atol=1 / 255)
    assert not torch.allclose(found[:, 5:7].as_tensor(), torch.tensor(0.2), atol=1 / 255)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """By this package; MONAI says things of its own."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("monai_diffae")]


def pages(file: Path) -> None:
    images = [Image.fromarray(np.full((6, 8), level, np.uint8)) for level in (10, 200, 90)]
    options = {"lossless": True} if file.suffix == ".webp" else {}
    images[0].save(file, save_all=True, append_images=images[1:], **options)


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_of_several_pages_or_frames_the_first_is_read_and_that_is_said(tmp_path, caplog, name):
    pages(tmp_path / name)
    check(load(tmp_path / name, 1), np.full((1, 6, 8), scaled(np.array([[10]]))), levels=1)
    assert told(caplog) == [
        f"{tmp_path / name}: has several pages or frames, of which the first is read (said once for all such files)"
    ]


def test_what_is_lost_is_said_once_for_a_kind_of_file(tmp_path, caplog):
    for k in range(3):
        Image.fromarray(RGB).save(tmp_path / f"{k}.png")
        Image.fromarray(RGB).convert("CMYK").save(tmp_path / f"{k}.jpg")
        tifffile.imwrite(tmp_path / f"{k}.tif", RGB.astype(np.uint16) * 256, photometric="rgb")
        alpha = np.full_like(GREY, 255)
        alpha[0] = k
        Image.fromarray(np.dstack([GREY, alpha])).save(tmp_path / f"{k}.webp", lossless=True)
        Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / f"{k}.bmp")  # grey, and nothing is lost
    reader = PictureReader(1)
    for file in sorted(tmp_path.iterdir()):
        reader.get_data(reader.read(file))
    said = sorted(line.replace(f"{tmp_path}/", "") for line in told(caplog))
    assert [line.removesuffix(" (said once for all such files)") for line in said] == [
        "0.jpg: is in CMYK and becomes RGB without a colour profile",
        "0.jpg: is in colour and is read as grey",
        "0.tif: has 16 bits a channel, of which the upper 8 are read",
        "0.webp: has transparent pixels, which show the background",
    ]
    caplog.clear()
    reader = PictureReader(3)
    reader.get_data(reader.read(tmp_path / "0.png"))
    assert not told(caplog)


def deep_png(file: Path, pixels: np.ndarray) -> None:
    """16-bit RGB, which Pillow does not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_16_bit_colours_of_png_are_said_to_be_read_with_8(tmp_path, caplog):
    deep_png(tmp_path / "a.png", RGB.astype(np.uint16) * 257)
    check(load(tmp_path / "a.png", 3), scaled(RGB), levels=1)
    assert told(caplog) == [
        f"{tmp_path}/a.png: has 16 bits a channel, of which the upper 8 are read (said once for all such files)"
    ]


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
    picture = MetaTensor(torch.tensor([[[0.0, torch.nan]]]), meta={"filename_or_obj": "a.png"})
    with pytest.raises(ValueError, match=r"a\.png: 1 of the 2 numbers of its edit are NaN or infinite"):
        CheckFinited(["edit"])({"edit": picture})
    CheckFinited(["edit"])({"edit": picture[..., :1]})
    with pytest.raises(RuntimeError, match=r"a_edit\.png: 1 of the 2 numbers of its picture are NaN or infinite"):
        save(picture.as_tensor(), tmp_path)
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
