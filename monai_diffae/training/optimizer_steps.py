# SPDX-License-Identifier: Apache-2.0
"""When the optimiser of a trainer that may accumulate gradients steps: what handlers of steps go by."""

from __future__ import annotations

from ignite.engine import Engine

__all__ = ["optimizer_steps", "optimizer_steps_done"]


def optimizer_steps(engine: Engine) -> bool:
    """Whether the optimiser steps in the present iteration.

    It does after every ``accumulation_steps`` iterations of an epoch, and in the last iteration of an epoch and of the
    training, so that no gradient is lost.

    Args:
        engine: a trainer; one without ``accumulation_steps`` steps in each iteration.
    """
    done = _done(engine)
    return (
        done % _accumulation_steps(engine) == 0
        or done == engine.state.epoch_length
        or engine.state.iteration == getattr(engine, "max_iterations", None)
    )


def optimizer_steps_done(engine: Engine) -> int:
    """Steps of the optimiser up to the present iteration, as if all of them had been with this run's settings.

    An iteration that only accumulates counts as the step that it belongs to.

    Args:
        engine: a trainer, at any iteration.
    """
    accumulation_steps, done = _accumulation_steps(engine), _done(engine)
    steps = -(-done // accumulation_steps)
    if length := engine.state.epoch_length:
        steps += (engine.state.iteration - done) // length * -(-length // accumulation_steps)
    return steps


def _accumulation_steps(engine: Engine) -> int:
    return getattr(engine, "accumulation_steps", 1)


def _done(engine: Engine) -> int:
    """Iterations of the present epoch, or of all where epochs have no length."""
    iteration, length = engine.state.iteration, engine.state.epoch_length
    return (iteration - 1) % length + 1 if length else iteration
