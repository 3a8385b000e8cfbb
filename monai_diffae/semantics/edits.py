# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch

from monai_diffae.semantics.attributes import AttributeDirections
from monai_diffae.semantics.interpolation import lerp
from monai_diffae.support.words import names_in

__all__ = ["Edit", "given_edit"]

Ends = float | str | Sequence[float | str]
_WAYS = ("amount", "target", "to_class_mean")


def _is_series(ends: Ends) -> bool:
    return isinstance(ends, (list, tuple))


class Edit:
    """What is done to an attribute: which one, how far, along what, and what has to stay. One object for the inferer
    that does it and for the tables and figures that tell of it.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2: an amount
        along the weight. The rest is this package's.

    Args:
        attribute: name of the one to move along.
        amount: how far (:meth:`~monai_diffae.semantics.AttributeDirections.move`); one number, or several for a series.
        target: or where to (:meth:`~monai_diffae.semantics.AttributeDirections.move_to`): a score or true
            value, ``boundary`` or ``across``, or a share as ``80%``; one, or several for a series.
        to_class_mean: or a share of the way to the mean code of those with the attribute, -1 to 1
            (:meth:`~monai_diffae.semantics.AttributeDirections.move_to_class_mean`); one, or several for a series.
        keep: names of attributes whose scores must not change.
        along: ``weight``, the paper's, or ``pattern``, the way on which codes of the training data differ, which the
            image follows further (:class:`~monai_diffae.semantics.AttributeDirections`). To a class mean it matters
            only for ``keep``.
        num_steps: more than 1 for a series of so many equal steps on the way to the one edit, which is the last of
            them.
        max_aims: decodings at most that lengthen (or shorten) each move until the edited image, encoded again, has the
            score that the move gives the code (:func:`~monai_diffae.inferers.aiming.aim`). 0: moves as they are, after
            which the image usually lags behind the code.

    Raises:
        ValueError: unless exactly one of ``amount``, ``target`` and ``to_class_mean`` is given, for negative
            ``max_aims``, and for steps below 1 or of what is a series already.

    Example:
        >>> Edit("lesion", target="across", num_steps=2).titles
        ['lesion to across, 1/2', 'lesion to across, 2/2']
    """

    depends_on = ("attribute", "way", "ends", "keep", "along", "num_steps", "max_aims")

    def __init__(
        self,
        attribute: str,
        amount: float | Sequence[float] | None = None,
        target: Ends | None = None,
        to_class_mean: float | Sequence[float] | None = None,
        keep: str | Sequence[str] = (),
        along: str = "weight",
        num_steps: int = 1,
        max_aims: int = 0,
    ) -> None:
        given = {way: end for way, end in zip(_WAYS, (amount, target, to_class_mean)) if end is not None}
        if len(given) != 1:
            got = " and ".join(f"{way}={end!r}" for way, end in given.items()) or "none of them"
            raise ValueError(f"Give exactly one of amount, target and to_class_mean; got {got}.")
        ((way, ends),) = given.items()
        if way != "target" and not all(isinstance(end, Real) for end in (ends if _is_series(ends) else [ends])):
            raise ValueError(f"{way} is a number, or a list of numbers for a series; got {ends!r}.")
        if _is_series(ends) and not ends:
            raise ValueError(f"{way} is an empty list; give a number, or several for a series.")
        if max_aims < 0:
            raise ValueError(f"max_aims must be 0 or more, got {max_aims}.")
        if num_steps < 1 or (num_steps > 1 and _is_series(ends)):
            raise ValueError(f"num_steps must be 1 or more, and 1 for a series; got {num_steps} and {ends!r}.")
        self.attribute = attribute
        self.way = way
        self.ends = ends
        self.keep = tuple(names_in(keep))
        self.along = along
        self.num_steps = num_steps
        self.max_aims = max_aims

    @property
    def is_series(self) -> bool:
        """Whether its results are several for each image."""
        return self.num_steps > 1 or isinstance(self.ends, (list, tuple))

    @property
    def series(self) -> list[float | str]:
        """The ends of the series (or the only one), one for each result; the steps to one end share it."""
        return list(self.ends) if isinstance(self.ends, (list, tuple)) else [self.ends] * self.num_steps

    @property
    def titles(self) -> list[str]:
        """A few words for each result, for a figure."""
        title = {
            "amount": lambda amount: f"{amount:+.2f}",
            "target": lambda target: f"to {target if isinstance(target, str) else format(target, 'g')}",
            "to_class_mean": lambda share: f"{100 * share:+g}% to mean",
        }[self.way]
        titles = [f"{self.attribute} {title(end)}" for end in self.series]
        if self.num_steps == 1:
            return titles
        return [f"{title}, {k}/{self.num_steps}" for k, title in enumerate(titles, start=1)]

    @property
    def columns(self) -> list[dict[str, Any]]:
        """What a table says of each result: ``attribute``, ``along``, the way, and ``step`` where there are several."""
        common = {"attribute": self.attribute, "along": self.along}
        steps = [
            {"step": f"{k}/{self.num_steps}"} if self.num_steps > 1 else {} for k in range(1, len(self.series) + 1)
        ]
        return [common | {self.way: end} | step for end, step in zip(self.series, steps)]

    def check(self, attributes: AttributeDirections) -> None:
        """Refuse what cannot be done with these directions.

        Raises:
            ValueError: for an unknown attribute or ``along``, for a target, class mean or pattern that the attribute
                lacks, or if nothing is left of the direction without those of ``keep``.
        """
        attributes.direction(self.attribute, self.keep, self.along)
        for end in self.series[:: self.num_steps]:
            if self.way == "target":
                attributes.summary(self.attribute).target_scores(torch.zeros(1), end)
            elif self.way == "to_class_mean":
                self._move(attributes.statistics.mean[None], attributes, end)

    def moved(self, z_sem: torch.Tensor, attributes: AttributeDirections) -> list[torch.Tensor]:
        """The codes of the results, one for each of :attr:`series`.

        Args:
            z_sem: raw, shape ``(B, D)``, where the directions are.
            attributes: the directions.

        Returns:
            Shape ``(B, D)`` each.
        """
        if self.num_steps == 1:
            return [self._move(z_sem, attributes, end) for end in self.series]
        (end,) = self.series[-1:]
        last = self._move(z_sem, attributes, end)
        return [lerp(z_sem, last, k / self.num_steps) for k in range(1, self.num_steps + 1)]

    def _move(self, z_sem: torch.Tensor, attributes: AttributeDirections, end: float | str) -> torch.Tensor:
        move = {
            "amount": attributes.move,
            "target": attributes.move_to,
            "to_class_mean": attributes.move_to_class_mean,
        }[self.way]
        return move(z_sem, self.attribute, end, self.keep, self.along)


def given_edit(edit: Edit | str | None, old: Mapping[str, Any], caller: str) -> Edit:
    """The edit that a caller was given, or made of the arguments that it took in version 0.1.0 (until 0.3.0).

    Args:
        edit: the edit; in version 0.1.0 the name of the attribute, which could be the keyword ``attribute`` as well.
        old: further arguments of that version.
        caller: name of the class.

    Raises:
        TypeError: for an edit with further arguments, or arguments that no version took.

    Warns:
        DeprecationWarning: where it is made of old ones.
    """
    if isinstance(edit, Edit):
        if old:
            raise TypeError(f"{caller} takes an Edit and nothing else about it; got {', '.join(old)} as well.")
        return edit
    arguments = ({} if edit is None else {"attribute": edit}) | dict(old)
    made = Edit(**arguments)
    words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    warnings.warn(
        f"{caller} takes monai_diffae.semantics.Edit({words}) as its edit; the single arguments work until version "
        "0.3.0.",
        DeprecationWarning,
        stacklevel=3,
    )
    return made
