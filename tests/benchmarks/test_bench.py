# SPDX-License-Identifier: Apache-2.0
"""The benchmark's parts, and its command on a small network."""

import csv
import json

import bench
import pytest
import torch
import torch.nn.functional as F
from speed.clock import Timing, alternate
from speed.goals import goals
from speed.memory import peak_memory
from speed.monai_network import count, equal_monai_unet
from speed.rows import measured_rows
from speed.scaling import fitted_exponent
from speed.subjects import Preset, autoencoders, flops
from speed.table import Finished, markdown


def test_calls_run_in_turn_and_each_round_in_another_order(device):
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    timings = alternate(calls, torch.device(device), rounds=4, seconds_left=60)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert all(timing.runs == 4 and timing.lower <= timing.median <= timing.upper for timing in timings.values())


def test_no_round_beyond_the_third_begins_when_time_is_up(device):
    order = []
    alternate({"a": lambda: order.append("a")}, torch.device(device), rounds=9, seconds_left=0)
    assert len(order) == 3


def test_quartiles_are_those_of_the_runs():
    assert Timing.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Timing(3.0, 2.0, 4.0, 5)


def test_peak_memory_is_what_a_call_holds_at_once(device):
    def call() -> None:
        for _ in range(2):
            torch.zeros(256, 2**18, device=device).add_(1)  # 256 MiB, given back before the next

    call()
    peak = peak_memory(call, torch.device(device))
    assert peak is None or 200 < peak < 400


def test_exponent_of_a_power_is_found():
    assert fitted_exponent([1, 2, 4, 8], [3 * n**1.5 for n in (1, 2, 4, 8)]) == pytest.approx(1.5)


def test_networks_that_are_compared_have_as_many_parameters_and_the_same_operations(device):
    preset = Preset.read("celeba64", quick=True)
    ours, authors, monai = (subject.network for subject in autoencoders(preset, torch.device(device)))
    assert count(authors) == count(ours)
    assert count(monai) == pytest.approx(count(ours), rel=0.05)
    x, t = torch.randn(2, 3, 32, 32, device=device), torch.tensor([300], device=device)
    with torch.no_grad():
        results = [network(x, t, image=x) for network in (ours, authors, monai)]
    torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-4)
    assert results[2].shape == results[0].shape


def test_monais_unet_has_the_number_of_parameters_of_the_preset():
    with torch.device("meta"):
        unet = equal_monai_unet(71_518_723, 2, 3, 512, (64, 128, 256, 512), (False, False, True, False), 2)
    assert count(unet) == pytest.approx(71_518_723, rel=0.03)


def test_a_multiplication_and_an_addition_are_two_operations(device):
    a = torch.zeros(4, 8, device=device)
    assert flops(lambda: a @ a.T) == 2 * 4 * 8 * 4
    q = torch.zeros(1, 1, 4, 8, device=device)
    assert flops(lambda: F.scaled_dot_product_attention(q, q, q)) == 2 * (2 * 4 * 8 * 4)


def test_rows_tell_speed_and_share_of_the_ceiling(device):
    calls = {("ours", "float32"): lambda: None, ("authors' way", "float32"): lambda: torch.zeros(1000).sum()}
    rows = measured_rows(
        "task", calls, 4, {"ours": 2e9, "authors' way": 2e9}, {"float32": 1000.0}, torch.device(device), 3, 60
    )
    for row in rows:
        assert row["images_per_second"] == pytest.approx(4 / row["seconds"])
        assert row["gflop_per_second"] == pytest.approx(2 / row["seconds"])
        assert row["share_of_ceiling"] == pytest.approx(row["gflop_per_second"] / 1000)
    assert rows[0]["speed_over_authors_float32"] == pytest.approx(rows[1]["seconds"] / rows[0]["seconds"])


