# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, MetaTensor
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator

from monai_diffae.inferers import ReconstructionInferer, SwapInferer


def test_swap_decodes_z_sem_of_one_with_x_T_of_the_other_and_the_reverse(tiny_autoencoder, images, loops):
    others = images.flip(0) * 0.5
    result = SwapInferer(loops).predict(images, tiny_autoencoder, others)
    z_sem, z_sem_to = tiny_autoencoder.encode(images).detach(), tiny_autoencoder.encode(others).detach()
    x_T, x_T_to = loops.invert(images, tiny_autoencoder, z_sem), loops.invert(others, tiny_autoencoder, z_sem_to)
    expected = {
        "z_sem": z_sem,
        "z_sem_to": z_sem_to,
        "x_T": x_T,
        "x_T_to": x_T_to,
        "swap": loops.decode(z_sem, x_T_to, tiny_autoencoder),
        "swap_reversed": loops.decode(z_sem_to, x_T, tiny_autoencoder),
    }
    assert result.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(result[key], value, rtol=0, atol=1e-5)
    for other in (loops.decode(z_sem, x_T, tiny_autoencoder), loops.decode(z_sem_to, x_T_to, tiny_autoencoder)):
        assert (result["swap"] - other).abs().max() > 1e-3


def test_swap_of_an_image_with_itself_is_its_reconstruction(tiny_autoencoder, images, loops):
    result = SwapInferer(loops).predict(images, tiny_autoencoder, images)
    reconstruction = ReconstructionInferer(loops)(images, tiny_autoencoder)
    for key in ("swap", "swap_reversed"):
        torch.testing.assert_close(result[key], reconstruction, rtol=0, atol=1e-5)


def test_swapping_the_arguments_swaps_the_results(tiny_autoencoder, images, loops):
    there = SwapInferer(loops).predict(images, tiny_autoencoder, -images)
    back = SwapInferer(loops).predict(-images, tiny_autoencoder, images)
    torch.testing.assert_close(there["swap"], back["swap_reversed"], rtol=0, atol=1e-5)
    torch.testing.assert_close(there["x_T"], back["x_T_to"], rtol=0, atol=1e-5)


def test_the_call_is_the_first_swap_and_an_evaluator_runs_it(tiny_autoencoder, images, loops, device):
    items = [
        {key: MetaTensor(x, meta={"filename_or_obj": f"{key}{i}.nii"}) for key, x in (("image", a), ("image_to", b))}
        for i, (a, b) in enumerate(zip(images.cpu(), -images.cpu()))
    ]
    outputs = []
    evaluator = SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(items, batch_size=2),
        network=tiny_autoencoder,
        prepare_batch=PrepareBatchExtraInput({"inputs_to": "image_to"}),
        inferer=SwapInferer(loops),
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.extend(engine.state.output))
    evaluator.run()
    expected = SwapInferer(loops).predict(images, tiny_autoencoder, -images)["swap"]
    torch.testing.assert_close(torch.stack([o["pred"].as_tensor() for o in outputs]), expected, rtol=0, atol=1e-5)
    assert [output["pred"].meta["filename_or_obj"] for output in outputs] == ["image0.nii", "image1.nii", "image2.nii"]


def test_results_of_plain_tensors_are_plain_and_each_code_keeps_its_images_metadata(tiny_autoencoder, images, loops):
    plain = SwapInferer(loops).predict(images, tiny_autoencoder, -images)
    first, second = (MetaTensor(x, meta={"filename_or_obj": name}) for x, name in ((images, "a"), (-images.cpu(), "b")))
    tracked = SwapInferer(loops).predict(first, tiny_autoencoder, second)
    for key, value in plain.items():
        assert type(value) is torch.Tensor
        assert not value.requires_grad
        torch.testing.assert_close(torch.Tensor(tracked[key].cpu()), value.cpu(), rtol=0, atol=1e-5)
    names = {key: tracked[key].meta["filename_or_obj"] for key in ("x_T", "swap", "x_T_to", "swap_reversed")}
    assert names == {"x_T": "a", "swap": "a", "x_T_to": "b", "swap_reversed": "b"}
    assert type(tracked["z_sem"]) is torch.Tensor


def test_swap_refuses_images_of_different_shapes(tiny_autoencoder, images, loops):
    with pytest.raises(ValueError, match=r"one shape, got \[3, 1, 8, 12\] and \[3, 1, 8, 8\]"):
        SwapInferer(loops)(images, tiny_autoencoder, images[..., :8])
