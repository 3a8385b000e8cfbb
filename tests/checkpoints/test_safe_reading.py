# SPDX-License-Identifier: Apache-2.0
"""Files that are hostile, broken or foreign."""

import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from official_files import GOLDEN, golden_content, saved

from monai_diffae.checkpoints import load_official_checkpoint


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hacked",)


class HostileState:
    def __reduce__(self):
        return eval, ("open('hacked', 'w').close()",)


@pytest.mark.parametrize("payload", [Hostile(), HostileState()])
@pytest.mark.parametrize("place", ["callbacks", "state_dict"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_file_is_refused_and_does_not_run(payload, place, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = golden_content() | {place: payload}
    torch.save(content, "last.ckpt", pickle_protocol=protocol)
    with pytest.raises(ValueError, match=r"refused.*Nothing of it has run"):
        load_official_checkpoint("last.ckpt")
    with open("plain.pkl", "wb") as f:
        pickle.dump(content, f, protocol=protocol)
    with pytest.raises(ValueError, match=r"refused.*refers to .*(posix.system|builtins.eval|__builtin__.eval)"):
        load_official_checkpoint("plain.pkl")
    torch.save(content, "old.ckpt", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"refused.*refers to .*(posix.system|builtins.eval|__builtin__.eval)"):
        load_official_checkpoint("old.ckpt")
    assert not Path("hacked").exists()


class Disguised:
    """A function under a name of Lightning, as a class that the file may name."""

    def __reduce__(self):
        return disguised, ("touch hacked",)


def disguised(command: str) -> None:
    os.system(command)


disguised.__module__, disguised.__qualname__ = "pytorch_lightning.os", "system"


def test_functions_under_a_name_of_lightning_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("pytorch_lightning.os")
    module.system = disguised
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.os", module)
    path = saved(golden_content() | {"callbacks": Disguised()}, tmp_path)
    with pytest.raises(ValueError, match=r"refers to pytorch_lightning\.os\.system"):
        load_official_checkpoint(path)
    assert not Path("hacked").exists()


def test_archive_that_was_compressed_again_reads_the_same(tmp_path):
    with (
        zipfile.ZipFile(GOLDEN / "last.ckpt") as source,
        zipfile.ZipFile(tmp_path / "last.ckpt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    weights = (load_official_checkpoint(path).autoencoder for path in (GOLDEN / "last.ckpt", tmp_path / "last.ckpt"))
    for one, other in zip(*(module.state_dict().values() for module in weights), strict=True):
        assert torch.equal(one, other)


def test_flipped_bit_is_found(tmp_path):
    data = bytearray((GOLDEN / "last.ckpt").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "last.ckpt").write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        load_official_checkpoint(tmp_path / "last.ckpt")


def test_code_under_a_name_of_lightning_is_not_imported(tmp_path, monkeypatch):
    """A package of that name that lies in the way is not touched: its classes are replaced by inert ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "pytorch_lightning").mkdir()
    (tmp_path / "pytorch_lightning" / "__init__.py").write_text("open('hacked', 'w').close()")
    result = load_official_checkpoint(GOLDEN / "last.ckpt")
    assert result.autoencoder is not None
    assert not Path("hacked").exists()


def test_harmless_file_in_the_format_before_pytorch_1_6_is_told_from_one_that_carries_code(tmp_path):
    torch.save(golden_content(), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"truncated, or not a file of torch.save \(PyTorch 1.6 or newer\)"):
        load_official_checkpoint(tmp_path / "old.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_file_is_refused(share, tmp_path):
    data = (GOLDEN / "last.ckpt").read_bytes()
    (tmp_path / "last.ckpt").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"cannot be read: it is truncated, or not a file of torch.save"):
        load_official_checkpoint(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"weights": torch.zeros(3)}, "none of the authors' files"),
        ({"state_dict": {"layer.weight": torch.zeros(3)}}, "none of the authors' files"),
        ({"state_dict": {"ema_model.layer.weight": torch.zeros(3)}}, "not the parameters of the authors' autoencoder"),
        ({"state_dict": 3}, "none of the authors' files"),
        ({"state_dict": {}, "hyper_parameters": [1]}, "hyper_parameters are a list"),
    ],
)
def test_foreign_file_is_refused(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_official_checkpoint(saved(content, tmp_path))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        load_official_checkpoint(tmp_path / "nothing.ckpt")
