# SPDX-License-Identifier: Apache-2.0
"""What the optional adversarial loss changes on digits: the same network and budget, without and with it.

    python tests/benchmarks/adversarial_comparison.py --iterations 2000

Trains the network of the bundle for pictures twice, by ``train.yaml`` and by ``train.yaml`` with the overlay
``train_adversarial.yaml``: the same first weights, the same images, noise and timesteps in the same order. Reported on
held-out digits, with the image's own x_T and with a random one: PSNR, SSIM and sharpness, which is the mean absolute
difference of neighbouring pixels over that of the originals (1: as sharp, below: blurred, above: noise or ringing). The
interval is that of the mean difference over images (1.96 standard errors); there is one training run a variant, so it
does not say how much two runs differ.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow
from monai.metrics import PSNRMetric, SSIMMetric
from PIL import Image

from monai_diffae.datasets import load_digits_arrays
from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer
from monai_diffae.support.atomic_files import replacing

VARIANTS = {"without": ["train"], "with": ["train", "train_adversarial"]}


def write_pictures(images: torch.Tensor, folder: Path) -> None:
    """Images ``(N, 1, rows, columns)`` in [-1, 1] as PNG files, which the bundle reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(((images[:, 0] + 1) * 127.5).round().byte().numpy()):
        Image.fromarray(image).save(folder / f"{i:05d}.png")


def train(variant: str, args: argparse.Namespace) -> ConfigWorkflow:
    """The finished workflow; what an interrupted call has done is not done again."""
    names = ("adversarial_weight", "reconstruction_weight") if variant == "with" else ()
    overrides = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    start = args.work_dir / "start.pt"
    if start.is_file():
        overrides["init_from"] = str(start)
    torch.manual_seed(args.seed)
    workflow = ConfigWorkflow(
        [str(args.bundle_root / "configs" / f"{name}.yaml") for name in VARIANTS[variant]],
        meta_file=str(args.bundle_root / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        bundle_root=str(args.bundle_root),
        dataset_dir=str(args.work_dir / "train"),
        output_dir=str(args.work_dir / variant),
        device=torch.device(args.device),
        seed=args.seed,
        max_iterations=args.iterations,
        max_val_images=8,
        **overrides,
    )
    workflow.initialize()
    if not start.is_file():
        torch.save(workflow.network_def.state_dict(), start)
    workflow.run()
    return workflow


def sharpness(images: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of neighbouring pixels of each image ``(N, C, X, Y)``: ``(N,)``."""
    return (images.diff(dim=2).abs().mean(dim=(1, 2, 3)) + images.diff(dim=3).abs().mean(dim=(1, 2, 3))) / 2


def evaluate(workflow: ConfigWorkflow, args: argparse.Namespace, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Each measure's values, one an image, of the weights that the run has written."""
    network = workflow.network_def.eval()
    weights = Path(workflow.parser.get_parsed_content("ckpt_dir")) / "model.pt"
    network.load_state_dict(torch.load(weights, map_location=args.device, weights_only=True))
    scheduler = workflow.parser.get_parsed_content("scheduler")
    psnr, ssim = PSNRMetric(max_val=2.0, reduction="none"), SSIMMetric(spatial_dims=2, data_range=2.0, reduction="none")
    values = {}
    for x_T, name in (("encode", "encoded x_T"), ("random", "random x_T")):
        inferer = ReconstructionInferer(DiffusionAutoencoderInferer(scheduler, args.steps, verbose=False), x_T=x_T)
        made = torch.cat([inferer(part.to(args.device), network).cpu() for part in images.split(100)])
        values[f"PSNR (dB), {name}"] = psnr(made, images).flatten()
        values[f"SSIM, {name}"] = ssim(made, images).flatten()
        values[f"sharpness, {name}"] = sharpness(made) / sharpness(images)
    return values


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/natural_images_diffae"))
    arguments.add_argument("--work_dir", type=Path, default=Path("runs/adversarial_comparison"))
    arguments.add_argument("--output", type=Path, help="table.csv in work_dir by default")
    arguments.add_argument("--iterations", type=int, default=2000, help="of each of the two runs")
    arguments.add_argument("--num_images", type=int, default=500, help="held-out images")
    arguments.add_argument("--steps", type=int, default=20, help="of encoding and of decoding")
    arguments.add_argument("--adversarial_weight", type=float, help="the overlay's by default")
    arguments.add_argument("--reconstruction_weight", type=float, help="the overlay's by default")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = arguments.parse_args()

    write_pictures(load_digits_arrays("train")[0], args.work_dir / "train")
    heldout = load_digits_arrays("test")[0][: args.num_images]
    values = {variant: evaluate(train(variant, args), args, heldout) for variant in VARIANTS}

    rows = []
    for measure, without in values["without"].items():
        difference = values["with"][measure] - without
        error = 1.96 * float(difference.std()) / len(difference) ** 0.5
        mean = float(difference.mean())
        row = [float(without.mean()), float(values["with"][measure].mean()), mean, mean - error, mean + error]
        rows.append([measure, *(f"{x:.4f}" for x in row)])
    for name, count in (("iterations", args.iterations), ("held-out images", len(heldout))):
        rows.append([name, count, count, "", "", ""])

    header = ["measure", "without", "with", "difference", "2.5 %", "97.5 %"]
    output = args.output or args.work_dir / "table.csv"
    with replacing(output) as partial, open(partial, "w", newline="") as f:
        csv.writer(f).writerows([header, *rows])
    for row in [header, *rows]:
        print(f"{row[0]:<28}" + "".join(f"{x:>12}" for x in row[1:]))


if __name__ == "__main__":
    main()
