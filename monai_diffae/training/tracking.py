# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from monai.handlers import MLFlowHandler

__all__ = ["complete_tracking"]

_EXPRESSION = re.compile(r"(?P<folder>.*) \+ '/(?P<file>config_[0-9_]+\.json)'")


def complete_tracking(handlers: Iterable[Any], further: Iterable[Engine] = ()) -> None:
    """Give MLflow what MONAI's ``--tracking mlflow`` leaves out; without that option nothing is done.

    MONAI 1.6 writes the configuration that runs into ``output_dir``, and makes the name of that file, which is the
    run's artifact, by adding text to the value of ``output_dir``. That is right where the value is an expression
    (``$@bundle_root + '/output'``); of a plain path it makes ``OUT + '/config_20250101_000000.json'``, a file that does
    not exist, and the run has no artifact. And it tracks one evaluator.

    Args:
        handlers: of a bundle's engines.
        further: evaluators whose metrics belong to the same run; for training, the handlers are those of the evaluator
            that MONAI tracks.
    """
    for handler in handlers:
        if isinstance(handler, MLFlowHandler):
            handler.artifacts = tuple(map(_existing, handler.artifacts))
            for engine in further:
                handler.attach(engine)


def _existing(artifact: Any) -> Any:
    match = _EXPRESSION.fullmatch(artifact) if isinstance(artifact, str) and not Path(artifact).exists() else None
    return str(Path(match["folder"], match["file"])) if match else artifact
