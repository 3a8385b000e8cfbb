# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, SamplingInferer
from monai_diffae.metrics.distribution_distance import frechet_distance, kernel_distance
from monai_diffae.metrics.evaluation.bench import EvaluationBench
from monai_diffae.metrics.evaluation.codes import CodesInferer
from monai_diffae.metrics.evaluation.findings import Findings, Gallery, Measure
from monai_diffae.metrics.evaluation.judging import Judge
from monai_diffae.metrics.manifolds import manifold_measures, nearest
from monai_diffae.support.spacing import evenly_spaced

__all__ = ["GenerationSection"]

_SHOWN = 6
_NEIGHBOURS = 5


class GenerationSection:
    """Are samples like real images, as varied, and new? Always beside real images against real ones, and
    reconstructions.

    Args:
        bench: network and images.
        sampler: opens the latent sampler; only called when it is needed.
        judge: the classifier of images, for a second space of features.
        decoding: the loops that decode samples; ``None`` for the bundle's own.
        num_samples: as many as held-out images are compared with, at most.
        features: a network of the user's, from images ``(B, C, *spatial)`` to ``(B, D)``; ``None`` for none.
    """

    name = "generation"

    def __init__(
        self,
        bench: EvaluationBench,
        sampler: Callable[[], Callable],
        judge: Judge,
        decoding: DiffusionAutoencoderInferer | None = None,
        num_samples: int = 64,
        features: torch.nn.Module | None = None,
    ) -> None:
        self.bench, self.sampler, self.judge = bench, sampler, judge
        self.decoding = bench.inferer if decoding is None else decoding
        self.num_samples, self.own_features = num_samples, features

    def measure(self) -> Findings:
        """Distances of samples, reconstructions and training images to held-out ones; nearest training images."""
        found = Findings(
            self.name,
            "Generation",
            "Samples, reconstructions and training images, each compared with as many held-out images. A distance "
            "means something only beside that of real images to real ones: it grows as the number of images falls, and "
            "features of a classifier hardly see image quality. Reconstructions are of the very images that they are "
            "compared with: their distance is what decoding adds, no yardstick for samples. A sample that is much "
            "nearer to a training image than held-out images are is a copy.",
        )
        bench, real = self.bench, self.bench.chosen["image"]
        try:
            sampler = self.sampler()
        except FileNotFoundError as error:
            found.skipped["samples"] = str(error)
            return found
        count = min(self.num_samples, len(real))
        if count < _NEIGHBOURS + 1:
            found.skipped["samples"] = f"there are {count} images to compare; {_NEIGHBOURS + 1} are needed"
            return found
        real = real[evenly_spaced(len(real), count)]
        inferer = SamplingInferer(self.decoding, sampler, real.shape[1:], seed=bench.seed)
        sets = {"samples": bench.run(inferer, torch.arange(count), "samples")["sample"]}
        random = CodesInferer(self.decoding, "random", bench.seed)
        sets["reconstructions, random x_T"] = bench.run(random, real, "random x_T")["reconstruction"]
        train = None if bench.train_chosen is None else bench.train_chosen["image"]
        if train is None or len(train) < count:
            found.skipped["training images against held-out ones"] = f"fewer than {count} training images were given"
        else:
            sets["training images"] = train[evenly_spaced(len(train), count)]
        for space, features in self._spaces(found).items():
            of_real = features(real)
            for name, images in sets.items():
                self._compare(found, f"{name} to held-out, {space}", of_real, features(images))
            if "training images" not in sets and count >= 2 * (_NEIGHBOURS + 1):
                self._halves(found, space, of_real, features(sets["samples"]))
            if train is not None:
                self._copies(found, space, features, sets["samples"], real, train)
        if train is not None:
            self._copies(found, "pixels", lambda images: images.flatten(1), sets["samples"], real, train)
        return found

    def _spaces(self, found: Findings) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        components = self.bench.components
        spaces = {f"{components.num_components} principal components": components.encode}
        network, why = self.judge.network()
        if network is None:
            found.skipped["features of the classifier of images"] = why
        elif not hasattr(network, "features"):
            found.skipped["features of the classifier of images"] = "it has no method features"
        else:
            spaces["features of the classifier"] = self.judge.features
        if self.own_features is not None:
            own = self.own_features.to(self.bench.device).eval()

            @torch.no_grad()
            def encode(images: torch.Tensor) -> torch.Tensor:
                return torch.cat([own(part.to(self.bench.device)).flatten(1).cpu() for part in images.split(64)])

            spaces["features that were given"] = encode
        return spaces

    def _halves(self, found: Findings, space: str, real: torch.Tensor, samples: torch.Tensor) -> None:
        """Without training images real ones are compared with real ones by halves, and as many samples with a half."""
        count = len(real) // 2
        first, second = real[: 2 * count : 2], real[1 : 2 * count : 2]
        self._compare(found, f"half of the held-out to the other half, {space}", second, first)
        self._compare(found, f"as many samples to that half, {space}", second, samples[: 2 * count : 2])

    @staticmethod
    def _compare(found: Findings, of: str, real: torch.Tensor, other: torch.Tensor) -> None:
        found.add("Frechet distance", of, frechet_distance(other, real), count=len(other))
        found.add("kernel distance (MMD^2)", of, kernel_distance(other, real), count=len(other))
        for name, value in manifold_measures(real.double(), other.double(), _NEIGHBOURS).items():
            found.add(name, of, value, count=len(other))

    def _copies(
        self,
        found: Findings,
        space: str,
        features: Callable[[torch.Tensor], torch.Tensor],
        samples: torch.Tensor,
        real: torch.Tensor,
        train: torch.Tensor,
    ) -> None:
        of_train = features(train)
        distances, places = nearest(features(samples), of_train)
        of_real, _ = nearest(features(real), of_train)
        compared = f"{len(train):,} of {len(self.bench.train.dataset):,} training images"
        for name, values in (("samples", distances), ("held-out images", of_real)):
            measure = "distance to the nearest training image"
            found.measures.append(Measure.over_images(measure, f"{name}, {space}, {compared}", values))
        closest = distances.argsort()[:_SHOWN]
        found.galleries.append(
            Gallery(
                f"closest pairs in {space}",
                ["sample", "nearest training image"],
                [[samples[int(k)], train[int(places[k])]] for k in closest],
                [f"{distances[k]:.3g}" for k in closest],
            )
        )
