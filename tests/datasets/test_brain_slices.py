# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from in_process import run_module
from scipy import ndimage

from monai_diffae.data import find_volumes
from monai_diffae.datasets import ensure_brain_slices, generate_brain_slices
from monai_diffae.datasets.brain_slices import (
    SubjectFactors,
    draw_factors,
    render_subject,
    render_ventricles,
    write_brain_slices,
)
from monai_diffae.datasets.brain_slices.generator import main
from monai_diffae.datasets.brain_slices.lesions import SHAPES, Lesion
from monai_diffae.support.freed_memory import kept_freed_memory

SEED = 11  # a lesion on the right, one on the left, and none
SPACING = 4.0
OPTIONS = {"seed": SEED, "spacing": SPACING, "lesions": "balls"}


@pytest.fixture(scope="module", autouse=True)
def _as_the_generator_does() -> Iterator[None]:
    """What renders volumes here takes a third of the time."""
    with kept_freed_memory():
        yield


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "data" / "train"
    assert ensure_brain_slices(folder, folder, num_subjects=3, **OPTIONS) == str(folder)
    return folder


def read_rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "labels.csv", newline="") as f:
        return list(csv.DictReader(f))


def load(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


def test_a_data_set_is_images_masks_and_labels(data_set):
    names = [f"sub-000{i}.nii.gz" for i in range(3)]
    found = sorted(path.relative_to(data_set).as_posix() for path in data_set.rglob("*") if path.is_file())
    assert found == [*(f"images/{n}" for n in names), "labels.csv", *(f"lesions/{n}" for n in names)] + [
        f"ventricles/{n}" for n in names
    ]
    rows = read_rows(data_set)
    assert [row["file"] for row in rows] == [f"images/{name}" for name in names]
    assert [row["lesion_mask"] for row in rows] == [f"lesions/{name}" for name in names]
    assert [row["ventricle_mask"] for row in rows] == [f"ventricles/{name}" for name in names]
    masks = {"lesion_mask": "lesions", "ventricle_mask": "ventricles"}
    assert [[item[key] for key in masks] for item in find_volumes(data_set, masks)] == [
        [str(data_set / row[key]) for key in masks] for row in rows
    ]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_volumes_lie_in_mni_space(data_set, index):
    kinds = ("images", "lesions", "ventricles")
    image, *masks = (nib.load(data_set / kind / f"sub-000{index}.nii.gz") for kind in kinds)
    assert image.get_data_dtype() == np.uint16
    for mask in masks:
        assert mask.get_data_dtype() == np.uint8
        assert image.shape == mask.shape
        np.testing.assert_allclose(image.affine, mask.affine, atol=1e-6)
    np.testing.assert_allclose(image.affine[:3, :3], SPACING * np.eye(3), atol=1e-6)
    brain = load(data_set / "images" / f"sub-000{index}.nii.gz") > 100
    center = nib.affines.apply_affine(image.affine, np.argwhere(brain)).mean(axis=0)
    np.testing.assert_allclose(center, (0, -19, 8), atol=8)  # of the MNI152 brain
    assert 1000 < brain.sum() * SPACING**3 / 1000 < 2500  # ml
    assert 800 < np.percentile(load(data_set / "images" / f"sub-000{index}.nii.gz"), 99.9) < 1200


def test_labels_say_what_the_masks_show(data_set):
    rows = read_rows(data_set)
    assert [row["lesion_side"] for row in rows] == ["right", "left", "none"]
    assert [row["lesion_left"] for row in rows] == ["", "1", "0"]
    assert [row["lesion_right"] for row in rows] == ["1", "", "0"]
    for i, row in enumerate(rows):
        mask = nib.load(data_set / row["lesion_mask"])
        voxels = np.argwhere(np.asarray(mask.dataobj) == 1)
        assert set(np.unique(mask.dataobj)) <= {0, 1}
        assert (len(voxels) > 0) == (row["lesion"] == "1") == (row["lesion_side"] != "none")
        assert float(row["lesion_volume_ml"]) == pytest.approx(len(voxels) * SPACING**3 / 1000, abs=1e-3)
        if len(voxels):
            x = nib.affines.apply_affine(mask.affine, voxels).mean(axis=0)[0]
            assert ("right" if x > 0 else "left") == row["lesion_side"]
            ball = 4 / 3 * np.pi * draw_factors(SEED, i, lesions="balls").lesion_radius_mm ** 3 / 1000
            assert 0.5 < float(row["lesion_volume_ml"]) / ball < 1.6


def test_labels_tell_the_kind_of_a_lesion(data_set, tmp_path):
    assert [row["lesion_shape"] for row in read_rows(data_set)] == ["ball", "ball", "none"]
    assert [row["lesion_brighter"] for row in read_rows(data_set)] == ["0", "0", ""]
    bright = dataclasses.replace(draw_factors(SEED, 0), lesion=True, lesion_shape="ring", lesion_intensity=1.0)
    write_brain_slices(tmp_path, [bright], SPACING)
    (row,) = read_rows(tmp_path)
    assert (row["lesion_shape"], row["lesion_brighter"]) == ("ring", "1")


def test_labels_hold_the_factors(data_set):
    for i, row in enumerate(read_rows(data_set)):
        factors = draw_factors(SEED, i, lesions="balls")
        assert (row["subject"], row["lesion"]) == (factors.subject, str(int(factors.lesion)))
        for name in ("ventricle_enlargement_mm", "head_scale", "contrast"):
            assert float(row[name]) == pytest.approx(getattr(factors, name), abs=1e-4)


def test_the_same_subject_without_its_lesion_differs_there_alone(data_set):
    with_lesion = load(data_set / "images" / "sub-0000.nii.gz") / 1000
    mask = load(data_set / "lesions" / "sub-0000.nii.gz")
    image, none = render_subject(dataclasses.replace(draw_factors(SEED, 0, lesions="balls"), lesion=False), SPACING)
    assert not none.any()
    difference = with_lesion - image[0].numpy()
    around = ndimage.binary_dilation(mask, iterations=4)
    assert np.abs(difference[~around]).max() < 2e-3
    assert difference[ndimage.binary_erosion(mask)].max() < -0.1


def render_third_with(data_set: Path, **factors) -> tuple[np.ndarray, np.ndarray]:
    """The third subject as it is in the data set, and with other factors."""
    image, _ = render_subject(dataclasses.replace(draw_factors(SEED, 2, lesions="balls"), **factors), SPACING)
    return load(data_set / "images" / "sub-0002.nii.gz") / 1000, image[0].numpy()


def test_head_scale_scales_the_brain(data_set):
    scale = draw_factors(SEED, 2, lesions="balls").head_scale
    before, after = render_third_with(data_set, head_scale=1.1 * scale)
    assert (after > 0.1).sum() / (before > 0.1).sum() == pytest.approx(1.1**3, rel=0.05)


def test_ventricles_are_smaller_without_enlargement(data_set):
    before, after = render_third_with(data_set, ventricle_enlargement_mm=0.0)  # 2.9 mm before
    affine = nib.load(data_set / "images" / "sub-0002.nii.gz").affine
    x, y, z = nib.affines.apply_affine(affine, np.moveaxis(np.indices(before.shape), 0, -1)).transpose(3, 0, 1, 2)
    middle = (np.abs(x) < 24) & (y > -35) & (y < 30) & (z > 4) & (z < 26)
    assert ((after < 0.5) & middle).sum() < 0.6 * ((before < 0.5) & middle).sum()


def test_the_mask_of_the_ventricles_is_their_fluid_and_grows_with_them(data_set):
    factors, volumes = draw_factors(SEED, 2, lesions="balls"), []  # without a lesion
    for mm in (0.0, 3.0, 6.0):
        subject = dataclasses.replace(factors, ventricle_enlargement_mm=mm)
        image, mask = render_subject(subject, SPACING)[0].numpy()[0], render_ventricles(subject, SPACING).numpy()[0]
        assert set(np.unique(mask)) == {0, 1}
        around = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask)
        assert image[mask == 1].mean() < 0.65 * image[around].mean()
        volumes.append(mask.sum() * SPACING**3 / 1000)
    assert 5 < volumes[0] < 25  # ml
    assert volumes[0] + 5 < volumes[1] < volumes[2] - 5


