# SPDX-License-Identifier: Apache-2.0
"""What an x_T costs and is worth, and how many evaluations a random x_T takes to decode, on a bundle's shipped weights.

    python tests/benchmarks/inversion_quality.py --num_images 8
    python tests/benchmarks/inversion_quality.py --bundle_root bundles/natural_images_diffae \
        --ckpt_path FILE --prediction_type epsilon --output_dir OUT

No shipped network predicts eps. tests/benchmarks/results/epsilon_network has the first table for an undertrained one,
of train.yaml with ``--prediction_type epsilon --max_iterations 220``.

Two tables, printed and written beside the bundle's other figures (docs/inversion.csv, docs/decoding.csv):

- Round trips: evaluations of the network for an image, encoding and decoding together (mean), PSNR of the decoded image
  (mean and worst), and how Gaussian x_T is: standard deviation, excess kurtosis, and correlation of neighbouring pixels
  (0 for white noise). Explicit inversion; exact inversion for several numbers of steps and tolerances, and at the first
  of both with the plain iteration (window 0) and the secant (window 1) instead of Anderson's mixing.
- Decoding of random x_T: mean squared distance to the image that many steps give (the reference, by the scheduler of
  second order on quadratic timesteps): DDIM and the scheduler of second order, on equal and on quadratic timesteps.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.metrics import PSNRMetric
from monai.utils import convert_to_tensor

import monai_diffae  # noqa: F401  (the configs name it)
from monai_diffae.inferers import DiffusionAutoencoderInferer, Inversion
from monai_diffae.inferers.exact_inversion import invert_exactly
from monai_diffae.schedulers import InvertibleDDIMScheduler, MultistepDDIMScheduler
from monai_diffae.support.atomic_files import replacing


def load(args: argparse.Namespace) -> tuple[ConfigParser, torch.nn.Module, torch.Tensor]:
    """The bundle's configuration, its network with the shipped weights, and images, one of every file."""
    parser = ConfigParser()
    parser.read_config(args.bundle_root / "configs" / "inference.yaml")
    parser["bundle_root"] = str(args.bundle_root)
    if args.dataset_dir:
        parser["dataset_dir"] = str(args.dataset_dir)
    if "num_slices" in parser.get():
        parser["num_slices"] = 1
    if args.prediction_type:
        parser["prediction_type"] = args.prediction_type
    # Only the first files are read; the data set's own list stands under another name.
    parser["all_data"] = parser["data"]
    parser["data"] = f"$@all_data[:{args.num_images}]"
    parser.parse(reset=True)
    dataset = parser.get_parsed_content("dataset")
    images = [
        convert_to_tensor(dataset[i]["image"], track_meta=False) for i in range(min(args.num_images, len(dataset)))
    ]
    network = parser.get_parsed_content("network_def").to(args.device).eval()
    path = args.ckpt_path or args.bundle_root / "models" / "model.pt"
    network.load_state_dict(torch.load(path, map_location=args.device, weights_only=True))
    return parser, network, torch.stack(images).to(args.device)


def gaussianity(x_T: torch.Tensor) -> dict[str, float]:
    """0 mean is not asked for; white noise has 1, 0 and 0. Means over images."""
    flat = x_T.flatten(1).double()
    centred = flat - flat.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1).sqrt()
    kurtosis = centred.pow(4).mean(dim=1) / deviation**4 - 3
    field = centred.view(x_T.shape)
    products = [(field * field.roll(1, dims=axis)).flatten(1).mean(dim=1) for axis in range(2, x_T.ndim)]
    correlation = torch.stack(products).mean(dim=0) / deviation**2
    values = {"std": deviation, "excess_kurtosis": kurtosis, "neighbour_correlation": correlation}
    return {name: float(value.mean()) for name, value in values.items()}


def write(path: Path, rows: list[dict]) -> None:
    with replacing(path) as partial, open(partial, "w", newline="") as f:
        table = csv.DictWriter(f, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def shown(row: dict) -> dict:
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}


