# SPDX-License-Identifier: Apache-2.0
"""Computed before, and still valid? One answer for everything that is kept in files."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_diffae.support.atomic_files import remove_of_killed, replacing, this_process
from monai_diffae.support.fingerprints import fingerprint

__all__ = ["Kept", "made_from"]

logger = logging.getLogger(__name__)


def made_from(**things: Any) -> dict[str, str]:
    """What a result depends on, by name: the :func:`~monai_diffae.support.fingerprints.fingerprint` of each."""
    return {name: fingerprint(thing) for name, thing in things.items()}


class Kept:
    """A result in a file, which is taken from there while all that it depends on is the same.

    A file holds the result and what it was made from. Where it is missing, damaged, of another version or made from
    something else, the result has to be computed again; the log says why.

    Args:
        path: ``.pt`` for what ``torch.load(..., weights_only=True)`` reads, ``.json`` for what JSON holds.
        basis: what the result depends on, by name, a fingerprint each (:func:`made_from`).
        what: happens to a result that has to be computed again, for the log; empty to say nothing.
        key: under which the file has the result.
    """

    def __init__(self, path: str | os.PathLike, basis: Mapping[str, str], what: str = "", key: str = "result") -> None:
        self.path = Path(path)
        self.basis = dict(basis)
        self.what = what
        self.key = key

    def read(self) -> Any:
        """The result, or None where it is to be computed."""
        if not self.path.exists():
            return self._none("does not exist", again="")
        try:
            found = self._load()
            basis, result = found["fingerprint"], found[self.key]
        except KeyError:
            return self._none("is of another version")
        except Exception as error:  # whatever is wrong with the file, it can be made again
            return self._none(f"cannot be read ({type(error).__name__})")
        changed = [name for name in {**self.basis, **basis} if basis.get(name) != self.basis.get(name)]
        if changed:
            return self._none(f"was made with other {' and other '.join(changed)}")
        return result

    def write(self, result: Any) -> None:
        """Keep a result; the file appears when it is complete."""
        content = {"fingerprint": self.basis, self.key: result}
        remove_of_killed(self.path)
        with replacing(self.path, writer=this_process()) as partial:
            if self.path.suffix == ".json":
                partial.write_text(json.dumps(content))
            else:
                torch.save(content, partial)

    def _load(self) -> Mapping[str, Any]:
        if self.path.suffix == ".json":
            return json.loads(self.path.read_text())
        return torch.load(self.path, map_location="cpu", weights_only=True)

    def _none(self, reason: str, again: str = " anew") -> None:
        if self.what:
            logger.info(f"{self.path} {reason}: {self.what}{again}.")
