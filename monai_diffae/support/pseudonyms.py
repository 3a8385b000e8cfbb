# SPDX-License-Identifier: Apache-2.0
"""Names of patients that tables can be passed on with."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from monai_diffae.support.atomic_files import partial_path
from monai_diffae.support.words import as_typed

__all__ = ["IDENTIFIERS", "SALT_FILE", "Pseudonyms", "check_identifiers"]

IDENTIFIERS = ("pseudonyms", "keep")
SALT_FILE = ".pseudonyms_salt"  # hidden: not to be passed on with the results
_LENGTH = 16  # hexadecimal digits: among a million names two are the same once in 40 million cases


def check_identifiers(identifiers: str) -> str:
    """``pseudonyms`` or ``keep``; ValueError for another word."""
    if identifiers not in IDENTIFIERS:
        raise ValueError(f"identifiers must be one of {', '.join(IDENTIFIERS)}, got {identifiers!r}.")
    return identifiers


class Pseudonyms:
    """From an identifier to ``s-`` and 16 digits that only who has the salt can tell it by (HMAC with SHA-256).

    The same salt gives the same pseudonyms: in the tables of a run, of one that is resumed, and of others.

    Args:
        folder: of the results. Without ``salt``, one is drawn when it is first needed and kept there in
            ``.pseudonyms_salt``, which its owner alone may read; a later run takes it from there.
        salt: any text. It is as secret as the identifiers.
        identifiers: ``pseudonyms``, or ``keep`` for the identifiers as they are.

    Raises:
        ValueError: for another word; when called, for a kept salt that is empty.
    """

    def __init__(
        self, folder: str | os.PathLike, salt: str | int | None = None, identifiers: str = "pseudonyms"
    ) -> None:
        self.identifiers = check_identifiers(identifiers)
        self.file = Path(folder) / SALT_FILE
        self._salt = None if salt is None else as_typed(salt, "salt")

    def __call__(self, identifier: str) -> str:
        if self.identifiers == "keep":
            return identifier
        if self._salt is None:
            self._salt = _kept_salt(self.file)
        return "s-" + hmac.new(self._salt.encode(), identifier.encode(), hashlib.sha256).hexdigest()[:_LENGTH]


def _kept_salt(file: Path) -> str:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_path(file, writer=secrets.token_hex(4))
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(secrets.token_hex(32))
        try:
            os.link(partial, file)  # which fails if another process was first: its salt counts
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)
    salt = file.read_text().strip()
    if not salt:
        raise ValueError(f"The salt of pseudonyms in {file} is empty; remove the file, or give a salt.")
    return salt
