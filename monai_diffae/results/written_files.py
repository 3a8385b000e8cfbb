# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_diffae.support.fingerprints import code_fingerprint
from monai_diffae.support.kept import Kept

__all__ = ["WrittenFiles"]


class WrittenFiles:
    """Remembers in ``<output_dir>/.resume`` which files a run has completed, and from what.

    Args:
        output_dir: of the run.
        name: of the group of files, with folders.
        basis: what they depend on beside this package (:func:`~monai_diffae.support.kept.made_from`).
    """

    def __init__(self, output_dir: Path, name: str, basis: Mapping[str, str]) -> None:
        self._kept = Kept(output_dir / ".resume" / f"{name}.json", {**basis, "code": code_fingerprint()})

    def are(self, paths: Sequence[Path]) -> bool:
        """Whether these files are there as they were written, from the same basis."""
        found = self._kept.read()
        return found is not None and found == self._states(paths)

    def record(self, paths: Sequence[Path]) -> None:
        """All of the files are complete."""
        self._kept.write(self._states(paths))

    @staticmethod
    def _states(paths: Sequence[Path]) -> dict[str, list[int] | None]:
        """Size and time of change by name; None for a file that is not there."""
        status = {path.name: path.stat() if path.exists() else None for path in paths}
        return {name: state and [state.st_size, state.st_mtime_ns] for name, state in status.items()}
