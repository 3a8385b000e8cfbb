# SPDX-License-Identifier: Apache-2.0
"""What stands in the headers of files does not come out again: files tagged with names, and a search of all outputs."""

from __future__ import annotations

import gzip
import logging
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table
from PIL import Image
from PIL.PngImagePlugin import PngInfo

TAG = "SECRET"  # in all that could tell who a patient is, but for names of files
FEW = {"z_dim": 8, "progress": False, "batch_size": 4, "num_inference_steps": 1}
TRAINING = {"z_dim": 8, "max_iterations": 2, "epoch_length": 1, "val_interval": 1, "val_fraction": 0.4, "batch_size": 4}
TRAINING |= {"num_workers": 0, "num_inference_steps": 1, "num_inversion_steps": 1}


def write_nifti(file: Path, values: np.ndarray) -> None:
    image = nib.Nifti1Image(values.astype(np.float32), np.diag([6.0, 6, 6, 1]))
    for name in ("data_type", "db_name", "descrip", "aux_file", "intent_name"):
        image.header[name] = f"{TAG}{name}"[: image.header[name].dtype.itemsize].encode()
    for code in ("comment", "dicom"):
        image.header.extensions.append(nib.nifti1.Nifti1Extension(code, f"{TAG} {code} ".encode()))
    nib.save(image, file)


def write_dicom(file: Path, values: np.ndarray, patient: str) -> None:
    pydicom = pytest.importorskip("pydicom")
    d = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    d.PatientID, d.PatientName, d.PatientBirthDate = f"{TAG}{patient}", f"{TAG}^Name", "19010203"
    for name in (
        "PatientComments",
        "StudyDescription",
        "SeriesDescription",
        "InstitutionName",
        "ReferringPhysicianName",
    ):
        setattr(d, name, f"{TAG} {name}")
    d.AccessionNumber, d.StudyID, d.OtherPatientIDs = f"{TAG}1", f"{TAG}2", f"{TAG}3"
    d.Rows, d.Columns, d.PixelSpacing = *values.shape, [6, 6]
    d.SOPInstanceUID, d.SeriesInstanceUID = (pydicom.uid.generate_uid() for _ in range(2))
    d.PixelData = values.astype(np.int16).tobytes()
    d.save_as(file)


def write_picture(file: Path, values: np.ndarray) -> None:
    picture, options = Image.fromarray(values.astype(np.uint8)), {}
    if file.suffix == ".png":
        options["pnginfo"] = PngInfo()
        for k, compressed in enumerate((False, True)):
            options["pnginfo"].add_text(f"Name{k}", f"{TAG} text", zip=compressed)
    elif file.suffix == ".jpg":
        options["exif"], options["comment"] = Image.Exif(), f"{TAG} comment"
        options["exif"][0x010E], options["exif"][0x013B] = f"{TAG} description", f"{TAG} artist"
    else:
        options["description"] = f"{TAG} description"
    picture.save(file, **options)


@pytest.fixture
def disk() -> np.ndarray:
    places = np.indices((24, 24, 24))
    return (np.linalg.norm(places - 11.5, axis=0) < 9) * (60 + places[0] * 5 + places[1])


def texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All files of a folder by name, unpacked."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        yield file.name, content
        if content[:2] == b"\x1f\x8b":
            yield file.name, gzip.decompress(content)
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as unpacked:
                yield from ((f"{file.name}/{name}", unpacked.read(name)) for name in unpacked.namelist())
        if file.suffix == ".png":
            with Image.open(file) as picture:
                picture.load()
                yield file.name, repr(picture.info).encode()
        if file.suffix == ".parquet":
            yield file.name, repr(pytest.importorskip("pyarrow.parquet").read_table(file).to_pylist()).encode()


