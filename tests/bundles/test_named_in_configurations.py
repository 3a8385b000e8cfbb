# SPDX-License-Identifier: Apache-2.0
"""What configurations name is there in a process that has imported nothing but ``monai_diffae``."""

import ast
import functools
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NAMES = sorted(
    {
        tuple(name.split("."))
        for path in (REPOSITORY / "bundles").glob("*/configs/**/*.yaml")
        for name in re.findall(r"\bmonai_diffae((?:\.\w+)+)", path.read_text())
        for name in [name.lstrip(".")]
    }
)


@functools.cache
def bound_by(module: str) -> set[str]:
    """Names that a module's own text binds when it is imported."""
    tree = ast.parse(Path(find_spec(module).origin).read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
            if node.level == 1 and node.module:
                names.add(node.module.split(".")[0])  # the import of a submodule binds it in its package
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
    return names


@pytest.mark.parametrize("parts", NAMES, ids=".".join)
def test_it_needs_no_other_import(parts):
    room, *rest = parts
    module = f"monai_diffae.{room}"
    assert find_spec(module) is not None
    for part in rest:
        if part not in bound_by(module):  # then the module finds its submodules when they are asked for
            assert "__getattr__" in bound_by(module), f"{module} binds no {part}"
            assert find_spec(f"{module}.{part}") is not None
        if find_spec(module).submodule_search_locations is None or find_spec(f"{module}.{part}") is None:
            return  # a class or a function, and what it has
        module = f"{module}.{part}"


def test_submodules_are_found_when_they_are_asked_for():
    inside = {parts[:2] for parts in NAMES if len(parts) > 2}
    asked_for = sorted(f"{room}.{name}" for room, name in inside if name not in bound_by(f"monai_diffae.{room}"))
    code = "import monai_diffae\n" + "\n".join(f"monai_diffae.{name}" for name in asked_for)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_there_are_names():
    assert len(NAMES) > 80
    assert ("support", "output_folders", "as_folder") in NAMES
