# SPDX-License-Identifier: Apache-2.0
"""Where the time goes when a 1 mm volume is edited: reading and preparing, network, placing back, writing.

    python tests/benchmarks/volume_times.py --num_slices 30

The volume is the MNI152 T1 template (nilearn, no download) as int16; the network and the edit are those of the brain
bundle. Written are the reconstruction, the edit and the difference. Seconds of one volume, the median of ``--repeats``,
by the clock and of the processor: on a busy machine only the latter mean something.
"""

import argparse
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import DataLoader, decollate_batch
from nilearn.datasets import load_mni152_template

from monai_diffae.results import source_volumes

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae"


class Stopwatch:
    """Adds up the seconds that a function takes, by the clock and of the processor."""

    def __init__(self) -> None:
        self.seconds = np.zeros(2)

    def of(self, function):
        def timed(*args, **kwargs):
            start = self._now()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += self._now() - start

        return timed

    @staticmethod
    def _now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])


def edit_volume(folder: Path, output_dir: Path, **options) -> dict[str, np.ndarray]:
    """Seconds by stage, of one volume."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / f"{name}.yaml") for name in ("inference", "manipulate")])
    parser.update({"bundle_root": str(BUNDLE), "dataset_dir": str(folder), "output_dir": str(output_dir)})
    parser.update({"progress": False, "resume": False, **options})
    network = parser.get_parsed_content("network").eval()
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    inferer, device = parser.get_parsed_content("inferer"), parser.get_parsed_content("device")
    reading, inferring, saving, placing, writing = (Stopwatch() for _ in range(5))
    batches = reading.of(lambda: list(DataLoader(parser.get_parsed_content("dataset"), batch_size=16)))()
    outputs = [inferring.of(inferer.predict)(batch["image"].to(device), network) for batch in batches]

    def hand_over(engine: Engine, k: int) -> list[dict]:
        engine.state.batch = decollate_batch(batches[k])
        return decollate_batch(outputs[k])

    engine = Engine(hand_over)
    handlers = parser.get_parsed_content("handlers")
    next(handler for handler in handlers if isinstance(handler, source_volumes.SourceVolumeSaver)).attach(engine)
    with (
        patch.object(source_volumes, "place_slices", placing.of(source_volumes.place_slices)),
        patch.object(source_volumes, "save_nifti", writing.of(source_volumes.save_nifti)),
    ):
        saving.of(engine.run)(range(len(batches)))
    count = len(list(output_dir.rglob("*.nii.gz")))
    if count != 3:
        raise RuntimeError(f"{count} files were written, expected 3.")
    return {
        "reading and preparing": reading.seconds,
        "network": inferring.seconds,
        "resampling to the source": placing.seconds,
        "putting into the source": saving.seconds - placing.seconds - writing.seconds,
        "writing three files": writing.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_slices", type=int, default=30)
    parser.add_argument("--num_inference_steps", type=int, default=20)
    parser.add_argument("--inversion", choices=("exact", "explicit"), default="exact")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        template = load_mni152_template(resolution=1)
        numbers = np.rint(template.get_fdata() * 1000).astype(np.int16)
        nib.save(nib.Nifti1Image(numbers, template.affine), folder / "data" / "T1.nii.gz")
        options = {"num_slices": args.num_slices, "inversion": args.inversion}
        options["num_inference_steps"] = args.num_inference_steps
        runs = [edit_volume(folder / "data", folder / f"out{k}", **options) for k in range(args.repeats)]
        size = sum(path.stat().st_size for path in (folder / "out0").rglob("*.nii.gz")) / 2**20
    seconds = {stage: np.median([run[stage] for run in runs], axis=0) for stage in runs[0]}
    seconds["all"] = sum(seconds.values())
    print(f"{args.num_slices} slices of a volume of {' x '.join(map(str, numbers.shape))}, files of {size:.1f} MiB")
    print(f"{'stage':28}{'clock':>9}{'CPU':>9}{'share':>8}")
    for stage, (clock, cpu) in seconds.items():
        print(f"{stage:28}{clock:9.2f}{cpu:9.2f}{cpu / seconds['all'][1]:8.0%}")


if __name__ == "__main__":
    main()
