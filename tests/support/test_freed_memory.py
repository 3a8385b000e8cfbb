# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from monai_diffae.support.freed_memory import keep_freed_memory, kept_freed_memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="freed memory is kept by glibc's options")

# A process of its own: what other tests have freed in this one would be used again without any options.
FRESH_PAGES = """
import json, resource, torch
from monai_diffae.support.freed_memory import keep_freed_memory, kept_freed_memory

torch.set_num_threads(1)

def fresh_pages():  # that the system gives while an array is made and freed five times
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(2**24).sum()  # 64 MB, more than is kept without any options
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def settled_fresh_pages():  # the first ones may be too short for the next, where something small took their start
    for _ in range(4):
        fresh_pages()
    return fresh_pages()

pages = {"before": settled_fresh_pages()}
with kept_freed_memory():
    pages["within"] = settled_fresh_pages()
pages["after"] = settled_fresh_pages()
keep_freed_memory()
pages["from then on"] = settled_fresh_pages()
print(json.dumps(pages))
"""


def fresh_pages(**environment: str) -> dict[str, int]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FRESH_PAGES]
    out = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True).stdout
    return json.loads(out)


@needs_glibc
def test_freed_memory_is_used_again_within_and_given_back_after():
    pages = fresh_pages()
    assert pages["within"] < pages["before"] / 4
    assert pages["after"] > pages["before"] / 2
    assert pages["from then on"] < pages["before"] / 4


@needs_glibc
def test_what_the_user_has_set_stays():
    pages = fresh_pages(MALLOC_ARENA_MAX="4")
    assert min(pages["within"], pages["from then on"]) > pages["before"] / 2


def test_without_glibc_nothing_happens(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    with kept_freed_memory():
        keep_freed_memory()
