# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from monai_diffae.support.pseudonyms import SALT_FILE, Pseudonyms


def test_a_salt_is_drawn_once_and_kept_for_its_owner(tmp_path):
    folder = tmp_path / "out"
    first = Pseudonyms(folder)
    assert not folder.exists()
    names = [first(f"patient {k}") for k in range(100)]
    assert all(re.fullmatch("s-[0-9a-f]{16}", name) for name in names)
    assert len(set(names)) == 100
    assert stat.S_IMODE((folder / SALT_FILE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [SALT_FILE]
    assert [Pseudonyms(folder)(f"patient {k}") for k in range(100)] == names
    assert Pseudonyms(tmp_path / "other")("patient 0") != names[0]


def test_a_given_salt_gives_the_same_names_anywhere_and_leaves_no_file(tmp_path):
    names = {Pseudonyms(tmp_path / name, salt="pepper")("patient") for name in "ab"}
    assert len(names) == 1
    assert names != {Pseudonyms(tmp_path, salt="vinegar")("patient")}
    assert list(tmp_path.iterdir()) == []
    assert Pseudonyms(tmp_path, salt=7)("patient") == Pseudonyms(tmp_path, salt="7")("patient")


def test_processes_that_start_at_once_agree(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: Pseudonyms(tmp_path)("patient"), range(32)))
    assert len(names) == 1
    assert [path.name for path in tmp_path.iterdir()] == [SALT_FILE]


def test_a_salt_that_others_could_read_is_closed(tmp_path):
    (tmp_path / SALT_FILE).write_text("pepper")
    (tmp_path / SALT_FILE).chmod(0o644)
    assert Pseudonyms(tmp_path)("patient") == Pseudonyms(tmp_path, salt="pepper")("patient")
    assert stat.S_IMODE((tmp_path / SALT_FILE).stat().st_mode) == 0o600


def test_identifiers_are_kept_where_that_is_asked_for(tmp_path):
    assert Pseudonyms(tmp_path, identifiers="keep")("patient") == "patient"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="identifiers must be one of pseudonyms, keep, got 'hide'"):
        Pseudonyms(tmp_path, identifiers="hide")
    (tmp_path / SALT_FILE).write_text("")
    with pytest.raises(ValueError, match="pseudonyms_salt is empty"):
        Pseudonyms(tmp_path)("patient")
