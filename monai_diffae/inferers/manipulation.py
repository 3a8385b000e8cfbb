# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer

from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer, StochasticCode, like_input, plain
from monai_diffae.inferers.inference import inference, moved
from monai_diffae.semantics import AttributeDirections, lerp

__all__ = ["ManipulationInferer"]

_SERIES = (list, tuple)


def _listed(value: Any) -> Sequence:
    """A series as it is, one value as a series of one."""
    return value if isinstance(value, _SERIES) else [value]


class ManipulationInferer(Inferer):
    """Strengthens or weakens an attribute of images and keeps the rest: z_sem is moved, x_T is kept.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2.

    Args:
        inferer: the loops, with their numbers of steps.
        attributes: the directions.
        attribute: name of the one to move along.
        amount: how far (:meth:`~monai_diffae.semantics.AttributeDirections.move`); one number, or several for a series.
        target: or where to (:meth:`~monai_diffae.semantics.AttributeDirections.move_to`): a score, ``boundary`` or
            ``across``; one, or several for a series.
        keep: names of attributes whose scores must not change.
        num_steps: more than 1 for a series of so many equal steps on the way to the one amount or target, which is the
            last of them.
        x_T: ``encode``, ``random`` or ``zeros``.
        seed: of the random x_T, see :class:`~monai_diffae.inferers.autoencoding.StochasticCode`.

    Raises:
        ValueError: for an unknown attribute or ``x_T``, unless exactly one of ``amount`` and ``target`` is given, for a
            target that the attribute does not have, if nothing is left of the direction without those of ``keep``, or
            for steps below 1 or of what is a series already.
    """

    def __init__(
        self,
        inferer: DiffusionAutoencoderInferer,
        attributes: AttributeDirections,
        attribute: str,
        amount: float | Sequence[float] | None = None,
        target: float | str | Sequence[float | str] | None = None,
        keep: str | Sequence[str] = (),
        num_steps: int = 1,
        x_T: str = "encode",
        seed: int = 0,
    ) -> None:
        if (amount is None) == (target is None):
            raise ValueError(f"Give exactly one of amount and target; got {amount!r} and {target!r}.")
        edits = amount if target is None else target
        if num_steps < 1 or (num_steps > 1 and isinstance(edits, _SERIES)):
            raise ValueError(f"num_steps must be 1 or more, and 1 for a series; got {num_steps} and {edits!r}.")
        attributes.direction(attribute, keep)
        if target is not None:
            for one in _listed(target):
                attributes.summary(attribute).target_scores(torch.zeros(1), one)
        self.inferer = inferer
        self.attributes = attributes
        self.attribute = attribute
        self.amount = amount
        self.target = target
        self.keep = keep
        self.num_steps = num_steps
        self.is_series = num_steps > 1 or isinstance(edits, _SERIES)
        self.stochastic_code = StochasticCode(x_T, seed)

    @property
    def titles(self) -> list[str]:
        """A few words for each edit of the series (or the only one), for a figure."""
        if self.target is None:
            titles = [f"{self.attribute} {amount:+.2f}" for amount in _listed(self.amount)]
        else:
            titles = [
                f"{self.attribute} to {t if isinstance(t, str) else format(t, 'g')}" for t in _listed(self.target)
            ]
        if self.num_steps == 1:
            return titles
        return [f"{titles[0]}, {k}/{self.num_steps}" for k in range(1, self.num_steps + 1)]

    def _moved(self, z_sem: torch.Tensor, attributes: AttributeDirections) -> list[torch.Tensor]:
        if self.target is None:
            moved = [attributes.move(z_sem, self.attribute, amount, self.keep) for amount in _listed(self.amount)]
        else:
            moved = [attributes.move_to(z_sem, self.attribute, target, self.keep) for target in _listed(self.target)]
        if self.num_steps == 1:
            return moved
        return [lerp(z_sem, moved[0], k / self.num_steps) for k in range(1, self.num_steps + 1)]

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``z_sem`` ``(B, D)``; ``score`` ``(B,)``, the attribute's score (logit or value) before the edit;
            ``reconstruction``, shape of ``inputs``. Of the edit, with N inserted after B for a series of N:
            ``score_after`` ``(B,)``; ``extrapolation`` ``(B,)``, how many standard deviations that lies outside the
            scores of the training data, NaN where those are not known; ``distance`` ``(B,)``, length of the move of
            the normalised code, in standard deviations of its numbers; ``edit`` and ``difference`` (edit minus
            reconstruction), shape of ``inputs``. And the report about x_T,
            :meth:`~monai_diffae.inferers.exact_inversion.Inversion.report`.
        """
        images = plain(inputs)
        z_sem = self.inferer.encode(images, network)
        code = self.stochastic_code.with_report(images, network, z_sem, self.inferer)
        x_T = code.x_T
        attributes = moved(self.attributes, images.device)
        k = attributes.index(self.attribute)
        moved_codes = self._moved(z_sem, attributes)
        decoded = self.inferer.decode_series([(z, x_T) for z in (z_sem, *moved_codes)], network)
        reconstruction, edit = decoded[:, 0], decoded[:, 1:]
        score_after = torch.stack([attributes.scores(z)[:, k] for z in moved_codes], dim=1)
        distance = torch.stack([((z - z_sem) / attributes.statistics.std).norm(dim=1) for z in moved_codes], dim=1)
        difference = edit - reconstruction[:, None]
        if not self.is_series:
            edit, difference, score_after, distance = (x[:, 0] for x in (edit, difference, score_after, distance))
        images_out = {"reconstruction": reconstruction, "edit": edit, "difference": difference}
        return {
            "z_sem": z_sem,
            "score": attributes.scores(z_sem)[:, k],
            "score_after": score_after,
            "distance": distance,
            "extrapolation": attributes.extrapolation(self.attribute, score_after),
            **code.report(),
            **{key: like_input(x, inputs) for key, x in images_out.items()},
        }

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """The edit of :meth:`predict`."""
        return self.predict(inputs, network)["edit"]
