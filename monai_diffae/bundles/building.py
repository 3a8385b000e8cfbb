# SPDX-License-Identifier: Apache-2.0
"""A bundle's files from the parts that bundles share and from what the bundle says itself, in its ``bundle.yaml``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from .composition import blocks, entries, fill, override

__all__ = ["BundleSource", "build_bundle", "built_files"]

PARTS = Path(__file__).parent / "parts"
SOURCE = "bundle.yaml"
_PARSED = ("kind", "license", "metadata", "presets", "words")  # whose values count, not the text
_PREDICTIONS = {"epsilon": "noise eps", "sample": "image x_0", "v_prediction": "velocity v"}


def built_files(folder: Path) -> dict[str, str]:
    """What a bundle's files should hold, by their paths in it.

    Args:
        folder: a bundle with a ``bundle.yaml``; its name is the bundle's.

    Raises:
        ValueError: without a ``bundle.yaml``, or where it names what the parts do not have.
    """
    source = BundleSource(folder)
    configs = {f"configs/{name}.yaml": source.config(name) for name in source.config_names}
    source.check_all_used()
    inference = yaml.safe_load(configs["configs/inference.yaml"])
    return {
        **configs,
        **{f"configs/presets/{name}.yaml": source.preset(name) for name in source.presets},
        "configs/inference.json": json.dumps(inference, indent=4) + "\n",
        "configs/metadata.json": source.metadata(inference),
        "configs/logging.conf": (PARTS / "common" / "logging.conf").read_text(),
        "LICENSE": source.license(),
    }


def build_bundle(folder: Path) -> list[str]:
    """Write a bundle's files; those that hold the same already are left alone.

    Returns:
        the paths in the bundle that were written.
    """
    written = []
    for name, text in built_files(folder).items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(name)
    return written


class BundleSource:
    """A bundle's own part, its ``bundle.yaml``, and the parts of its kind.

    Args:
        folder: of the bundle.

    Attributes:
        own_blocks: from names to texts at the margin.
        presets: from names to their words.
        changes: of each configuration, or ``both``, from ids to their entries.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.path = folder / SOURCE
        if not self.path.is_file():
            raise ValueError(f"{folder} has no {SOURCE}, from which its configurations are built.")
        text = self.path.read_text()
        self.values = yaml.safe_load(text)
        kinds = sorted(path.name for path in PARTS.iterdir() if path.is_dir() and path.name != "common")
        self.kind = self.values.get("kind")
        if self.kind not in kinds:
            raise ValueError(f"{self.path}: kind should be one of {', '.join(kinds)}, got {self.kind}.")
        self.common = {path.stem: path.read_text() for path in (PARTS / "common").glob("*.yaml")}
        self.of_kind = {path.stem: path.read_text() for path in (PARTS / self.kind).glob("*.yaml")}
        self.words = {
            "bundle": self.folder.name,
            **yaml.safe_load(self.common.pop("words")),
            **yaml.safe_load(self.of_kind.pop("words")),
            **self.values.get("words", {}),
        }
        self.words = {name: str(word) for name, word in self.words.items()}
        self.presets = self.values.get("presets", {})
        self.template = self.of_kind.pop("preset", None)
        if self.presets and self.template is None:
            raise ValueError(f"{self.path}: {self.kind} have no presets.")
        sections = {name: text for name, text in entries(text).items() if name not in _PARSED}
        sections = {name: blocks(section)[name] for name, section in sections.items()}
        self.own_blocks = blocks(sections.pop("blocks", ""))
        self.changes = {name: entries(section) for name, section in sections.items()}
        self.common_blocks, self.kind_blocks = (blocks(part.pop("shared")) for part in (self.common, self.of_kind))
        self.used: set[str] = set()
        if unknown := set(self.changes) - {"both", *self.config_names}:
            raise ValueError(f"{self.path}: no configuration {', '.join(sorted(unknown))} of this kind.")

    @property
    def config_names(self) -> list[str]:
        return sorted({*self.common, *self.of_kind})

    def config(self, name: str) -> str:
        """The text of one configuration."""
        try:
            if name in self.common:
                text, own = self.common[name], blocks(self.of_kind.get(name, ""))
            else:
                text, own = self.of_kind[name], {}
            known = self.common_blocks | self.kind_blocks | own | self.own_blocks
            text, used = fill(text, known, self.words)
            if unused := set(own) - used:
                raise ValueError(f"nothing includes the blocks {', '.join(sorted(unused))} of {self.kind}")
            self.used |= used
            changes = self._of_both(text) if name in ("train", "inference") else {}
            return override(text, changes | self.changes.get(name, {}))
        except ValueError as error:
            raise ValueError(f"{self.path}, for {name}.yaml: {error}") from error

    def preset(self, name: str) -> str:
        """The text of one of the bundle's presets."""
        words = {word: str(value) for word, value in self.presets[name].items()}
        try:
            return fill(self.template, {}, words | {"preset": name})[0]
        except ValueError as error:
            raise ValueError(f"{self.path}, for presets/{name}.yaml: {error}") from error

    def _of_both(self, text: str) -> dict[str, str]:
        present = entries(text)
        return {key: entry for key, entry in self.changes.get("both", {}).items() if key in present}

    def check_all_used(self) -> None:
        """Raise an error for blocks of the bundle that no configuration asked for, and for ids of neither."""
        if unused := set(self.own_blocks) - self.used:
            raise ValueError(f"{self.path}: nothing includes the blocks {', '.join(sorted(unused))}.")
        present = {*entries(self.config("train")), *entries(self.config("inference"))}
        if unknown := set(self.changes.get("both", {})) - present:
            raise ValueError(f"{self.path}: neither train.yaml nor inference.yaml has {', '.join(sorted(unknown))}.")

    def license(self) -> str:
        """The licence of the code, below what the bundle says of its weights."""
        text = (PARTS / "common" / "LICENSE").read_text()
        return f"{self.values['license'].rstrip()}\n\n{'-' * 78}\n\n{text}" if "license" in self.values else text

    def metadata(self, inference: Mapping) -> str:
        """``metadata.json``, with the sizes that the configuration has."""
        given = dict(self.values["metadata"])
        shared = yaml.safe_load((PARTS / "metadata.yaml").read_text())
        packages = [*shared["bundles"], *shared[self.kind], *given.pop("packages", [])]
        encoder = inference["network_def"]["encoder"]
        size = inference["image_size"]
        channels = encoder["in_channels"]
        given |= {
            "required_packages_version": {name: shared["versions"][name] for name in packages},
            "references": [*shared["references"], *given.pop("references", [])],
            "data_type": self.words["data_type"],
            "num_channels": channels if isinstance(channels, int) else inference["in_channels"],
            "spatial_shape": size if isinstance(size, list) else [size] * encoder["spatial_dims"],
            "z_dim": inference["z_dim"],
            "prediction": _PREDICTIONS[inference["prediction_type"]],
        }
        template = (PARTS / "common" / "metadata.json").read_text()
        try:
            return fill(template, {}, {name: _json(value) for name, value in given.items()})[0]
        except ValueError as error:
            raise ValueError(f"{self.path}, for metadata.json: {error}") from error


def _json(value: object) -> str:
    """A value of ``metadata.json``; lists of numbers on one line."""
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return json.dumps(value)
    return json.dumps(value, indent=4).replace("\n", "\n    ")
