# SPDX-License-Identifier: Apache-2.0
"""What rests on private names of other packages, which may change without a word: all of it is listed here, and each
has a test that fails when the name, or what it takes, has changed.

- ``CacheDataset._fill_cache``, ``_load_cache_item``, ``_transform``, ``_cache``, ``_hash_keys`` (``data.ItemCache``):
  the class has no limit in bytes, and leaves threads behind.
- ``Workflow._iteration`` (``training.DiffusionTrainer``, ``DiffusionAdversarialTrainer``): a step of MONAI's engines.
- ``Module._apply`` (``schedulers.InvertibleDDIMScheduler``): its coefficients stay float64.
- ``Metric._device`` (``training.SemanticGap``): as ignite's page on own metrics has it.
- ``EMAHandler._update_ema_model`` (``training.ForeachEMAHandler``): one call for all parameters; there is no hook.
- ``torch._foreach_*`` (there, and ``training.muon``): what torch's own optimisers are made of.
- ``Module._parameters``, ``_buffers``, ``_modules`` (``support.fingerprints``): what a module holds.
- ``tqdm._instances`` (``support.root_cause``): bars that are open would be drawn behind the last line.
- ``sys._getframe`` (``bundles.known_ids``): the options of the run that is under way.
- MONAI's text for ``config_*.json`` (``training.tracking``): an artifact of MLflow, see bundles/test_tracking.py.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from enum import Enum
from pathlib import Path

import pytest
import torch
from ignite.handlers import EMAHandler
from ignite.metrics import Average
from monai.data import CacheDataset
from monai.engines import Workflow
from monai.transforms import Compose, Lambda
from tqdm import tqdm

import monai_diffae

PACKAGE = Path(monai_diffae.__file__).parent
READ = {"_foreach_mul_", "_foreach_add_", "_foreach_lerp_", "_foreach_lerp", "_foreach_addcmul_"}
READ |= {"_foreach_norm", "_foreach_div_", "_foreach_sub_", "_foreach_mul"}
READ |= {"_parameters", "_buffers", "_modules", "_getframe", "_instances", "_load_cache_item", "_cache", "_device"}
OVERRIDDEN = {
    ("ItemCache", "_fill_cache", "CacheDataset"),
    ("ItemCache", "_transform", "Dataset"),
    ("RecentDataset", "_transform", "Dataset"),
    ("ForeachEMAHandler", "_update_ema_model", "EMAHandler"),
    ("DiffusionTrainer", "_iteration", "Workflow"),
    ("DiffusionAdversarialTrainer", "_iteration", "Workflow"),
    ("InvertibleDDIMScheduler", "_apply", "Module"),
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def read_names() -> set[str]:
    """Private attributes that the package reads and does not make itself."""
    read, own = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                (own if isinstance(node.ctx, ast.Store) else read).add(node.attr)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
                read |= {part.value for part in node.args[1:2] if isinstance(part, ast.Constant)}
    return {name for name in read - own if private(name)}


def overridden_names() -> set[tuple[str, str, str]]:
    """Private methods of other packages' classes that a class of ours replaces."""
    found = set()
    for module in pkgutil.walk_packages([str(PACKAGE)], "monai_diffae."):
        if module.name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and not issubclass(kind, Enum) and kind.__module__ == module.name:
                for name in filter(private, vars(kind)):
                    bases = [base for base in kind.__mro__[1:] if name in vars(base)]
                    if bases and not bases[-1].__module__.startswith("monai_diffae") and callable(getattr(kind, name)):
                        found.add((kind.__name__, name, bases[-1].__name__))
    return found


def test_what_is_read_is_listed():
    assert read_names() - READ - {"_asdict", "_replace", "_fields"} == set()


def test_what_is_replaced_is_listed():
    assert overridden_names() == OVERRIDDEN


def test_the_cache_of_monai_calls_what_ours_replaces():
    assert list(inspect.signature(CacheDataset._fill_cache).parameters)[:2] == ["self", "indices"]
    assert list(inspect.signature(CacheDataset._load_cache_item).parameters) == ["self", "idx"]
    cache = CacheDataset([1, 2], Compose([Lambda(str)]), progress=False)
    assert (list(cache._cache), cache.cache_num, list(cache._hash_keys)) == (["1", "2"], 2, [])
    assert cache._transform(1) == "2"


def test_the_engines_of_monai_and_the_modules_of_torch_call_what_ours_replaces():
    assert list(inspect.signature(Workflow._iteration).parameters) == ["self", "engine", "batchdata"]
    assert list(inspect.signature(torch.nn.Module._apply).parameters)[:2] == ["self", "fn"]
    assert Average(device="cpu")._device == torch.device("cpu")


def test_the_moving_average_of_ignite_calls_what_ours_replaces():
    assert list(inspect.signature(EMAHandler._update_ema_model).parameters) == ["self", "engine", "name"]


@pytest.mark.parametrize("name", sorted(name for name in READ if name.startswith("_foreach")))
def test_torch_computes_on_lists_of_tensors(name):
    assert callable(getattr(torch, name))


def test_modules_bars_and_frames_tell_what_they_hold():
    module = torch.nn.Linear(1, 1)
    assert list(module._parameters) == ["weight", "bias"]
    assert module._buffers == {} == module._modules
    with tqdm(disable=False, leave=False) as bar:
        assert bar in tqdm._instances
    assert sys._getframe().f_code.co_name == "test_modules_bars_and_frames_tell_what_they_hold"


def test_deprecations_that_our_calls_cause_are_errors(pytestconfig):
    """A warning is of the module whose line calls: ``stacklevel`` of the library."""
    assert "error:::monai_diffae" in pytestconfig.getini("filterwarnings")
    code = compile("import warnings\nwarnings.warn('gone soon', DeprecationWarning)", "example.py", "exec")
    with pytest.raises(DeprecationWarning, match="gone soon"):
        eval(code, {"__name__": "monai_diffae.data.example"})
