# SPDX-License-Identifier: Apache-2.0
"""``--tracking mlflow`` on the workflows of both bundles: what stands in the store afterwards."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from latent_workflows import Bundle, weights_of
from monai.bundle import ConfigWorkflow
from test_several_processes import write_pictures, write_volumes

from monai_diffae.semantics import AttributeDirections

CONFIGS = Path(__file__).parents[2] / "bundles"
BUNDLES = ["brain_slices_diffae", "natural_images_diffae"]
HANDLERS = {
    ("train",): ["train::handlers", "validate::handlers"],
    ("train", "multi_gpu_train"): ["train::handlers", "validate::handlers"],
    ("inference", "train_latent"): ["train::handlers", "validate::handlers"],
    ("inference",): ["handlers"],
    ("inference", "manipulate"): ["handlers"],
    ("inference", "encode"): ["handlers"],
    ("inference", "sample"): ["handlers"],
}
TRAINING = {"train_loss", "lr_group_0"}
METRICS = {
    ("train",): TRAINING | {"encoder_grad_norm", "psnr", "ssim", "loss", "semantic_gap"},
    ("train", "train_adversarial"): {"psnr", "ssim", "loss", "semantic_gap"},
    ("inference", "train_latent"): TRAINING | {"loss"},
    ("inference",): {"psnr", "ssim"},
    ("inference", "compare_x_T"): {"psnr", "ssim"},
    ("inference", "encode"): set(),
    ("inference", "manipulate"): {"psnr", "ssim"},
    ("inference", "manipulate", "counterfactual"): {"psnr", "ssim"},
    ("inference", "interpolate"): {"psnr"},
    ("inference", "swap"): {"psnr", "psnr_x_T"},
    ("inference", "variations"): {"psnr"},
    ("inference", "fit_attributes"): set(),
    ("inference", "sample"): set(),
    ("inference", "sample", "conditional_sample"): {"acceptance_rate"},
}


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("names", HANDLERS, ids="+".join)
def test_tracking_adds_its_handler_and_keeps_a_copy_of_the_configuration(bundle, names, tmp_path):
    """As far as it goes without mlflow: what MONAI makes of the configuration."""
    configs = CONFIGS / bundle / "configs"
    workflow = ConfigWorkflow(
        [str(configs / f"{name}.yaml") for name in names],
        logging_file=False,
        workflow_type="train" if "train" in names[-1] else "infer",
        tracking="mlflow",
        output_dir=str(tmp_path),
    )
    for handlers in HANDLERS[names]:
        assert [h["_target_"] for h in workflow.parser[handlers]].count("MLFlowHandler") == 1
        assert workflow.parser[handlers][-1]["_disabled_"] == "@is_not_rank0"
    assert workflow.parser.get_parsed_content("is_not_rank0") is False
    assert str(tmp_path) in workflow.parser.get_parsed_content("tracking_uri")
    [copy] = tmp_path.glob("config_*.json")
    assert json.loads(copy.read_text())["z_dim"] == workflow.parser["z_dim"]


class Tracked:
    """A bundle on a small untrained network with all the files that its workflows start from."""

    def __init__(self, name: str, folder: Path) -> None:
        data = folder / "data"
        data.mkdir()
        options = {"z_dim": 8, "image_size": 16, "num_workers": 0, "device": "cpu", "progress": False}
        options |= {"dataset_dir": str(data), "num_inference_steps": 2, "inversion": "explicit", "batch_size": 4}
        if name == "brain_slices_diffae":
            write_volumes(data)
            options |= {"image_size": 32, "pixdim": 6.0, "num_slices": 2, "slice_range": [0.1, 0.9]}
        else:
            write_pictures(data)
        generator = torch.Generator().manual_seed(0)
        codes, labels = torch.randn(40, 8, generator=generator), torch.arange(40) % 2
        attributes = AttributeDirections.fit(codes + labels[:, None], {"trait": labels})
        attributes.save(folder / "attributes.pt")
        with open(data / "labels.csv", "w", newline="") as f:
            files = sorted(path.name for path in data.iterdir() if path.suffix in (".gz", ".png"))
            csv.writer(f).writerows([["file", "trait"], *([file, k % 2] for k, file in enumerate(files))])
        self.bundle = Bundle(name, folder, **options).randomize()
        self.bundle.train(folder / "latent", val_fraction=0.4)
        self.options = {
            "train": {"max_iterations": 2, "epoch_length": 1, "val_interval": 1, "val_fraction": 0.4},
            "train_latent": {"latent_max_iterations": 2, "epoch_length": 1, "val_interval": 1, "val_fraction": 0.4}
            | {"latent_network_def::hidden_dim": 32, "latent_network_def::num_layers": 3},
            "counterfactual": {"target": "across"},
            "manipulate": {"attributes_path": str(folder / "attributes.pt"), "attribute": "trait"},
            "fit_attributes": {"attributes": ["trait"], "mask_labels": ["trait"]},
            "sample": {**weights_of(folder / "latent"), "num_samples": 2, "num_latent_inference_steps": 3},
            "conditional_sample": {"attribute": "trait", "labels_file": str(data / "labels.csv"), "prior": 0.9},
        }

    def run(self, names: tuple[str, ...], **options: Any) -> None:
        for name in names:
            options = self.options.get(name, {}) | options
        kind = "train" if names[-1].startswith("train") else "infer"
        self.bundle.run(*names, workflow_type=kind, **options).finalize()


@pytest.fixture(scope="module", params=BUNDLES)
def tracked(request, tmp_path_factory) -> Tracked:
    return Tracked(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """One for all runs: mlflow takes some seconds to make one."""
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlruns.db'}"


def run_in(store: str, experiment: str) -> tuple[Any, set[str]]:
    """The only run of an experiment, and the names of its artifacts."""
    # By a client of its own: mlflow.set_tracking_uri would send all later runs of this process to that store.
    client = pytest.importorskip("mlflow.tracking").MlflowClient(store)
    [run] = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run, {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.mark.parametrize("names", METRICS, ids="+".join)
def test_mlflow_gets_the_metrics_the_length_and_the_configuration(tracked, store, names, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    there = {"tracking_uri": store, "experiment_name": str(tmp_path)}
    tracked.run(names, output_dir=str(tmp_path / "out"), tracking="mlflow", **there)
    run, files = run_in(store, str(tmp_path))
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) >= METRICS[names]
    assert all(math.isfinite(value) for value in run.data.metrics.values())
    assert files == {path.name for path in (tmp_path / "out").glob("config_*.json")}
    assert len(files) == 1
    assert run.data.params["max_epochs"] == ("2" if names[-1].startswith("train") else "1")


@pytest.mark.parametrize("output_dir", ["{}", "$'{}'"], ids=["path", "expression"])
def test_the_store_lies_in_the_folder_of_results_with_the_configuration_that_ran(
    tracked, tmp_path, monkeypatch, output_dir
):
    """MONAI finds its copy of the configuration again where output_dir is an expression, complete_tracking
    where it is a path.
    """
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracked.run(("inference", "encode"), output_dir=output_dir.format(tmp_path / "out"), tracking="mlflow")
    _, files = run_in(f"sqlite:///{tmp_path / 'out' / 'mlruns.db'}", "monai_experiment")
    assert files == {path.name for path in (tmp_path / "out").glob("config_*.json")}
    assert len(files) == 1
