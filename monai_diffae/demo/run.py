# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import csv
import shutil
import time
from pathlib import Path

from monai_diffae.commands.bundle_run import run_here
from monai_diffae.demo.inputs import make_brains, make_digits, make_few_digits, make_hospital, make_mednist_list
from monai_diffae.demo.page import write_page
from monai_diffae.demo.workflows import FEW_SHOT_DIGIT, WORKFLOWS

__all__ = ["make_demo"]


def _read_metrics(folder: Path) -> dict[str, float]:
    with open(folder / "metrics.csv", newline="") as f:
        return {name: float(value) for name, value in csv.reader(f)}


def _numbers(output_dir: Path) -> dict[str, str]:
    """What the page's table shows, from the tables that the workflows have written."""
    numbers = {}
    for kind, folder in (
        ("Real images", "real_reconstruction"),
        ("Brain slices", "reconstruction"),
        ("Digits", "digits_reconstruction"),
    ):
        metrics = _read_metrics(output_dir / "results" / folder)
        numbers |= {
            f"{kind}: PSNR with encoded x_T": f"{metrics['psnr']:.1f} dB",
            f"{kind}: SSIM with encoded x_T": f"{metrics['ssim']:.3f}",
            f"{kind}: PSNR with random x_T": f"{metrics['psnr_random_x_T']:.1f} dB",
        }
    with open(output_dir / "latents.csv", newline="") as f:
        numbers["Brain slices: number"] = str(sum(1 for _ in csv.reader(f)) - 1)
    rate = _read_metrics(output_dir / "results" / "digits_few_shot")["acceptance_rate"]
    numbers[f"Digits: share of latent samples accepted as {FEW_SHOT_DIGIT}"] = f"{100 * rate:.0f} %"
    return numbers


def _real_images(output_dir: Path, mednist: Path | None) -> dict[str, Path]:
    """Options of the workflows on real images."""
    if mednist is None:
        make_hospital(output_dir / "real")
        return {}
    make_mednist_list(mednist, output_dir / "mednist.csv")
    return {"dataset_dir": mednist, "data_list": output_dir / "mednist.csv"}


def make_demo(
    bundles_root: Path, output_dir: Path, num_subjects: int = 4, mednist: Path | None = None, **overrides: object
) -> Path:
    """Run all workflows, in this process, and write the page.

    Args:
        bundles_root: folder of the bundles, with weights in their ``models``.
        output_dir: made if needed; volumes in its folder ``data`` are used again. Results of a workflow go to
            ``results/<name>``, its picture to ``<name>.png``.
        num_subjects: generated volumes; the template comes on top.
        mednist: folder that holds MedNIST, whose test images take the place of pydicom's.
        overrides: ids of the bundles' configuration, for all workflows.

    Returns:
        Path of ``index.html``.
    """
    start = time.monotonic()
    print(f"images of {num_subjects} subjects, the template, digits and scans", flush=True)
    real = _real_images(output_dir, mednist)
    make_brains(output_dir / "data", num_subjects)
    make_digits(output_dir / "digits")
    make_few_digits(output_dir / "few_digits", FEW_SHOT_DIGIT)
    commands = {}
    for number, workflow in enumerate(WORKFLOWS, 1):
        folder = output_dir / "results" / workflow.name
        options = {"dataset_dir": output_dir / workflow.data, "output_dir": folder, **overrides}
        options |= real if workflow.data == "real" and workflow.verb != "sample" else {}
        commands[workflow.name] = workflow.short_command(bundles_root, options)
        print(f"\nworkflow {number} of {len(WORKFLOWS)}: {workflow.title}\n{commands[workflow.name]}", flush=True)
        run_here(workflow.monai_words(bundles_root, options))
        shutil.copyfile(folder / "figures" / f"{workflow.figure}.png", output_dir / f"{workflow.name}.png")
    shutil.copyfile(output_dir / "results" / "reconstruction" / "latents.csv", output_dir / "latents.csv")
    write_page(output_dir / "index.html", WORKFLOWS, _numbers(output_dir), commands)
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes: {output_dir / 'index.html'}")
    return output_dir / "index.html"


def main() -> None:
    """Command line of :func:`make_demo`."""
    parser = argparse.ArgumentParser(description="Run the bundles on held-out images and show what they do.")
    parser.add_argument("--bundles_root", type=Path, default=Path("bundles"))
    parser.add_argument("--output_dir", type=Path, default=Path("demo_output"))
    parser.add_argument("--num_subjects", type=int, default=4, help="generated brain volumes")
    parser.add_argument("--mednist", type=Path, help="folder that holds MedNIST, for real images of it")
    make_demo(**vars(parser.parse_args()))
