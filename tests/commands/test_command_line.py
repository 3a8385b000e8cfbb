# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from in_process import run_module
from PIL import Image

from monai_diffae.commands import main
from monai_diffae.commands.bundle_run import shell_line
from monai_diffae.datasets import load_digits_arrays

BUNDLES = Path(__file__).parents[2] / "bundles"
PICTURES = BUNDLES / "natural_images_diffae"
FEW_STEPS = [
    "--num_inference_steps",
    "2",
    "--num_inversion_steps",
    "2",
    "--inversion",
    "explicit",
    "--progress",
    "false",
]


@pytest.fixture
def in_checkout(monkeypatch):
    monkeypatch.chdir(BUNDLES.parent)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    for k, image in enumerate(load_digits_arrays("test")[0][:3]):
        Image.fromarray(((image[0].numpy() + 1) * 127.5).round().astype("uint8")).save(folder / f"{k}.png")
    return folder


def printed_words(capsys) -> list[str]:
    return shlex.split(capsys.readouterr().out.splitlines()[0])


def test_list_names_bundles_workflows_and_additions_without_importing_torch(in_checkout):
    code = "import sys; from monai_diffae.commands import main; main(['list'])\n"
    code += "print([name for name in ('torch', 'monai', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, imported = lines = done.stdout.splitlines()
    assert imported == "[]"
    for word in ("brain_slices_diffae", "reconstruct", "edit", "sample-class", "compare-x_T", "volumes", "ffhq128"):
        assert sum(line.startswith(f"  {word} ") for line in lines) == 1
    (row,) = (k for k, line in enumerate(lines) if line.startswith("  ffhq128 "))
    assert "[natural_images_diffae]" in "".join(lines[row : row + 3])


def test_list_of_one_bundle_tells_its_own_and_that_it_has_no_weights(tmp_path, capsys):
    (tmp_path / "mine" / "configs").mkdir(parents=True)
    (tmp_path / "mine" / "configs" / "metadata.json").write_text('{"task": "Encode cells"}')
    (tmp_path / "mine" / "configs" / "inference.yaml").write_text("# Encodes cells.\nckpt_path: nowhere\n")
    assert main(["list", str(tmp_path / "mine")]) == 0
    lines = capsys.readouterr().out
    assert "Encode cells (no weights here)" in " ".join(lines.split())
    assert "reconstruct" in lines
    assert "brain_slices_diffae" not in lines


