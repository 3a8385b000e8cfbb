# SPDX-License-Identifier: Apache-2.0
"""``--tracking mlflow`` on the workflows of both bundles."""

import json
from pathlib import Path

import pytest
from latent_workflows import Bundle
from monai.bundle import ConfigWorkflow
from PIL import Image

CONFIGS = Path(__file__).parents[2] / "bundles"
BUNDLES = ["brain_slices_diffae", "natural_images_diffae"]
WORKFLOWS = {
    ("train",): ["train::handlers", "validate::handlers"],
    ("train", "multi_gpu_train"): ["train::handlers", "validate::handlers"],
    ("inference", "train_latent"): ["train::handlers", "validate::handlers"],
    ("inference",): ["handlers"],
    ("inference", "manipulate"): ["handlers"],
    ("inference", "encode"): ["handlers"],
    ("inference", "sample"): ["handlers"],
}


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("names", WORKFLOWS, ids="+".join)
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
    for handlers in WORKFLOWS[names]:
        assert [h["_target_"] for h in workflow.parser[handlers]].count("MLFlowHandler") == 1
        assert workflow.parser[handlers][-1]["_disabled_"] == "@is_not_rank0"
    assert workflow.parser.get_parsed_content("is_not_rank0") is False
    assert str(tmp_path) in workflow.parser.get_parsed_content("tracking_uri")
    [copy] = tmp_path.glob("config_*.json")
    assert json.loads(copy.read_text())["z_dim"] == workflow.parser["z_dim"]


@pytest.mark.parametrize("names", [("train",), ("inference", "encode")], ids="+".join)
def test_mlflow_gets_the_metrics_of_a_run(names, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    (tmp_path / "data").mkdir()
    for i in range(4):
        Image.new("L", (16, 16), 60 * i).save(tmp_path / "data" / f"{i}.png")
    options = {
        "dataset_dir": str(tmp_path / "data"),
        "image_size": 16,
        "z_dim": 8,
        "num_workers": 0,
        "val_fraction": 0.5,
    }
    bundle = Bundle("natural_images_diffae", tmp_path, **options)
    few = {"max_iterations": 2, "epoch_length": 1, "batch_size": 2, "num_inference_steps": 2, "val_interval": 1}
    few |= {"output_dir": str(tmp_path / "out"), "tracking": "mlflow"}
    bundle.run(*names, workflow_type="train" if names == ("train",) else "infer", **few).finalize()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'out' / 'mlruns.db'}")
    runs = mlflow.search_runs(experiment_names=["monai_experiment"])
    assert len(runs) >= 1
    if names == ("train",):
        assert any(column.startswith("metrics.") and "loss" in column for column in runs.columns)
