# SPDX-License-Identifier: Apache-2.0
"""What differs between given weights and a network, in the words of the configurations."""

from __future__ import annotations

from collections.abc import Mapping

import torch

__all__ = ["weight_differences"]

State = Mapping[str, torch.Tensor]
_FIRST = ("encoder.conv_in.weight", "conv_in.weight")  # of an autoencoder, an encoder
_LAST = ("encoder.proj_out.weight", "proj_out.weight", "out.weight")  # and a latent denoiser


def weight_differences(state: State, wanted: State) -> str:
    """Why weights do not fit into a network and what to set instead; empty if all names and shapes are the same.

    The size of the images is none of them: the weights of a convolutional network are the same for all sizes.

    Args:
        state: the weights, a state dict.
        wanted: the state dict of the network.
    """
    missing, surplus = ([k for k in a if k not in b] for a, b in ((wanted, state), (state, wanted)))
    reshaped = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    if not (missing or surplus or reshaped):
        return ""
    if name := _shared(_FIRST, state, wanted):
        found, built = state[name].ndim - 2, wanted[name].ndim - 2
        if found != built:
            return (
                f"they are of a {found}D network, the configuration builds a {built}D one; set spatial_dims to {found} "
                "(volumes.yaml builds a 3D one)"
            )
    parts = []
    for names, dimension, option in ((_FIRST, 1, "in_channels"), (_LAST, 0, "z_dim")):
        name = _shared(names, state, wanted)
        found, built = (s[name].shape[dimension] if name else 0 for s in (state, wanted))
        if found != built:
            parts.append(
                f"they are of a network with {option} {found}, the configuration builds one with {built}; set {option} "
                f"to {found}"
            )
    explained = bool(parts)
    if missing:
        parts.append(f"{len(missing)} of {len(wanted)} parameters are missing ({missing[0]} is the first)")
    if surplus:
        parts.append(f"{len(surplus)} are not the network's ({surplus[0]} is the first)")
    if reshaped and not explained:
        k = reshaped[0]
        shapes = f"{k} has {list(state[k].shape)}, expected {list(wanted[k].shape)}"
        parts.append(f"{len(reshaped)} have another shape ({shapes})")
    if missing or surplus or not explained:
        parts.append("set the network's channels, attention_levels and num_res_blocks to those of the weights")
    return "; ".join(parts)


def _shared(names: tuple[str, ...], state: State, wanted: State) -> str | None:
    return next((name for name in names if name in state and name in wanted and state[name].ndim > 1), None)
