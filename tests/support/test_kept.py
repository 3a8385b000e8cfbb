# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys

import pytest
import torch

from monai_diffae.support.kept import Kept, made_from

RESULTS = {"a.pt": {"x": torch.arange(3.0)}, "a.json": {"x": [1, 2]}}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_found_again_while_its_basis_is_the_same(tmp_path, name, caplog):
    path, basis = tmp_path / "deep" / name, made_from(weights=torch.ones(2), settings={"n": 1})
    assert Kept(path, basis).read() is None
    Kept(path, basis).write(RESULTS[name])
    torch.testing.assert_close(Kept(path, dict(reversed(basis.items()))).read(), RESULTS[name])
    caplog.set_level(logging.INFO, "monai_diffae")
    for other, word in (
        (basis | made_from(weights=torch.zeros(2)), "other weights: it is computed anew."),
        (basis | made_from(more=1), "other more:"),
        ({"weights": basis["weights"]}, "other settings:"),
        (made_from(weights=torch.zeros(2), settings=2), "other weights and other settings:"),
    ):
        caplog.clear()
        assert Kept(path, other, "it is computed").read() is None
        assert word in caplog.text
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize(
    ("content", "message"), [(b"", "cannot be read"), (b"no such thing", "cannot be read"), (None, "does not exist")]
)
def test_what_is_missing_or_damaged_is_computed_again_and_the_log_says_why(tmp_path, name, content, message, caplog):
    caplog.set_level(logging.INFO, "monai_diffae")
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert Kept(path, {}, "it is computed").read() is None
    assert f"{path} {message}" in caplog.text
    caplog.clear()
    assert Kept(path, {}).read() is None
    assert caplog.text == ""


def test_files_of_version_0_1_0_are_said_to_be_of_another_version(tmp_path, caplog):
    caplog.set_level(logging.INFO, "monai_diffae")
    (tmp_path / "figure.json").write_text('{"digest": "1", "files": {}}')
    assert Kept(tmp_path / "figure.json", {}, "it is computed").read() is None
    assert "figure.json is of another version: it is computed anew" in caplog.text
    torch.save({"fingerprint": {"settings": "[]"}, "latents": {}}, tmp_path / "latents.pt")
    assert Kept(tmp_path / "latents.pt", made_from(settings=[]), "it is computed", key="latents").read() is None
    assert "latents.pt was made with other settings: it is computed anew" in caplog.text


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    pid = subprocess.Popen([sys.executable, "-c", ""])
    pid.wait()
    host = platform.node()
    left = tmp_path / f".partial.{host}-{pid.pid}.kept.json"
    others = [tmp_path / name for name in (f".partial.{host}-{os.getppid()}.kept.json", ".partial.far-1.kept.json")]
    for path in (left, *others):
        path.write_text("{")
    Kept(tmp_path / "kept.json", {}).write(3)
    assert Kept(tmp_path / "kept.json", {}).read() == 3
    assert not left.exists()
    assert all(path.exists() for path in others)  # a process that lives, and one of another machine
