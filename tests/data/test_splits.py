# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from monai_diffae.data import find_images, find_volumes, split_indices, split_volumes


def data_list(count: int, **labels: list) -> list[dict]:
    return [{"image": f"{i}.nii"} | {key: values[i] for key, values in labels.items()} for i in range(count)]


def folders(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            (root / name / f"{k}.png").touch()
    return root


@pytest.mark.parametrize(
    ("count", "fraction", "validation"),
    [(10, 0.2, 2), (20, 0.05, 1), (10, 0.01, 1), (2, 0.5, 1), (2, 0.99, 1), (10, 0.99, 9), (7, 0.3, 2)],
)
def test_the_fraction_validates_and_both_parts_have_some(count, fraction, validation):
    data = data_list(count)
    for seed in range(20):
        train, held_out = split_volumes(data, fraction, seed)
        assert len(held_out) == validation
        assert sorted(item["image"] for item in train + held_out) == sorted(item["image"] for item in data)


def test_the_draw_depends_on_its_seed_and_reaches_every_file():
    data = data_list(10)
    drawn = [split_indices(data, 0.2, seed)[1] for seed in range(40)]
    assert {index for places in drawn for index in places} == set(range(10))
    assert len({tuple(sorted(places)) for places in drawn}) > 15
    assert drawn == [split_indices(data, 0.2, seed)[1] for seed in range(40)]


def test_the_draw_does_not_depend_on_the_place_of_the_folder_or_the_order(tmp_path):
    one, other = (folders(tmp_path / name, a=20, b=20) for name in ("x", "somewhere/else"))
    drawn = []
    for data in (find_images(one), find_images(other), find_images(one)[::-1]):
        root = one if str(one) in data[0]["image"] else other
        drawn.append({Path(item["image"]).relative_to(root) for item in split_volumes(data, 0.2)[1]})
    assert drawn[0] == drawn[1] == drawn[2]


def test_every_folder_of_pictures_validates_in_proportion(tmp_path):
    data = find_images(folders(tmp_path, cat=20, dog=20, zebra=40))
    for seed in range(20):
        _, held_out = split_volumes(data, 0.05, seed)
        assert Counter(Path(item["image"]).parent.name for item in held_out) == {"cat": 1, "dog": 1, "zebra": 2}


def test_the_first_of_those_that_validate_stand_for_all(tmp_path):
    _, held_out = split_volumes(find_images(folders(tmp_path, cat=100, dog=100)), 0.5)
    assert 10 <= sum("cat" in item["image"] for item in held_out[:40]) <= 30


@pytest.mark.parametrize("labels", [[0.0] * 30 + [1.0] * 10, ["a"] * 30 + ["b"] * 10, ["0"] * 30 + ["1.0"] * 10])
def test_labels_are_as_frequent_on_both_sides(labels):
    data = data_list(40, label=labels)
    for seed in range(20):
        _, held_out = split_volumes(data[::-1], 0.2, seed)
        assert sorted(Counter(item["label"] for item in held_out).values()) == [2, 6]


def test_without_strata_they_are_drawn_as_it_comes():
    data = data_list(40, label=[0.0] * 20 + [1.0] * 20)
    counts = {sum(item["label"] for item in split_volumes(data, 0.2, seed, None)[1]) for seed in range(30)}
    assert len(counts) > 3


def test_another_label_is_named():
    data = data_list(40, label=[0, 1] * 20, site=["a"] * 10 + ["b"] * 30)
    for seed in range(10):
        held_out = split_volumes(data, 0.1, seed, stratify_by="site")[1]
        assert Counter(item["site"] for item in held_out) == {"a": 1, "b": 3}


def test_numbers_of_many_values_are_covered_evenly_and_unknown_ones_too():
    ages = [str(age) for age in range(5, 95)] + [float("nan")] * 10
    for seed in range(10):
        held_out = split_volumes(data_list(100, label=ages), 0.1, seed)[1]
        known = sorted(float(item["label"]) for item in held_out if item["label"] == item["label"])
        assert len(known) == 9
        assert all(5 + 10 * k <= age < 15 + 10 * k for k, age in enumerate(known))


def test_a_subject_is_on_one_side(tmp_path):
    for subject in range(5):
        for k in range(4):
            (tmp_path / f"p{subject}").mkdir(exist_ok=True)
            (tmp_path / f"p{subject}" / f"{k}.nii").touch()
    data = find_volumes(tmp_path)
    for seed in range(10):
        training, validation = split_volumes(data, 0.3, seed)
        sides = [Counter(item["subject"] for item in side) for side in (training, validation)]
        assert len(sides[1]) == 2
        assert sides[0].keys().isdisjoint(sides[1])
        assert set((sides[0] | sides[1]).values()) == {4}
    with pytest.raises(ValueError, match="4 volumes of 1 subjects"):
        split_volumes(data[:4], 0.5)


@pytest.mark.parametrize(("count", "fraction"), [(10, 0.0), (10, 1.0), (10, -0.1), (1, 0.5), (0, 0.5)])
def test_what_cannot_be_split_is_refused(count, fraction):
    with pytest.raises(ValueError, match=rf"Expected a fraction .* got {fraction} and {count} volumes"):
        split_volumes(data_list(count), fraction)


def test_it_is_said_what_was_drawn(caplog):
    caplog.set_level("INFO")
    split_volumes(data_list(20), 0.1, 3)
    assert "18 subjects (18 files) to train, 2 (2 files) to validate, drawn with the seed 3" in caplog.text
