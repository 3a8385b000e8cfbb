# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of a training: which ones there are, and how they are written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver

from monai_diffae.support.atomic_files import replacing
from monai_diffae.training.earlier_runs import set_aside

__all__ = ["RunCheckpoints", "find_checkpoints"]

_RECORD = "run.json"  # the names of the last run's checkpoints, oldest first


def find_checkpoints(checkpoint_dir: str | os.PathLike) -> list[Path]:
    """The files ``checkpoint_<number>.pt`` of the run that wrote last into a folder, the last one first.

    What the run has written stands in ``run.json``. In a folder without it (of versions before 0.2.0) there may be
    files of several runs, and the time of a file decides.
    """
    folder = Path(checkpoint_dir)
    files = [path for path in folder.glob("checkpoint_*.pt") if re.fullmatch(r"checkpoint_\d+\.pt", path.name)]
    run = _recorded(folder)
    if run is None:
        return sorted(files, key=lambda path: (path.stat().st_mtime_ns, _number(path)), reverse=True)
    return sorted((path for path in files if path.name in run), key=_number, reverse=True)


def _recorded(folder: Path) -> list[str] | None:
    try:
        return [str(name) for name in json.loads((folder / _RECORD).read_text())["checkpoints"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("checkpoint_"))


class _Writer(DiskSaver):
    """Ignite's, under one partial name and with a record of the files that belong together."""

    def __init__(self, dirname: str | os.PathLike) -> None:
        super().__init__(os.fspath(dirname), require_empty=False)
        self.run: list[str] = []

    def __call__(self, checkpoint: Mapping, filename: str, metadata: Mapping | None = None) -> None:
        self.run = [*(name for name in self.run if name != filename), filename]
        if idist.get_rank() > 0:
            return
        with replacing(self.dirname / _RECORD) as partial:  # first: a name without a file does no harm
            partial.write_text(json.dumps({"checkpoints": self.run}))
        with replacing(self.dirname / filename) as partial:
            torch.save(checkpoint, partial)

    def remove(self, filename: str) -> None:
        self.run = [name for name in self.run if name != filename]
        if idist.get_rank() == 0:
            (self.dirname / filename).unlink(missing_ok=True)


class RunCheckpoints(Checkpoint):
    """Ignite's ``Checkpoint`` after each epoch, in a folder that holds the checkpoints of one run alone.

    - A file is there when it is whole, whenever the process is killed.
    - The last ``n_saved`` are kept, also if several processes, one after the other, have made the run.
    - A run that starts anew sets aside what an earlier one has left, into ``earlier_runs/<number>``, and says so:
      nothing of it is lost or taken for its own. So does a run that goes on, with checkpoints of later iterations.

    Args:
        to_save: what has a state dict, by name; ``trainer`` among them.
        dirname: the folder.
        n_saved: checkpoints to keep.
        output_dir: where ``earlier_runs`` is made; by default the folder above ``dirname``.
        others: further files of a run that the new one will write over: its log and weights.
        root: folder with the checkpoints of all earlier runs, ``dirname`` or one above it.
    """

    def __init__(
        self,
        to_save: Mapping[str, Any],
        dirname: str | os.PathLike,
        n_saved: int = 2,
        output_dir: str | os.PathLike | None = None,
        others: Sequence[str | os.PathLike] = (),
        root: str | os.PathLike | None = None,
    ) -> None:
        super().__init__(to_save, _Writer(dirname), n_saved=n_saved)
        self.dirname = Path(dirname)
        self.output_dir = self.dirname.parent if output_dir is None else Path(output_dir)
        self.others = others
        self.root = self.dirname if root is None else Path(root)

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer, resumed or not; after the handlers whose work a checkpoint should follow.
        """
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _begin(self, engine: Engine) -> None:
        done = engine.state.iteration
        mine = sorted((path for path in find_checkpoints(self.dirname) if _number(path) <= done), key=_number)
        if done == 0:
            mine = []
        self._saved = [Checkpoint.Item(_number(path), path.name) for path in mine]
        self.save_handler.run = [path.name for path in mine]
        if idist.get_rank() == 0:
            found = sorted(self.root.rglob("checkpoint_*.pt") if done == 0 else self.dirname.glob("checkpoint_*.pt"))
            set_aside(self.output_dir, [path for path in found if path not in mine], () if done else self.others)
        while len(self._saved) > self.n_saved:
            self.save_handler.remove(self._saved.pop(0).filename)
