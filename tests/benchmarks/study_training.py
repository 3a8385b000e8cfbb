# SPDX-License-Identifier: Apache-2.0
"""The bundles' training as a function of a recipe, for studies that compare recipes and networks."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.handlers import LrScheduleHandler
from monai.optimizers import WarmupCosineSchedule
from monai.transforms import Compose

from monai_diffae.data import EndlessSampler, RandDiffusionNoised, SeededDataset
from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler, timestep_weights
from monai_diffae.training import (
    DiffusionTrainer,
    EMAWarmUp,
    ForeachEMAHandler,
    GradientClippingHandler,
    RunCheckpoints,
    SampledDiffusionPrepareBatch,
    SamplesToCome,
    make_optimizer,
    resume_training,
    set_iteration,
)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are those of the recipe study's ``base``."""

    prediction_type: str = "v_prediction"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    is_constant: bool = False  # the learning rate; else warm-up over a tenth and a cosine to 0
    batch_size: int = 16
    density: str = "uniform"
    ema_decay: float | None = 0.999  # None: the last weights
    max_grad_norm: float | None = 1.0


class Progress:
    """A line whenever checkpoints are written: images, images a second of this process, time left."""

    def __init__(self, name: str, batch_size: int) -> None:
        self.name, self.batch_size = name, batch_size

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self.start, self.first = time.monotonic(), engine.state.iteration

    def __call__(self, engine: Engine) -> None:
        done, last = engine.state.iteration, engine.max_iterations
        rate = (done - self.first) / (time.monotonic() - self.start)
        loss = float(engine.state.output[0]["loss"])
        print(
            f"{self.name}: {done * self.batch_size:,} of {last * self.batch_size:,} images, loss {loss:.4f}, "
            f"{rate * self.batch_size:.1f} images/s, {(last - done) / rate / 60:.0f} minutes left",
            flush=True,
        )


def train(
    network: torch.nn.Module,
    recipe: Recipe,
    images: torch.Tensor,
    count: int,
    seed: int,
    precision: str,
    name: str = "training",
    checkpoint_dir: Path | None = None,
) -> tuple[torch.nn.Module, float]:
    """The network that is to be used after ``count`` images, each seen as often as the others, and seconds on the clock
    (those of this process alone, where ``checkpoint_dir`` holds a stopped run, which is gone on with)."""
    scheduler = InvertibleDDIMScheduler(prediction_type=recipe.prediction_type)
    noised = RandDiffusionNoised("image", scheduler.num_train_timesteps, timestep_weights(scheduler, recipe.density))
    dataset = SeededDataset([{"image": image} for image in images], Compose([noised]), seed)
    batch_size, iterations = recipe.batch_size, max(1, count // recipe.batch_size)
    sampler = EndlessSampler(len(dataset), seed)
    optimizer = make_optimizer(recipe.optimizer, network.parameters(), recipe.learning_rate)
    state = {"network": network, "optimizer": optimizer}
    handlers = [SamplesToCome(sampler, batch_size)]
    if recipe.max_grad_norm is not None:
        handlers.append(GradientClippingHandler(recipe.max_grad_norm))
    if recipe.ema_decay is not None:
        ema = ForeachEMAHandler(network, momentum=1 - recipe.ema_decay)
        state["ema"] = ema.ema_model
        handlers += [EMAWarmUp(recipe.ema_decay), ema]
    schedule = None
    if not recipe.is_constant:
        schedule = WarmupCosineSchedule(optimizer, max(1, iterations // 10), iterations, warmup_multiplier=0.01)
        handlers.append(LrScheduleHandler(schedule, print_lr=False, epoch_level=False))
    epoch_length = min(iterations, max(1, 1000 // batch_size))
    trainer = DiffusionTrainer(
        device=torch.device("cpu"),
        max_epochs=-(-iterations // epoch_length),
        max_iterations=iterations,
        epoch_length=epoch_length,
        seed=seed,
        train_data_loader=DataLoader(dataset, batch_size=batch_size, sampler=sampler),
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        inferer=DiffusionAutoencoderInferer(scheduler, 20, precision=precision),
        prepare_batch=SampledDiffusionPrepareBatch(scheduler),
        train_handlers=[*handlers, Progress(name, batch_size)],
    )
    if checkpoint_dir is not None:
        RunCheckpoints(state | {"trainer": trainer}, checkpoint_dir, n_saved=1).attach(trainer)
        iteration = resume_training(checkpoint_dir, state, trainer)
        if schedule is not None:
            set_iteration(schedule, iteration)
    start = time.monotonic()
    trainer.run()
    return state.get("ema", network).eval(), time.monotonic() - start


def forget(checkpoint_dir: Path) -> None:
    """Delete the checkpoints of a training whose weights are kept elsewhere."""
    for path in [*checkpoint_dir.glob("checkpoint_*.pt"), checkpoint_dir / "run.json"]:
        path.unlink(missing_ok=True)
    with suppress(OSError):  # not there, or with files of others
        checkpoint_dir.rmdir()
