# SPDX-License-Identifier: Apache-2.0
"""Damaged files of every kind that is read: each ends in a result or a clear error, in bounded time and memory.

    python tests/fuzzing/mutate_files.py [--mutations 10000] [--seed 0] [--kinds nifti dicom ...]

Every mutation is a function of (seed, its number): bytes changed, runs of bytes zeroed, cut out, doubled or filled with
extreme numbers, the end cut off. Workers are forked, with a limit of memory and of time; where one is killed, another
goes on. Written are the counts of each kind to ``tests/fuzzing/results/mutations.csv``, and the mutations that ended
otherwise to ``failures.txt`` beside it; ``--number K`` repeats one in this process, to look at it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import os
import pickle
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from monai_diffae.checkpoints import load_monai_generative_checkpoint, load_official_checkpoint, load_weights
from monai_diffae.data import LoadVolumed
from monai_diffae.semantics import AttributeDirections, LatentStatistics

RESULTS = Path(__file__).parent / "results"
GOLDEN = Path(__file__).parents[1] / "data" / "official_small"
SECONDS = 20  # a mutation may take
MEMORY = 4 * 2**30  # and need, beyond what the process has
EXTREMES = [b"\xff" * 8, b"\x00" * 8, b"\x7f\xff\xff\xff" * 2, b"\x00\x00\xc0\x7f" * 2, b"\x80" * 8]  # NaN among them


def _bytes_of(save: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def _nifti() -> bytes:
    values = np.random.default_rng(0).integers(0, 900, (9, 8, 7)).astype(np.int16)
    return nib.Nifti1Image(values, np.diag([2.0, 2, 3, 1])).to_bytes()


def _picture(mode: str, file_format: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    return _bytes_of(lambda stream: picture.save(stream, file_format, **options))


def _state(numbers: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"weight": torch.randn(numbers, 3, generator=generator), "bias": torch.randn(numbers, generator=generator)}


def _attributes() -> bytes:
    statistics = LatentStatistics(torch.zeros(3), torch.ones(3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attributes.pt"
        AttributeDirections(["a", "b"], torch.randn(2, 3), torch.zeros(2), statistics).save(path)
        return path.read_bytes()


def _volume(path: str) -> object:
    return LoadVolumed("image", channel=0)({"image": path})


def _dicom(name: str) -> bytes:
    return Path(get_testdata_file(name)).read_bytes()


# From the kind to the ending of its files, what they hold, and what reads them.
KINDS: dict[str, tuple[str, list[Callable[[], bytes]], Callable[[str], object]]] = {
    "nifti": (".nii", [_nifti], _volume),
    "nifti.gz": (".nii.gz", [lambda: gzip.compress(_nifti(), mtime=0)], _volume),
    "mgh": (
        ".mgh",
        [lambda: nib.MGHImage(np.random.default_rng(0).random((6, 5, 4)).astype(np.float32), np.eye(4)).to_bytes()],
        _volume,
    ),
    "dicom": (
        ".dcm",
        [
            lambda name=name: _dicom(name)
            for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm")
        ],
        _volume,
    ),
    "png": (
        ".png",
        [lambda: _picture("L", "PNG"), lambda: _picture("RGB", "PNG"), lambda: _picture("P", "PNG")],
        _volume,
    ),
    "jpeg": (".jpg", [lambda: _picture("RGB", "JPEG"), lambda: _picture("CMYK", "JPEG")], _volume),
    "tiff": (
        ".tif",
        [lambda: _picture("L", "TIFF"), lambda: _picture("RGB", "TIFF", compression="tiff_lzw")],
        _volume,
    ),
    "webp": (".webp", [lambda: _picture("RGB", "WEBP")], _volume),
    "npy": (".npy", [lambda: _bytes_of(lambda stream: np.save(stream, np.ones((5, 4, 3), np.float32)))], _volume),
    "weights": (
        ".pt",
        [lambda: _bytes_of(lambda stream: torch.save(_state(), stream))],
        lambda path: load_weights(torch.nn.Linear(3, 4), path),
    ),
    "attributes": (".pt", [_attributes], AttributeDirections.load),
    "statistics": (
        ".pt",
        [lambda: _bytes_of(lambda stream: torch.save({"mean": torch.zeros(3), "std": torch.ones(3)}, stream))],
        LatentStatistics.load,
    ),
    "official": (
        ".ckpt",
        [lambda: (GOLDEN / "latent.pkl").read_bytes(), lambda: (GOLDEN / "cls.ckpt").read_bytes()],
        load_official_checkpoint,
    ),
    "monai_generative": (
        ".pt",
        [lambda: _bytes_of(lambda stream: torch.save(_state(), stream))],
        load_monai_generative_checkpoint,
    ),
}


def mutate(original: bytes, random: np.random.Generator) -> bytes:
    """One to four changes; small ones are likelier in the first kilobyte, where headers are."""
    data = bytearray(original)
    for _ in range(random.integers(1, 5)):
        if not data:
            break
        end = min(len(data), 1024) if random.random() < 0.7 else len(data)
        at = int(random.integers(end))
        length = int(random.integers(1, max(2, len(data) // 8)))
        match random.integers(7):
            case 0:
                data[at] ^= 1 << int(random.integers(8))
            case 1:
                data[at : at + 4] = random.bytes(4)
            case 2:
                extreme = EXTREMES[random.integers(len(EXTREMES))]
                data[at : at + len(extreme)] = extreme
            case 3:
                data[at : at + length] = bytes(len(data[at : at + length]))
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length]
            case 6:
                del data[int(random.integers(len(data))) :]
    return bytes(data)


def mutation(seed: int, kinds: list[str], number: int) -> tuple[str, str, bytes]:
    """The kind, the ending and the content of the mutation of this number."""
    random = np.random.default_rng([seed, number])
    kind = kinds[number % len(kinds)]
    ending, originals, _ = KINDS[kind]
    original = originals[random.integers(len(originals))]()
    if kind == "nifti.gz" and random.random() < 0.7:  # inside, or all end at the checksum
        return kind, ending, gzip.compress(mutate(gzip.decompress(original), random), mtime=0)
    return kind, ending, mutate(original, random)


def attempt(seed: int, kinds: list[str], number: int, folder: str) -> str:
    """How reading ends: ``result``, ``error`` (clear: of a kind that callers expect), or the name of another error."""
    kind, ending, content = mutation(seed, kinds, number)
    path = os.path.join(folder, f"mutation{ending}")
    Path(path).write_bytes(content)
    try:
        KINDS[kind][2](path)
    except (ValueError, FileNotFoundError) as error:
        named = path in str(error) or os.path.basename(path) in str(error)
        return "error" if named else f"unnamed {type(error).__name__}: {str(error)[:120]}"
    except MemoryError:
        return "MemoryError"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]}"
    return "result"


def work(seed: int, kinds: list[str], numbers: range, pipe: int) -> None:
    """A forked worker: writes (number, None) before and (number, how it ended) after each mutation."""
    warnings.simplefilter("ignore")
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder, os.fdopen(pipe, "wb") as out:
        for number in numbers:
            signal.alarm(SECONDS)
            for ending in (None, attempt(seed, kinds, number, folder)):
                pickle.dump((number, ending), out)
                out.flush()
            signal.alarm(0)


def run(
    seed: int, kinds: list[str], mutations: int, progress: Callable[[int], None] = lambda done: None
) -> dict[int, str]:
    """How each mutation ended; those that killed their worker by the signal's name."""
    endings: dict[int, str] = {}
    start = 0
    while start < mutations:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            try:
                work(seed, kinds, range(start, mutations), write)
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as results:
            while True:
                try:
                    number, ending = pickle.load(results)  # of our own worker
                except EOFError:
                    break
                if ending is not None:
                    endings[number] = ending
                    progress(len(endings))
        _, status = os.waitpid(pid, 0)
        start = max(endings, default=-1) + 1
        if start < mutations:
            died = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit"
            endings[start] = "hang" if died == "SIGALRM" else f"killed by {died}"
            start += 1
    return endings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--number", type=int, help="repeat this one alone, here, with its traceback")
    args = parser.parse_args()
    if args.number is not None:
        kind, ending, content = mutation(args.seed, args.kinds, args.number)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"mutation{ending}"
            path.write_bytes(content)
            print(kind, KINDS[kind][2](str(path)))
        return
    endings = run(args.seed, args.kinds, args.mutations, lambda done: print(f"\r{done}", end="", flush=True))
    print()
    counts: dict[str, Counter] = {kind: Counter() for kind in args.kinds}
    failures = []
    for number, ending in sorted(endings.items()):
        kind = args.kinds[number % len(args.kinds)]
        counts[kind][ending if ending in ("result", "error") else "other"] += 1
        if ending not in ("result", "error"):
            failures.append(f"{number} {kind} {ending}")
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS / "mutations.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["kind", "mutations", "result", "clear error", "otherwise"])
        for kind, count in counts.items():
            rows.writerow([kind, count.total(), count["result"], count["error"], count["other"]])
    (RESULTS / "failures.txt").write_text("".join(f"{line}\n" for line in failures))
    print((RESULTS / "mutations.csv").read_text(), *failures[:40], sep="\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
