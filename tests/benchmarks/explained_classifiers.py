# SPDX-License-Identifier: Apache-2.0
"""Explanations of MONAI's DenseNet121, trained for a few minutes on one label of a bundle's images.

    python tests/benchmarks/explained_classifiers.py brain_slices_diffae --dataset_dir evaluation/held_out \\
      --train_dataset_dir evaluation/train --label lesion --output_dir OUT
    python tests/benchmarks/explained_classifiers.py mednist_diffae --dataset_dir DIR --label is_Hand --output_dir OUT

The classifier learns from training images and is exported as TorchScript; ``explain.yaml`` then explains it on images
that neither network has seen. The table (``--output``) has its accuracy and AUROC on those, R^2 of its score from
z_sem, how often it changed its mind, and how far z_sem was moved. A run that has a classifier in ``--output_dir`` uses
it.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from densenet import in_parts, trained_densenet
from monai.bundle import ConfigWorkflow
from torch.nn.functional import binary_cross_entropy_with_logits

from monai_diffae.bundles import find_bundle
from monai_diffae.metrics import score_predictions
from monai_diffae.metrics.evaluation import EvaluationBench
from monai_diffae.support.atomic_files import replacing

COLUMNS = ("bundle", "label", "of", "measure", "value", "low", "high", "count")


def workflow_of(bundle: str, overlay: str, **options) -> ConfigWorkflow:
    root = find_bundle(bundle)
    files = [str(root / "configs" / f"{name}.yaml") for name in ("inference", overlay)]
    workflow = ConfigWorkflow(files, logging_file=False, bundle_root=str(root), **options)
    workflow.initialize()
    return workflow


def trained_classifier(images: torch.Tensor, labels: torch.Tensor, images_seen: int, device: str) -> torch.nn.Module:
    """With a logit; the rarer answer counts as much."""
    weight = (labels == 0).sum() / (labels == 1).sum().clamp(min=1)

    def loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(logits[:, 0], wanted, pos_weight=weight.to(logits))

    return trained_densenet(images, labels, 1, loss, images_seen, device)


def accuracy(classifier: torch.nn.Module, bench: EvaluationBench, label: str) -> dict[str, tuple[float, int]]:
    data = bench.heldout.chosen(bench.max_train_images)
    known = ~np.isnan(data[label])
    images = data["image"][torch.from_numpy(known)]
    logits = in_parts(classifier, images, bench.device)[:, 0].numpy()
    truth = data[label][known]
    scores = score_predictions("binary", truth, logits)
    right = float(((logits > 0) == (truth > 0)).mean())
    return {"accuracy": (right, len(truth)), "auroc": (scores["auroc"], len(truth))}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--dataset_dir", required=True, help="images that are explained")
    parser.add_argument(
        "--train_dataset_dir", help="images with labels that the classifier learns from; MedNIST has its own"
    )
    parser.add_argument("--label", required=True, help="a column of 0 and 1")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, help="the table")
    parser.add_argument("--images_seen", type=int, default=20_000, help="of the training")
    parser.add_argument("--max_train_images", type=int, default=4000)
    parser.add_argument("--num_images", type=int, default=48, help="to explain")
    parser.add_argument("--ckpt_path", help="of other weights than the bundle's")
    parser.add_argument("--options", type=json.loads, default={}, help="of the bundle, as JSON")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args(words)
    folder, label = arguments.output_dir, arguments.label
    options = {"dataset_dir": arguments.dataset_dir, "device": torch.device(arguments.device)}
    options |= arguments.options
    if arguments.ckpt_path:
        options["ckpt_path"] = arguments.ckpt_path
    trained_on = {"train_dataset_dir": arguments.train_dataset_dir} if arguments.train_dataset_dir else {}
    bench: EvaluationBench = workflow_of(
        arguments.bundle,
        "evaluate",
        output_dir=str(folder / "data"),
        max_train_images=arguments.max_train_images,
        **options,
        **trained_on,
    ).parser.get_parsed_content("bench")
    path = folder / f"densenet121_{label}.ts"
    if not path.exists():
        data = bench.train_chosen
        known = ~np.isnan(data[label])
        images, labels = data["image"][torch.from_numpy(known)], torch.from_numpy(data[label][known]).float()
        network = trained_classifier(images, labels, arguments.images_seen, arguments.device)
        with replacing(path) as partial:
            torch.jit.script(network.cpu()).save(str(partial))
    classifier = torch.jit.load(path, map_location=arguments.device).eval()
    name = "DenseNet121 on withheld images"
    rows = [
        {"of": name, "measure": m, "value": v, "count": n} for m, (v, n) in accuracy(classifier, bench, label).items()
    ]
    explained = folder / f"explanation_{label}"
    workflow = workflow_of(
        arguments.bundle,
        "explain",
        output_dir=str(explained),
        classifier_path=str(path),
        num_images=arguments.num_images,
        **options,
    )
    workflow.run()
    workflow.finalize()
    with open(explained / "metrics.csv", newline="") as f:
        rows += list(csv.DictReader(f))
    output = arguments.output or folder / "explanations.csv"
    with replacing(output) as partial, open(partial, "w", newline="") as f:
        table = csv.DictWriter(f, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for row in rows:
            value = {
                key: f"{float(row[key]):.4g}" for key in ("value", "low", "high") if row.get(key) not in (None, "")
            }
            table.writerow({"bundle": arguments.bundle, "label": label} | row | value)
    print(output.read_text())


if __name__ == "__main__":
    main()
