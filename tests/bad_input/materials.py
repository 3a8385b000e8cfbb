# SPDX-License-Identifier: Apache-2.0
"""The folder in which the commands of ``table.yaml`` are typed."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from monai_diffae.datasets import load_digits_arrays

BUNDLES = Path(__file__).parents[2] / "bundles"
AFFINE = np.diag([-6.0, 6.0, 6.0, 1.0])


def write_materials(home: Path) -> None:
    """Good data in ``digits`` and ``volumes``; of what is bad a folder each in ``files``; ``tables``, ``weights``."""
    _digits(home / "digits", 4)
    _digits(home / "one", 1)
    _volumes(home / "volumes")
    (home / "empty").mkdir()
    _files(home / "files", home)
    _tables(home / "tables")
    _weights(home / "weights")
    (home / "notes.txt").write_text("these are no images\n")
    (home / "broken.yaml").write_text("image_size: [32\n")
    (home / "list.yaml").write_text("- image_size\n")


def _digits(folder: Path, count: int) -> None:
    folder.mkdir()
    for k, image in enumerate(load_digits_arrays("test")[0][:count]):
        Image.fromarray(((image[0].numpy() + 1) * 127.5).round().astype("uint8")).save(folder / f"{k}.png")


def _cube(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (20, 20, 20), dtype=np.int16)


def _nifti(values: np.ndarray, file: Path, affine: np.ndarray = AFFINE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(values, AFFINE)
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = affine[:3]
    nib.save(image, file)
    if not np.array_equal(affine, AFFINE):  # nibabel writes the affine that it has checked
        raw = bytearray(file.read_bytes())
        raw[280:328] = affine[:3].astype("<f4").tobytes()
        file.write_bytes(raw)


def _volumes(folder: Path) -> None:
    for k in range(2):
        _nifti(_cube(k), folder / f"v{k}.nii.gz")


def _files(folder: Path, home: Path) -> None:
    def make(name: str, content: bytes) -> None:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    good = (home / "digits" / "0.png").read_bytes()
    make("cut_png/a.png", good[: len(good) // 2])
    make("no_png/a.png", b"these are no pixels")
    make("empty_png/a.png", b"")
    make("twins/a.png", good)
    shutil.copy(home / "digits" / "1.png", folder / "twins" / "a.bmp")
    (folder / "float_tiff").mkdir()
    Image.fromarray(np.ones((20, 20), dtype=np.float32)).save(folder / "float_tiff" / "a.tif")
    volume = (home / "volumes" / "v0.nii.gz").read_bytes()
    make("cut_nifti/a.nii.gz", volume[: len(volume) // 2])
    make("no_nifti/a.nii", b"these are no voxels")
    make("empty_nifti/a.nii.gz", b"")
    make("no_dicom/a.dcm", b"these are no pixels")
    _nifti(np.stack([_cube()] * 3, axis=-1), folder / "four_dimensions" / "a.nii.gz")
    _nifti(_cube().astype(np.complex64), folder / "complex" / "a.nii.gz")
    _nifti(np.full((20, 20, 20), 7, dtype=np.int16), folder / "constant" / "a.nii.gz")
    one = np.zeros((20, 20, 20), dtype=np.int16)
    one[3, 3, 3] = 5
    _nifti(one, folder / "one_voxel" / "a.nii.gz")
    _nifti(_cube().astype(np.float32) * np.nan, folder / "all_nan" / "a.nii.gz")
    with_nan = _cube().astype(np.float32)
    with_nan[0, 0, 0] = np.nan
    _nifti(with_nan, folder / "one_nan" / "a.nii.gz")
    _nifti(_cube(), folder / "nan_affine" / "a.nii", np.diag([np.nan, 6, 6, 1]))
    _nifti(_cube(), folder / "flat_affine" / "a.nii", np.diag([-6.0, 6.0, 0.0, 1.0]))
    _nifti(_cube(), folder / "metres" / "a.nii", np.diag([-6000.0, 6000.0, 6000.0, 1.0]))
    make("huge/a.nii", _huge(home / "volumes"))
    (folder / "numpy").mkdir()
    np.save(folder / "numpy" / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _huge(volumes: Path) -> bytes:
    """A header that promises more voxels than there are."""
    header = nib.Nifti1Header.from_fileobj(nib.openers.Opener(volumes / "v0.nii.gz"))
    raw = bytearray(header.binaryblock)
    raw[40:56] = np.array([3, 32000, 32000, 32000, 1, 1, 1, 1], dtype="<i2").tobytes()
    return bytes(raw) + bytes(1000)


def _tables(folder: Path) -> None:
    folder.mkdir()
    rows = {
        "labels": [["file", "bright", "same", "word", "size"]]
        + [[f"{k}.png", k % 2, 1, "yes", 0.5 * k] for k in range(4)],
        "no_file": [["name", "bright"], ["0.png", 1]],
        "others": [["file", "bright"], ["x.png", 1], ["y.png", 0]],
        "doubled": [["file", "bright"], ["0.png", 1], ["0.png", 0]],
        "only_header": [["file", "bright"]],
        "ragged": [["file", "bright"], ["0.png", 1, 2, 3]],
        "twice": [["file", "bright", "bright"], ["0.png", 1, 0]],
        "pairs": [["file", "file_to"], ["0.png", "9.png"]],
        "half_pairs": [["file", "file_to"], ["0.png", ""]],
        "no_pairs": [["from", "to"], ["0.png", "1.png"]],
        "images": [["image"], ["nowhere.png"]],
        "no_images": [["picture"], ["0.png"]],
        "volumes": [["image"], ["../volumes/v0.nii.gz"]],
    }
    for name, table in rows.items():
        with open(folder / f"{name}.csv", "w", newline="") as f:
            csv.writer(f).writerows(table)
    (folder / "empty.csv").write_text("")
    (folder / "binary.csv").write_bytes(bytes(range(256)))
    (folder / "cut.json").write_text('{"training": [{"image": "0.png"}')
    (folder / "list.json").write_text(json.dumps({"training": [{"image": "../digits/0.png"}]}))
    (folder / "wrong_entry.json").write_text(json.dumps({"training": [{"picture": "0.png"}]}))
    (folder / "number.json").write_text("3")


def _weights(folder: Path) -> None:
    folder.mkdir()
    shipped = BUNDLES / "natural_images_diffae" / "models"
    (folder / "text.pt").write_text("these are no weights")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "cut.pt").write_bytes((shipped / "encoder.pt").read_bytes()[:5000])
    (folder / "code.pt").write_bytes(pickle.dumps(_Code()))
    torch.save({"code": _Code()}, folder / "object.pt")
    torch.save([1, 2, 3], folder / "list.pt")
    torch.save({"a": torch.ones(3)}, folder / "other.pt")
    state = torch.load(shipped / "encoder.pt", weights_only=True)
    torch.save({name: value * float("nan") for name, value in state.items()}, folder / "nan.pt")


class _Code:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple:
        return (print, ("code of a file was run",))
