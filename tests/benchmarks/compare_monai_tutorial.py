# SPDX-License-Identifier: Apache-2.0
"""The recipe of MONAI's tutorial of diffusion autoencoders against that of this package, on MedNIST, and what z_sem is
worth for sampling.

    python tests/benchmarks/compare_monai_tutorial.py --dataset_dir DIR --output_dir OUT --precision bfloat16

DIR holds the folders of MedNIST's classes. Autoencoders of 6.0 million weights (0.4 % apart), the same images for each:

- ``tutorial``: the tutorial's network (MONAI's ResNet18, DiffusionModelUNet with cross-attention), shrunk, and its
  recipe: eps of images in [0, 1], Adam with 1e-5, batches of 12, the last weights; it decodes from a random x_T.
- ``tutorial_our_recipe``: that network trained as ours is, which tells the network from the recipe.
- ``ours``: network and recipe of the MedNIST bundle (v, Muon, batches of 32, moving average).
- ``unconditional``: its decoder without z_sem, a plain diffusion model that sees as many images (its weights are fewer
  by those of the encoder; a z_sem has to be drawn for samples of ``ours``, by a latent diffusion that sees 1,000,000
  codes and takes 100 evaluations of a small network without convolutions, which ``steps`` does not count).

Measured of the autoencoders (validation images): PSNR and SSIM with random and exact x_T (the exact one of the tutorial
within a tolerance that is twice as wide: its images lie in [0, 1]), a linear probe of the class, and the Frechet
distance of reconstructions with random x_T, of the very images that they are of, to these; of ``ours`` and
``unconditional`` that of samples at several numbers of steps (the paper's claim: with z_sem fewer are enough). Rows of
real images against real ones stand beside. All decode with this package's scheduler, the tutorial's too, whose
results with MONAI's own are others.

Rows are written to ``--output`` when they are known, and are not computed again; a stopped training goes on from its
last checkpoint in ``--output_dir``; the same command goes on. Budgets: the default (40,000 images, 3 seeds) takes 7 to
8 hours of a core with bfloat16; ``--seeds 0`` a third; ``--images 10000 --seeds 0`` one hour.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from compared_measures import Spaces, distances, linear_probe, reconstruction
from compared_methods import METHODS
from recipe_study import append, read
from study_images import read_mednist
from study_training import forget, train

from monai_diffae.support.atomic_files import replacing

RESULTS = Path(__file__).parent / "results" / "compare_monai_tutorial.csv"
SAMPLED = ("ours", "unconditional")


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def write_summary(path: Path) -> None:
    """Beside the rows, as Markdown: mean and standard deviation over seeds."""
    values: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows = read(path)
    for each in rows:
        values[each["images"], each["measure"], each["steps"]][each["method"]].append(float(each["value"]))
    methods = list(dict.fromkeys(each["method"] for each in rows))
    lines = ["| images | measure | steps | " + " | ".join(methods) + " |", "|---" * (3 + len(methods)) + "|"]
    for key, found in values.items():
        cells = []
        for method in methods:
            runs = found.get(method, [])
            spread = f" ± {np.std(runs, ddof=1):.2g}" if len(runs) > 1 else ""
            cells.append(f"{np.mean(runs):.4g}{spread}" if runs else "")
        lines.append("| " + " | ".join([*key, *cells]) + " |")
    with replacing(path.with_suffix(".md")) as partial:
        partial.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True, help="MedNIST/, with a folder a class")
    parser.add_argument("--output_dir", type=Path, required=True, help="checkpoints and weights")
    parser.add_argument("--output", type=Path, default=RESULTS, help="rows; a summary is written beside them")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=40_000, help="that each training sees")
    parser.add_argument("--distinct", type=int, default=20_000, help="training images that are read")
    parser.add_argument("--precision", default="float32", help="bfloat16 on processors that have it: twice as fast")
    parser.add_argument("--steps", type=int, default=20, help="of reconstructions")
    parser.add_argument("--step_counts", type=numbers, default=[10, 20, 50, 100], help="of samples")
    parser.add_argument("--num_images", type=int, default=128, help="that are reconstructed")
    parser.add_argument("--num_exact", type=int, default=32, help="of them with exact x_T")
    parser.add_argument("--num_samples", type=int, default=300)
    parser.add_argument("--num_val", type=int, default=1500, help="validation images that are read")
    parser.add_argument("--latent_samples", type=int, default=1_000_000, help="codes that the latent diffusion sees")
    parser.add_argument("--judge_iterations", type=int, default=700, help="of the classifier whose features are used")
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    images = read_mednist(args.dataset_dir, min(args.images, args.distinct), args.num_val)
    spaces = None
    order = [(name, seed) for seed in args.seeds for name in args.methods.split(",")]
    for number, (name, seed) in enumerate(order):
        key = {"method": name, "seed": str(seed), "images": str(args.images)}
        title = f"[{number + 1} of {len(order)}] {name}, seed {seed}"
        known = {each["measure"] for each in read(args.output) if key.items() <= each.items()}
        missing = {part for part, measure in parts_of(name).items() if measure not in known}
        if not missing:
            print(f"{title}: its rows are there", flush=True)
            continue
        method, run = METHODS[name], f"{name}_{seed}_{args.images}"
        network, weights = method.build(seed), args.output_dir / f"{run}.pt"
        print(f"{title}: begins", flush=True)
        if weights.exists():
            network.load_state_dict(torch.load(weights, weights_only=True))
        else:
            data, folder = method.seen(images.train), args.output_dir / f"{run}_checkpoints"
            network, _ = train(network, method.recipe, data, args.images, seed, args.precision, title, folder)
            with replacing(weights) as partial:
                torch.save(network.state_dict(), partial)
            forget(folder)
        network.eval()
        print(f"{title}: trained, is measured", flush=True)
        start, rows = time.monotonic(), []
        if "size" in missing:
            size = sum(p.numel() for p in network.parameters()) / 1e6
            rows.append({"measure": "weights, millions", "value": f"{size:.3f}"})
        if "reconstruction" in missing:
            how = {"precision": args.precision, "num_exact": args.num_exact}
            rows += reconstruction(method, network, images.val[: args.num_images], args.steps, **how)
        if "probe" in missing:
            rows += linear_probe(method, network, images, args.precision)
        if "distances" in missing:
            if spaces is None:
                spaces = Spaces(images, args.num_samples, args.judge_iterations, args.output_dir)
                add_real(spaces, images.train[: args.num_samples], args.images, args.output)
            how = {"precision": args.precision, "seed": seed}
            if name in SAMPLED:
                how["latent_samples"] = args.latent_samples
            rows += distances(
                method, network, images, spaces, args.step_counts if name in SAMPLED else [args.steps], **how
            )
        append([key | {"steps": ""} | each for each in rows], args.output)
        write_summary(args.output)
        print(f"{title}: measured in {(time.monotonic() - start) / 60:.0f} minutes", flush=True)


def parts_of(method: str) -> dict[str, str]:
    """What is measured of a method, each with the last of its rows' measures."""
    measured = "samples" if method == "unconditional" else "reconstructions, random x_T"
    parts = {"size": "weights, millions", "distances": f"Frechet distance of {measured}, pixels"}
    if method != "unconditional":
        parts["reconstruction"] = "share of images within the tolerance"
        parts["probe"] = "accuracy of a linear probe, all labels"
    return parts


def add_real(spaces: Spaces, images: torch.Tensor, num_images: int, output: Path) -> None:
    """The distance of training to validation images, once for a table."""
    key = {"method": "training images", "seed": "", "images": str(num_images)}
    if not any(key.items() <= each.items() for each in read(output)):
        append([key | each for each in spaces.distances("samples", images)], output)


if __name__ == "__main__":
    main()
