# SPDX-License-Identifier: Apache-2.0
"""Public medical data sets that MONAI downloads: where they lie, and what is said when they do not."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import ignite.distributed as idist

__all__ = ["find_data_set", "holds_data_set"]


def find_data_set(
    dataset_dir: str | os.PathLike, name: str, sign: str, download: Callable[[Path], object] | None, archive: str
) -> Path:
    """The folder of a data set: ``dataset_dir`` itself or its subfolder ``name``, downloaded into it if wanted.

    Args:
        dataset_dir: where a user says that the data are.
        name: of the folder that the archive unpacks to.
        sign: pattern of paths below that folder, one of which tells it.
        download: called with ``dataset_dir`` if the data set is not there; ``None`` to leave it.
        archive: that unpacks to ``name``, for the message.

    Raises:
        FileNotFoundError: if it is not there, and was not or could not be downloaded.
    """
    root = Path(dataset_dir)
    if (found := _find(root, name, sign)) is not None:
        return found
    advice = f"unpack {archive} so that {root / name / sign} exists, or give another dataset_dir"
    if download is None:
        raise FileNotFoundError(
            f"dataset_dir {os.fspath(dataset_dir)!r} holds no {name}: {advice}, or let MONAI download it with "
            "download: true."
        )
    with idist.one_rank_first(local=True):  # the other processes of a machine find it complete
        if (found := _find(root, name, sign)) is None:
            root.mkdir(parents=True, exist_ok=True)
            try:
                download(root)
            except Exception as error:  # whatever a network, a server or a broken archive leads to
                raise FileNotFoundError(
                    f"{name} could not be downloaded ({textwrap.shorten(str(error), 120)}): {advice}."
                ) from None
            found = _find(root, name, sign)
    if found is None:
        raise FileNotFoundError(f"What was downloaded to {root} holds no {name}/{sign}: {advice}.")
    return found


def holds_data_set(dataset_dir: str | os.PathLike, name: str, sign: str) -> bool:
    """Whether :func:`find_data_set` finds it without a download."""
    return _find(Path(dataset_dir), name, sign) is not None


def _find(root: Path, name: str, sign: str) -> Path | None:
    return next((folder for folder in (root, root / name) if any(folder.glob(sign))), None)
