# SPDX-License-Identifier: Apache-2.0
"""A folder served on this machine, in place of the servers that MONAI downloads from."""

from __future__ import annotations

import contextlib
import functools
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the folder, while the context lasts."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def served_archive(folder: Path, name: str) -> Iterator[str]:
    """The address of an archive ``name`` of the data set below ``folder`` that is called like it."""
    with tarfile.open(folder / name, "w:gz" if name.endswith("gz") else "w") as archive:
        archive.add(folder / name.split(".")[0], arcname=name.split(".")[0])
    with served(folder) as address:
        yield f"{address}/{name}"
