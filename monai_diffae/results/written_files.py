# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["WrittenFiles", "digest_of"]


def digest_of(settings: Any, tensors: Iterable[torch.Tensor]) -> str:
    """Of all that files depend on: what JSON can hold, and tensors with their shapes."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


class WrittenFiles:
    """Remembers in ``<output_dir>/.resume`` which files a run has completed, and from what.

    Args:
        output_dir: of the run.
        name: of the group of files, with folders.
        digest: of all that they depend on.
    """

    def __init__(self, output_dir: Path, name: str, digest: str) -> None:
        self._record = output_dir / ".resume" / f"{name}.json"
        self._digest = digest

    def are(self, paths: Sequence[Path]) -> bool:
        """Whether these files are there as they were written, from the same digest."""
        try:
            found = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return False
        return found == self._content(paths)

    def record(self, paths: Sequence[Path]) -> None:
        """All of the files are complete."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        partial = self._record.with_name(self._record.name + ".partial")
        partial.write_text(json.dumps(self._content(paths)))
        os.replace(partial, self._record)

    def _content(self, paths: Sequence[Path]) -> dict:
        states = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in paths if path.exists()}
        return {"digest": self._digest, "files": states} if len(states) == len(paths) else {}