def test_goals_that_are_missed_are_called_missed():
    def row(precision: str, speed: float) -> dict:
        return {"task": "denoise", "network": "ours", "precision": precision, "speed_over_authors_float32": speed}

    sentences = goals([row("float32", 1.04), row("bfloat16", 1.93)])
    assert [sentence.rpartition(" ")[2] for sentence in sentences] == ["reached.", "missed."]
    trip = {"task": "time to 40 dB", "precision": "float32", "note": "exact", "speed_over_authors_float32": 9.0}
    authors = trip | {"network": "authors' way", "worst_psnr": 41.0, "speed_over_authors_float32": 1.0}
    good, bad = (trip | {"network": "ours", "worst_psnr": psnr} for psnr in (40.5, 39.0))
    assert "9.0 times less" in goals([authors, good])[0]
    assert goals([authors, bad])[0].endswith("missed.")


def test_page_of_a_whole_run_says_which_goals_are_reached():
    row = {"task": "denoise", "network": "ours", "precision": "float32", "speed_over_authors_float32": 1.04}
    text = bench.page([row], {"cores": "2"}, "command", left_out=["scaling"])
    assert "- denoise, float32: 1.04 times the authors' float32; wanted 1: reached.\n" in text
    assert "Left out, for want of time: scaling." in text
    assert "Goals" not in bench.page([row], {"cores": "2"}, "command --quick", left_out=[])


def test_finished_tasks_are_kept_for_the_same_settings_only(tmp_path):
    path = tmp_path / "table.unfinished.json"
    Finished(path, {"batch": 4}).add("denoise", [{"task": "denoise", "seconds": 1.0}])
    assert Finished(path, {"batch": 4}).rows == {"denoise": [{"task": "denoise", "seconds": 1.0}]}
    assert Finished(path, {"batch": 8}).rows == {}


def test_table_has_the_columns_that_rows_fill():
    assert markdown([{"task": "a", "seconds": 0.123456}, {"task": "b", "seconds": None}]).splitlines() == [
        "| task | seconds |",
        "| --- | --- |",
        "| a | 0.1235 |",
        "| b |  |",
    ]


def test_a_task_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown tasks \['walk'\]"):
        bench.main(["--quick", "--tasks", "walk", "--output", str(tmp_path / "table")])


@pytest.mark.slow
def test_command_measures_every_task_on_a_small_network(tmp_path, device):
    command = ["--quick", "--device", device, "--rounds", "1", "--budget", "30", "--output", str(tmp_path / "table")]
    rows = bench.main(command)
    with open(tmp_path / "table.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["task"] for row in written] == [row["task"] for row in rows]
    tasks = {"denoise", "encode", "train step", "decode", "exact inversion", "latent sampling"}
    for task in tasks:
        found = {(row["network"], row["precision"]) for row in rows if row["task"] == task}
        assert {("ours", "float32"), ("ours", "bfloat16"), ("authors' way", "float32")} <= found
    for task in ("denoise", "encode", "train step"):
        found = {row["precision"] for row in rows if row["task"] == f"{task}, compiled"}
        assert found == {"float32", "float32, compiled", "bfloat16, compiled"}
    assert {row["exponent"] is not None for row in rows if str(row["task"]).startswith("cost against")} == {True}
    text = (tmp_path / "table.md").read_text()
    assert "## Goals" not in text  # they are about the whole run
    assert "Left out" not in text
    assert not (tmp_path / "table.unfinished.json").exists()


@pytest.mark.slow
def test_a_stopped_run_goes_on_after_the_tasks_that_it_has_done(tmp_path, monkeypatch):
    command = ["--quick", "--rounds", "1", "--not_compiled", "--tasks", "denoise", "encode"]
    command += ["--output", str(tmp_path / "table")]

    def stop(self, seconds_left):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.Plan, "encode", stop)
        with pytest.raises(KeyboardInterrupt):
            bench.main(command)
    kept = json.loads((tmp_path / "table.unfinished.json").read_text())["rows"]
    assert list(kept) == ["ceiling", "denoise"]
    rows = bench.main(command)
    assert [row for row in rows if row["task"] == "denoise"] == kept["denoise"]
    assert "encode" in {row["task"] for row in rows}
