# SPDX-License-Identifier: Apache-2.0
"""How fast the networks and loops are, beside MONAI's and the authors' way, and beside what the machine can do.

    python tests/benchmarks/bench.py --device cpu            (make bench; at most a quarter of an hour on two cores)
    python tests/benchmarks/bench.py --quick                 (a small network, about two minutes)

One table, printed and written as CSV and Markdown: denoising, encoding, a training step, decoding, exact inversion and
latent sampling, in float32 and bfloat16 and compiled, by

- ours: channels-last, fused Adam, inference mode;
- the authors' way: the same architecture and weights, computed as the authors' code does (``speed/plain_network.py``):
  NCHW, float32 normalisation and softmax, attention as two products, PyTorch's own Adam;
- MONAI: ``DiffusionModelUNet`` of as many parameters, z_sem by cross attention (``speed/monai_network.py``), with our
  encoder in training, since MONAI has none.

All calls of a task run in turn; medians with quartiles. Shares are of the faster of a large convolution and a large
matrix product in that precision, measured in the same run. Operations are those of the authors' network for ours too.
Then the time to a reconstruction of 40 dB, and how the cost grows with batch, image and steps.

A task that is done is kept beside the table: the same command goes on where it was stopped. Tasks for which no time is
left are named at the end of the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from speed.goals import goals
from speed.machine import description
from speed.plan import Plan
from speed.rows import Row
from speed.subjects import Preset
from speed.table import Finished, markdown, write_csv, write_text
from tqdm import tqdm

RESULTS = Path(__file__).parent / "results"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--preset", default="celeba64", help="of bundles/natural_images_diffae/configs/presets")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, help="of alternating runs, at most; 7, with --quick 3")
    parser.add_argument("--budget", type=float, help="minutes; no task is begun later; 14, with --quick 2")
    parser.add_argument("--quick", action="store_true", help="a network of a quarter of the widths, few runs")
    parser.add_argument("--tasks", nargs="*", help="only these; all by default")
    parser.add_argument("--not_compiled", action="store_true", help="leave out torch.compile")
    parser.add_argument("--threads", type=int, help="on a CPU; PyTorch's choice by default")
    parser.add_argument("--output", type=Path, help="without suffix; tests/benchmarks/results/<device> by default")
    args = parser.parse_args(arguments)
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.budget = args.budget or (2.0 if args.quick else 14.0)
    name = torch.device(args.device).type + ("_quick" if args.quick else "")
    args.output = args.output or RESULTS / name
    return args


def page(rows: list[Row], machine: dict[str, str], command: str, left_out: list[str]) -> str:
    """The Markdown file."""
    ceilings = [row for row in rows if row["task"] == "ceiling"]
    trips = [row for row in rows if str(row["task"]).startswith("time to")]
    scaling = [row for row in rows if str(row["task"]).startswith("cost against")]
    speed = [row for row in rows if row not in ceilings + trips + scaling]
    sections = [f"`{command}`\n\n" + ", ".join(f"{name}: {value}" for name, value in machine.items()) + "\n"]
    for title, part in (
        ("What the machine does at best", ceilings),
        ("Speed", speed),
        ("Time to a reconstruction of 40 dB", trips),
        ("How the cost grows (exponent of the power that fits)", scaling),
    ):
        if part:
            sections.append(f"## {title}\n\n{markdown(part)}")
    quick = command.endswith("--quick")  # no machine or recipe that the goals are about
    if not quick and (sentences := goals(rows)):
        sections.append("## Goals\n\n" + "".join(f"- {sentence}\n" for sentence in sentences))
    if left_out:
        sections.append(f"Left out, for want of time: {', '.join(left_out)}.\n")
    return "# Speed\n\n" + "\n".join(sections)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    args = parse(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    machine = description(device)
    plan = Plan(Preset.read(args.preset, args.quick), device, args.batch, args.rounds, args.quick)
    settings = {"machine": machine, "preset": args.preset, "batch": args.batch, "rounds": args.rounds}
    finished = Finished(args.output.with_suffix(".unfinished.json"), settings | {"quick": args.quick})
    tasks = plan.tasks(compiled=not args.not_compiled)
    if args.tasks:
        if unknown := set(args.tasks) - set(tasks):
            raise ValueError(f"Unknown tasks {sorted(unknown)}; there are {list(tasks)}.")
        tasks = {name: task for name, task in tasks.items() if name in (*args.tasks, "ceiling")}
    end, left_out = time.monotonic() + 60 * args.budget, []
    with tqdm(tasks.items(), unit="task") as progress:
        for i, (name, task) in enumerate(progress):
            progress.set_description(name)
            left = end - time.monotonic()
            if name not in finished.rows:
                if left <= 0:
                    left_out.append(name)
                    continue
                finished.add(name, task(left / (len(tasks) - i)))
                progress.write(markdown(finished.rows[name]))
            for row in finished.rows["ceiling"]:
                speed = plan.ceilings.get(row["precision"], 0.0)
                plan.ceilings[row["precision"]] = max(speed, row["gflop_per_second"])
    rows = finished.all()
    command = f"python tests/benchmarks/bench.py --device {device.type} --preset {args.preset} --batch {args.batch}"
    text = page(rows, machine, command + " --quick" * args.quick, left_out)
    write_csv(args.output.with_suffix(".csv"), rows)
    write_text(args.output.with_suffix(".md"), text)
    print(text)
    finished.path.unlink(missing_ok=True)
    return rows


if __name__ == "__main__":
    main()
