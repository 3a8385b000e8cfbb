# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch

__all__ = ["Muon"]

# The quintic of Jordan's Muon: pushes singular values in (0, 1] to about 1 (0.7 to 1.2) in five rounds.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose update of every weight matrix is made orthogonal; Adam for all that is no matrix.

    A convolution is the matrix ``(out, in * kernel)``. The update is scaled to the size of Adam's, ``0.2 *
    sqrt(max(rows, columns))``, so that learning rates found for Adam can be kept. (PyTorch's own, since 2.9, refuses
    convolutions.)

    References:
        Muon, Jordan et al., 2024, https://kellerjordan.github.io/posts/muon; the scale: Muon is Scalable for LLM
        Training, Liu et al., 2025, https://arxiv.org/abs/2502.16982.

    Args:
        params: as of any optimiser.
        lr: learning rate of both parts.
        momentum: of the matrices, Nesterov's, in [0, 1).
        betas: of Adam.
        eps: of Adam.

    Raises:
        ValueError: for a learning rate or momentum outside its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if lr < 0 or not 0 <= momentum < 1:
            raise ValueError(f"Expected lr of at least 0 and momentum in [0, 1), got {lr} and {momentum}.")
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; ``closure`` as in PyTorch's optimisers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            self._step_matrices([p for p in with_gradient if p.ndim >= 2], group)
            self._step_others([p for p in with_gradient if p.ndim < 2], group)
        return loss

    def _step_matrices(self, params: list[torch.Tensor], group: dict[str, Any]) -> None:
        if not params:
            return
        gradients = [p.grad for p in params]
        averages = [self._state(p, "momentum_buffer") for p in params]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, averages, group["momentum"])
        same_shape = defaultdict(list)  # orthogonalised together
        for p, direction in zip(params, directions):
            same_shape[p.shape].append((p, direction.flatten(1)))
        for pairs in same_shape.values():
            matrices = torch.stack([direction for _, direction in pairs])
            size = 0.2 * math.sqrt(max(matrices.shape[1:]))
            for (p, _), update in zip(pairs, orthogonalize(matrices).to(pairs[0][0].dtype)):
                p.sub_(update.reshape(p.shape), alpha=group["lr"] * size)

    def _step_others(self, params: list[torch.Tensor], group: dict[str, Any]) -> None:
        if not params:
            return
        gradients = [p.grad for p in params]
        means = [self._state(p, "exp_avg") for p in params]
        squares = [self._state(p, "exp_avg_sq") for p in params]
        steps = [self._step_count(p) for p in params]
        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        for p, mean, square, step in zip(params, means, squares, steps):
            denominator = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
            p.addcdiv_(mean, denominator, value=-group["lr"] / (1 - beta1**step))

    def _state(self, p: torch.Tensor, name: str) -> torch.Tensor:
        state = self.state[p]
        if name not in state:
            state[name] = torch.zeros_like(p)
        return state[name]

    def _step_count(self, p: torch.Tensor) -> int:
        self.state[p]["step"] = self.state[p].get("step", 0) + 1
        return self.state[p]["step"]


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """The orthogonal factor ``U V^T`` of each matrix, nearly: Newton-Schulz iterations, the matrices' own precision.

    Args:
        matrices: shape ``(N, rows, columns)``.

    Returns:
        The same shape; singular values are about 1 (0.7 to 1.2), a matrix of zeros stays so.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-30)
    # All rounds are polynomials of the Gram matrix, which is square and small: x is only multiplied at the end.
    a, b, c = _QUINTIC
    gram = x @ x.mT
    identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    factor: torch.Tensor = identity
    for _ in range(_ROUNDS):
        round_factor = a * identity + torch.baddbmm(b * gram, gram, gram, alpha=c)
        factor = round_factor @ factor
        gram = round_factor @ gram @ round_factor
    x = factor @ x
    return x.mT if tall else x