def round_trips(args: argparse.Namespace, parser: ConfigParser, network: torch.nn.Module, images: torch.Tensor) -> None:
    scheduler, rows = parser.get_parsed_content("scheduler"), []
    with torch.no_grad():
        z_sem = network.encode(images)
    psnr = PSNRMetric(max_val=2.0, reduction="none")

    def measure(method: str, inferer: DiffusionAutoencoderInferer, invert: Callable[[], Inversion]) -> None:
        found = invert()
        values = psnr(inferer.decode(z_sem, found.x_T, network), images)
        row = {
            "method": method,
            "steps": f"{inferer.num_inversion_steps} + {inferer.num_inference_steps}",
            "evaluations": float(found.evaluations.double().mean()) + inferer.num_inference_steps,
            "psnr": float(values.mean()),
            "worst_psnr": float(values.min()),
            **gaussianity(found.x_T),
        }
        rows.append(shown(row))
        print(*rows[-1].values(), sep=", ", flush=True)
        write(args.output_dir / "inversion.csv", rows)

    for encode, decode in args.explicit:
        inferer = DiffusionAutoencoderInferer(scheduler, decode, encode, verbose=False)
        measure("explicit", inferer, lambda inferer=inferer: inferer.invert_with_report(images, network, z_sem))
    for steps, tolerance in itertools.product(args.steps, args.tolerances):
        inferer = DiffusionAutoencoderInferer(scheduler, steps, inversion="exact", tolerance=tolerance, verbose=False)
        name = f"exact, tolerance {tolerance:g}"
        measure(name, inferer, lambda inferer=inferer: inferer.invert_with_report(images, network, z_sem))

    def with_window(window: int) -> Inversion:
        return invert_exactly(
            images,
            lambda x, timestep, part: network(x, timestep, context=z_sem[part]),
            scheduler,
            scheduler.grid(args.steps[0]),
            args.tolerances[0],
            10 * args.steps[0],
            window,
        )

    inferer = DiffusionAutoencoderInferer(scheduler, args.steps[0], verbose=False)
    for window, name in ((0, "plain iteration"), (1, "secant")) if args.tolerances else ():
        with torch.no_grad():
            measure(f"exact, tolerance {args.tolerances[0]:g}, {name}", inferer, lambda w=window: with_window(w))


def decodings(args: argparse.Namespace, parser: ConfigParser, network: torch.nn.Module, images: torch.Tensor) -> None:
    ddim = parser.get_parsed_content("scheduler")
    schedulers = [
        kind(**ddim.arguments | {"timestep_spacing": spacing})
        for spacing in ("leading", "quadratic")
        for kind in (InvertibleDDIMScheduler, MultistepDDIMScheduler)
    ]
    with torch.no_grad():
        z_sem = network.encode(images)
    x_T = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images)

    def decode(scheduler: InvertibleDDIMScheduler, steps: int) -> torch.Tensor:
        return DiffusionAutoencoderInferer(scheduler, steps, verbose=False).decode(z_sem, x_T, network)

    reference, rows = decode(schedulers[-1], args.reference_steps), []
    for steps, scheduler in itertools.product(args.decoding_steps, schedulers):
        row = {
            "scheduler": type(scheduler).__name__,
            "timestep_spacing": str(scheduler.timestep_spacing),
            "steps": steps,
            "mean_squared_distance": float((decode(scheduler, steps) - reference).square().mean()),
            "reference_steps": args.reference_steps,
        }
        rows.append(shown(row))
        print(*rows[-1].values(), sep=", ", flush=True)
        write(args.output_dir / "decoding.csv", rows)


def main() -> None:
    def pair(text: str) -> tuple[int, int]:
        encode, decode = text.split("+")
        return int(encode), int(decode)

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundle_root", type=Path, default=Path("bundles/brain_slices_diffae"))
    arguments.add_argument("--ckpt_path", type=Path, help="weights; the bundle's models/model.pt by default")
    arguments.add_argument("--dataset_dir", type=Path, help="images; the bundle's default by default")
    arguments.add_argument("--output_dir", type=Path, help="the bundle's docs by default")
    arguments.add_argument("--num_images", type=int, default=8)
    arguments.add_argument("--steps", type=int, nargs="*", default=[20, 10, 50], help="of exact inversion")
    arguments.add_argument("--explicit", type=pair, nargs="*", default=[(20, 20), (50, 50), (100, 100), (250, 100)])
    arguments.add_argument("--tolerances", type=float, nargs="*", default=[1e-3, 3e-3, 1e-2])
    arguments.add_argument("--decoding_steps", type=int, nargs="*", default=[10, 20, 50])
    arguments.add_argument("--reference_steps", type=int, default=200)
    arguments.add_argument("--prediction_type", help="of the weights; the bundle's by default")
    arguments.add_argument("--device", default="cpu")
    args = arguments.parse_args()
    args.output_dir = args.output_dir or args.bundle_root / "docs"
    args.output_dir.mkdir(parents=True, exist_ok=True)
    parser, network, images = load(args)
    if args.explicit or args.tolerances:
        round_trips(args, parser, network, images)
    if args.decoding_steps:
        decodings(args, parser, network, images)


if __name__ == "__main__":
    main()
