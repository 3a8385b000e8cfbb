# SPDX-License-Identifier: Apache-2.0
"""What is done to a user's files without being asked, said in a line: once for a kind of file, not once for a file."""

from __future__ import annotations

import logging
import os

import ignite.distributed as idist

__all__ = ["OnceTold", "PassedOver"]

logger = logging.getLogger(__name__)

_SHOWN = 5  # links


class OnceTold:
    """Says what is done to a kind of file when the first such file comes; of several processes the first one does."""

    def __init__(self) -> None:
        self._first: dict[str, object] = {}

    def __call__(self, what: str, file: str | os.PathLike) -> None:
        """
        Args:
            what: is done; the same words for all files of a kind.
            file: an example.
        """
        mark = object()
        if self._first.setdefault(what, mark) is mark and idist.get_rank() == 0:  # threads may come at once
            logger.warning("%s: %s (said once for all such files)", _text(file), what)


class PassedOver:
    """Counts what a search leaves out, by its reason."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}
        self._followed: list[str] = []

    def follow(self, link: str | os.PathLike, to: str | os.PathLike) -> None:
        """A link is not left out, but leads out of the folder.

        Args:
            link: its path.
            to: what it leads to.
        """
        self._followed.append(f"{_text(link)} to {_text(to)}")

    def add(self, what: str, example: str | os.PathLike) -> None:
        """
        Args:
            what: is left out and why, in the plural: "links that lead nowhere".
            example: its path.
        """
        count, first = self._found.get(what, (0, _text(example)))
        self._found[what] = (count + 1, first)

    def lines(self) -> list[str]:
        """A line for each reason, in the order in which they came up."""
        return [f"{what}: {count}, e.g. {example}" for what, (count, example) in self._found.items()]

    def tell(self, folder: str | os.PathLike) -> None:
        """Say what was left out of a folder, and what was taken from elsewhere; of several processes the first one
        does."""
        if idist.get_rank() == 0:
            if self._followed:
                count = len(self._followed)
                logger.warning(
                    "%s: followed links that lead elsewhere: %d, %s", _text(folder), count, _some(self._followed)
                )
            for line in self.lines():
                logger.warning("%s: left out %s", _text(folder), line)


def _some(links: list[str]) -> str:
    return "; ".join(links[:_SHOWN]) + ("; ..." if len(links) > _SHOWN else "")


def _text(path: str | os.PathLike) -> str:
    """Names may hold bytes that are no text, which a log cannot write."""
    return os.fspath(path).encode(errors="replace").decode()
