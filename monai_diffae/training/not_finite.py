# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ignite.engine import Engine, Events

from monai_diffae.support.finite_weights import not_finite
from monai_diffae.training.checkpoints import find_checkpoints

__all__ = ["StopOnNotFinite"]

logger = logging.getLogger(__name__)
_NAMED = 16  # samples of a batch
_SKIPPED = 100  # losses in a row that scaled gradients may leave out


class StopOnNotFinite:
    """Ends a training with an error when a loss, a gradient's norm or the weights are NaN or infinite.

    Before anything of it is saved: place this handler behind the one that clips gradients, and before validation, logs
    and whatever saves. The error names the iteration, the files of its batch and the last good checkpoint. (Ignite's
    ``TerminateOnNan`` ends the run as if all were well.) With scaled gradients (float16), whose steps leave such a
    batch out, it is said in the log, and the run ends after 100 of them in a row.

    Args:
        state: the networks and optimisers of a checkpoint, by name; checked after each epoch.
        checkpoint_dir: where :class:`~monai_diffae.training.RunCheckpoints` writes.
        sample_name: from the ``index`` of a batch's sample to what the message calls it.
        evaluators: whose key metric must be a number, and finite if it is called ``loss``.

    Raises:
        FloatingPointError: in training.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        checkpoint_dir: str | os.PathLike,
        sample_name: Callable[[int], str] = "sample {}".format,
        evaluators: Iterable[Engine] = (),
    ) -> None:
        self.state = state
        self.checkpoint_dir = checkpoint_dir
        self.sample_name = sample_name
        self.evaluators = tuple(evaluators)
        self._in_a_row = 0

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: a :class:`~monai_diffae.training.DiffusionTrainer` or ``DiffusionAdversarialTrainer``.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._check_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._check_weights)
        for evaluator in self.evaluators:
            evaluator.add_event_handler(Events.COMPLETED, self._check_validation, engine)

    def _check_iteration(self, engine: Engine) -> None:
        output = engine.state.output[0] if isinstance(engine.state.output, list) else engine.state.output
        numbers = {str(name): float(value) for name, value in output.items() if str(name).endswith("loss")}
        if engine.scaler is None and all(map(math.isfinite, numbers.values())):
            numbers = {"norm of the gradient": float(getattr(engine.state, "gradient_norm", 0.0))}
        wrong = [f"the {name.replace('_', ' ')} is {x}" for name, x in numbers.items() if not math.isfinite(x)]
        if not wrong:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        what = f"{' and '.join(wrong)} at iteration {engine.state.iteration} (batch: {self._batch(engine)})"
        if engine.scaler is not None and self._in_a_row < _SKIPPED:
            logger.warning(f"In float16, {what}; no step is made with it.")
            return
        self._stop(what)

    def _check_weights(self, engine: Engine) -> None:
        for name, part in self.state.items():
            if wrong := not_finite(part.state_dict()):
                self._stop(f"of {name}, {wrong} after iteration {engine.state.iteration}")

    def _check_validation(self, evaluator: Engine, engine: Engine) -> None:
        name = evaluator.state.key_metric_name
        value = evaluator.state.metrics.get(name, 0.0)
        # Of a perfect reconstruction the PSNR is infinite.
        if math.isnan(value) or (name == "loss" and math.isinf(value)):
            self._stop(f"{name} of the validation is {value} after iteration {engine.state.iteration}")

    def _batch(self, engine: Engine) -> str:
        batch = engine.state.batch  # MONAI's trainers make it a list
        samples = [sample.get("index") for sample in batch] if isinstance(batch, list) else batch.get("index", ())
        names = [self.sample_name(int(index)) for index in samples if index is not None]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (", ".join(names[:_NAMED]) or "of samples without an index") + more

    def _stop(self, what: str) -> None:
        checkpoint = next(iter(find_checkpoints(self.checkpoint_dir)), None)
        last = f"The last good checkpoint is {checkpoint}." if checkpoint else "There is no checkpoint yet."
        raise FloatingPointError(
            f"Training stopped: {what}. Nothing of this is saved. {last} What to look at: learning_rate and "
            "max_grad_norm (too high), precision (float16 overflows where bfloat16 does not), and the files."
        )
