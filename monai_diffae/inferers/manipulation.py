# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from monai_diffae.inferers.aiming import aim
from monai_diffae.inferers.autoencoding import DiffusionAutoencoderInferer
from monai_diffae.inferers.inference import inference
from monai_diffae.inferers.metadata import like_input, plain
from monai_diffae.inferers.predicting import PredictingInferer
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.semantics import AttributeDirections, Edit, lerp
from monai_diffae.semantics.edits import given_edit

__all__ = ["ManipulationInferer"]


class ManipulationInferer(PredictingInferer):
    """Strengthens or weakens an attribute of images and keeps the rest: z_sem is moved, x_T is kept.

    References:
        Diffusion Autoencoders, Preechakul et al., CVPR 2022, https://arxiv.org/abs/2111.15640, Sec. 5.2.

    Args:
        inferer: the loops, with their numbers of steps.
        attributes: the directions. They stay on their device: the codes come to them.
        edit: what is done; :class:`~monai_diffae.semantics.Edit`.
        x_T: ``encode``, ``random`` or ``zeros``.
        seed: of the random x_T, see :class:`~monai_diffae.inferers.stochastic_code.StochasticCode`.
        old: what ``edit`` holds, as this class took it in version 0.1.0; with a DeprecationWarning until 0.3.0.

    Raises:
        ValueError: for an unknown attribute, ``along`` or ``x_T``, for a target, class mean or pattern that the
            attribute lacks, and if nothing is left of the direction without those of ``keep``.
    """

    called_for = "edit"
    depends_on = ("inferer", "attributes", "edit", "stochastic_code")

    def __init__(
        self,
        inferer: DiffusionAutoencoderInferer,
        attributes: AttributeDirections,
        edit: Edit | str | None = None,
        *old_amount: float | Sequence[float],
        x_T: str = "encode",
        seed: int = 0,
        **old: Any,
    ) -> None:
        self.edit = given_edit(edit, dict(zip(("amount", "target"), old_amount)) | old, "ManipulationInferer")
        self.edit.check(attributes)
        self.inferer = inferer
        self.attributes = attributes
        self.stochastic_code = StochasticCode(x_T, seed)

    @property
    def titles(self) -> list[str]:
        """Those of the edit; configurations of version 0.1.0 ask the inferer."""
        return self.edit.titles

    def _aimed(
        self, moved_codes: list[torch.Tensor], z_sem: torch.Tensor, x_T: torch.Tensor, network: Callable
    ) -> list[torch.Tensor]:
        """The moves, as far as their images get the scores that their codes have; steps keep their shares."""
        k = self.attributes.index(self.edit.attribute)
        x_T = x_T.expand(len(z_sem), *x_T.shape[1:])

        def score_of_image(z: torch.Tensor, x_T: torch.Tensor) -> torch.Tensor:
            image = self.inferer.decode(z.to(x_T.device), x_T, network)
            return self.attributes.scores(self.inferer.encode(image, network).to(z.device))[:, k]

        start = score_of_image(z_sem, x_T)
        factors = []
        for end in moved_codes[-1:] if self.edit.num_steps > 1 else moved_codes:

            def score_at(factor: torch.Tensor, rows: torch.Tensor, end: torch.Tensor = end) -> torch.Tensor:
                return score_of_image(lerp(z_sem[rows], end[rows], factor[:, None]), x_T[rows])

            factors.append(aim(score_at, start, self.attributes.scores(end)[:, k], self.edit.max_aims))
        if self.edit.num_steps > 1:
            factors *= self.edit.num_steps
        return [lerp(z_sem, z, factor[:, None]) for z, factor in zip(moved_codes, factors, strict=True)]

    @inference
    def predict(self, inputs: torch.Tensor, network: Callable) -> dict[str, torch.Tensor]:
        """Of images and a network as :class:`PredictingInferer` says.

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
        attributes = self.attributes
        k = attributes.index(self.edit.attribute)
        kept = [attributes.index(name) for name in self.edit.keep]
        start = z_sem.to(attributes.weight.device)
        before = attributes.scores(start)
        moved_codes = self.edit.moved(start, attributes)
        if self.edit.max_aims:
            moved_codes = self._aimed(moved_codes, start, x_T, network)
        moved = torch.stack(moved_codes, dim=1)  # (B, N, D)
        codes = [z_sem, *moved.to(z_sem.device).unbind(dim=1)]
        decoded = self.inferer.decode_series([(z, x_T) for z in codes], network)
        reconstruction, edit = decoded[:, 0], decoded[:, 1:]
        reencoded_codes = self.inferer.encode(edit.flatten(0, 1), network).unflatten(0, edit.shape[:2])
        after, reencoded = attributes.scores(moved), attributes.scores(reencoded_codes.to(moved.device))
        series = {
            "edit": edit,
            "difference": edit - reconstruction[:, None],
            "score_after": after[..., k],
            "score_reencoded": reencoded[..., k],
            "distance": ((moved - start[:, None]) / attributes.statistics.std).norm(dim=2),
            "extrapolation": attributes.extrapolation(self.edit.attribute, after[..., k]),
        }
        if kept:
            series |= {"kept_after": after[..., kept], "kept_reencoded": reencoded[..., kept]}
        edits = series if self.edit.is_series else {key: x[:, 0] for key, x in series.items()}
        if kept:
            edits["kept_before"] = before[:, kept]
        edits |= {"score": before[:, k]}
        results = {"z_sem": z_sem, "reconstruction": reconstruction} | code.report() | edits
        images_of = ("reconstruction", "edit", "difference")
        return {key: like_input(x, inputs) if key in images_of else x.to(images.device) for key, x in results.items()}
