# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

__all__ = ["AndersonMixing"]


class AndersonMixing:
    """Proposes the next point of ``residual(x) = 0``, for every row of a batch by itself.

    The plain iteration is ``x - residual``. Anderson's takes the combination of the last points whose residuals, if
    they were linear in x, would cancel best; a window of 0 is the plain iteration, a window of 1 is a secant.

    References:
        Anderson acceleration for fixed-point iterations, Walker and Ni, SIAM J. Numer. Anal. 2011,
        https://doi.org/10.1137/10078356X, Eq. 2.2 and Sec. 4 (difference form).

    Args:
        window: differences of points that are kept, 0 or more; each costs the memory of two batches.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._x: list[torch.Tensor] = []  # (B, n), oldest first
        self._residual: list[torch.Tensor] = []

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with the rows where the mask ``(B,)`` is true; the others are solved."""
        self._x = [x[rows] for x in self._x]
        self._residual = [residual[rows] for residual in self._residual]

    def restart(self, rows: torch.Tensor, x: torch.Tensor, residual: torch.Tensor) -> None:
        """Forget what is known about the rows of the mask, but for this point and its residual."""
        for past, now in ((self._x, x), (self._residual, residual)):
            for place, values in enumerate(past):
                past[place] = torch.where(rows[:, None], now.flatten(1), values)  # differences of zero count nothing

    def __call__(self, x: torch.Tensor, residual: torch.Tensor, damping: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: the points, shape ``(B, ...)``.
            residual: at x, same shape.
            damping: part of the step that is taken, shape ``(B,)``; 1 for all of it.

        Returns:
            The next points, shape of ``x``.
        """
        shape, damping = x.shape, damping[:, None].to(x)
        x, residual = x.flatten(1), residual.flatten(1)
        if self.window == 0:
            return (x - damping * residual).view(shape)
        self._x, self._residual = [*self._x, x][-self.window - 1 :], [*self._residual, residual][-self.window - 1 :]
        if len(self._x) > 1:
            dx = torch.stack(self._x, dim=1).diff(dim=1)
            dr = torch.stack(self._residual, dim=1).diff(dim=1)
            length = dr.norm(dim=2, keepdim=True).clamp(min=torch.finfo(dr.dtype).tiny)
            dx, dr = dx / length, dr / length
            # The least squares by their normal equations: a few numbers a row, in float64 on the CPU (MPS has none).
            # Directions that rounding made are cut off.
            gram, known = (dr @ dr.mT).double().cpu(), (dr @ residual[..., None]).double().cpu()
            rtol = 100 * torch.finfo(x.dtype).eps
            mixture = (torch.linalg.pinv(gram, rtol=rtol, hermitian=True) @ known).to(x)
            x = x - (dx * mixture).sum(dim=1)
            residual = residual - (dr * mixture).sum(dim=1)
        return (x - damping * residual).view(shape)
