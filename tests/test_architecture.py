# SPDX-License-Identifier: Apache-2.0
"""Which part of the package may import which. The names of the house are in its folders; the arrows are here."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "monai_diffae"
ROOMS = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists())
ARROWS = {
    "support": set(),  # the ground floor: all rooms may use it
    "networks": set(),
    "schedulers": set(),
    "semantics": set(),
    "data": set(),
    "datasets": {"data"},
    "checkpoints": {"networks", "semantics"},
    "inferers": {"schedulers", "semantics"},
    "training": {"schedulers", "semantics", "inferers"},
    "results": {"semantics"},
    "metrics": {"schedulers", "semantics", "inferers"},
    "bundles": set(),  # texts; what they name is imported when they run
    "commands": {"bundles"},
    "__main__": {"commands"},
    "demo": {"bundles", "commands", "datasets"},
}
# Knows rooms above it, by their names alone: paths of earlier versions that lead to the new ones.
OLD_NAMES = "monai_diffae.support.old_names"
OUTSIDE = {"bundles", "tests", "tutorials"}


def imported_modules(source: str, module: str) -> set[str]:
    """Full names of what a module of the package imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            # "from package import name": the name can be a module as well.
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def violations(source: str, module: str) -> list[str]:
    """Imports of a module (``monai_diffae.room.file``) that the arrows do not allow."""
    room = module.split(".")[1]
    wrong = []
    for name in imported_modules(source, module):
        package, target, *_ = [*name.split("."), ""]
        if (
            package in OUTSIDE
            or name == "monai_diffae"
            or (package == "monai_diffae" and target not in {room, "support", *ARROWS.get(room, ())})
        ):
            wrong.append(name)
    return sorted(wrong)


def is_definition(node: ast.stmt) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.ClassDef))


def module_name(path: Path) -> str:
    return ".".join(["monai_diffae", *path.relative_to(PACKAGE).with_suffix("").parts])


def imported_modules_of(path: Path) -> set[str]:
    return imported_modules(path.read_text(), module_name(path))


def test_every_room_has_its_arrows():
    assert {"networks", "schedulers", "semantics", "inferers"} <= set(ROOMS) <= set(ARROWS)


def test_nothing_lies_beside_the_rooms():
    assert {path.name for path in PACKAGE.glob("*.py")} <= {"__init__.py", "__main__.py"}


def test_arrows_make_no_circle():
    order = TopologicalSorter({room: uses | ({"support"} - {room}) for room, uses in ARROWS.items()})
    assert next(iter(order.static_order())) == "support"


def test_modules_make_no_circle():
    modules = {module_name(path).removesuffix(".__init__"): path for path in PACKAGE.rglob("*.py")}
    needs = {}
    for name, path in modules.items():
        imported = {n if n in modules else n.rpartition(".")[0] for n in imported_modules_of(path)}
        # A package's own __init__ collects its modules; only what they need of each other counts.
        parents = {name.rsplit(".", k)[0] for k in range(1, name.count(".") + 1)}
        needs[name] = {n for n in imported if n in modules and n != name} - parents
    with_inits = {name: found for name, found in needs.items() if modules[name].name != "__init__.py"}
    list(TopologicalSorter(with_inits).static_order())


def test_only_one_module_knows_names_above_it():
    rooms = "|".join(sorted(set(ARROWS) - {"support"}))
    knowing = {
        module_name(path)
        for path in (PACKAGE / "support").rglob("*.py")
        if re.search(rf"[\"'](monai_diffae\.)?({rooms})\b", path.read_text())
    }
    assert knowing == {OLD_NAMES}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_module_imports_only_what_its_room_may(path):
    assert violations(path.read_text(), module_name(path)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("networks.new", "from monai_diffae.schedulers import InvertibleDDIMScheduler"),
        ("networks.new", "import monai_diffae.schedulers.invertible_ddim as ddim"),
        ("networks.new", "from monai_diffae import schedulers"),
        ("networks.new", "from ..schedulers import InvertibleDDIMScheduler"),
        ("networks.new", "from .. import schedulers"),
        ("networks.__init__", "from ..semantics import slerp"),
        ("networks.inner.new", "from ...data import find_volumes"),
        ("networks.new", "def build():\n    from monai_diffae.inferers import ReconstructionInferer"),
        ("networks.new", "if TYPE_CHECKING:\n    import monai_diffae.data"),
        ("networks.new", "import monai_diffae"),
        ("semantics.new", "import torch, monai_diffae.networks"),
        ("schedulers.new", "from monai_diffae.semantics import slerp"),
        ("data.new", "from monai_diffae.results.sources import source_file"),
        ("metrics.new", "from monai_diffae.results import FigureSaver"),
        ("results.new", "from monai_diffae.data import find_volumes"),
        ("training.new", "from monai_diffae.results import FigureSaver"),
        ("support.new", "from monai_diffae.networks import DiffAEUNet"),
        ("data.new", "from monai_diffae.datasets import ensure_digits"),
        ("inferers.new", "from monai_diffae.networks import DiffAEUNet"),
        ("checkpoints.new", "from monai_diffae.inferers import ReconstructionInferer"),
        ("results.new", "from monai_diffae.demo import main"),
        ("data.new", "import bundles.brain_slices_diffae"),
        ("demo", "from tutorials import first_steps"),
    ],
)
def test_forbidden_import_is_caught(module, source):
    assert len(violations(source, f"monai_diffae.{module}")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("networks.new", "from monai_diffae.networks.blocks import group_norm"),
        ("networks.new", "from .blocks import group_norm"),
        ("networks.__init__", "from .denoising_unet import DiffAEUNet"),
        ("networks.new", "from monai.networks.schedulers import Scheduler"),
        ("data.new", "from monai_diffae.support.randomness import derive_seed"),
        ("data.new", "from monai_diffae.support import randomness"),
        ("inferers.new", "from monai_diffae.schedulers import InvertibleDDIMScheduler\nfrom ..semantics import slerp"),
        ("checkpoints.new", "from monai_diffae.networks import DiffAEUNet"),
        ("demo", "from monai_diffae.datasets import ensure_digits"),
    ],
)
def test_allowed_import_passes(module, source):
    assert violations(source, f"monai_diffae.{module}") == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_packages_of_the_extras_are_not_imported_with_a_module(path):
    """They are large, and users may not have them."""
    extras = {"mlflow", "onnx", "onnxscript", "pyarrow", "pydicom", "nilearn", "mlxtend", "lpips", "generative"}
    at_the_top = ast.Module([node for node in ast.parse(path.read_text()).body if not is_definition(node)], [])
    imported = imported_modules(ast.unparse(at_the_top), module_name(path))
    assert extras.isdisjoint(name.split(".")[0] for name in imported)
