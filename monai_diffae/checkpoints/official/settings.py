# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Settings"]

# Settings of the authors' code that change the arithmetic: the values that our networks and scheduler compute.
_SUPPORTED: dict[str, tuple] = {
    "beatgans_model_mean_type": ("eps",),
    "beatgans_rescale_timesteps": (False,),
    "beta_scheduler": ("linear",),
    "net_resblock_updown": (True,),
    "net_enc_pool": ("adaptivenonzero",),
    "net_enc_tanh": (False,),
    "net_beatgans_use_mid_attn": (True,),
    "net_beatgans_resnet_condition_scale_bias": (1,),
    "net_autoenc_stochastic": (False,),
    "net_autoenc_has_init": (False,),
}
_SUPPORTED_IN_LATENT: dict[str, tuple] = {
    "latent_model_mean_type": ("eps",),
    "latent_rescale_timesteps": (False,),
    "latent_clip_sample": (False,),
    "net_latent_activation": ("silu",),
    "net_latent_condition_2x": (False,),
    "net_latent_condition_bias": (1,),
    "net_latent_net_last_act": ("none",),
    "net_latent_net_type": ("skip",),
    "net_latent_num_time_layers": (2,),
    "net_latent_residual": (False,),
    "net_latent_time_last_act": (False,),
    "net_latent_use_norm": (True,),
}


class Settings:
    """The authors' configuration (``hyper_parameters`` of a checkpoint), checked; the paper's where it is silent.

    Args:
        values: as they stand in the file.
        latent: whether the file holds a latent network, whose settings then count too.

    Raises:
        ValueError: for a value that is out of range, or that our networks and scheduler do not compute.
    """

    def __init__(self, values: Mapping[str, Any], latent: bool) -> None:
        self._values = values
        for name, supported in (_SUPPORTED | (_SUPPORTED_IN_LATENT if latent else {})).items():
            value = values.get(name)
            # An enumeration may stand there by its value or by its name.
            plain = value.rpartition(".")[2] if isinstance(value, str) else value
            if value is not None and plain not in supported:
                expected = " or ".join(map(repr, supported))
                raise ValueError(f"The file's {name} is {value!r}; only {expected} can be computed here.")
        self.num_heads = int(self._number("net_beatgans_attn_head", 1, 1))
        self.encoder_res_blocks = int(self._number("net_enc_num_res_blocks", 0, 1)) or None
        self.image_size = int(self._number("img_size", 0, 1)) or None
        self.num_train_timesteps = int(self._number("T", 1000, 2))
        self.dropout = self._number("dropout", 0.1, 0, 1)

    def _number(self, name: str, default: float, low: float, high: float = float("inf")) -> float:
        value = self._values.get(name)
        if value is None:
            return default
        whole = isinstance(default, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise ValueError(f"The file's {name} is {value!r}; expected {kind} of {low} or more, at most {high}.")
        return value

    def schedule(self) -> dict[str, Any]:
        """Arguments of the image diffusion's scheduler."""
        return self._schedule("linear")

    def latent_schedule(self) -> dict[str, Any]:
        """Arguments of the latent diffusion's scheduler."""
        return self._schedule(self._values.get("latent_beta_scheduler") or "const0.008")

    def _schedule(self, name: Any) -> dict[str, Any]:
        """The authors scale betas by 1000 / T (``get_named_beta_schedule``), so that every T ends in the same noise."""
        scale = 1000 / self.num_train_timesteps
        arguments: dict[str, Any] = {"num_train_timesteps": self.num_train_timesteps}
        if name == "linear":
            betas = {"beta_start": 1e-4 * scale, "beta_end": 2e-2 * scale}
            return arguments | {"schedule": "linear_beta"} | (betas if scale != 1 else {})
        try:
            beta = float(str(name).removeprefix("const")) * scale
        except ValueError:
            beta = float("nan")
        if not str(name).startswith("const") or not 0 < beta < 1:
            raise ValueError(
                f"The file's latent_beta_scheduler is {name!r}; only 'linear' and 'const...' with a beta between 0 and "
                "1 can be computed here."
            )
        return arguments | {"schedule": "constant_beta", "beta": beta}
