# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import platform
import resource

import pytest
import torch

from monai_diffae.support.freed_memory import keep_freed_memory, kept_freed_memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="freed memory is kept by glibc's options")


def fresh_pages() -> int:
    """That the system gives while an array is made and freed five times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(2**24).sum()  # 64 MB, more than is kept without any options
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.fixture
def no_options(monkeypatch):
    for name in ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_ARENA_MAX"):
        monkeypatch.delenv(name, raising=False)
    with kept_freed_memory():
        pass  # its end undoes what an earlier test has left on in this process


@needs_glibc
def test_freed_memory_is_used_again_within_and_given_back_after(no_options):
    before = fresh_pages()
    with kept_freed_memory():
        fresh_pages()
        assert fresh_pages() < before / 4
    assert fresh_pages() > before / 2


@needs_glibc
def test_what_the_user_has_set_stays(no_options, monkeypatch):
    before = fresh_pages()
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    with kept_freed_memory():
        keep_freed_memory()
        assert fresh_pages() > before / 2


def test_without_glibc_nothing_happens(no_options, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    with kept_freed_memory():
        keep_freed_memory()