def test_a_lesion_changes_nothing_of_the_mask_of_the_ventricles(data_set):
    stored = load(data_set / "ventricles" / "sub-0000.nii.gz")
    healthy = render_ventricles(dataclasses.replace(draw_factors(SEED, 0, lesions="balls"), lesion=False), SPACING)
    np.testing.assert_array_equal(stored, healthy[0].numpy())


def test_factors_are_a_function_of_seed_and_index():
    subjects = {(seed, index): draw_factors(seed, index, lesions="balls") for seed in (0, 1) for index in range(40)}
    assert draw_factors(1, 7, lesions="balls") == subjects[1, 7]
    assert len({factors.seed for factors in subjects.values()}) == len(subjects)
    assert len({factors.head_scale for factors in subjects.values()}) == len(subjects)
    assert 25 < sum(factors.lesion for factors in subjects.values()) < 55
    for factors in subjects.values():
        assert 9 <= factors.lesion_radius_mm <= 16
        assert 0 <= factors.ventricle_enlargement_mm <= 6
        assert 0.93 <= factors.head_scale <= 1.07
        assert 0.8 <= factors.contrast <= 1.3


def test_varied_lesions_are_the_default_and_change_nothing_else_of_a_subject():
    lesion_factors = {"lesion_center", "lesion_radius_mm", "lesion_shape", "lesion_intensity"}
    subjects = [draw_factors(0, index) for index in range(200)]
    for index, factors in enumerate(subjects[:20]):
        ball = dataclasses.asdict(draw_factors(0, index, lesions="balls"))
        varied = dataclasses.asdict(factors)
        assert {name for name in ball if ball[name] != varied[name]} == lesion_factors - (
            {"lesion_shape"} if factors.lesion_shape == "ball" else set()
        )
    for shape in SHAPES:
        assert 30 < sum(factors.lesion_shape == shape for factors in subjects) < 70
    assert 80 < sum(factors.lesion_intensity > 0.9 for factors in subjects) < 120
    assert all(6 <= factors.lesion_radius_mm <= 14 for factors in subjects)
    centers = np.array([factors.lesion_center for factors in subjects])
    assert (np.abs(centers[:, 0]) > 10).all()
    assert 80 < (centers[:, 0] > 0).sum() < 120
    assert (centers.std(axis=0) > (20, 25, 10)).all()  # mm: all over the brain
    with pytest.raises(ValueError, match="lesions must be one of varied, balls, got 'cubes'"):
        draw_factors(0, 0, lesions="cubes")