def found_in(folder: Path) -> set[str]:
    """Files in which a tag stands, and folders and files named by one."""
    spellings = [TAG.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    spellings += [b"19010203"]
    named = {path.name for path in folder.rglob("*") if TAG in path.name}
    return named | {name for name, content in texts(folder) if any(spelling in content for spelling in spellings)}


@pytest.fixture
def volumes(tmp_path, disk) -> Path:
    folder = tmp_path / "data"
    for name in ("p1", "p2", "p3", "p4"):
        (folder / name).mkdir(parents=True)
    write_nifti(folder / "p1" / "scan.nii.gz", disk)
    write_nifti(folder / "p2" / "scan.nii", disk * 2)
    write_dicom(folder / "p3" / "a.dcm", disk[..., 12], "a")
    write_dicom(folder / "p3" / "b.dcm", disk[..., 12] * 2, "a")
    write_picture(folder / "p4" / "scan.png", disk[..., 12])
    rows = ["p1/scan.nii.gz,1", "p2/scan.nii,0", "p3/a.dcm,1", "p3/b.dcm,0", "p4/scan.png,1"]
    lines = ["file,trait,subject", *(f"{row},{TAG}{k}" for k, row in enumerate(rows))]
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def brains(volumes, tmp_path) -> Bundle:
    options = {"image_size": 32, "pixdim": 6.0, "spacing": [6.0, 6.0, -1], "dataset_dir": str(volumes)}
    return Bundle("brain_slices_diffae", tmp_path, **options, **FEW).randomize()


def subjects(table: Path) -> dict[str, str]:
    return {row["file"]: row["subject"] for row in read_table(table)}


def test_no_header_of_a_volume_comes_out(brains, tmp_path, caplog, capfd):
    caplog.set_level(logging.INFO)
    out = tmp_path / "out"
    options = {"picture_spacing": 6.0, "inversion": "explicit", "num_slices": 2}
    brains.run("inference", output_dir=str(out), **options)
    fit = {"attributes": "trait", "mask_labels": [], "latents_format": "parquet"}
    brains.run("inference", "fit_attributes", output_dir=str(out), **options, **fit)
    classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 1))
    torch.jit.save(torch.jit.script(classifier), tmp_path / "classifier.ts")
    explain = {"classifier_path": str(tmp_path / "classifier.ts"), "num_images": 2, "num_steps": 1, "max_aims": 1}
    brains.run("inference", "explain", output_dir=str(out / "explain"), **options, **explain)
    brains.train(out / "latent", val_fraction=0.4, **options)
    training = Bundle.__new__(Bundle)
    training.root, training.configs = brains.root, brains.configs
    training.options = {key: brains.options[key] for key in ("image_size", "pixdim", "spacing", "dataset_dir")}
    training.run("train", workflow_type="train", output_dir=str(out / "train"), picture_spacing=6.0, **TRAINING)
    assert len(list(out.rglob("*.nii.gz"))) == 5
    assert len(list(out.rglob("*.pt"))) > 5
    assert found_in(out) == set()
    printed = "".join(capfd.readouterr())
    assert TAG not in printed + caplog.text
    found = subjects(out / "latents.csv")
    assert found["p3/a.dcm"] == found["p3/b.dcm"]
    assert len(set(found.values())) == 4
    names = {row["subject"] for row in read_table(out / "explain" / "explanations.csv")}
    assert all(re.fullmatch("s-[0-9a-f]{16}", name) for name in names)
    assert all(re.fullmatch("s-[0-9a-f]{16}", name) for name in found.values())
    assert stat.S_IMODE((out / ".pseudonyms_salt").stat().st_mode) == 0o600


def test_identifiers_and_text_are_kept_where_that_is_asked_for(brains, volumes, tmp_path):
    out, options = tmp_path / "out", {"picture_spacing": 6.0, "inversion": "explicit", "num_slices": 1}
    brains.run("inference", output_dir=str(out), identifiers="keep", **options)
    assert {"latents.csv", "scan_reconstruction.nii.gz"} <= found_in(out)
    assert subjects(out / "latents.csv")["p3/a.dcm"] == f"{TAG}a"
    written, source = (
        nib.load(file) for file in (out / "p1" / "scan_reconstruction.nii.gz", volumes / "p1/scan.nii.gz")
    )
    for name in ("data_type", "db_name", "descrip", "aux_file", "intent_name"):
        assert written.header[name] == source.header[name] != b""
    assert written.header.extensions == source.header.extensions
    assert not (out / ".pseudonyms_salt").exists()


def test_tables_agree_on_a_resumed_run_and_by_a_given_salt(brains, tmp_path):
    options = {"picture_spacing": 6.0, "num_slices": 1}
    runs = {"a": {}, "b": {"salt": "pepper"}, "c": {"salt": "pepper"}}
    found = {}
    for name, salt in runs.items():
        brains.run("inference", "encode", output_dir=str(tmp_path / name), **options, **salt)
        found[name] = subjects(tmp_path / name / "latents.csv")
    brains.run("inference", "encode", output_dir=str(tmp_path / "a"), **options)
    assert subjects(tmp_path / "a" / "latents.csv") == found["a"]
    assert found["a"] != found["b"] == found["c"]


def test_no_text_of_a_picture_comes_out(tmp_path, disk, caplog, capfd):
    caplog.set_level(logging.INFO)
    (tmp_path / "data").mkdir()
    names = ["0.png", "1.jpg", "2.tif", "3.png"]
    for k, name in enumerate(names):
        write_picture(tmp_path / "data" / name, disk[..., 10 + k])
    lines = ["image,subject", *(f"data/{name},{TAG}{k % 2}" for k, name in enumerate(names))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    options = {"image_size": 16, "dataset_dir": str(tmp_path / "data"), "data_list": str(tmp_path / "list.csv")}
    bundle = Bundle("natural_images_diffae", tmp_path, **options, **FEW).randomize()
    out = tmp_path / "out"
    bundle.run("inference", output_dir=str(out), inversion="explicit")
    bundle.run("inference", "variations", output_dir=str(out), inversion="explicit")
    training = Bundle.__new__(Bundle)
    training.root, training.configs, training.options = bundle.root, bundle.configs, options
    training.run("train", workflow_type="train", output_dir=str(out / "train"), **TRAINING)
    assert len(list(out.rglob("*_reconstruction.png"))) == 4
    assert found_in(out) == set()
    assert TAG not in "".join(capfd.readouterr()) + caplog.text
    assert len(set(subjects(out / "latents.csv").values())) == 2
