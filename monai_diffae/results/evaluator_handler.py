# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ignite.engine import Engine, Events

__all__ = ["EvaluatorHandler"]


class EvaluatorHandler:
    """What is done with the results of an evaluator: at the start of a run, with each batch, and in the end.

    A handler in the sense of MONAI's engines: :meth:`attach` is all that they call.
    """

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator whose batch and output are lists of dictionaries (MONAI's ``decollate=True``).
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        """Nothing has been collected yet."""

    def _collect(self, engine: Engine) -> None:
        """Take what a batch has given."""
        raise NotImplementedError(f"{type(self).__name__} collects nothing.")

    def _finish(self, engine: Engine) -> None:
        """All is collected."""
