# SPDX-License-Identifier: Apache-2.0
"""What edits towards an 8 and samples of a class from few labels reach on digits that training never saw; writes
docs/edits.csv of the bundle for pictures. (How good the model is otherwise: the workflow evaluate.)

    python tests/benchmarks/digits_edits.py

``edits``: of those of 500 test digits that are no 8, the share that an independent classifier of images calls an 8
after an edit along the direction of 8 or towards the mean of the eights, and the correlation of slant and thickness,
measured on the images, before and after it. ``samples``: that classifier's verdict on conditional samples from 20
labels a class.

``--only edits`` measures one section and keeps the other rows of the table; ``--jobs`` spreads images over processes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from digits_judge import MEASURES, correlation, load_split, train_classifier
from joblib import Parallel, delayed
from monai.bundle import ConfigParser
from monai.networks.nets import Classifier

from monai_diffae.checkpoints import load_weights
from monai_diffae.inferers import ConditionalLatentSampler, SamplingInferer
from monai_diffae.semantics import AttributeDirections, fit_few_shot

WORKFLOWS = ("inference", "sample", "conditional_sample")
LABEL_DRAWS, NUM_UNLABELLED = 5, 1000


class Bench:
    """The networks and the digits; a method a section yields rows of name, value and unit."""

    SECTIONS = ("edits", "samples")

    def __init__(self, args: argparse.Namespace) -> None:
        configs, data = args.bundle_root / "configs", args.data or args.bundle_root / "data"
        config, self.sampling = ConfigParser(), ConfigParser()
        config.read_config(configs / "inference.yaml")
        self.sampling.read_config([configs / f"{name}.yaml" for name in WORKFLOWS])
        self.models = args.models or args.bundle_root / "models"
        for parser in (config, self.sampling):
            parser["bundle_root"], parser["device"] = str(args.bundle_root), args.device
            parser["progress"] = False
        self.sampling["latent_ckpt_path"] = str(self.models / "latent.pt")
        self.sampling["statistics_path"] = str(self.models / "statistics.pt")
        self.device, self.jobs, self.count = args.device, args.jobs, args.num_images
        self.train, self.test = (load_split(config, data / split, split) for split in ("train", "test"))
        network = load_weights(config.get_parsed_content("network"), self.models / "model.pt").eval()
        self.network = network.to(memory_format=torch.channels_last)  # faster on CPUs
        self.exact = config.get_parsed_content("autoencoding")
        self.chosen = self.test["image"][: self.count]
        self.z_train, self.z_test = (self.in_parts(network.encode, data["image"]) for data in (self.train, self.test))

    @torch.no_grad()
    def in_parts(self, function, *x: torch.Tensor, size: int = 25) -> torch.Tensor:
        parts = zip(*(one.to(self.device).split(size) for one in x))
        return torch.cat(Parallel(self.jobs)(delayed(function)(*part) for part in parts)).detach().cpu()

    @cached_property
    def x_T(self) -> torch.Tensor:
        """Encoded, of the chosen images."""
        network, exact = self.network, self.exact
        return self.in_parts(lambda x, z: exact.invert(x, network, z), self.chosen, self.z_test[: self.count])

    @cached_property
    def judge(self) -> Classifier:
        return train_classifier(self.train["image"], self.train["digit"].long()).to(self.device)

    def verdict(self, images: torch.Tensor) -> torch.Tensor:
        judge = self.judge  # trained before gradients are switched off
        with torch.no_grad():
            return judge(images.to(self.device)).argmax(dim=1).cpu()

    def edits(self):
        right = (self.verdict(self.test["image"]) == self.test["digit"]).double().mean().item()
        yield "accuracy of the judge on real test digits", right, ""
        directions = AttributeDirections.load(self.models / "attributes.pt")
        network, exact = self.network, self.exact
        other = self.test["digit"][: self.count] != 8
        images, z_sem, x_T = self.chosen[other], self.z_test[: self.count][other], self.x_T[other]
        edits = {f"along the direction by {a}": directions.move(z_sem, "is_8", a) for a in (0.5, 1.0, 1.5, 2.0)}
        for keep, share in itertools.product(([], ["slant", "thickness"]), (0.5, 0.75, 1.0)):
            name = f"{share:.0%} to the class mean" + (f", keeping {' and '.join(keep)}" if keep else "")
            edits[name] = directions.move_to_class_mean(z_sem, "is_8", share, keep)
        for name, moved in edits.items():
            result = self.in_parts(lambda z, x: exact.decode(z, x, network), moved, x_T)
            share = (self.verdict(result) == 8).double().mean().item()
            yield f"share that the judge calls an 8 of {len(images)} other digits moved {name}", share, ""
            for label in MEASURES:
                kept = correlation(label, images, result)
                yield f"correlation of the {label} before and after, moved {name}", kept, ""

    def samples(self):
        loops, sampler, regularization = (
            self.sampling.get_parsed_content(key) for key in ("autoencoding", "any_latent_sampler", "regularization")
        )
        shape, network = self.test["image"].shape[1:], self.network

        def of_class(draw: int, few: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            classifier = fit_few_shot(few, labels, "digit", regularization=regularization)
            conditional = ConditionalLatentSampler(sampler, classifier, "digit", prior=0.1)
            # Sample k is a function of k: other draws of labels get other samples.
            numbers = torch.arange(10 * draw, 10 * draw + 10, device=device)
            return SamplingInferer(loops, conditional, shape).predict(numbers, network)

        draws, device = list(np.ndindex(10, LABEL_DRAWS)), self.device
        tasks = ((draw, *self.few_labels(digit, draw)) for digit, draw in draws)
        results = Parallel(self.jobs)(delayed(of_class)(*task) for task in tasks)
        right = np.array([(self.verdict(r["sample"]) == d).double().mean() for r, (d, _) in zip(results, draws)])
        tries, right = np.mean([r["tries"].double().mean() for r in results]), right.reshape(10, LABEL_DRAWS)
        labels = f"20 labels of the class, 20 others, {NUM_UNLABELLED} unlabelled; {LABEL_DRAWS} draws of them"
        yield f"accuracy of the judge on {100 * LABEL_DRAWS} conditional samples, {labels}", right.mean(), ""
        yield "standard deviation of that between draws of the labels", right.mean(axis=0).std(ddof=1), ""
        for digit, share in enumerate(right.mean(axis=1)):
            yield f"accuracy of the judge on conditional samples of a {digit}", share, ""
        yield "acceptance rate of conditional samples", 1 / tries, ""

    def few_labels(self, digit: int, draw: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes of test digits with a label and of training digits without, and 1, 0 or NaN."""
        random, is_digit = np.random.default_rng([digit, draw]), (self.test["digit"] == digit).numpy()
        few = np.concatenate([random.permutation(np.flatnonzero(mask))[:20] for mask in (is_digit, ~is_digit)])
        unlabelled = random.permutation(len(self.z_train))[:NUM_UNLABELLED]
        labels = np.concatenate([is_digit[few], np.full(NUM_UNLABELLED, np.nan)])
        return torch.cat([self.z_test[few], self.z_train[unlabelled]]), torch.from_numpy(labels)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/natural_images_diffae"))
    arguments.add_argument("--data", type=Path, help="folder of train and test; the bundle's data by default")
    arguments.add_argument("--models", type=Path, help="folder of the weights; the bundle's models by default")
    arguments.add_argument("--output", type=Path, help="the bundle's docs/edits.csv by default")
    arguments.add_argument("--num_images", type=int, default=500, help="to edit")
    arguments.add_argument("--only", nargs="+", choices=Bench.SECTIONS, default=Bench.SECTIONS)
    arguments.add_argument("--jobs", type=int, default=1)
    arguments.add_argument("--device", default="cpu")
    args = arguments.parse_args()
    output = args.output or args.bundle_root / "docs" / "edits.csv"
    rows: dict[str, list[list]] = {section: [] for section in Bench.SECTIONS}
    if set(args.only) != set(Bench.SECTIONS):
        with open(output, newline="") as f:
            for row in csv.DictReader(f):
                if row["section"] not in args.only:
                    rows[row["section"]].append(list(row.values()))
    bench = Bench(args)
    for section in args.only:
        for name, value, unit in getattr(bench, section)():
            rows[section].append([section, name, f"{value:.4g}", unit])
            print(f"{name}: {value:.4g} {unit}", flush=True)
    with open(output, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["section", "measure", "value", "unit"])
        table.writerows(row for section in rows.values() for row in section)


if __name__ == "__main__":
    main()
