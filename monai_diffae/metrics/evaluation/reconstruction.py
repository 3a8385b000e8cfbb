# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer
from monai_diffae.metrics.evaluation.bench import EvaluationBench
from monai_diffae.metrics.evaluation.codes import CodesInferer
from monai_diffae.metrics.evaluation.findings import Curve, Findings, Gallery, Measure, Spread
from monai_diffae.metrics.image_quality import ImageQuality, lpips_network
from monai_diffae.metrics.stochastic_code import x_T_statistics
from monai_diffae.support.spacing import evenly_spaced

__all__ = ["ReconstructionSection"]

_UNITS = {"psnr": "dB"}
_SHOWN = 6


class ReconstructionSection:
    """Does it reconstruct? Exact, explicit, random and zero x_T at several numbers of steps, beside what needs no
    diffusion (and beside what the compression model alone leaves, where the diffusion is in its latents); and whether
    x_T is the white noise that it should be.

    Args:
        bench: network and images.
        step_counts: of decoding; explicit x_T is encoded in as many, or in the inferer's ``num_inversion_steps`` where
            these are not the number that it decodes in.
        ways: of ``exact``, ``explicit``, ``random`` and ``zeros``.

    Raises:
        ValueError: for another way, or no steps.
    """

    name = "reconstruction"

    def __init__(
        self,
        bench: EvaluationBench,
        step_counts: Sequence[int] = (10, 20, 50),
        ways: Sequence[str] = ("exact", "explicit", "random", "zeros"),
    ) -> None:
        if not step_counts or not set(ways) <= {"exact", "explicit", "random", "zeros"}:
            raise ValueError(
                f"Expected steps, and ways among exact, explicit, random and zeros; got {step_counts} and {ways}."
            )
        self.bench, self.step_counts, self.ways = bench, list(step_counts), list(ways)

    def measure(self) -> Findings:
        """All settings over the chosen images."""
        found = Findings(
            self.name,
            "Reconstruction",
            "How near decoding comes to the image. Exact and explicit x_T are the image's own; with random and zero "
            "x_T there is only what z_sem tells. Bounds hold 95 % of the images. White noise has mean 0, variance 1, "
            "excess kurtosis 0 and no correlation of neighbours.",
        )
        bench, images = self.bench, self.bench.chosen["image"]
        quality = ImageQuality(images.shape[1:], 2.0, *lpips_network())
        found.skipped |= quality.skipped
        found.tables["reconstruction"] = [bench.described(i) for i in range(len(images))]
        shown: dict[str, torch.Tensor] = {}
        for way in self.ways:
            evaluations, psnr = [], []
            for steps in self.step_counts:
                of = f"x_T {way}, {steps} steps"
                inferer = self._inferer(way, steps)
                if inferer is None:
                    found.skipped[of] = "the scheduler clips, and clipping has no inverse"
                    break
                x_T = way if way in ("random", "zeros") else "encode"
                result = bench.run(CodesInferer(inferer, x_T, bench.seed), images, of)
                quality_of = self._add_quality(found, quality, of, result["reconstruction"])
                found.measures.append(Measure.over_images("evaluations", of, result["evaluations"]))
                found.measures.append(Measure.over_images("seconds", of, result["seconds"], "s an image"))
                if x_T == "encode":
                    for name, values in x_T_statistics(result["x_T"]).items():
                        found.measures.append(Measure.over_images(f"x_T {name}", of, values))
                shown[f"{way}, {steps}"] = result["reconstruction"]
                evaluations.append(float(result["evaluations"].mean()))
                psnr.append(quality_of["psnr"])
            if psnr:
                titles = ("evaluations of the network", "PSNR (dB)")
                found.curves.append(Curve("quality", f"x_T {way}", evaluations, psnr, *titles))
        if hasattr(bench.network, "to_latent"):
            shown["compression"] = self._compressed(images)
            self._add_quality(found, quality, "its compression alone", shown["compression"])
        components = bench.components
        self._add_quality(
            found, quality, f"{components.num_components} principal components", components.reconstruct(images)
        )
        if bench.train_chosen is None:
            found.skipped["the mean training image"] = "no training images were given"
        else:
            mean = bench.train_chosen["image"].mean(dim=0, keepdim=True).expand_as(images)
            self._add_quality(found, quality, "the mean training image", mean)
        rows = evenly_spaced(len(images), _SHOWN)
        columns = {"original": images} | shown
        found.galleries.append(
            Gallery("reconstruction", list(columns), [[c[k] for c in columns.values()] for k in rows], [""] * len(rows))
        )
        return found

    def _compressed(self, images: torch.Tensor) -> torch.Tensor:
        """What the compression model leaves of them, as the best that the diffusion in its latents can reach."""
        network = self.bench.network
        with torch.no_grad():
            parts = images.split(self.bench.batch_size)
            return torch.cat([network.to_image(network.to_latent(part.to(self.bench.device))).cpu() for part in parts])

    def _inferer(self, way: str, steps: int) -> DiffusionAutoencoderInferer | None:
        own = self.bench.inferer
        if way == "exact" and not own.scheduler.step_has_inverse:
            return None
        how = {"inversion": "exact", "tolerance": own.tolerance} if way == "exact" else {}
        if way == "explicit" and own.num_inversion_steps != own.num_inference_steps:  # asked for, as the authors do
            how["num_inversion_steps"] = own.num_inversion_steps
        return DiffusionAutoencoderInferer(
            own.scheduler, steps, precision=own.precision, verbose=False, batch_size=own.batches.size, **how
        )

    def _add_quality(self, found: Findings, quality: ImageQuality, of: str, images: torch.Tensor) -> dict[str, float]:
        of_images = quality(images, self.bench.chosen["image"])
        measures = [Measure.over_images(name, of, values, _UNITS.get(name, "")) for name, values in of_images.items()]
        found.measures += measures
        psnr = of_images["psnr"].tolist()
        found.spreads.append(Spread("PSNR of each image", of, psnr, "PSNR (dB)"))
        for row, value in zip(found.tables["reconstruction"], psnr):
            row[f"psnr, {of}"] = value
        return {measure.measure: measure.value for measure in measures}
