# SPDX-License-Identifier: Apache-2.0
"""The main job from end to end on shipped weights: volumes in, reconstructed and edited slices, figures and a page out.

    python -m monai_diffae.demo --bundle_root bundles/brain_slices_diffae --output_dir demo_output

Eight volumes that training never saw (another seed of the generator) and the untouched MNI152 template go through the
bundle's workflows by ``python -m monai.bundle run``; the commands are printed and listed on the page.
"""

from __future__ import annotations

import argparse
import csv
import html
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from monai_diffae.data.brain_slices import generate_brain_slices

__all__ = ["make_demo"]

_HELD_OUT_SEED = 2000

_WORKFLOWS = {
    # name: (overlay, figure, caption, options)
    "reconstruct": (
        "compare_x_T",
        "reconstruction",
        "Slices, their reconstructions with the image's own x_T and with a random one, and the errors.",
        {"max_rows": 9},
    ),
    "manipulate": (
        "manipulate",
        "manipulation",
        "A lesion removed and added by moving z_sem along the lesion direction; x_T is kept. Upper half: the slices "
        "that score highest for a lesion, lower half: those that score lowest.",
        {"attribute": "lesion", "amount": [-0.3, 0.3], "max_rows": 8},
    ),
    "interpolate": (
        "interpolate",
        "interpolation",
        "From a slice of one volume to a slice of the next: z_sem on a straight line, x_T on a great circle.",
        {"num_slices": 1},
    ),
    "variations": (
        "variations",
        "variations",
        "One z_sem with six random x_T, and their standard deviation: what the semantic code leaves open.",
        {"num_slices": 1},
    ),
}


def _make_input(dataset_dir: Path, num_subjects: int) -> None:
    if not (dataset_dir / "labels.csv").exists():
        generate_brain_slices(dataset_dir, num_subjects=num_subjects, seed=_HELD_OUT_SEED)
    template_file = dataset_dir / "images" / "mni152_template.nii.gz"
    if not template_file.exists():
        from nilearn.datasets import load_mni152_template

        load_mni152_template(resolution=1).to_filename(template_file)


def _command(bundle_root: Path, overlay: str, options: dict[str, object]) -> list[str]:
    configs = [str(bundle_root / "configs" / f"{name}.yaml") for name in ("inference", overlay)]
    command = ["-m", "monai.bundle", "run", "--bundle_root", str(bundle_root), "--config_file", str(configs)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return command


def _read_metrics(file: Path) -> dict[str, float]:
    with open(file, newline="") as f:
        return {name: float(value) for name, value in csv.reader(f)}


def _write_page(output_dir: Path, metrics: dict[str, float], num_slices: int, commands: dict[str, str]) -> None:
    rows = {
        "PSNR with encoded x_T": f"{metrics['psnr']:.1f} dB",
        "SSIM with encoded x_T": f"{metrics['ssim']:.3f}",
        "PSNR with random x_T": f"{metrics['psnr_random_x_T']:.1f} dB",
        "Slices": str(num_slices),
    }
    table = "".join(f"<tr><td>{html.escape(name)}</td><td>{value}</td></tr>" for name, value in rows.items())
    sections = "".join(
        f"<h2>{name.capitalize()}</h2><p>{html.escape(caption)}</p>"
        f"<p><code>{html.escape(commands[name])}</code></p><img src='{figure}.png' alt='{name}'>"
        for name, (_, figure, caption, _) in _WORKFLOWS.items()
    )
    (output_dir / "index.html").write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>monai_diffae demo</title>"
        "<style>body{font-family:sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}img{max-width:100%}"
        "code{font-size:.75rem;word-break:break-all}td{padding:.2rem 1rem .2rem 0}</style>"
        "<h1>Diffusion autoencoder on brain slices</h1>"
        "<p>Held-out volumes made from the MNI152 template with simulated lesions, and the template itself, which "
        "training has not seen either. Research software, not for clinical use.</p>"
        f"<table>{table}</table>{sections}</html>\n"
    )


def make_demo(bundle_root: Path, output_dir: Path, num_subjects: int = 8, **overrides: object) -> Path:
    """Run all workflows and write the page.

    Args:
        bundle_root: the bundle, with weights and attribute directions in ``models``.
        output_dir: made if needed; a data set in its folder ``data`` is used again.
        num_subjects: generated volumes; the template comes on top.
        overrides: ids of the bundle's configuration, for all workflows.

    Returns:
        Path of ``index.html``.
    """
    start = time.monotonic()
    dataset_dir = output_dir / "data"
    _make_input(dataset_dir, num_subjects)
    commands = {}
    for name, (overlay, figure, _, options) in _WORKFLOWS.items():
        folder = output_dir / name
        paths = {"dataset_dir": dataset_dir, "output_dir": folder}
        command = _command(bundle_root, overlay, {**paths, **options, **overrides})
        commands[name] = shlex.join(["python", *command])
        print(f"\n{commands[name]}", flush=True)
        subprocess.run([sys.executable, *command], check=True)
        shutil.copyfile(folder / "figures" / f"{figure}.png", output_dir / f"{figure}.png")
    shutil.copyfile(output_dir / "reconstruct" / "latents.csv", output_dir / "latents.csv")
    with open(output_dir / "latents.csv", newline="") as f:
        num_slices = sum(1 for _ in csv.reader(f)) - 1
    _write_page(output_dir, _read_metrics(output_dir / "reconstruct" / "metrics.csv"), num_slices, commands)
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes: {output_dir / 'index.html'}")
    return output_dir / "index.html"


def main() -> None:
    """Command line of :func:`make_demo`."""
    parser = argparse.ArgumentParser(description="Run the brain bundle on held-out volumes and show what it does.")
    parser.add_argument("--bundle_root", type=Path, default=Path("bundles/brain_slices_diffae"))
    parser.add_argument("--output_dir", type=Path, default=Path("demo_output"))
    arguments = parser.parse_args()
    make_demo(arguments.bundle_root, arguments.output_dir)


if __name__ == "__main__":
    main()
