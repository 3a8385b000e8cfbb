# SPDX-License-Identifier: Apache-2.0
"""Does encoding more slices, or pictures, need more memory? Peak memory of encode.yaml for some numbers of them.

    python tests/benchmarks/encoding_memory.py --bundle brain_slices_diffae --counts 1000 10000

Each number is encoded by a process of its own, from files that are made for it, by a small network: the network's
memory does not depend on the number. Prints a table, and ends with an error if the last number needs over 5 % more than
the first.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser, run
from PIL import Image

BUNDLES = Path(__file__).parents[2] / "bundles"
SMALL = {"z_dim": 64, "network_def::encoder::channels": [8, 8, 8, 8], "network_def::decoder::channels": [8, 8, 8]}
SMALL |= {"network_def::encoder::attention_levels": False}
DEPTH = 40  # slices of a volume


def write_pictures(count: int, folder: Path) -> dict:
    random = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / f"{i:06d}.png")
    return {"image_size": 16}


def write_volumes(count: int, folder: Path) -> dict:
    random = np.random.default_rng(0)
    for i in range(count // DEPTH):
        values = random.integers(1, 256, (64, 64, DEPTH), dtype=np.uint8)
        nib.save(nib.Nifti1Image(values, np.diag([3.0, 3, 3, 1])), folder / f"{i:06d}.nii")
    return {"slice_range": [0.0, 1.0]}


def encode(bundle: str, count: int, folder: Path) -> int:
    """Peak resident memory in KiB of encoding ``count`` slices or pictures into ``folder``."""
    (folder / "data").mkdir()
    write = write_volumes if bundle == "brain_slices_diffae" else write_pictures
    options = SMALL | write(count, folder / "data")
    configs = [str(BUNDLES / bundle / "configs" / f"{name}.yaml") for name in ("inference", "encode")]
    parser = ConfigParser()
    parser.read_config(configs)
    parser.update(options)
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "model.pt")
    run(
        config_file=configs,
        workflow_type="infer",
        bundle_root=str(BUNDLES / bundle),
        dataset_dir=str(folder / "data"),
        output_dir=str(folder / "out"),
        ckpt_path=str(folder / "model.pt"),
        **options,
    )
    with open(folder / "out" / "latents.csv") as table:
        rows = sum(1 for _ in table) - 1
    if rows != count:
        raise RuntimeError(f"{rows} of {count} are in latents.csv.")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle", default="brain_slices_diffae", choices=["brain_slices_diffae", "natural_images_diffae"]
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # what the processes of the numbers are called with
    arguments = parser.parse_args()
    if arguments.one is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({"KiB": encode(arguments.bundle, arguments.one, Path(folder))}))
        return
    peaks = []
    for count in arguments.counts:
        command = [sys.executable, __file__, "--bundle", arguments.bundle, "--one", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(json.loads(done.stdout.splitlines()[-1])["KiB"] / 1024)
        print(f"{count:>8}  {peaks[-1]:8.1f} MiB", flush=True)
    if peaks[-1] > 1.05 * peaks[0]:
        sys.exit(f"{arguments.counts[-1]} need {peaks[-1] / peaks[0]:.2f} times the memory of the fewest.")


if __name__ == "__main__":
    main()
