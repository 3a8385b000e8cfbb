# SPDX-License-Identifier: Apache-2.0
"""A metric of NaN is shown as NaN: in the log, in metrics.csv, in TensorBoard's numbers."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, MetricsSaver, PeakSignalToNoiseRatio, StatsHandler, from_engine
from monai.metrics import SSIMMetric

from monai_diffae.metrics import NaNMetrics

OUTPUT = from_engine(["pred", "label"])


def metrics(folder, caplog, bad: list[float], handlers=(NaNMetrics,)) -> tuple[dict, dict, str]:
    """Of images of which those numbers are one pixel: the evaluator's, those of metrics.csv, and the log."""
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    data = [{"image": image.clone(), "label": image + 0.1} for image in images]
    for item, value in zip(data, bad):
        item["image"][0, 0, 0] = value
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(data, batch_size=2),
        network=torch.nn.Identity(),
        key_val_metric={"loss": IgniteMetricHandler(loss_fn=torch.nn.MSELoss(), output_transform=OUTPUT)},
        additional_metrics={
            "psnr": PeakSignalToNoiseRatio(max_val=1, output_transform=OUTPUT),
            "ssim": IgniteMetricHandler(SSIMMetric(spatial_dims=2, win_size=7), output_transform=OUTPUT),
        },
        val_handlers=[
            *(handler() for handler in handlers),
            StatsHandler(iteration_log=False, name=None),
            MetricsSaver(save_dir=str(folder), delimiter=","),
        ],
    )
    with caplog.at_level("INFO"):
        evaluator.run()
    with open(folder / "metrics.csv", newline="") as f:
        table = {name: float(value) for name, value in csv.reader(f)}
    return evaluator.state.metrics, table, caplog.text


@pytest.mark.parametrize("bad", [[math.nan], [math.nan] * 3])
def test_images_of_nan_make_their_metric_nan(tmp_path, caplog, bad):
    found, table, log = metrics(tmp_path, caplog, bad)
    assert set(found) == {"loss", "psnr", "ssim"}
    assert all(math.isnan(value) for value in [*found.values(), *table.values()])
    assert "loss: nan psnr: nan ssim: nan" in log
    assert f"psnr is not a number for {len(bad)} of 3 images" in log


def test_metrics_of_numbers_are_left_as_they_are(tmp_path, caplog):
    found, table, log = metrics(tmp_path, caplog, [])
    alone, _, _ = metrics(tmp_path, caplog, [], handlers=())
    assert found == alone
    assert all(math.isfinite(value) for value in table.values())
    assert "not a number" not in log
