# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn as nn

from monai_diffae.inferers.latent_space import code_shape, to_latent
from monai_diffae.metrics.baselines import untrained_copy
from monai_diffae.metrics.dimensions import effective_dimension
from monai_diffae.metrics.disentanglement import dci, labels_that_vary_together, total_auroc_difference
from monai_diffae.metrics.evaluation.bench import EvaluationBench
from monai_diffae.metrics.evaluation.findings import Curve, Findings
from monai_diffae.metrics.evaluation.kinds import checked_kinds
from monai_diffae.metrics.linear_probe import LabelledFeatures, linear_probe
from monai_diffae.metrics.scores import infer_kind
from monai_diffae.support.precision import mixed_precision
from monai_diffae.support.randomness import derive_seed

__all__ = ["RepresentationSection"]

_MAIN = {"binary": "auroc", "classes": "accuracy", "continuous": "r2"}


class RepresentationSection:
    """Does z_sem mean something? Linear probes for every label, beside simpler features of the same images;
    disentanglement, effective dimension and semantic gap.

    Args:
        bench: network and images.
        kinds: ``binary``, ``classes`` or ``continuous`` by label (``ordinal`` counts as continuous); those not named
            are binary if 0 and 1, else continuous.
        shares: of the training subjects whose labels probes may use.
        imagenet_encoder: network from ``(B, 3, height, width)`` images in [-1, 1] to vectors, from a package that
            carries its weights; ``None`` for none.
        num_draws: of the bootstrap.

    Raises:
        ValueError: for another kind.
    """

    name = "representation"

    def __init__(
        self,
        bench: EvaluationBench,
        kinds: Mapping[str, str] | None = None,
        shares: Sequence[float] = (1.0, 0.1, 0.01),
        imagenet_encoder: nn.Module | None = None,
        num_draws: int = 200,
    ) -> None:
        self.bench, self.kinds, self.shares = bench, checked_kinds(kinds, bench.heldout.attributes), list(shares)
        self.imagenet_encoder, self.num_draws = imagenet_encoder, num_draws

    def measure(self) -> Findings:
        """All of it, over all held-out images."""
        bench = self.bench
        found = Findings(
            self.name,
            "Representation",
            "What a linear model reads off z_sem, of subjects that it was not fitted to"
            + (" (cross-validated over the subjects of the held-out images)." if bench.train is None else ".")
            + " Intervals come from drawing subjects. z_sem is worth its training where it beats the principal "
            "components and the untrained encoder.",
        )
        encoders = self._encoders(found)
        heldout, labels, groups = bench.heldout.features(encoders, bench.batch_size, "encode held-out images")
        train = None
        if bench.train is not None and bench.heldout.attributes:
            train = bench.train.features(encoders, bench.batch_size, "encode training images")
        if not bench.heldout.attributes:
            found.skipped["linear probes, DCI and TAD"] = "no labels were given (labels_file)"
        for name in bench.heldout.attributes:
            for encoder, features in heldout.items():
                data = LabelledFeatures(features, labels[name], _numbered(groups))
                basis = None
                if train is not None:
                    basis = LabelledFeatures(train[0][encoder], train[1][name], _numbered(train[2]))
                self._probe(found, name, encoder, data, basis)
        if bench.heldout.attributes:
            numbers = {name: values for name, values in labels.items() if self.kinds.get(name) != "classes"}
            self._disentanglement(found, heldout["z_sem"], numbers, _numbered(groups))
        try:
            dimensions = effective_dimension(torch.from_numpy(heldout["z_sem"]))
        except ValueError as error:
            found.skipped["effective dimension of z_sem"] = str(error)
            dimensions = {}
        for name, value in dimensions.items():
            found.add(name, f"z_sem ({heldout['z_sem'].shape[1]})", value, count=len(groups))
        self._semantic_gap(found)
        return found

    def _encoders(self, found: Findings) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        bench = self.bench
        components = bench.components
        encoders = {"z_sem": bench.encode, f"{components.num_components} principal components": components.encode}
        try:
            untrained = untrained_copy(bench.network.encoder, bench.seed)
        except (AttributeError, ValueError) as error:
            found.skipped["untrained encoder"] = str(error)
        else:
            sees_latents = getattr(bench.network, "encoder_input", "image") == "latent"

            def encode(images: torch.Tensor) -> torch.Tensor:
                images = images.to(bench.device)
                return untrained(to_latent(images, bench.network) if sees_latents else images)

            encoders["untrained encoder"] = encode
        if self.imagenet_encoder is None:
            found.skipped["ImageNet encoder"] = "no imagenet_encoder was given; nothing is downloaded"
        elif bench.chosen["image"].ndim != 4:
            found.skipped["ImageNet encoder"] = "the images are volumes"
        else:
            network = self.imagenet_encoder.to(bench.device).eval()
            encoders["ImageNet encoder"] = lambda images: _in_colour(network, images.to(bench.device))
        return {name: torch.no_grad()(encode) for name, encode in encoders.items()}

    def _probe(
        self, found: Findings, name: str, encoder: str, data: LabelledFeatures, train: LabelledFeatures | None
    ) -> None:
        kind, counts, scores_of_shares = self.kinds.get(name), [], []
        for share in self.shares:
            of = f"{name}, {encoder}" + ("" if share == 1 else f", {share:.0%} of the labels")
            try:
                probe = linear_probe(data, train, kind, share, self.bench.seed)
            except ValueError as error:
                found.skipped[f"probe of {of}"] = str(error)
                continue
            scores = probe.scores()
            intervals = probe.intervals(self.num_draws, self.bench.seed)
            found.add_scores(of, scores, intervals, len(probe.labels))
            counts.append(probe.num_train)
            scores_of_shares.append(scores[_MAIN[probe.kind]])
            main = _MAIN[probe.kind]
        if len(counts) > 1:
            found.curves.append(Curve(f"labels of {name}", encoder, counts, scores_of_shares, "labelled images", main))

    @staticmethod
    def _disentanglement(
        found: Findings, z_sem: np.ndarray, labels: Mapping[str, np.ndarray], groups: np.ndarray
    ) -> None:
        varying, known = labels_that_vary_together(labels)
        if varying and (others := [name for name in labels if name not in varying]):
            found.skipped[f"DCI and TAD of {', '.join(others)}"] = "over the images that share labels they do not vary"
        if len(varying) < 2:
            found.skipped["DCI"] = "it needs two labels that vary over the same images"
        else:
            of = f"z_sem, {', '.join(varying)}"
            try:
                scores = dci(z_sem[known], varying, groups[known])
            except ValueError as error:
                found.skipped["DCI"] = f"{error} Labels that z_sem does not tell have no importance either."
            else:
                found.add_scores(of, {f"DCI {k}": v for k, v in scores.items()}, count=int(known.sum()))
        binary = {name: values for name, values in varying.items() if infer_kind(values) == "binary"}
        if not binary:
            found.skipped["TAD"] = "it needs binary labels that vary over the same images"
        else:
            scores = total_auroc_difference(z_sem[known], binary)
            of = f"z_sem, {', '.join(binary)}"
            found.add("TAD", of, scores["tad"], count=int(known.sum()))
            found.add("attributes captured by one number", of, scores["captured"], unit=f"of {len(binary)}")

    def _semantic_gap(self, found: Findings) -> None:
        """Noise loss with z_sem of another image over that with the right one. Noise and timestep of an image are
        functions of (seed, its place), and the other image is the one half of all away."""
        bench, images = self.bench, self.bench.chosen["image"]
        if len(images) < 2:
            found.skipped["semantic gap"] = "it needs two images or more"
            return
        scheduler, network = bench.inferer.scheduler, bench.network
        z_sem = torch.cat([bench.encode(part) for part in images.split(bench.batch_size)])
        others, losses = z_sem.roll(len(images) // 2, dims=0), [0.0, 0.0]
        shape = code_shape(images.shape[1:], network)
        for places in torch.arange(len(images)).split(bench.batch_size):
            generators = [torch.Generator().manual_seed(derive_seed(bench.seed, int(k), 1)) for k in places]
            noise = torch.stack([torch.randn(shape, generator=each) for each in generators]).to(bench.device)
            steps = [torch.randint(scheduler.num_train_timesteps, (1,), generator=each) for each in generators]
            timesteps = torch.cat(steps).to(bench.device)
            with torch.no_grad():
                clean = to_latent(images[places].to(bench.device), network)
                x_t = scheduler.add_noise(clean, noise, timesteps)
                target = scheduler.training_target(clean, noise, timesteps)
                for k, codes in enumerate((z_sem, others)):
                    with mixed_precision(bench.inferer.precision, bench.device):
                        prediction = network(x_t, timesteps, context=codes[places].to(bench.device))
                    losses[k] += float((prediction.float() - target).square().sum())
        gap = losses[1] / losses[0]
        found.add("semantic gap", "noise loss with z_sem of another image", gap, count=len(images))


def _numbered(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1]


def _in_colour(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network(images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)).flatten(1)
