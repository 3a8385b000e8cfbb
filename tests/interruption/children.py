# SPDX-License-Identifier: Apache-2.0
"""What a forked process does to itself before it works: no power to write where it may not, a small disk of its own."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from killing import import_all
from read_materials import write_materials

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, capabilities and name spaces of Linux")
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_PRIVATE, _READ_ONLY = 0x44000, 0x21  # with all below; what is mounted already
_CAPABILITIES_VERSION = 0x20080522


def prepared(folder: Path) -> Path:
    """A home of works, in which children of this process can begin at once."""
    import_all()
    write_materials(folder)
    return folder


def in_child(work: Callable[[], dict]) -> dict:
    """What a forked process finds; an error of its own fails the test."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = {"error": "the process has ended"}
        try:
            os.close(read)
            torch.set_num_threads(1)
            found = work()
        except BaseException as error:
            found = {"error": repr(error)}
        finally:
            os.write(write, json.dumps(found).encode()[:60_000])
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return found


def last_line(log: Path) -> str:
    return log.read_text().strip().splitlines()[-1]


def drop_root() -> None:
    """Give up the capabilities of this process: what remains of root owns its files and may do what their modes say."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def mount_small_disk(folder: Path, size: str) -> None:
    """A file system of this process alone.

    Raises:
        OSError: where the kernel does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS if user == 0 else _NEW_USER | _NEW_MOUNTS
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    libc.mount(b"none", b"/", None, _PRIVATE, None)
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "mount")


def make_read_only(folder: Path) -> None:
    """A disk of ``mount_small_disk``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(folder), None, _READ_ONLY, None):
        raise OSError(ctypes.get_errno(), "mount")
