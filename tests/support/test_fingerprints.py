# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import functools
import operator

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd, ScaleIntensityRanged

from monai_diffae.support.fingerprints import code_fingerprint, file_states, fingerprint


class Told:
    depends_on = ("a",)

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = a, b


class Plain:
    def __init__(self, a: object) -> None:
        self.a = a


def test_different_things_have_different_fingerprints_and_equal_ones_equal_ones(tiny_autoencoder):
    def things() -> list:
        plain = [1, 1.0, "1", b"1", True, [1], [[1]], (1, 2), {"a": 1}, {1}, None, torch.relu, dict, 1j, range(3)]
        numbers = [torch.tensor(1), torch.tensor(1.0), torch.ones(1), torch.ones(2, dtype=torch.bfloat16), np.ones(2)]
        functions = [functools.partial(f, x) for f, x in ((operator.lt, 0), (operator.lt, 1), (operator.gt, 1))]
        objects = [Told(1, 2), Plain(1), Plain([1]), copy.deepcopy(tiny_autoencoder), "text".upper]
        return plain + numbers + functions + objects

    found = [fingerprint(thing) for thing in things()]
    assert len(set(found)) == len(found)
    assert [fingerprint(thing) for thing in things()] == found
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(np.float64(1.5)) == fingerprint(1.5)


def test_a_class_can_say_what_counts():
    assert fingerprint(Told(1, 2)) == fingerprint(Told(1, 3)) != fingerprint(Told(2, 2))


def test_what_cannot_be_looked_into_is_never_the_same_unless_it_counts_for_nothing():
    for thing in (lambda x: x, [lambda x: x], Plain(lambda x: x)):
        assert fingerprint(thing) != fingerprint(thing)
        assert fingerprint(thing, strict=False) == fingerprint(thing, strict=False)


def test_things_that_hold_themselves_are_looked_into_once():
    thing = Plain(None)
    thing.a = [thing]
    other = Plain(None)
    other.a = [other]
    assert fingerprint(thing) == fingerprint(other) != fingerprint(Plain([None]))


def test_parameters_of_transforms_count_and_their_random_state_does_not():
    def transform(high: float = 1.0, prob: float = 0.5) -> Compose:
        return Compose([ScaleIntensityRanged("image", 0, high, -1, 1), RandFlipd("image", prob)])

    first = transform()
    assert fingerprint(first, strict=False) == fingerprint(transform().set_random_state(3), strict=False)
    for other in (transform(high=2.0), transform(prob=0.1)):
        assert fingerprint(first, strict=False) != fingerprint(other, strict=False)


def test_files_are_told_by_place_size_and_time_and_folders_by_their_files(tmp_path):
    for name in ("a.nii", "series/1.dcm", "series/deep/2.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    paths = [tmp_path / "a.nii", tmp_path / "series"]
    first = file_states(paths)
    assert [state[0] for state in first] == [str(tmp_path / n) for n in ("a.nii", "series/1.dcm", "series/deep/2.dcm")]
    (tmp_path / "series/deep/2.dcm").write_text("more than before")
    changed = [before != after for before, after in zip(first, file_states(paths), strict=True)]
    assert changed == [False, False, True]
    with pytest.raises(FileNotFoundError):
        file_states([tmp_path / "missing"])


def test_code_has_one_fingerprint():
    assert len(code_fingerprint()) == 64
    assert code_fingerprint() == code_fingerprint()
