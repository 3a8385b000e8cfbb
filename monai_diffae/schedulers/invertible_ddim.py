# SPDX-License-Identifier: Apache-2.0
"""DDIM that moves between noise levels in either direction.

Symbols: x_0 image, x_t noised image, eps noise, alpha_bar cumulative product of (1 - beta), t timestep,
v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from monai.networks.schedulers import Scheduler
from monai.utils import StrEnum, unsqueeze_right

from monai_diffae.schedulers.grid import Grid, TimestepSpacing, spaced_timesteps

__all__ = ["InvertibleDDIMScheduler", "ddim_update"]


class Prediction(StrEnum):
    """What a network predicts."""

    EPSILON = "epsilon"
    SAMPLE = "sample"
    V_PREDICTION = "v_prediction"

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"prediction_type must be one of {', '.join(cls)}, got {value!r}.")


def ddim_update(x: torch.Tensor, eps: torch.Tensor, alpha_bar_from: float, alpha_bar_to: float) -> torch.Tensor:
    """Move ``x`` from one noise level to another along ``eps``, towards less noise or towards more.

    ``x_to = sqrt(ab_to) * (x - sqrt(1 - ab_from) * eps) / sqrt(ab_from) + sqrt(1 - ab_to) * eps``
    (Song et al. 2021, https://arxiv.org/abs/2010.02502, Eq. 12 with sigma = 0; Diff-AE Eq. 3 and Eq. 8).
    The two coefficients are computed in float64, so that a float32 ``x`` is rounded once and not at every term.

    Args:
        x: sample at the level ``alpha_bar_from``, any shape.
        eps: the noise in ``x``, same shape.
        alpha_bar_from: in (0, 1].
        alpha_bar_to: in [0, 1].
    """
    scale = math.sqrt(alpha_bar_to / alpha_bar_from)
    return scale * x + (math.sqrt(1 - alpha_bar_to) - scale * math.sqrt(1 - alpha_bar_from)) * eps


class InvertibleDDIMScheduler(Scheduler):
    """Deterministic DDIM, from noise to image (``step``) and from image to noise (``reversed_step``).

    The grid of N timesteps t_1 < ... < t_N carries the levels ``1, alpha_bar[t_1], ..., alpha_bar[t_N], 0``: clean
    before the first, noise after the last. ``step`` at t_i moves from level i to i - 1, ``reversed_step`` from level i
    to i + 1, both by :func:`ddim_update`, so the two cannot disagree about levels.

    The conventions are those of the authors' code: x_0 is inverted as if it stood at level 1, and the last
    ``reversed_step`` ends at ``alpha_bar = 0``, so that x_T is the last predicted noise. When the predicted x_0 is
    clipped, eps is derived again from the clipped value (MONAI's DDIMScheduler keeps the old eps).

    ``set_timesteps`` chooses the grid of the steps that are told no other. A loop takes its own from :meth:`grid` and
    hands it to each step, so that loops of different numbers of steps can run side by side on one scheduler.

    The coefficients are float64 buffers, not saved with the state, and keep dtype and values whatever the module is
    cast to; ``timesteps`` stays on the CPU. What training needs of them is copied once to each device that asks.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 3.1 and 3.3;
        Denoising Diffusion Implicit Models, Song et al., ICLR 2021, https://arxiv.org/abs/2010.02502.

    Args:
        num_train_timesteps: T, the number of noise levels in training.
        schedule: a member of MONAI's ``NoiseSchedules``; ``linear_beta`` is computed in float64.
        timestep_spacing: ``leading`` (the paper: 0, s, 2s, ... for an integer stride s), ``trailing`` (ends at T - 1),
            ``linspace`` (from 0 to T - 1) or ``quadratic`` (from 0 to T - 1 by squares, as in DDIM's Appendix D.2: the
            steps are short near the image, where it changes most).
        prediction_type: what the network predicts: ``epsilon``, ``sample`` (x_0) or ``v_prediction``.
        clip_sample: clip the predicted x_0. Clipping is not invertible.
        clip_sample_min: lower bound of the clipped x_0.
        clip_sample_max: upper bound of the clipped x_0.
        schedule_args: arguments of the schedule, e.g. ``beta_start`` and ``beta_end``.

    Raises:
        ValueError: for an unknown spacing or prediction type, and where the methods say so.

    Example:
        >>> scheduler = InvertibleDDIMScheduler()
        >>> scheduler.set_timesteps(4)
        >>> scheduler.timesteps
        tensor([750, 500, 250,   0])
    """

    depends_on = (
        "alphas_cumprod",
        "timestep_spacing",
        "prediction_type",
        "clip_sample",
        "clip_sample_min",
        "clip_sample_max",
    )

    takes_noise = True  # eta of step may be greater than 0

    def __init__(
        self,
        num_train_timesteps: int = 1000,
        schedule: str = "linear_beta",
        timestep_spacing: str = "leading",
        prediction_type: str = "epsilon",
        clip_sample: bool = False,
        clip_sample_min: float = -1.0,
        clip_sample_max: float = 1.0,
        **schedule_args,
    ) -> None:
        super().__init__(num_train_timesteps, schedule, **schedule_args)
        self.arguments = {
            "num_train_timesteps": num_train_timesteps,
            "schedule": schedule,
            "timestep_spacing": timestep_spacing,
            "prediction_type": prediction_type,
            "clip_sample": clip_sample,
            "clip_sample_min": clip_sample_min,
            "clip_sample_max": clip_sample_max,
            **schedule_args,
        }
        self.timestep_spacing = TimestepSpacing(timestep_spacing)
        self.prediction_type = Prediction(prediction_type)
        self.clip_sample = clip_sample
        self.clip_sample_min = clip_sample_min
        self.clip_sample_max = clip_sample_max

        betas = self.betas.double()
        if schedule == "linear_beta":  # MONAI's is rounded to float32
            beta_start = schedule_args.get("beta_start", 1e-4)
            beta_end = schedule_args.get("beta_end", 2e-2)
            betas = torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64)
        coefficients = {"betas": betas, "alphas": 1 - betas, "alphas_cumprod": torch.cumprod(1 - betas, dim=0)}
        for name, value in coefficients.items():
            delattr(self, name)  # the base class has set a plain attribute of this name
            self.register_buffer(name, value, persistent=False)
        self._levels = tuple(self.alphas_cumprod.tolist())  # of every timestep
        self._roots: dict[torch.device, torch.Tensor] = {}
        self.set_timesteps(num_train_timesteps)

    def __getstate__(self) -> dict[str, Any]:
        """Without the copies on devices, which another process may lack."""
        return self.__dict__ | {"_roots": {}}

    @property
    def step_has_inverse(self) -> bool:
        """Whether ``step`` is a function of x alone (and of what the network says of it) that clips nothing away."""
        return not self.clip_sample

    def _apply(self, fn, recurse=True):
        # Move, never cast: half-precision coefficients would lose 1 - alpha_bar at the first levels for good.
        device = fn(torch.empty(0)).device
        if device.type not in ("meta", "mps"):  # MPS has no float64
            for name, buffer in self._buffers.items():
                self._buffers[name] = buffer.to(device)
        return self

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Choose the grid.

        Args:
            num_inference_steps: N, from 1 to ``num_train_timesteps``.
            device: accepted for MONAI's signature and not used: ``timesteps`` stays a CPU tensor.

        Raises:
            ValueError: if N is out of range, or if no integer stride gives N steps (``leading`` only).
        """
        self._grid = self.grid(num_inference_steps)
        self.num_inference_steps = num_inference_steps
        self.timesteps = torch.tensor(self._grid.timesteps)

    def grid(self, num_inference_steps: int) -> Grid:
        """N steps and their levels, to be handed to ``step`` and ``reversed_step``. Nothing else changes.

        Args:
            num_inference_steps: N, from 1 to ``num_train_timesteps``.

        Raises:
            ValueError: if N is out of range, or if no integer stride gives N steps (``leading`` only).
        """
        ascending = spaced_timesteps(self.timestep_spacing, self.num_train_timesteps, num_inference_steps)
        return Grid(tuple(ascending[::-1]), (1.0, *(self._levels[t] for t in ascending), 0.0))

    def _to_x_0_and_eps(
        self, model_output: torch.Tensor, sample: torch.Tensor, alpha_bar: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network said, as (x_0, eps)."""
        signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        if self.prediction_type == Prediction.EPSILON:
            eps = model_output
            x_0 = (sample - noise * eps) / signal
        elif self.prediction_type == Prediction.SAMPLE:
            x_0 = model_output
            eps = (sample - signal * x_0) / noise
        else:
            x_0 = signal * sample - noise * model_output
            eps = signal * model_output + noise * sample
        if self.clip_sample:
            x_0 = x_0.clamp(self.clip_sample_min, self.clip_sample_max)
            eps = (sample - signal * x_0) / noise
        return x_0, eps

    def step(
        self,
        model_output: torch.Tensor,
        timestep: int | torch.Tensor,
        sample: torch.Tensor,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
        grid: Grid | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One move towards the image, to the next lower level of the grid (the clean image after the lowest).

        Args:
            model_output: prediction at (sample, timestep), same shape as ``sample``.
            timestep: where ``sample`` stands, one of ``timesteps``.
            sample: x_t, shape ``(B, C, *spatial)`` or ``(B, D)``.
            eta: 0 for the deterministic DDIM, 1 for the variance of DDPM (Song et al. 2021, Eq. 16), where the
                scheduler takes noise.
            generator: source of the noise if ``eta > 0``.
            grid: of the loop; ``None`` for the one of ``set_timesteps``.

        Returns:
            The sample at the lower level, and the predicted x_0.

        Raises:
            ValueError: if ``timestep`` is not on the grid, or for an ``eta`` that the scheduler cannot take.
        """
        if eta != 0 and not self.takes_noise:
            raise ValueError(f"{type(self).__name__} is deterministic: eta must be 0, got {eta}.")
        ab_from, ab_to = self._levels_at(timestep, grid, towards=-1)
        x_0, eps = self._to_x_0_and_eps(model_output, sample, ab_from)
        if eta == 0:
            return self._towards_image(sample, x_0, eps, ab_from, ab_to), x_0
        sigma = eta * math.sqrt((1 - ab_to) / (1 - ab_from) * (1 - ab_from / ab_to))
        noise = torch.randn(
            sample.shape,
            generator=generator,
            dtype=sample.dtype,
            device=sample.device if generator is None else generator.device,
        ).to(sample.device)
        x_to = math.sqrt(ab_to) * x_0 + math.sqrt(max(1 - ab_to - sigma**2, 0.0)) * eps + sigma * noise
        return x_to, x_0

    def reversed_step(
        self, model_output: torch.Tensor, timestep: int | torch.Tensor, sample: torch.Tensor, grid: Grid | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One move towards noise, to the next higher level of the grid (pure noise after the highest); arguments as of
        :meth:`step`.

        Returns:
            The sample at the higher level, and the predicted x_0.

        Raises:
            ValueError: if ``timestep`` is not on the grid.
        """
        ab_from, ab_to = self._levels_at(timestep, grid, towards=1)
        x_0, eps = self._to_x_0_and_eps(model_output, sample, ab_from)
        return ddim_update(sample, eps, ab_from, ab_to), x_0

    def _levels_at(self, timestep: int | torch.Tensor, grid: Grid | None, towards: int) -> tuple[float, float]:
        """Of a timestep, and of its neighbour that the sample moves to."""
        grid = grid or self._grid
        place = grid.place(timestep)
        return grid.levels[place], grid.levels[place + towards]

    def _towards_image(
        self, sample: torch.Tensor, x_0: torch.Tensor, eps: torch.Tensor, ab_from: float, ab_to: float
    ) -> torch.Tensor:
        """The sample of a step without noise."""
        return ddim_update(sample, eps, ab_from, ab_to)

    def signal_and_noise(self, like: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``sqrt(alpha_bar)`` and ``sqrt(1 - alpha_bar)`` of each timestep, shaped and typed to multiply ``like``."""
        signal, noise = self.roots_on(like.device)[:, timesteps.to(like.device).long()]
        return tuple(unsqueeze_right(root, like.ndim).to(like.dtype) for root in (signal, noise))

    def roots_on(self, device: torch.device) -> torch.Tensor:
        """``sqrt(alpha_bar)`` and ``sqrt(1 - alpha_bar)`` of every timestep, shape ``(2, T)``; float64, but float32 on
        MPS. They are kept there: do not change them."""
        if device not in self._roots:
            with torch.inference_mode(False), torch.no_grad():  # they stay, and training may use them
                roots = torch.stack([self.alphas_cumprod, 1 - self.alphas_cumprod]).sqrt()
                self._roots[device] = roots.to(device, torch.float32 if device.type == "mps" else torch.float64)
        return self._roots[device]

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """``x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise``.

        Args:
            original_samples: x_0, shape ``(B, ...)``.
            noise: same shape.
            timesteps: integers in [0, T), shape ``(B,)``.
        """
        signal, sigma = self.signal_and_noise(original_samples, timesteps)
        return signal * original_samples + sigma * noise

    def get_velocity(self, sample: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """``v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0``, the target of v-prediction; arguments as above."""
        signal, sigma = self.signal_and_noise(sample, timesteps)
        return signal * noise - sigma * sample

    def training_target(self, sample: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What a network has to predict by ``prediction_type``: the noise, x_0 or v; arguments as above."""
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return sample
        return self.get_velocity(sample, noise, timesteps)
