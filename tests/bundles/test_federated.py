# SPDX-License-Identifier: Apache-2.0
"""MONAI FL: two clients with different digits, whose weights are averaged."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomize
from latent_workflows import read_table
from monai.bundle import ConfigWorkflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, ModelType
from monai.fl.utils.exchange_object import ExchangeObject
from PIL import Image

from monai_diffae.datasets import load_digits_arrays

BUNDLE = Path(__file__).parents[2] / "bundles" / "natural_images_diffae"
SMALL = {"image_size": 16, "z_dim": 8, "num_workers": 0, "batch_size": 4, "device": torch.device("cpu")}
SMALL |= {"network_def::encoder::channels": [8, 16, 16, 16], "network_def::decoder::channels": [8, 16, 16]}
SMALL |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}
TRAINING = {"epoch_length": 3, "max_iterations": 6, "val_fraction": 0.25, "learning_rate": 1e-2, "seed": 5}
TRAINING |= {"num_inference_steps": 2, "num_inversion_steps": 2}
INFERENCE = {"x_T": "zeros", "num_inference_steps": 2, "progress": False}
Weights = Mapping[str, torch.Tensor]


class Client:
    """Its own copy of the bundle, with weights of a network that no client is to give back, and a digit of its own."""

    def __init__(self, folder: Path, digit: int) -> None:
        self.root = folder / f"client_{digit}"
        shutil.copytree(BUNDLE / "configs", self.root / "configs")
        self.data, self.out = self.root / "data", self.root / "out"
        self.data.mkdir()
        images, labels = load_digits_arrays("train")
        for i, image in enumerate(images[labels == digit][:12]):
            pixels = ((image[0].numpy() + 1) * 127.5).round().astype(np.uint8)
            Image.fromarray(pixels).save(self.data / f"{i:02d}.png")
        self.shipped = randomize(self.network(), seed=9, scale=0.5).state_dict()
        (self.root / "models").mkdir()
        torch.save(self.shipped, self.root / "models" / "model.pt")
        common = SMALL | {"bundle_root": str(self.root), "dataset_dir": str(self.data)}
        self.algorithm = MonaiAlgo(
            bundle_root=str(self.root),
            config_train_filename=["configs/train.yaml", "configs/federated.yaml"],
            config_evaluate_filename="configs/inference.yaml",
            eval_workflow_name="infer",
            send_weight_diff=False,
            train_kwargs=common | TRAINING,
            eval_kwargs=common | INFERENCE | {"output_dir": str(self.out)},
        )
        self.algorithm.initialize(extra={ExtraItems.CLIENT_NAME: f"client_{digit}"})

    @staticmethod
    def network() -> torch.nn.Module:
        config = ConfigWorkflow(
            str(BUNDLE / "configs" / "inference.yaml"), workflow_type="infer", logging_file=False, **SMALL
        )
        torch.manual_seed(0)
        return config.parser.get_parsed_content("network_def")

    def psnr(self, weights: Weights) -> float:
        """As an evaluation without MONAI FL measures it."""
        torch.save(weights, self.root / "given.pt")
        options = SMALL | INFERENCE | {"bundle_root": str(self.root), "dataset_dir": str(self.data)}
        options |= {"output_dir": str(self.root / "by_itself"), "ckpt_path": str(self.root / "given.pt")}
        workflow = ConfigWorkflow(
            str(self.root / "configs" / "inference.yaml"), workflow_type="infer", logging_file=False, **options
        )
        workflow.initialize()
        workflow.run()
        return workflow.evaluator.state.metrics["psnr"]


def mean(states: list[Weights]) -> Weights:
    return {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}


def equal(first: Weights, second: Weights) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.filterwarnings("ignore:.*executes? :UserWarning")
def test_two_clients_train_in_rounds_and_measure_the_weights_that_they_are_given(tmp_path):
    clients = [Client(tmp_path, digit) for digit in (0, 1)]
    server = randomize(clients[0].network(), seed=1, scale=0.1).state_dict()
    for done in (3, 6):
        returned = []
        for client in clients:
            client.algorithm.train(ExchangeObject(weights=server))
            assert client.algorithm.trainer.state.iteration == done
            returned.append(client.algorithm.get_weights().weights)
            assert not equal(returned[-1], server)
        server = mean(returned)
        assert not equal(returned[0], returned[1])
        for client in clients:
            measured = client.algorithm.evaluate(ExchangeObject(weights=server)).metrics
            assert measured["psnr"] == pytest.approx(client.psnr(server), rel=1e-5)
            assert measured["psnr"] != pytest.approx(client.psnr(client.shipped), rel=1e-3)

    for client in clients:
        rows = read_table(client.root / "runs" / "federated" / "training_log.csv")
        assert [row["iteration"] for row in rows] == ["3", "6"]
        losses = [float(row["val_noise_loss"]) for row in rows]
        best = client.algorithm.get_weights(extra={ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL}).weights
        final = client.algorithm.get_weights(extra={ExtraItems.MODEL_TYPE: ModelType.FINAL_MODEL}).weights
        assert not equal(best, client.shipped)
        assert equal(final, client.algorithm.get_weights().weights)
        assert equal(best, final) == (losses[1] < losses[0])
        # What was in the client's bundle is kept.
        kept = torch.load(client.root / "runs" / "federated" / "earlier_runs" / "1" / "model.pt", weights_only=True)
        assert equal(kept, client.shipped)
