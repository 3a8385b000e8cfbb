# SPDX-License-Identifier: Apache-2.0
"""The workflows of a bundle, from the first lines of its configurations.

A configuration says at its head what it is laid upon and what it does::

    # Encodes pictures to (z_sem, x_T) and decodes them again.              a workflow by itself
    # Overlay on manipulate.yaml: the smallest move of z_sem that ...       a workflow behind manipulate's files
    # Overlay on train.yaml, or on inference.yaml: a 3D network ...         an addition to workflows, behind those two
    # Overlay on inference.yaml, last of a list: larger images ...          an addition, behind all others

What lies in ``configs/presets`` is an addition, behind the workflow.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["BundleConfigs", "Configuration"]

_VERBS = {  # where a user's word is not that of the file
    "inference": "reconstruct",
    "manipulate": "edit",
    "variations": "vary",
    "conditional_sample": "sample-class",
}
_OVERLAY = re.compile(
    r"Overlay on (?P<first>\w+)\.yaml(?:,? (?:or|and) on (?P<second>\w+)\.yaml)?(?P<last>, last of a list)?: "
)
_SEVERAL_PROCESSES = "multi_gpu_"


@dataclass(frozen=True)
class Configuration:
    """What the head of a configuration says.

    Args:
        path: of the file.
        bases: names of the configurations that it can be laid upon; empty for one that stands by itself.
        last: whether it comes behind all others.
        summary: what it does, a sentence.
    """

    path: Path
    bases: tuple[str, ...]
    last: bool
    summary: str

    @classmethod
    def read(cls, path: Path) -> Configuration:
        """Read the comment at the head of a YAML file."""
        lines = []
        with open(path) as f:
            for line in f:
                if not line.startswith("# "):
                    break
                lines.append(line[2:].strip())
        text = " ".join(lines)
        found = _OVERLAY.match(text)
        summary = re.split(r"(?<=\.)\s|:?\s+(?:python|--config_file) ", text[found.end() if found else 0 :])[0]
        bases = tuple(base for base in (found["first"], found["second"]) if base) if found else ()
        return cls(path, bases, bool(found and found["last"]), summary)

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def verb(self) -> str:
        """The word that a user writes: the file's name, with ``-`` for ``_``, or a better one."""
        return _VERBS.get(self.name) or _word(self.name)

    @property
    def is_preset(self) -> bool:
        return self.path.parent.name == "presets"

    @property
    def is_workflow(self) -> bool:
        """Whether it is a workflow, and not an addition to several."""
        return not self.is_preset and not self.last and len(self.bases) < 2


class BundleConfigs:
    """The configurations of a bundle.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = sorted((folder / "configs").glob("*.yaml")) + sorted((folder / "configs" / "presets").glob("*.yaml"))
        self.all = {path.stem: Configuration.read(path) for path in paths}

    @property
    def workflows(self) -> dict[str, Configuration]:
        """By verb; those that stand by themselves come first."""
        found = {config.verb: config for config in self.all.values() if config.is_workflow}
        return dict(sorted(found.items(), key=lambda item: (bool(item[1].bases), item[0].lower())))

    @property
    def words(self) -> dict[str, Configuration]:
        """Workflows by verb and by the name of their file."""
        return {config.name: config for config in self.workflows.values()} | self.workflows

    @property
    def additions(self) -> dict[str, Configuration]:
        """By name, without those for several processes."""
        return {
            name: config
            for name, config in self.all.items()
            if not config.is_workflow and not name.startswith(_SEVERAL_PROCESSES)
        }

    def workflow(self, verb: str) -> Configuration:
        """The workflow of a verb; the name of its file does as well.

        Raises:
            ValueError: if there is none; the message names the nearest.
        """
        return _find(verb if verb in self.words else _word(verb), self.words, self.workflows, "workflow", self.folder)

    def files(self, verb: str, additions: Iterable[str] = (), several_processes: bool = False) -> list[Path]:
        """The files of a workflow, in the order in which MONAI merges them.

        Args:
            verb: see :meth:`workflow`.
            additions: names of the bundle's, such as ``volumes``, or paths of files of one's own.
            several_processes: with the overlay that lets ``torchrun``'s processes share the work.

        Raises:
            ValueError: for one that is not there or does not go with the workflow.
        """
        chain = self._chain(self.workflow(verb))
        names = [config.name for config in chain]
        behind_base, own, last = [], [], []
        for name in additions:
            if name not in self.additions and Path(name).suffix in (".yaml", ".yml", ".json"):
                if not Path(name).is_file():
                    raise ValueError(f"No file {name} to add to the bundle's configuration.")
                own.append(_checked(Path(name)))
                continue
            config = _find(name, self.additions, self.additions, "addition", self.folder)
            if config.bases and not set(config.bases) & set(names):
                bases = " or ".join(f"{base}.yaml" for base in config.bases)
                raise ValueError(f"{name} is laid upon {bases}, which {verb} does not have: {', '.join(names)}.")
            (last if config.last else own if config.is_preset else behind_base).append(config.path)
        if several_processes:
            last.append(self._sharing(verb, names))
        first, *rest = (config.path for config in chain)
        return [first, *behind_base, *rest, *own, *last]

    def _chain(self, config: Configuration) -> list[Configuration]:
        chain = [config]
        while chain[0].bases:
            chain.insert(0, self.all[chain[0].bases[0]])
        return chain

    def _sharing(self, verb: str, names: Sequence[str]) -> Path:
        """The overlay for several processes that is laid upon the latest of the files."""
        for name in reversed(names):
            if config := self.all.get(_SEVERAL_PROCESSES + name):
                return config.path
        raise ValueError(f"{self.folder.name} has no overlay that shares {verb} between processes.")


def _word(name: str) -> str:
    return re.sub(r"_(?!T\b)", "-", name)  # x_T is one word


def _find(
    name: str,
    candidates: dict[str, Configuration],
    shown: Iterable[str],
    kind: str,
    folder: str | os.PathLike,
) -> Configuration:
    if name in candidates:
        return candidates[name]
    near = difflib.get_close_matches(name, candidates, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(f"{Path(folder).name} has no {kind} {name}: expected one of {', '.join(shown) or 'none'}.{meant}")


def _checked(path: Path) -> Path:
    """A file of one's own, if it holds ids and their values."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} should hold ids with their values, as image_size: 32, got a {type(content).__name__}."
        )
    return path
