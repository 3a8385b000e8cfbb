# SPDX-License-Identifier: Apache-2.0
"""A misspelt option is refused with the id that it resembles; everything that MONAI makes sense of passes."""

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import monai.bundle
import pytest

from monai_diffae.bundles import check_ids, unknown_ids
from monai_diffae.bundles.building import PARTS
from monai_diffae.support.root_cause import root_cause

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "bundles" / "brain_slices_diffae" / "configs"


def files(names: str) -> list[str]:
    return [str(CONFIGS / f"{name}.yaml") for name in names.split()]


@pytest.mark.parametrize(
    ("names", "option", "sentence"),
    [
        ("inference", "num_infrence_steps", "no id of inference.yaml. Did you mean 'num_inference_steps'?"),
        ("inference", "dataset-dir", "no id of inference.yaml. Did you mean 'dataset_dir'?"),
        ("inference", "X_t", "no id of inference.yaml. Did you mean 'x_T'?"),
        ("inference manipulate", "atribute", "no id of inference.yaml, manipulate.yaml. Did you mean 'attribute'?"),
        (
            "inference",
            "num_variations",
            "no id of inference.yaml. It is one of variations.yaml: add that to config_file.",
        ),
        ("inference", "num_variation", "no id of inference.yaml. Did you mean 'num_variations' of variations.yaml?"),
        ("inference", "quux", "no id of inference.yaml. No id resembles it."),
        ("inference", "quux::a", "no id of inference.yaml. No id resembles it."),
        ("inference", "displayable_configs::strenth", "Did you mean 'displayable_configs::strength'?"),
        ("inference encode", "key_metric::psnr", "'key_metric' is None, which has no entries."),
        ("train", "train::los", "Did you mean 'train::loss'?"),
        ("train", "train#los", "Did you mean 'train::loss'?"),
        ("train", "trian::loss", "Did you mean 'train'?"),
        ("train", "train::trainer::max_epoch", "Did you mean 'train::trainer::max_epochs'?"),
        ("train", "train::trainr::max_epochs", "Did you mean 'train::trainer'?"),
        ("train", "network_def::decoder::drpout", "Did you mean 'network_def::decoder::dropout'?"),
        ("train", "train::optimizer::beta", "Did you mean 'train::optimizer::betas'?"),
        ("train", "train::handlers::99::name", "'train::handlers' has the entries 0 to"),
        ("train", "train::lr_scheduler::t_total", "'train::lr_scheduler' is @lr_scheduler, which has no entries."),
        ("train", "+train::states", "Did you mean 'train::state'?"),
        ("train", "+train::state", "MONAI merges entries of files, not of options"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(names, option, sentence):
    problems = unknown_ids({"batch_size": 1, option: 2}, files(names))
    assert list(problems) == [option]
    assert problems[option].startswith(f"'{option}' is no id of ")
    assert sentence in problems[option]


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ("inference", {"dataset_dir": "data", "output_dir": "out", "batch_size": 1, "x_T": "random"}),
        ("inference", {"bundle_root": ".", "meta_file": "m.json", "logging_file": False, "workflow_type": "infer"}),
        ("inference", {"tracking": "mlflow", "experiment_name": "one", "tracking_uri": "uri", "run_name": "two"}),
        ("inference", {"run_id": "mine", "mine": ["$print(1)"], "init_id": None}),
        ("inference", {"run": ["$@evaluator.run()"], "finalize": ["$print(1)"], "initialize::0": "$print(1)"}),
        ("inference", {"mine": 3, "batch_size": "$@mine + 1"}),
        ("inference", {"mine::inner": 3, "batch_size": "$@mine::inner + 1"}),
        ("inference", {"preprocessing::transforms::0": "@load", "preprocessing#transforms#0": "@load"}),
        ("inference fit_attributes", {"masks::tumour": "tumours", "shown_by::grade": ["tumour", 4]}),
        ("train", {"network_def::decoder::dropout": 0.1, "train::optimizer::betas": [0.5, 0.9]}),
        ("train", {"train::trainer::amp": True, "train::trainer::accumulation_steps": 2}),
        ("train", {"train::handlers::0::_disabled_": True, "train::handlers::0::name": "norm"}),
        ("train", {"lr_scheduler::t_total": 10, "validate::key_metric::mae": None}),
    ],
)
def test_an_option_that_means_something_passes(names, options):
    assert unknown_ids(options, files(names)) == {}


def test_one_file_is_as_good_as_a_list_and_all_problems_are_told():
    with pytest.raises(ValueError, match=r"Did you mean 'seed'\?.* Did you mean 'compile'\?"):
        check_ids({"sed": 1, "compil": True}, CONFIGS / "train.yaml")
    check_ids({"seed": 1}, str(CONFIGS / "train.yaml"))


@pytest.mark.parametrize("name", ["train", "inference", "inference train_latent"])
def test_run_refuses_a_misspelt_option_before_it_reads_data(name, tmp_path):
    options = {"dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out"), "batch_sise": 3}
    with pytest.raises(RuntimeError) as raised:
        monai.bundle.run(config_file=files(name), bundle_root=str(CONFIGS.parent), logging_file=None, **options)
    cause = root_cause(raised.value)
    assert isinstance(cause, ValueError)
    assert "'batch_sise' is no id of" in str(cause)
    assert "Did you mean 'batch_size'?" in str(cause)
    assert not (tmp_path / "out").exists()


def test_run_refuses_a_misspelt_option_of_an_args_file_that_may_serve_other_workflows_too(tmp_path):
    (tmp_path / "args.yaml").write_text(f"config_file: {files('inference')}\namount: 0.5\nsede: 3\n")
    with pytest.raises(RuntimeError) as raised:
        monai.bundle.run(args_file=str(tmp_path / "args.yaml"))
    assert str(root_cause(raised.value)) == "'sede' is no id of inference.yaml. Did you mean 'seed'?"


def test_the_command_line_ends_with_the_nearest_id(tmp_path):
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", *files("inference"), "--sed", "1"]
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode != 0
    last_line = failed.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ValueError: 'sed' is no id of inference.yaml. Did you mean 'seed'?")


PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("bundles/*/docs/README.md"), PARTS / "new_page.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_commands_of_the_pages_name_ids_that_there_are(page):
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^.*-m monai.bundle run .*--config_file .*$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        options = {word[2:]: value for word, value in pairwise(words) if word.startswith("--")}
        names = re.findall(r"configs/([\w/]+)\.yaml", options["config_file"])
        bundle = page.parents[1].name if page.parents[1].parent.name == "bundles" else "brain_slices_diffae"
        if found := re.search(r"bundles/(\w+)", line):
            bundle = found[1]
        configs = [CONFIGS.parents[1] / bundle / "configs" / f"{name}.yaml" for name in names]
        assert configs
        assert unknown_ids(options, configs) == {}, line
