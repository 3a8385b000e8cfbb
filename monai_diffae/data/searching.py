# SPDX-License-Identifier: Apache-2.0
"""A folder and its subfolders, searched as its owner means it: links are followed, results of runs are left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from monai_diffae.support.output_folders import is_output_folder
from monai_diffae.support.telling import PassedOver

__all__ = ["is_hidden", "search_files"]

# Of operating systems and of this package, not worth a word.
_KNOWN_JUNK = {".ds_store", "thumbs.db", "desktop.ini", "__macosx", ".git", ".resume", ".monai_diffae"}


def search_files(
    folders: Sequence[Path], passed: PassedOver, output_dir: str | os.PathLike | None = None
) -> list[Path]:
    """The files of folders and their subfolders, each file once, sorted by path.

    Links to files and folders are followed, and files keep the path that leads through the link. Left out, and counted
    by reason, are hidden files and folders, links that lead nowhere, what two paths lead to (the second of them), what
    cannot be read, folders that runs wrote results to, and ``derivatives`` and ``sourcedata`` of BIDS data sets.

    Args:
        folders: where to search; never left out themselves.
        passed: counts what is left out.
        output_dir: of the present run.
    """
    return sorted(Path(path) for path in _Search(folders, passed, output_dir).files())


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not meant to be seen."""
    return name.startswith(".") or name.lower() in _KNOWN_JUNK


class _Search:
    def __init__(self, folders: Sequence[Path], passed: PassedOver, output_dir: str | os.PathLike | None) -> None:
        self.tops = [os.fspath(folder) for folder in folders]
        self.passed = passed
        real = [Path(os.path.realpath(top)) for top in self.tops]
        self.real_tops = [os.fspath(top) for top in real]
        self.above = {os.fspath(folder) for top in real for folder in (top, *top.parents)}
        self.own = None if output_dir is None else os.path.realpath(output_dir)
        if self.own in self.above:  # the images are in it, asked for by name
            self.own = None
        self.seen_folders: set[str] = set()
        self.seen_files: set[tuple[int, int]] = set()

    def files(self) -> Iterator[str]:
        """What is there itself first: a link to it then comes second."""
        links: list[str] = []
        for top in self.tops:
            yield from self._walk(top, links)
        while links:
            further: list[str] = []
            for link in sorted(links):
                yield from self._follow(link, further)
            links = further

    def _follow(self, link: str, links: list[str]) -> Iterator[str]:
        try:
            os.stat(link)
        except OSError:
            self.passed.add("links that lead nowhere", link)
            return
        real = os.path.realpath(link)
        if not os.path.isdir(link):
            self._tell(link, real)
            yield from self._take(link)
        elif real in self.above or real in self.seen_folders:
            self.passed.add("links to folders that are searched already", link)
        else:
            self._tell(link, real)
            yield from self._walk(link, links)

    def _tell(self, link: str, real: str) -> None:
        if not any(real.startswith(os.path.join(top, "")) for top in self.real_tops):
            self.passed.follow(link, real)

    def _walk(self, top: str, links: list[str]) -> Iterator[str]:
        folders = [top]
        while folders:
            folder = folders.pop()
            real = os.path.realpath(folder)
            if real in self.seen_folders:  # a link has led there
                continue
            if self.own is not None and (real == self.own or real.startswith(self.own + os.sep)):
                self.passed.add("output_dir of this run", folder)
                continue
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self.passed.add(f"folders that cannot be read ({error.strerror})", folder)
                continue
            self.seen_folders.add(real)
            names = {entry.name for entry in entries}
            if folder not in self.tops and is_output_folder(folder, names):
                self.passed.add("folders with results of runs", folder)
                continue
            inside: list[str] = []
            for entry in entries:
                if is_hidden(entry.name):
                    if entry.name.lower() not in _KNOWN_JUNK:
                        self.passed.add("hidden files and folders", entry.path)
                elif entry.is_symlink():
                    links.append(entry.path)
                elif entry.is_dir():
                    if entry.name.lower() in ("derivatives", "sourcedata") and _is_bids(names):
                        self.passed.add("what was derived from a BIDS data set, or it from", entry.path)
                    else:
                        inside.append(entry.path)
                elif entry.is_file():
                    yield from self._take(entry.path)
            folders += reversed(inside)

    def _take(self, path: str) -> Iterator[str]:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if status.st_ino and identity in self.seen_files:
            self.passed.add("further paths to files that are taken already (links)", path)
            return
        self.seen_files.add(identity)
        yield path


def _is_bids(names: set[str]) -> bool:
    return "dataset_description.json" in names or any(name.startswith("sub-") for name in names)
