# SPDX-License-Identifier: Apache-2.0
"""Pairs and chains of files, and the images of a data set joined along them. A pair is a chain of two."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from monai_diffae.data.table_reading import read_table
from monai_diffae.data.usable_items import UsableItems
from monai_diffae.data.volume_slices import VolumeSlices
from monai_diffae.support.bad_files import BadFiles
from monai_diffae.support.names import joined_stem, named_from, source_stem

__all__ = ["ImageChains", "find_chains", "items_of_chains"]


def find_chains(
    data: Sequence[Mapping[str, Any]],
    dataset_dir: str | os.PathLike,
    pairs: Sequence[Sequence[str]] | None = None,
    pairs_file: str | os.PathLike | None = None,
    chain: Sequence[str] | None = None,
) -> list[list[str]]:
    """What is to be joined, from one of ``pairs``, ``pairs_file`` and ``chain``; by default each file with the next.

    Args:
        data: MONAI data list, as of :func:`~monai_diffae.data.find_volumes` and
            :func:`~monai_diffae.data.find_images`.
        dataset_dir: names of files are relative to it, as in the tables that the bundles write, or absolute; results
            are named from there.
        pairs: ``[["a.png", "b.png"], ...]``.
        pairs_file: CSV with the columns ``file`` and ``file_to``, a row a pair. Its names are looked for in the folder
            of the CSV first, then in ``dataset_dir``.
        chain: two files or more: one line through all of them.

    Returns:
        Chains of files, named as in ``data``: two each, or one of ``len(chain)``.

    Raises:
        ValueError: if more than one is given, for a name that is not in ``data``, a pair that is not two files or is
            given twice, two pairs whose results would get one name, a chain of fewer than two, a table without the
            columns or without rows, and by default if there are fewer than two files.
    """
    given = {"pairs": pairs, "pairs_file": pairs_file, "chain": chain}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"Give one of pairs, pairs_file and chain, got {' and '.join(given)}.")
    files = {os.path.abspath(item["image"]): item["image"] for item in data}  # links are not followed
    roots = [dataset_dir]
    if chain is not None:
        names = [_names("chain", chain)]
    elif pairs is not None:
        names = [_names("pairs", pair, count=2) for pair in _listed("pairs", pairs)]
    elif pairs_file is not None:
        names = _read_pairs(pairs_file)
        roots = [os.path.dirname(os.path.abspath(pairs_file)), dataset_dir]
    else:
        names = [list(pair) for pair in itertools.pairwise(files)]
        if not names:
            raise ValueError(
                f"Two files or more are needed, to join each with the next; dataset_dir {os.fspath(dataset_dir)!r} "
                f"has {len(files)}."
            )
    chains = [[_find(name, roots, files) for name in chain] for chain in names]
    seen: set[tuple[str, ...]] = set()
    for given_names, chain in zip(names, chains):
        if tuple(chain) in seen:
            raise ValueError(f"The pair {given_names} is given twice.")
        seen.add(tuple(chain))
    _check_distinct_results(chains, dataset_dir)
    return chains


def items_of_chains(data: Sequence[Mapping[str, Any]], chains: Sequence[Sequence[str]]) -> list[Mapping[str, Any]]:
    """The items of a data list that chains (:func:`find_chains`) name, in the order of the list."""
    named = set(itertools.chain.from_iterable(chains))
    return [item for item in data if item["image"] in named]


def _check_distinct_results(chains: Sequence[Sequence[str]], root: str | os.PathLike) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for chain in chains:
        first, last = (named_from(chain[end], root) for end in (0, -1))
        stem = joined_stem(source_stem(first), source_stem(last))
        other = seen.setdefault(stem, (first, last))
        if other != (first, last):
            raise ValueError(
                f"The results of {other[0]} to {other[1]} and of {first} to {last} would both be named {stem}; give "
                "one of the pairs in a run of its own, with another output_dir, or rename a file."
            )


def _listed(name: str, value: Any) -> Sequence:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence) or not value:
        example = "[['a.png','b.png']]" if name == "pairs" else "['a.png','b.png','c.png']"
        raise ValueError(f"{name} is a list such as {example}, got {value!r}.")
    return value


def _names(name: str, value: Any, count: int | None = None) -> list[str]:
    files = [os.fspath(file) if isinstance(file, os.PathLike) else file for file in _listed(name, value)]
    expected = "two files or more" if count is None else "two files"
    if len(files) < 2 or len(files) != (count or len(files)) or not all(isinstance(file, str) for file in files):
        raise ValueError(f"{name.removesuffix('s').capitalize()} means {expected}, got {files}.")
    return files


def _read_pairs(pairs_file: str | os.PathLike) -> list[list[str]]:
    table = read_table(pairs_file)
    missing = [name for name in ("file", "file_to") if name not in table.columns]
    if missing:
        raise ValueError(f"{pairs_file} has no column {', '.join(missing)}; it has {', '.join(table.columns)}.")
    pairs = [[row["file"], row["file_to"]] for row in table.rows]
    for i, pair in enumerate(pairs, start=1):
        if not all(pair):
            raise ValueError(f"{pairs_file}, pair {i} of {len(pairs)}: file or file_to is empty, got {pair}.")
    return pairs


def _find(name: str, roots: Sequence[str | os.PathLike], files: Mapping[str, str]) -> str:
    for root in roots:
        for spelling in (name, name.replace("::", "#")):  # MONAI's configurations turn # into ::, in values too
            path = os.path.abspath(os.path.join(root, spelling))
            if path in files:
                return files[path]
    some = [os.path.relpath(path, roots[-1]) for path in files][:4]
    raise ValueError(
        f"{name!r} is not a file of the data set. Names are relative to {' or '.join(os.fspath(r) for r in roots)}; "
        f"there are {len(files)} files: {', '.join(some)}{', ...' if len(files) > len(some) else ''}."
    )


class ImageChains(Dataset):
    """Each image with the one that follows it, or with all that follow it in a chain.

    Args:
        data: pictures or whole volumes, dictionaries with ``image``, one a file; or
            :class:`~monai_diffae.data.VolumeSlices`, of which slices at the same place of each volume are joined. Where
            volumes that are joined have different numbers of slices, the surplus is left out, with a warning.
        sources: the data list that ``data`` was made from.
        chains: as :func:`find_chains` gives them; all of one length, so that they make batches.
        bad_files: those that ``data`` leaves out; a chain with one of them is left out as well.

    An item is that of the first file, with ``image_to``: the image of the second file, or for three files or more a
    list of images; and with ``slice_to`` and ``subject_to``, the same of what the items have of these. ``volume``,
    where there is one, becomes the index of the chain, as one volume can begin several.

    Raises:
        ValueError: for chains of different lengths or of less than two files, and if ``data`` and ``sources`` do not
            belong together.
    """

    def __init__(
        self,
        data: Dataset,
        sources: Sequence[Mapping[str, Any]],
        chains: Sequence[Sequence[str]],
        bad_files: BadFiles | None = None,
    ) -> None:
        lengths = sorted({len(chain) for chain in chains})
        if len(lengths) != 1 or lengths[0] < 2:
            raise ValueError(f"Expected chains of one length, two files or more, got chains of {lengths or 'none'}.")
        starts = data.starts if isinstance(data, (VolumeSlices, UsableItems)) else list(range(len(data) + 1))
        if len(starts) - 1 != len(sources):
            raise ValueError(f"data has images of {len(starts) - 1} files, but sources names {len(sources)} files.")
        places = {source["image"]: range(*ends) for source, ends in zip(sources, itertools.pairwise(starts))}
        self.data = data
        self._index: list[tuple[int, tuple[int, ...]]] = []  # (chain, the places of its images in data)
        left_out = {} if bad_files is None else bad_files.reasons
        for number, chain in enumerate(chains):
            bad = [file for file in chain if file in left_out]
            if bad:
                bad_files.add(" to ".join(chain), ValueError(f"{bad[0]} was left out"))
                continue
            counts = [len(places[file]) for file in chain]
            if len(set(counts)) > 1:
                warnings.warn(
                    f"{', '.join(chain)} have {', '.join(map(str, counts))} slices; the first {min(counts)} of each "
                    "are joined.",
                    stacklevel=2,
                )
            self._index += [(number, joined) for joined in zip(*(places[file] for file in chain))]

        if not self._index and left_out:
            raise ValueError("Of each chain a file was left out: " + "; ".join(map(": ".join, left_out.items())))

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, (first, *others) = self._index[index]
        item = dict(self.data[first])
        following = [self.data[other] for other in others]
        for key in ("image", "slice", "subject"):
            if key in item:
                values = [other[key] for other in following]
                item[f"{key}_to"] = values[0] if len(values) == 1 else values
        if "volume" in item:
            item["volume"] = number
        return item