def test_the_mean_of_varied_lesions_is_nearly_no_lesion():
    """A linear function of the pixels finds what all lesions have in common, which is their mean."""
    grid = [torch.arange(-90.0, 91.0, 6.0) for _ in range(3)]
    shares = {}
    for lesions in ("varied", "balls"):
        changes = []
        for factors in (draw_factors(0, index, lesions=lesions) for index in range(150)):
            shape = Lesion(factors.lesion_shape, factors.lesion_radius_mm)
            offsets = [axis - center for axis, center in zip(grid, factors.lesion_center)]
            tissue = 0.75
            change = (0.2 if factors.lesion_intensity is None else factors.lesion_intensity) - tissue
            changes.append(change * torch.sigmoid(shape.depth_mm(offsets, factors.seed) / 3))
        stacked = torch.stack(changes)
        shares[lesions] = float((stacked.mean(dim=0) ** 2).sum() / (stacked**2).sum(dim=(1, 2, 3)).mean())
    assert shares["balls"] > 0.1
    assert shares["varied"] < 0.2 * shares["balls"]


@pytest.fixture(scope="module")
def with_large_lesion() -> SubjectFactors:
    place = {"lesion_center": (30.0, -20.0, 24.0), "lesion_radius_mm": 14.0}
    return dataclasses.replace(draw_factors(SEED, 0), lesion=True, **place)


@pytest.fixture(scope="module")
def without_it(with_large_lesion) -> np.ndarray:
    image, mask = render_subject(dataclasses.replace(with_large_lesion, lesion=False), 3.0)
    assert not mask.any()
    return image[0].numpy()


@pytest.mark.parametrize(
    ("shape", "intensity", "least", "most"),
    [("ball", 1.05, 0.7, 1.4), ("rod", 0.25, 0.1, 0.4), ("ring", 0.25, 0.4, 1.0), ("spots", 1.05, 0.1, 0.5)],
)
def test_a_varied_lesion_has_its_shape_and_changes_nothing_elsewhere(
    with_large_lesion, without_it, shape, intensity, least, most
):
    factors = dataclasses.replace(with_large_lesion, lesion_shape=shape, lesion_intensity=intensity)
    image, mask = (volume[0].numpy() for volume in render_subject(factors, 3.0))
    change = image - without_it
    assert np.abs(change[~ndimage.binary_dilation(mask, iterations=4)]).max() < 5e-3
    assert (np.median(change[mask > 0]) > 0) == (intensity > 0.9)
    assert abs(np.median(change[mask > 0])) > 0.1
    ball = 4 / 3 * np.pi * 14**3 / 27  # voxels
    assert least < mask.sum() / ball < most
    assert (ndimage.binary_fill_holes(mask).sum() > 1.15 * mask.sum()) == (shape == "ring")
    if shape in ("ball", "rod"):
        lengths = np.sqrt(np.linalg.eigvalsh(np.cov(np.argwhere(mask).T)))
        assert (lengths[-1] > 1.7 * lengths[0]) == (shape == "rod")


@pytest.mark.parametrize(("lesion_fraction", "lesions"), [(0.0, 0), (1.0, 20)])
def test_lesion_fraction_decides_about_lesions_and_nothing_else(lesion_fraction, lesions):
    subjects = [draw_factors(0, index, lesion_fraction) for index in range(20)]
    assert sum(factors.lesion for factors in subjects) == lesions
    for index, factors in enumerate(subjects):
        assert dataclasses.replace(factors, lesion=True) == dataclasses.replace(draw_factors(0, index), lesion=True)


