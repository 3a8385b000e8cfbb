# SPDX-License-Identifier: Apache-2.0
"""What the commands say about bundles and workflows."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path

from monai_diffae.bundles import BundleConfigs, shown_path
from monai_diffae.bundles.main_ids import MainId
from monai_diffae.bundles.workflows import Configuration

__all__ = ["bundles_text", "help_text", "summary"]


def bundles_text(folders: Iterable[Path]) -> str:
    """Bundles, their workflows and what can be added to them, one line each."""
    bundles = [BundleConfigs(folder) for folder in folders]
    width = _width()
    lines = ["Bundles"]
    for bundle in bundles:
        metadata = json.loads((bundle.folder / "configs" / "metadata.json").read_text())
        weights = "" if (bundle.folder / "models" / "model.pt").exists() else " (no weights here)"
        lines += _line(bundle.folder.name, f"{metadata['task']}{weights} [{shown_path(bundle.folder)}]", width)
    for title, kind in (("Workflows", "workflows"), ("Additions (--with)", "additions")):
        lines += ["", title]
        found: dict[str, tuple[str, list[str]]] = {}
        for bundle in bundles:
            for word, config in getattr(bundle, kind).items():
                found.setdefault(word, (summary(config, bundle), []))[1].append(bundle.folder.name)
        for word, (text, names) in found.items():
            where = "" if len(names) == len(bundles) else f" [{', '.join(names)}]"
            lines += _line(word, f"{text}{where}", width)
    return "\n".join(lines)


def help_text(usage: str, config: Configuration, bundle: BundleConfigs, ids: Iterable[MainId]) -> str:
    """How a workflow is called, with its main ids, their defaults and comments."""
    ids = list(ids)
    width = _width()
    lines = [f"usage: {usage}", "", *textwrap.wrap(summary(config, bundle), width)]
    for title, overlay in ((f"What {config.verb} adds", True), ("What all workflows have", False)):
        part = [item for item in ids if item.overlay == overlay]
        if part:
            lines += ["", f"{title}, with the defaults of {bundle.folder.name}"]
            for item in part:
                lines += _line(f"--{item.name} {item.default}", item.comment, width)
    return "\n".join(lines)


def summary(config: Configuration, bundle: BundleConfigs) -> str:
    """What a configuration does; other workflows are called by their verbs."""
    verbs = {name: other.verb for name, other in bundle.all.items() if other.is_workflow}
    return re.sub(r"(\w+)\.yaml", lambda found: verbs.get(found[1], found[0]), config.summary)


def _width() -> int:
    return max(60, min(120, shutil.get_terminal_size().columns))


def _line(head: str, text: str, width: int, indent: int = 26) -> list[str]:
    """A word and what it means beside it, or below where the word is long."""
    text = " ".join(text.split())
    body = textwrap.wrap(text, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
    if len(head) + 3 > indent:
        return [f"  {head}", *(" " * indent + line for line in body if line)]
    return [f"  {head:<{indent - 2}}{body[0]}".rstrip(), *(" " * indent + line for line in body[1:])]
