# SPDX-License-Identifier: Apache-2.0
"""The works that are interrupted: small ones, by the commands that users type."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from in_process import run_module
from tiny import TINY

BUNDLES = Path(__file__).parents[2] / "bundles"
SMALL = TINY | {"progress": "false", "device": "cpu", "salt": "of these tests"}
SMALL_VOLUMES = SMALL | {"network_def::encoder::channels": [8, 8, 8, 8, 8], "image_size": 32, "pixdim": 6.0}
TRAINING = {"image_size": 16, "batch_size": 2, "num_workers": 0, "num_inference_steps": 1, "num_inversion_steps": 1}
TRAINING |= {"max_iterations": 12, "epoch_length": 2, "val_interval": 2, "val_fraction": 0.25}
LATENT = {"latent_network_def::hidden_dim": 16, "latent_network_def::num_layers": 3}
FEW = {"inversion": "explicit", "num_inference_steps": 4}


@dataclass(frozen=True)
class Task:
    """A command that writes into a folder.

    Args:
        words: of the bundle's workflow, or of a module that makes data.
        options: of the workflow.
        kept: pattern of the files that say how far the work has come, and whose number never falls.
        data: folder of the materials that it reads.
    """

    words: tuple[str, ...]
    options: dict = field(default_factory=dict)
    kept: str | None = None
    data: str = "digits"

    def run(self, home: Path, output_dir: Path, log: Path | None = None, **options: object) -> int:
        """In this process; returns the exit status, and what was printed lies in ``log``, beside the folder.

        Args:
            home: of the materials.
            output_dir: to write into.
            log: a file.
            options: beside those of the work.
        """
        if self.words[0].startswith("monai_diffae."):
            done = run_module(self.words[0], *self.words[1:], "--output_dir", output_dir)
        else:
            given = {"dataset_dir": home / self.data, "output_dir": output_dir} | self.options | options
            given = {name: str(value).replace("HOME", str(home)) for name, value in given.items()}
            words = [word for name, value in given.items() for word in (f"--{name}", value)]
            done = run_module("monai_diffae", *self.words, *words)
        (log or output_dir.with_name(f"{output_dir.name}.log")).write_text(done.stdout + done.stderr)
        return done.returncode


_WITHOUT = ("progress", "salt")  # of inference
_FOR_TRAINING = {name: value for name, value in SMALL.items() if name not in _WITHOUT} | TRAINING
WEIGHTS = {"ckpt_path": "HOME/weights/model.pt"}
VOLUME_WEIGHTS = {"ckpt_path": "HOME/volume_weights/model.pt"}
SAMPLING = {"latent_ckpt_path": "HOME/weights/latent.pt", "statistics_path": "HOME/weights/statistics.pt"}

TASKS = {
    "training of the autoencoder": Task(
        ("train", "natural_images_diffae"), _FOR_TRAINING, kept="checkpoints/checkpoint_*.pt"
    ),
    "training of the latent diffusion": Task(
        ("train-latent", "natural_images_diffae"),
        SMALL
        | LATENT
        | WEIGHTS
        | {"image_size": 16, "latent_batch_size": 4, "latent_num_samples": 48, "epoch_length": 2, "val_interval": 2}
        | {"val_fraction": 0.25},
        kept="checkpoints/*/checkpoint_*.pt",
    ),
    "inference on a folder of volumes": Task(
        ("reconstruct", "brain_slices_diffae"),
        SMALL_VOLUMES | FEW | VOLUME_WEIGHTS | {"num_slices": 2, "batch_size": 1},
        kept=".resume/slices/*.pt",
        data="volumes",
    ),
    "inference on a folder of pictures": Task(
        ("reconstruct", "natural_images_diffae"), SMALL | FEW | WEIGHTS | {"image_size": 16, "batch_size": 2}
    ),
    "encoding": Task(("encode", "natural_images_diffae"), SMALL | WEIGHTS | {"image_size": 16, "batch_size": 2}),
    "sampling": Task(
        ("sample", "natural_images_diffae"),
        SMALL
        | LATENT
        | WEIGHTS
        | SAMPLING
        | {"image_size": 16, "num_samples": 6, "batch_size": 2, "num_inference_steps": 4}
        | {"num_latent_inference_steps": 5},
    ),
    "generation of data": Task(
        (
            "monai_diffae.datasets.brain_slices",
            "--num_subjects",
            "3",
            "--spacing",
            "4",
            "--seed",
            "3",
            "--num_workers",
            "0",
        )
    ),
}