def test_a_reader_that_has_read_enough_is_no_error(in_checkout):
    command = f"set -o pipefail; {shell_line([sys.executable])} -m monai_diffae edit --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_of_a_verb_lists_its_ids_with_defaults_and_comments(in_checkout, capsys):
    assert main(["edit", "natural_images_diffae", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: monai-diffae edit BUNDLE")
    assert "--keep [] names of attributes whose scores must not change" in text
    assert text.index("--keep") < text.index("What all workflows have") < text.index("--dataset_dir")
    assert main(["train", "--help"]) == 0  # of the first bundle that has it
    assert "--max_iterations" in capsys.readouterr().out
    assert main(["train", "natural_images_diffae", "--with", "ffhq128", "-h"]) == 0
    assert "--flip_prob 0.5" in capsys.readouterr().out
    assert main(["--help"]) == main([]) == 0
    assert "--dry_run" in capsys.readouterr().out


def test_the_line_that_is_printed_names_files_and_options(in_checkout, capsys):
    arguments = ["edit", "brain_slices_diffae", "--with", "windows", "--amount", "[-0.3, 0.3]", "--dry_run"]
    assert main([*arguments, "--dataset_dir=my data", "--data_list_key", '$5 "it\'s"']) == 0
    configs = "bundles/brain_slices_diffae/configs"
    words = printed_words(capsys)
    files = words.pop(words.index("--config_file") + 1)
    assert yaml.safe_load(files) == [f"{configs}/{name}.yaml" for name in ("inference", "manipulate", "windows")]
    assert words == [
        *("python", "-m", "monai.bundle", "run", "--bundle_root", "bundles/brain_slices_diffae", "--config_file"),
        *("--amount", "[-0.3, 0.3]", "--dataset_dir", "my data", "--data_list_key", '$5 "it\'s"'),
    ]


def test_several_processes_are_started_by_torchrun(in_checkout, capsys):
    assert main(["train", "brain_slices_diffae", "--processes", "2", "--dry_run"]) == 0
    words = printed_words(capsys)
    assert words[:5] == ["torchrun", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle"]
    assert "multi_gpu_train.yaml" in words[words.index("--config_file") + 1]


@pytest.mark.parametrize(
    "word", ["plain", "['a','b']", "a b", "$x", "it's", 'say "x"', "", "a\\b", "!x", "~", "[a]", "*"]
)
def test_a_shell_reads_back_the_words_of_a_line(word):
    done = subprocess.run(["bash", "-c", f"printf %s {shell_line([word])}"], capture_output=True, text=True, check=True)
    assert done.stdout == word


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edti", "brain_slices_diffae"], "Did you mean edit?"),
        (["edit", "brain_slice"], "Did you mean brain_slices_diffae?"),
        (["edit"], "expected a bundle"),
        (["edit", "--amount", "0.3"], "expected a bundle"),
        (["edit", "brain_slices_diffae", "0.3"], "expected --ID VALUE, got '0.3'"),
        (["edit", "brain_slices_diffae", "--amount"], "--amount needs a value"),
        (["edit", "brain_slices_diffae", "--amount", "--keep", "[]"], "--amount needs a value"),
        (["edit", "brain_slices_diffae", "--processes", "no"], "--processes should be a number"),
        (["edit", "brain_slices_diffae", "--config_file", "x.yaml"], "--config_file is what"),
        (["edit", "brain_slices_diffae", "--amonut", "0.3", "--dry_run"], "'amonut' is no id of"),
        (["edit", "brain_slices_diffae", "--amonut", "0.3"], "Did you mean 'amount'?"),
    ],
)
def test_a_command_that_cannot_be_understood_says_what_to_do(in_checkout, capsys, arguments, message):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_a_bundle_without_weights_says_how_to_get_some(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "configs").symlink_to(PICTURES / "configs")
    arguments = ["reconstruct", str(tmp_path / "mine"), "--output_dir", str(tmp_path / "out")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "model.pt is missing" in error
    assert "monai-diffae train mine" in error
    assert "download_large_files" not in error
    (tmp_path / "mine" / "large_files.yml").write_text("large_files: []\n")
    assert main(arguments) == 2
    assert "download_large_files" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_verb_runs_its_workflow(in_checkout, digits, tmp_path):
    arguments = ["edit", "natural_images_diffae", "--dataset_dir", str(digits), "--output_dir", str(tmp_path / "out")]
    done = run_module("monai_diffae", *arguments, *FEW_STEPS, "--attribute", "thickness", "--amount", "-0.3")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*_edit.png"))) == 3
    with open(tmp_path / "out" / "edits.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert {row["attribute"] for row in rows} == {"thickness"}
    assert {float(row["amount"]) for row in rows} == {-0.3}
    assert done.stdout.startswith("python -m monai.bundle run --bundle_root bundles/natural_images_diffae ")


@pytest.mark.slow
def test_the_printed_line_and_two_processes_do_the_same_as_the_verb(in_checkout, digits, tmp_path):
    tables = []
    for name, before in (("verb", []), ("two", ["--processes", "2"])):
        command = [sys.executable, "-m", "monai_diffae", "encode", "natural_images_diffae", *before, *FEW_STEPS]
        command += [
            "--dataset_dir",
            str(digits),
            "--output_dir",
            str(tmp_path / name),
            "--device",
            "$torch.device('cpu')",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        tables.append((tmp_path / name / "latents.csv").read_text())
        if not before:
            (line,) = (line for line in done.stdout.splitlines() if line.startswith("python -m monai.bundle run"))
            line = line.replace("python", shlex.quote(sys.executable), 1).replace("/verb", "/line")
            subprocess.run(["bash", "-c", line], check=True, capture_output=True)
            tables.append((tmp_path / "line" / "latents.csv").read_text())
    assert tables[0] == tables[1]
    assert len(tables[2].splitlines()) == len(tables[0].splitlines())


def test_a_new_bundle_is_made_and_found_by_the_verbs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-bundle", "cells", "--like", "natural_images_diffae", "--output_dir", "bundles"]) == 0
    assert "monai-diffae train bundles/cells --dataset_dir DATA" in capsys.readouterr().out
    assert main(["train", "cells", "--dry_run"]) == 0
    assert "--bundle_root bundles/cells --config_file bundles/cells/configs/train.yaml" in capsys.readouterr().out
    assert main(["new-bundle", "cells", "--like", "natural_images_diffae", "--output_dir", "bundles"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["new-bundle", "others", "--like", "natural_image_diffae"]) == 2
    assert "Did you mean natural_images_diffae?" in capsys.readouterr().err
