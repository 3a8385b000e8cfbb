# SPDX-License-Identifier: Apache-2.0
"""What the data sets that this package writes have in common: a folder is complete once it holds ``labels.csv``."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from monai_diffae.support.atomic_files import replacing

__all__ = ["ensure_data_set", "labels_file_of_new", "write_labels"]


def labels_file_of_new(output_dir: str | os.PathLike) -> Path:
    """Path of ``labels.csv`` in a folder that holds no complete data set yet.

    Raises:
        FileExistsError: if it does.
    """
    labels_file = Path(output_dir) / "labels.csv"
    if labels_file.exists():
        raise FileExistsError(f"{labels_file} exists; choose another output_dir or delete the data set first.")
    return labels_file


def write_labels(labels_file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table of a data set whose other files are all there; it takes its name when it is complete."""
    with replacing(labels_file) as partial, open(partial, "w", newline="") as f:
        table = csv.DictWriter(f, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def ensure_data_set(
    dataset_dir: str | os.PathLike,
    default_dir: str | os.PathLike,
    generate: Callable[..., Any],
    /,
    **generator_args: Any,
) -> str:
    """Fill a bundle's default data folder on first use; any other folder is left alone.

    Args:
        dataset_dir: the folder that is asked for.
        default_dir: the bundle's own; filled if it is the one asked for and its data set is not complete.
        generate: called as ``generate(dataset_dir, **generator_args)``.

    Returns:
        ``dataset_dir``.
    """
    is_default = Path(dataset_dir).resolve() == Path(default_dir).resolve()
    if is_default:
        with idist.one_rank_first(local=True):  # the other processes of a machine find it complete
            if not (Path(dataset_dir) / "labels.csv").exists():
                generate(dataset_dir, **generator_args)
    return os.fspath(dataset_dir)
