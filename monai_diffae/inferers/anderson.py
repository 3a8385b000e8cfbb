# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

__all__ = ["AndersonMixing"]


class AndersonMixing:
    """Proposes the next point of ``residual(x) = 0``, for every row of a batch by itself.

    The plain iteration is ``x - residual``. Anderson's takes the combination of the last points whose residuals, if
    they were linear in x, would cancel best; a window of 0 is the plain iteration, a window of 1 is a secant.

    The points stay on their device. What the combination is computed from, a few numbers a row, is handed out
    (:meth:`observe`) and computed on the CPU (:meth:`mixture`), so that it can travel with whatever else a caller has
    to know of a GPU.

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
        """Go on with these rows, a mask ``(B,)`` or indices; the others are solved."""
        self._x = [x[rows] for x in self._x]
        self._residual = [residual[rows] for residual in self._residual]

    def restart(self, rows: torch.Tensor, x: torch.Tensor, residual: torch.Tensor) -> None:
        """Forget what is known about the rows of the mask, but for this point and its residual."""
        for past, now in ((self._x, x), (self._residual, residual)):
            for place, values in enumerate(past):
                past[place] = torch.where(rows[:, None], now.flatten(1), values)  # differences of zero count nothing

    def observe(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Remember points.

        Args:
            x: shape ``(B, ...)``.
            residual: at x, same shape.

        Returns:
            What :meth:`mixture` needs of them, shape ``(B, K)``; K is 0 where there is nothing to combine.
        """
        x, residual = x.flatten(1), residual.flatten(1)
        self._x = [*self._x, x][-self.window - 1 :]
        self._residual = [*self._residual, residual][-self.window - 1 :]
        if self._differences == 0:
            return residual[:, :0]
        _, dr = self._directions()
        return torch.cat([dr @ dr.mT, dr @ residual[..., None]], dim=2).flatten(1)

    def mixture(self, numbers: torch.Tensor) -> torch.Tensor:
        """The combination that cancels best, by least squares.

        Args:
            numbers: of :meth:`observe`, on the CPU.

        Returns:
            How much of each difference is taken off, shape ``(B, M)``; zero for rows whose numbers are not finite.
        """
        count = self._differences
        if count == 0:
            return numbers
        # By their normal equations, in float64. Directions that rounding made are cut off.
        equations = numbers.double().reshape(len(numbers), count, count + 1)
        equations = torch.where(equations.isfinite().flatten(1).all(dim=1)[:, None, None], equations, 0)
        gram, known = equations[..., :count], equations[..., count:]
        rtol = 100 * torch.finfo(self._x[-1].dtype).eps
        return (torch.linalg.pinv(gram, rtol=rtol, hermitian=True) @ known).flatten(1)

    def propose(
        self, x: torch.Tensor, residual: torch.Tensor, mixture: torch.Tensor, damping: torch.Tensor
    ) -> torch.Tensor:
        """The next points.

        Args:
            x: the last points, shape ``(B, ...)``.
            residual: at x, same shape.
            mixture: of the differences, shape ``(B, M)``.
            damping: part of the step that is taken, shape ``(B,)``; 1 for all of it.

        Returns:
            Shape of ``x``.
        """
        shape, x, residual = x.shape, x.flatten(1), residual.flatten(1)
        if self._differences:
            dx, dr = self._directions()
            x = x - (dx * mixture[..., None].to(x)).sum(dim=1)
            residual = residual - (dr * mixture[..., None].to(x)).sum(dim=1)
        return (x - damping[:, None].to(x) * residual).view(shape)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor, damping: torch.Tensor) -> torch.Tensor:
        """Observe and propose at once; arguments as above."""
        mixture = self.mixture(self.observe(x, residual).cpu())
        return self.propose(x, residual, mixture.to(x), damping)

    @property
    def _differences(self) -> int:
        return len(self._x) - 1

    def _directions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Differences of points and of their residuals, ``(B, M, n)``, divided by the length of the latter."""
        dx = torch.stack(self._x, dim=1).diff(dim=1)
        dr = torch.stack(self._residual, dim=1).diff(dim=1)
        length = dr.norm(dim=2, keepdim=True).clamp(min=torch.finfo(dr.dtype).tiny)
        return dx / length, dr / length
