# SPDX-License-Identifier: Apache-2.0
"""What bfloat16 and float16 change against float32, on a bundle's shipped weights and its test images.

    python tests/benchmarks/precision_error.py --bundle natural_images_diffae

Printed, and written to the bundle's docs/precision.csv, for each precision:

- z_sem_error: of the encoder, norm of the difference to float32's z_sem over the norm of that (mean over images).
- decode_psnr: dB between what float32 and this precision decode from the same codes.
- round_trip_psnr, worst_psnr: dB between an image and its round trip by exact inversion, all in this precision (mean
  and lowest); evaluations an image for encoding and decoding; reached: share of images within the tolerance.
- round_trip_explicit_psnr: the same by the explicit inversion of the paper.
- latent_error: of the latent sampler, as z_sem_error, from the same noise.

float16 on a CPU is emulated and very slow, so that only one image is decoded there.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.metrics import PSNRMetric
from monai.utils import convert_to_tensor

import monai_diffae
from monai_diffae.inferers import DiffusionAutoencoderInferer, LatentSampler
from monai_diffae.support.atomic_files import replacing

BUNDLES = Path(__file__).parents[2] / "bundles"


def load(bundle: Path, dataset_dir: Path | None, count: int, device: str) -> tuple[ConfigParser, torch.Tensor]:
    """The bundle's configuration with its weights, and one image of each of the first files."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.yaml")
    parser.update({"bundle_root": str(bundle), "device": f"$torch.device('{device}')"})
    if dataset_dir:
        parser["dataset_dir"] = str(dataset_dir)
    if "num_slices" in parser.get():
        parser["num_slices"] = 1
    parser["all_data"] = parser["data"]
    parser["data"] = f"$@all_data[:{count}]"
    parser.parse(reset=True)
    dataset = parser.get_parsed_content("dataset")
    images = torch.stack([convert_to_tensor(dataset[i]["image"], track_meta=False) for i in range(len(dataset))])
    monai_diffae.checkpoints.load_weights(parser.get_parsed_content("network"), bundle / "models" / "model.pt").eval()
    return parser, images[:count].to(device)


def latent_codes(parser: ConfigParser, bundle: Path, precision: str, device: str) -> torch.Tensor:
    network = parser.get_parsed_content("latent_network_def").to(device).eval()
    scheduler = monai_diffae.schedulers.MultistepDDIMScheduler.like(parser.get_parsed_content("latent_scheduler"))
    sampler = LatentSampler(
        monai_diffae.checkpoints.load_weights(network, bundle / "models" / "latent.pt"),
        scheduler,
        monai_diffae.semantics.LatentStatistics.load(bundle / "models" / "statistics.pt"),
        num_inference_steps=100,
        precision=precision,
    )
    return sampler(range(16), device)["z_sem"]


def relative_error(x: torch.Tensor, reference: torch.Tensor) -> float:
    return float(((x - reference).norm(dim=1) / reference.norm(dim=1)).mean())


def measure(parser: ConfigParser, images: torch.Tensor, bundle: Path, steps: int) -> list[dict]:
    network, psnr = parser.get_parsed_content("network"), PSNRMetric(max_val=2)
    scheduler, device = parser.get_parsed_content("scheduler"), images.device.type

    def loops(precision: str, inversion: str = "exact") -> DiffusionAutoencoderInferer:
        return DiffusionAutoencoderInferer(
            scheduler, steps, inversion=inversion, precision=precision, batch_size=16, verbose=False
        )

    full = loops("float32")
    z_sem = full.encode(images, network)
    x_T = full.invert(images, network, z_sem)
    decoded = full.decode(z_sem, x_T, network)
    latents = latent_codes(parser, bundle, "float32", device)
    rows = []
    for precision in ("float32", "bfloat16", "float16"):
        few = slice(0, 1) if precision == "float16" and device == "cpu" else slice(None)
        inferer, some = loops(precision), images[few]
        z = inferer.encode(some, network)
        row = {"precision": precision, "images": len(some), "steps": steps}
        row["z_sem_error"] = relative_error(z, z_sem[few])
        same_codes = decoded[few] if precision == "float32" else inferer.decode(z_sem[few], x_T[few], network)
        row["decode_psnr"] = float(psnr(same_codes, decoded[few]).mean())
        if few == slice(None):
            code = inferer.invert_with_report(some, network, z)
            round_trip = psnr(inferer.decode(z, code.x_T, network), some)
            row |= {"round_trip_psnr": float(round_trip.mean()), "worst_psnr": float(round_trip.min())}
            row["evaluations"] = float(code.evaluations.float().mean()) + steps
            row["reached"] = float((code.residual <= inferer.tolerance).float().mean())
            explicit = loops(precision, "explicit")
            result = explicit.decode(z, explicit.invert(some, network, z), network)
            row["round_trip_explicit_psnr"] = float(psnr(result, some).mean())
        row["latent_error"] = relative_error(latent_codes(parser, bundle, precision, device), latents)
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="natural_images_diffae", help="name of a folder in bundles/")
    parser.add_argument("--dataset_dir", type=Path, help="the bundle's own if not given")
    parser.add_argument("--num_images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="The inversion of|A tolerance of")  # it is in the table
    bundle = BUNDLES / args.bundle
    config, images = load(bundle, args.dataset_dir, args.num_images, args.device)
    rows = measure(config, images, bundle, args.steps)
    path = bundle / "docs" / "precision.csv"
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, max(rows, key=len), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
