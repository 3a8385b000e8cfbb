# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, MetaTensor
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator
from monai.engines.utils import default_prepare_batch
from monai.transforms import FlattenSubKeysd

from monai_diffae.inferers import (
    InterpolationInferer,
    ManipulationInferer,
    ReconstructionInferer,
    VariationInferer,
)
from monai_diffae.semantics import AttributeDirections, Edit, LatentStatistics

X_T = ["encode", "random", "zeros"]
NAMES = ["reconstruction", "manipulation", "manipulation in series", "interpolation", "variations"]
# Images of a result, beside the shape of the input.
SERIES = {
    "reconstruction": {"reconstruction": ()},
    "manipulation": {"reconstruction": (), "edit": (), "difference": ()},
    "manipulation in series": {"reconstruction": (), "edit": (2,), "difference": (2,)},
    "interpolation": {"interpolation": (4,)},
    "variations": {"variations": (3,), "variation_std": ()},
}
CALL_RETURNS = {
    "reconstruction": "reconstruction",
    "manipulation": "edit",
    "manipulation in series": "edit",
    "interpolation": "interpolation",
    "variations": "variations",
}


@pytest.fixture
def attributes() -> AttributeDirections:
    random = torch.Generator().manual_seed(4)
    mean, weight = torch.randn(8, generator=random), torch.randn(2, 8, generator=random)
    statistics = LatentStatistics(mean, torch.rand(8, generator=random) + 0.5)
    return AttributeDirections(["age", "lesion"], weight, torch.tensor([0.5, -1.5]), statistics)


@pytest.fixture
def make(loops, attributes) -> Callable:
    def make(name: str):
        return {
            "reconstruction": lambda: ReconstructionInferer(loops),
            "manipulation": lambda: ManipulationInferer(loops, attributes, Edit("lesion", 0.3)),
            "manipulation in series": lambda: ManipulationInferer(loops, attributes, Edit("lesion", [-0.3, 0.3])),
            "interpolation": lambda: InterpolationInferer(loops, num_points=4),
            "variations": lambda: VariationInferer(loops, num_variations=3),
        }[name]()

    return make


def items(images: torch.Tensor) -> list[dict]:
    """Items with their own affines and file names, each with the next image as ``image_to``."""
    named = [
        MetaTensor(image, affine=torch.diag(torch.tensor([i + 1.0, 2, 3, 1])), meta={"filename_or_obj": f"{i}.nii"})
        for i, image in enumerate(images.cpu())
    ]
    return [{"image": image, "image_to": other} for image, other in zip(named, named[1:] + named[:1])]


@pytest.mark.parametrize("predict", [False, True], ids=["call", "predict"])
@pytest.mark.parametrize("name", NAMES)
def test_evaluators_run_each_inferer_and_its_images_keep_their_metadata(
    tiny_autoencoder, images, make, device, name, predict
):
    inferer = make(name)
    outputs = []
    evaluator = SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(items(images), batch_size=2),
        network=tiny_autoencoder,
        prepare_batch=PrepareBatchExtraInput({"inputs_to": "image_to"})
        if name == "interpolation"
        else default_prepare_batch,
        inferer=inferer.predict if predict else inferer,
        postprocessing=FlattenSubKeysd("pred") if predict else None,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.extend(engine.state.output))
    evaluator.run()
    assert len(outputs) == 3
    for i, output in enumerate(outputs):
        expected = SERIES[name] if predict else {"pred": SERIES[name][CALL_RETURNS[name]]}
        for key, series in expected.items():
            assert output[key].shape == (*series, 1, 8, 12)
            assert output[key].meta["filename_or_obj"] == f"{i}.nii"
            assert output[key].affine.diagonal().tolist() == [i + 1, 2, 3, 1]
        if predict:
            torch.testing.assert_close(output["z_sem"], tiny_autoencoder.encode(images)[i].detach())


@pytest.mark.parametrize("name", NAMES)
def test_results_of_plain_tensors_are_plain_and_equal_those_of_metatensors(tiny_autoencoder, images, make, name):
    others = {"inputs_to": images.flip(0)} if name == "interpolation" else {}
    plain = make(name).predict(images, tiny_autoencoder, **others)
    tracked = make(name).predict(MetaTensor(images), tiny_autoencoder, **others)
    assert plain.keys() == tracked.keys()
    for key, value in plain.items():
        assert type(value) is torch.Tensor
        assert not value.requires_grad
        assert isinstance(tracked[key], MetaTensor) == (key in SERIES[name])
        torch.testing.assert_close(torch.Tensor(tracked[key]), value, rtol=0, atol=0, equal_nan=True)
