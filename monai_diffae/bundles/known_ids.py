# SPDX-License-Identifier: Apache-2.0
"""Options that name no id of a configuration are refused: MONAI takes any, and a misspelt one would change nothing.

Their values are read as what they replace, see :mod:`monai_diffae.bundles.option_values`.
"""

from __future__ import annotations

import difflib
import inspect
import os
import pydoc
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from monai_diffae.bundles.option_values import read_values
from monai_diffae.support.devices import check_device

__all__ = ["check_ids", "check_options_of_run", "unknown_ids"]

_Files = str | os.PathLike | Sequence[str | os.PathLike]
_SEPARATOR = "::"
_MISSING = object()
_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")


def check_ids(options: Mapping[str, Any], config_file: _Files, of_bundle: bool = False) -> None:
    """Raise a ValueError that names options without an id, and what each probably should be.

    Args:
        options: from ids to values, as ``monai.bundle run`` gets them.
        config_file: the configuration that they change, or several, as ``monai.bundle run`` gets them.
        of_bundle: ids of other configurations in the same folder pass as well.
    """
    if problems := unknown_ids(options, config_file, of_bundle):
        raise ValueError(" ".join(problems.values()))


def check_options_of_run() -> None:
    """:func:`check_ids` and :func:`read_values` for ``monai.bundle run``, at the beginning of ``initialize``.

    The options are those of the call of ``monai.bundle.create_workflow`` that is under way, from the command line, from
    Python or from an ``args_file``, which may serve several workflows: in it ids of the bundle's other configurations
    pass. Without such a call, of a workflow that a program made itself, nothing is checked.
    """
    from monai.bundle import ConfigParser, ConfigWorkflow
    from monai.bundle.scripts import create_workflow

    called, initialized = _call_of(create_workflow), _call_of(ConfigWorkflow.initialize)
    if called is None or initialized is None:
        return
    config_file, args_file, options = called["config_file"], called["args_file"], called["kwargs"]
    check_ids(options, config_file)
    check_device(options.get("device"))
    if args_file is not None:
        check_ids(ConfigParser.load_config_file(args_file), config_file, of_bundle=True)
    for id, value in read_values(options, _literals(options, config_file)).items():
        initialized["self"].parser[id] = value


def unknown_ids(options: Mapping[str, Any], config_file: _Files, of_bundle: bool = False) -> dict[str, str]:
    """Options that name no id, and a sentence of each that says what is known.

    An id is one of the files' merged content, nested with ``::``; an argument of the component above it that they do
    not set; a new entry of a mapping that is only used as a whole, such as ``masks``; or one that another option
    refers to, or names as what to run.
    MONAI's own arguments and those of its tracking are no ids, and pass.

    Args:
        options: see :func:`check_ids`.
        config_file: see :func:`check_ids`.
        of_bundle: see :func:`check_ids`.
    """
    files, config = _paths(config_file), _merged(config_file)
    named = {options[name] for name in ("run_id", "init_id", "final_id") if isinstance(options.get(name), str)}
    passing = _arguments_of_monai() | _references(options.values()) | named
    problems = {}
    for option in options:
        id = option.removeprefix("+").replace("#", _SEPARATOR)
        if id in passing or id.split(_SEPARATOR)[0] in passing:
            continue
        if id.split(_SEPARATOR)[0] not in config:
            problem = _elsewhere(id.split(_SEPARATOR)[0], config, files, of_bundle)
        elif (problem := _problem(id, config)) is None and option.startswith("+"):
            problem = "MONAI merges entries of files, not of options: write it into a file and add that to config_file."
        if problem is not None:
            names = ", ".join(Path(file).name for file in files)
            problems[option] = f"'{option}' is no id of {names}. {problem}"
    return problems


def _paths(config_file: _Files) -> list[str]:
    single = isinstance(config_file, (str, os.PathLike))
    return [os.fspath(file) for file in ([config_file] if single else config_file)]


def _merged(config_file: _Files) -> dict[str, Any]:
    from monai.bundle import ConfigParser

    return ConfigParser.load_config_files(_paths(config_file))


def _call_of(function: Callable) -> dict[str, Any] | None:
    """The variables of a call that is under way, or None."""
    frame = sys._getframe()
    while frame is not None and frame.f_code is not function.__code__:
        frame = frame.f_back
    return None if frame is None else frame.f_locals


def _literals(options: Iterable[str], config_file: _Files) -> dict[str, Any]:
    """What the files have at the ids of options, found behind references, too."""
    config = _merged(config_file)
    found = {option: _at(option.replace("#", _SEPARATOR), config) for option in options}
    return {option: value for option, value in found.items() if value is not _MISSING}


