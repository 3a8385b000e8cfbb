# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.inferers import Inferer

from monai_diffae.inferers.aiming import aim
from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference, moved
from monai_diffae.inferers.metadata import like_input, plain
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.semantics import AttributeDirections, lerp
from monai_diffae.semantics.edit_way import edit_way
from monai_diffae.support.words import names_in

__all__ = ["ManipulationInferer"]

_SERIES = (list, tuple)


class ManipulationInferer(Inferer):
    """Strengthens or weakens an attribute of images and keeps the rest: z_sem is moved, x_T is kept.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2.

    Args:
        inferer: the loops, with their numbers of steps.
        attributes: the directions.
        attribute: name of the one to move along.
        amount: how far (:meth:`~monai_diffae.semantics.AttributeDirections.move`); one number, or several for a series.
        target: or where to (:meth:`~monai_diffae.semantics.AttributeDirections.move_to`): a score or true
            value, ``boundary`` or ``across``; one, or several for a series.
        to_class_mean: or a share of the way to the mean code of those with the attribute, -1 to 1
            (:meth:`~monai_diffae.semantics.AttributeDirections.move_to_class_mean`); one, or several for a series.
        keep: names of attributes whose scores must not change.
        along: ``weight``, the paper's, or ``pattern``, the way on which codes of the training data differ, which the
            image follows further (:class:`~monai_diffae.semantics.AttributeDirections`). To a class mean it matters
            only for ``keep``.
        num_steps: more than 1 for a series of so many equal steps on the way to the one edit, which is the last of
            them.
        x_T: ``encode``, ``random`` or ``zeros``.
        seed: of the random x_T, see :class:`~monai_diffae.inferers.stochastic_code.StochasticCode`.
        max_aims: decodings at most that lengthen (or shorten) each move until the edited image, encoded again, has the
            score that the move gives the code (:func:`~monai_diffae.inferers.aiming.aim`). 0: moves as they are, after
            which the image usually lags behind the code.

    Raises:
        ValueError: for negative ``max_aims``, an unknown attribute, ``along`` or ``x_T``, unless exactly one of
            ``amount``, ``target`` and ``to_class_mean`` is given, for a target, class mean or pattern that the
            attribute lacks, if nothing is left of the direction without those of ``keep``, or for steps below 1 or of
            what is a series already.
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
        max_aims: int = 0,
        to_class_mean: float | Sequence[float] | None = None,
        along: str = "weight",
    ) -> None:
        if max_aims < 0:
            raise ValueError(f"max_aims must be 0 or more, got {max_aims}.")
        self.way, edits = edit_way(amount, target, to_class_mean)
        if num_steps < 1 or (num_steps > 1 and isinstance(edits, _SERIES)):
            raise ValueError(f"num_steps must be 1 or more, and 1 for a series; got {num_steps} and {edits!r}.")
        self.edits = list(edits) if isinstance(edits, _SERIES) else [edits]
        attributes.direction(attribute, keep, along)
        for edit in self.edits:  # refuse now what cannot be done
            if target is not None:
                attributes.summary(attribute).target_scores(torch.zeros(1), edit)
            if to_class_mean is not None:
                attributes.move_to_class_mean(attributes.statistics.mean[None], attribute, edit, keep, along)
        self.inferer = inferer
        self.attributes = attributes
        self.attribute = attribute
        self.keep = keep
        self.along = along
        self.num_steps = num_steps
        self.is_series = num_steps > 1 or isinstance(edits, _SERIES)
        self.stochastic_code = StochasticCode(x_T, seed)
        self.max_aims = max_aims

    @property
    def titles(self) -> list[str]:
        """A few words for each edit of the series (or the only one), for a figure."""
        title = {
            "amount": lambda amount: f"{amount:+.2f}",
            "target": lambda target: f"to {target if isinstance(target, str) else format(target, 'g')}",
            "to_class_mean": lambda share: f"{100 * share:+g}% to mean",
        }[self.way]
        titles = [f"{self.attribute} {title(edit)}" for edit in self.edits]
        if self.num_steps == 1:
            return titles
        return [f"{titles[0]}, {k}/{self.num_steps}" for k in range(1, self.num_steps + 1)]

    def _moved(self, z_sem: torch.Tensor, attributes: AttributeDirections) -> list[torch.Tensor]:
        move = {
            "amount": attributes.move,
            "target": attributes.move_to,
            "to_class_mean": attributes.move_to_class_mean,
        }[self.way]
        moved = [move(z_sem, self.attribute, edit, self.keep, self.along) for edit in self.edits]
        if self.num_steps == 1:
            return moved
        return [lerp(z_sem, moved[0], k / self.num_steps) for k in range(1, self.num_steps + 1)]

    def _aimed(
        self,
        moved_codes: list[torch.Tensor],
        z_sem: torch.Tensor,
        x_T: torch.Tensor,
        network: Callable,
        attributes: AttributeDirections,
    ) -> list[torch.Tensor]:
        """The moves, as far as their images get the scores that their codes have; steps keep their shares."""
        k = attributes.index(self.attribute)
        x_T = x_T.expand(len(z_sem), *x_T.shape[1:])

        def score_of_image(z: torch.Tensor, x_T: torch.Tensor) -> torch.Tensor:
            return attributes.scores(self.inferer.encode(self.inferer.decode(z, x_T, network), network))[:, k]

        start = score_of_image(z_sem, x_T)
        factors = []
        for end in moved_codes[-1:] if self.num_steps > 1 else moved_codes:

            def score_at(factor: torch.Tensor, rows: torch.Tensor, end: torch.Tensor = end) -> torch.Tensor:
                return score_of_image(lerp(z_sem[rows], end[rows], factor[:, None]), x_T[rows])

            factors.append(aim(score_at, start, attributes.scores(end)[:, k], self.max_aims))
        if self.num_steps > 1:
            factors *= self.num_steps
        return [lerp(z_sem, z, factor[:, None]) for z, factor in zip(moved_codes, factors, strict=True)]

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """
        Args:
            inputs: images in [-1, 1], shape ``(B, C, *spatial)``.
            network: a :class:`~monai_diffae.networks.DiffusionAutoencoder`.

        Returns:
            ``z_sem`` ``(B, D)``; ``score`` ``(B,)``, the attribute's score (logit or value) before the edit;
            ``reconstruction``, shape of ``inputs``. Of the edit, with N inserted after B for a series of N:
            ``score_after`` ``(B,)``, of the moved code; ``score_reencoded`` ``(B,)``, of the edited image, encoded
            again: what of the move has reached the image; ``extrapolation`` ``(B,)``, how many standard deviations
            ``score_after`` lies outside the scores of the training data, NaN where those are not known; ``distance``
            ``(B,)``, length of the move of the normalised code, in standard deviations of its numbers; ``edit`` and
            ``difference`` (edit minus reconstruction), shape of ``inputs``. Where M attributes are kept, their scores
            in that order: ``kept_before`` ``(B, M)``, and ``kept_after`` and ``kept_reencoded``, of the edit. And the
            report about x_T,
            :meth:`~monai_diffae.inferers.exact_inversion.Inversion.report`.
        """
        images = plain(inputs)
        z_sem = self.inferer.encode(images, network)
        code = self.stochastic_code.with_report(images, network, z_sem, self.inferer)
        x_T = code.x_T
        attributes = moved(self.attributes, images.device)
        k = attributes.index(self.attribute)
        kept = [attributes.index(name) for name in names_in(self.keep)]
        before = attributes.scores(z_sem)
        moved_codes = self._moved(z_sem, attributes)
        if self.max_aims:
            moved_codes = self._aimed(moved_codes, z_sem, x_T, network, attributes)
        decoded = self.inferer.decode_series([(z, x_T) for z in (z_sem, *moved_codes)], network)
        reconstruction, edit = decoded[:, 0], decoded[:, 1:]
        reencoded_codes = [self.inferer.encode(image, network) for image in edit.unbind(dim=1)]
        after, reencoded = (
            torch.stack([attributes.scores(z) for z in codes], dim=1) for codes in (moved_codes, reencoded_codes)
        )
        series = {
            "edit": edit,
            "difference": edit - reconstruction[:, None],
            "score_after": after[..., k],
            "score_reencoded": reencoded[..., k],
            "distance": torch.stack(
                [((z - z_sem) / attributes.statistics.std).norm(dim=1) for z in moved_codes], dim=1
            ),
            "extrapolation": attributes.extrapolation(self.attribute, after[..., k]),
        }
        if kept:
            series |= {"kept_after": after[..., kept], "kept_reencoded": reencoded[..., kept]}
        edits = series if self.is_series else {key: x[:, 0] for key, x in series.items()}
        edits |= {key: like_input(edits[key], inputs) for key in ("edit", "difference")}
        return {
            "z_sem": z_sem,
            "score": before[:, k],
            **({"kept_before": before[:, kept]} if kept else {}),
            "reconstruction": like_input(reconstruction, inputs),
            **edits,
            **code.report(),
        }

    def __call__(self, inputs: torch.Tensor, network: Callable) -> torch.Tensor:  # type: ignore[override]
        """The edit of :meth:`predict`."""
        return self.predict(inputs, network)["edit"]