def test_command_line_makes_the_same_volume_with_other_workers_over_an_interrupted_run(data_set, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "sub-0000.nii.gz").write_bytes(b"cut off")
    command = ["monai_diffae.datasets.brain_slices", "--output_dir", str(tmp_path)]
    command += [
        "--num_subjects",
        "1",
        "--seed",
        str(SEED),
        "--spacing",
        str(SPACING),
        "--num_workers",
        "1",
        "--lesions",
        "balls",
    ]
    result = run_module(*command)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "labels.csv")
    assert read_rows(tmp_path) == read_rows(data_set)[:1]
    for name in (f"{kind}/sub-0000.nii.gz" for kind in ("images", "lesions", "ventricles")):
        np.testing.assert_array_equal(load(tmp_path / name), load(data_set / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "labels.csv", "lesions", "ventricles"]


def test_chosen_subjects_are_written_as_the_generator_writes_them(data_set, tmp_path):
    drawn = draw_factors(SEED, 0, lesions="balls")
    variants = [
        dataclasses.replace(drawn, subject="as-it-is"),
        dataclasses.replace(drawn, subject="without", lesion=False, ventricle_enlargement_mm=0.0),
    ]
    assert write_brain_slices(tmp_path, variants, SPACING) == tmp_path / "labels.csv"
    for kind in ("images", "lesions", "ventricles"):
        np.testing.assert_array_equal(
            load(tmp_path / kind / "as-it-is.nii.gz"), load(data_set / kind / "sub-0000.nii.gz")
        )
    same, other = read_rows(tmp_path)
    names = {"file", "subject", "lesion_mask", "ventricle_mask"}
    assert {k: v for k, v in same.items() if k not in names} == {
        k: v for k, v in read_rows(data_set)[0].items() if k not in names
    }
    assert (other["subject"], other["lesion"], other["ventricle_enlargement_mm"]) == ("without", "0", "0.0")
    assert not load(tmp_path / "lesions" / "without.nii.gz").any()


@pytest.mark.parametrize("count", [0, 2])
def test_subjects_need_names_of_their_own(tmp_path, count):
    with pytest.raises(ValueError, match="different names"):
        write_brain_slices(tmp_path / "data", [draw_factors(SEED, 0, lesions="balls")] * count, SPACING)
    assert not (tmp_path / "data").exists()


def test_command_line_help_states_the_options(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["brain_slices", "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = capsys.readouterr().out
    for option in (
        "--output_dir",
        "--num_subjects",
        "--seed",
        "--lesion_fraction",
        "--spacing",
        "--num_workers",
        "--lesions",
    ):
        assert option in printed


def test_a_complete_data_set_is_not_overwritten(data_set):
    before = {path: path.stat().st_mtime_ns for path in data_set.rglob("*")}
    with pytest.raises(FileExistsError, match="choose another output_dir or delete"):
        generate_brain_slices(data_set, num_subjects=1, **OPTIONS)
    assert ensure_brain_slices(data_set, data_set, num_subjects=5, **OPTIONS) == str(data_set)
    assert {path: path.stat().st_mtime_ns for path in data_set.rglob("*")} == before


@pytest.mark.parametrize("exists", [True, False])
def test_folders_other_than_the_default_one_are_left_alone(tmp_path, exists):
    other, default = tmp_path / "other", tmp_path / "default"
    if exists:
        other.mkdir()
    assert ensure_brain_slices(str(other), default, num_subjects=1, **OPTIONS) == str(other)
    assert sorted(tmp_path.iterdir()) == ([other] if exists else [])
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_the_default_folder_is_recognised_however_it_is_written(data_set, monkeypatch):
    monkeypatch.chdir(data_set.parent)
    # An argument that the generator would refuse: it is called only where the folder is the default one and empty.
    assert ensure_brain_slices("train", data_set, num_subjects=0) == "train"
    with pytest.raises(ValueError, match="num_subjects of 1 or more"):
        ensure_brain_slices("train/../empty", data_set.parent / "empty", num_subjects=0)


@pytest.mark.parametrize(
    "options",
    [{"num_subjects": 0}, {"lesion_fraction": 1.2}, {"lesion_fraction": -0.1}, {"spacing": 0.2}, {"spacing": 5.0}],
    ids=str,
)
def test_numbers_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="Expected num_subjects of 1 or more, lesion_fraction"):
        generate_brain_slices(tmp_path / "data", **({"num_subjects": 1} | OPTIONS | options))
    assert not (tmp_path / "data").exists()