def _at(id: str, config: Mapping) -> Any:
    value: Any = config
    for key in id.split(_SEPARATOR):
        value = _entry(value, key)
    reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return _at(reference[1].replace("#", _SEPARATOR), config) if reference else value


def _problem(id: str, config: Any) -> str | None:
    """What is wrong with an id, or None."""
    parent, above = config, []
    *folders, last = id.split(_SEPARATOR)
    for key in folders:
        if (inner := _entry(parent, key)) is _MISSING:
            return _suggestion([*above, key], parent)
        parent = inner
        above.append(key)
    if _entry(parent, last) is not _MISSING or _may_get(above, parent, last, config):
        return None
    return _suggestion([*above, last], parent)


def _entry(parent: Any, key: str) -> Any:
    if isinstance(parent, Mapping):
        return parent.get(key, _MISSING)
    if isinstance(parent, list) and key.isdecimal() and int(key) < len(parent):
        return parent[int(key)]
    return _MISSING


def _may_get(above: list[str], parent: Any, key: str, config: Mapping) -> bool:
    """Whether a mapping of the configuration may get an entry that it does not have."""
    if not isinstance(parent, Mapping) or not above:
        return False
    if "_target_" in parent:
        arguments, more = _arguments(parent)
        return more or key in arguments or re.fullmatch(r"_\w+_", key) is not None
    # One that others refer to entry by entry has the entries that they refer to.
    beginning = _SEPARATOR.join(above) + _SEPARATOR
    return not any(name.startswith(beginning) for name in _references([config]))


def _arguments(component: Mapping) -> tuple[set[str], bool]:
    """What a component takes, with the classes that its ``**kwargs`` go to, and whether it takes anything else."""
    from monai.bundle import ComponentLocator, ConfigComponent

    target = ConfigComponent(dict(component), locator=ComponentLocator()).resolve_module_name()
    called = pydoc.locate(target) if isinstance(target, str) else target
    calls = [called]
    if isinstance(called, type):
        calls = [base.__init__ for base in called.__mro__ if "__init__" in vars(base)]
    names: set[str] = set()
    for call in calls:
        try:
            parameters = inspect.signature(call).parameters.values()
        except (TypeError, ValueError):  # not found, or written in C
            return names, True
        names |= {p.name for p in parameters}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, False
    return names, True


def _suggestion(keys: list[str], parent: Any) -> str:
    above = _SEPARATOR.join(keys[:-1])
    if isinstance(parent, list):
        return f"'{above}' has the entries 0 to {len(parent) - 1}."
    if not isinstance(parent, Mapping):
        return f"'{above}' is {parent}, which has no entries."
    known = {*parent, *(_arguments(parent)[0] if "_target_" in parent else ())}
    if near := _near(keys[-1], sorted(map(str, known))):
        return f"Did you mean '{_SEPARATOR.join([*keys[:-1], near])}'?"
    return "No id resembles it."


def _near(key: str, known: Iterable[str]) -> str | None:
    plain = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(key.casefold().replace("-", "_"), plain, n=1)
    return plain[near[0]] if near else None


def _elsewhere(key: str, config: Mapping, files: list[str], passes: bool) -> str | None:
    """Where in a bundle an id of the top level that its given files lack stands, or a similar one."""
    given = {Path(file).resolve() for file in files}
    others = [path for path in sorted(Path(files[0]).parent.glob("*.yaml")) if path.resolve() not in given]
    ids = {path.name: set(yaml.safe_load(path.read_text()) or {}) for path in others}
    if having := [name for name in ids if key in ids[name]]:
        return None if passes else f"It is one of {' and '.join(having)}: add that to config_file."
    near = _near(key, sorted({*config, *(id for other in ids.values() for id in other)}))
    if near is None:
        return "No id resembles it."
    having = [] if near in config else [name for name in ids if near in ids[name]]
    return f"Did you mean '{near}'{' of ' if having else ''}{' and '.join(having)}?"


def _references(values: Iterable[Any]) -> set[str]:
    """Ids that strings in values, of any depth, refer to."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, str):
            found |= {name.replace("#", _SEPARATOR) for name in _REFERENCE.findall(value)}
        elif isinstance(value, Mapping):
            found |= _references(value.values())
        elif isinstance(value, (list, tuple)):
            found |= _references(value)
    return found


def _arguments_of_monai() -> set[str]:
    from monai.bundle import ConfigWorkflow, run
    from monai.bundle.scripts import create_workflow
    from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS

    arguments = {name for call in (run, create_workflow, ConfigWorkflow) for name in inspect.signature(call).parameters}
    tracking = set(DEFAULT_MLFLOW_SETTINGS["configs"]) - set(DEFAULT_MLFLOW_SETTINGS["handlers_id"])
    return (arguments - {"override", "kwargs"}) | tracking | {"_meta_", "initialize", "run", "finalize"}
