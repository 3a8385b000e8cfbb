# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from monai_diffae.commands.bundle_run import run_here
from monai_diffae.demo.inputs import (
    list_hippocampi,
    list_mednist,
    make_brains,
    make_digits,
    make_few_digits,
    make_scans,
    make_template_hippocampi,
)
from monai_diffae.demo.page import write_page
from monai_diffae.demo.workflows import FEW_SHOT_DIGIT, WORKFLOWS

__all__ = ["make_demo"]


def _read_metrics(folder: Path) -> dict[str, float]:
    with open(folder / "metrics.csv", newline="") as f:
        return {name: float(value) for name, value in csv.reader(f)}


def _numbers(output_dir: Path, done: Collection[str]) -> dict[str, str]:
    """What the page's table shows, from the tables that the workflows of these names have written."""
    results = output_dir / "results"
    numbers = {}
    for kind, name in (
        ("Real images", "real_reconstruction"),
        ("Brain slices", "reconstruction"),
        ("Digits", "digits_reconstruction"),
    ):
        if name in done:
            metrics = _read_metrics(results / name)
            numbers |= {
                f"{kind}: PSNR with encoded x_T": f"{metrics['psnr']:.1f} dB",
                f"{kind}: SSIM with encoded x_T": f"{metrics['ssim']:.3f}",
                f"{kind}: PSNR with random x_T": f"{metrics['psnr_random_x_T']:.1f} dB",
            }
    if "reconstruction" in done:
        with open(results / "reconstruction" / "latents.csv", newline="") as f:
            numbers["Brain slices: number"] = str(sum(1 for _ in csv.reader(f)) - 1)
    if "digits_few_shot" in done:
        rate = _read_metrics(results / "digits_few_shot")["acceptance_rate"]
        numbers[f"Digits: share of latent samples accepted as {FEW_SHOT_DIGIT}"] = f"{100 * rate:.0f} %"
    return numbers


def _make_data(output_dir: Path, num_subjects: int, mednist: Path | None, hippocampi: Path | None) -> dict[str, dict]:
    """Where the workflows find their data: options, by the name of the data set."""
    make_brains(output_dir / "data", num_subjects)
    make_digits(output_dir / "digits")
    make_few_digits(output_dir / "few_digits", FEW_SHOT_DIGIT)
    found = {}
    for name, folder, make, write_list in (
        ("scans", mednist, make_scans, list_mednist),
        ("hippocampi", hippocampi, make_template_hippocampi, list_hippocampi),
    ):
        if folder is None:
            make(output_dir / name)
        else:
            write_list(folder, output_dir / f"{name}.csv")
            found[name] = {"dataset_dir": folder, "data_list": output_dir / f"{name}.csv"}
    return found


def make_demo(
    bundles_root: Path,
    output_dir: Path,
    num_subjects: int = 4,
    mednist: Path | None = None,
    hippocampi: Path | None = None,
    **overrides: object,
) -> Path:
    """Run all workflows, in this process, and write the page.

    A workflow whose weights the bundle lacks is left out, which is said aloud and on the page.

    Args:
        bundles_root: folder of the bundles, with weights in their ``models``.
        output_dir: made if needed; volumes in its folder ``data`` are used again. Results of a workflow go to
            ``results/<name>``, its picture to ``<name>.png``.
        num_subjects: generated volumes; the template comes on top.
        mednist: folder that holds MedNIST, whose test images take the place of pydicom's.
        hippocampi: folder that holds Task04_Hippocampus, whose test volumes take the place of the template's.
        overrides: ids of the bundles' configuration, for all workflows.

    Returns:
        Path of ``index.html``.

    Raises:
        FileNotFoundError: for a folder without the data set, and if no bundle has its weights.
    """
    start = time.monotonic()
    able, left_out = [], []
    for workflow in WORKFLOWS:
        if missing := workflow.missing_weights(bundles_root):
            left_out.append(f"{workflow.title}: there is no {missing[0]}")
        else:
            able.append(workflow)
    if not able:
        raise FileNotFoundError(f"The bundles in {bundles_root} have no weights. {'; '.join(left_out)}.")
    print(*(f"left out: {what}" for what in left_out), sep="\n", flush=True)
    print(f"images of {num_subjects} subjects, the template, digits and scans", flush=True)
    found = _make_data(output_dir, num_subjects, mednist, hippocampi)
    commands = {}
    for number, workflow in enumerate(able, 1):
        folder = output_dir / "results" / workflow.name
        options = {"dataset_dir": output_dir / workflow.data, "output_dir": folder, **overrides}
        options |= found.get(workflow.data, {}) if workflow.verb != "sample" else {}
        commands[workflow.name] = workflow.short_command(bundles_root, options)
        print(f"\nworkflow {number} of {len(able)}: {workflow.title}\n{commands[workflow.name]}", flush=True)
        run_here(workflow.monai_words(bundles_root, options))
        shutil.copyfile(folder / "figures" / f"{workflow.figure}.png", output_dir / f"{workflow.name}.png")
    numbers = _numbers(output_dir, {workflow.name for workflow in able})
    write_page(output_dir / "index.html", able, numbers, commands, left_out)
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes: {output_dir / 'index.html'}")
    return output_dir / "index.html"


def main() -> None:
    """Command line of :func:`make_demo`."""
    parser = argparse.ArgumentParser(description="Run the bundles on held-out images and show what they do.")
    parser.add_argument("--bundles_root", type=Path, default=Path("bundles"))
    parser.add_argument("--output_dir", type=Path, default=Path("demo_output"))
    parser.add_argument("--num_subjects", type=int, default=4, help="generated brain volumes")
    parser.add_argument("--mednist", type=Path, help="folder that holds MedNIST, for real images of it")
    parser.add_argument("--hippocampi", type=Path, help="folder that holds Task04_Hippocampus, for real ones")
    make_demo(**vars(parser.parse_args()))
