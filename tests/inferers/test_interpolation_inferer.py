# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from monai.data import MetaTensor

from monai_diffae.inferers import InterpolationInferer, ReconstructionInferer
from monai_diffae.semantics import lerp, slerp

X_T = ["encode", "random", "zeros"]


@pytest.mark.parametrize("x_T", X_T)
def test_interpolation_starts_and_ends_at_the_reconstructions(tiny_autoencoder, images, loops, x_T):
    others = images.flip(0)
    result = InterpolationInferer(loops, 3, x_T, seed=2).predict(images, tiny_autoencoder, others)
    line = result["interpolation"]
    for end, inputs in ((0, images), (2, others)):
        reconstruction = ReconstructionInferer(loops, x_T, seed=2)(inputs, tiny_autoencoder)
        torch.testing.assert_close(line[:, end], reconstruction, rtol=0, atol=1e-5)
    torch.testing.assert_close(result["z_sem"], tiny_autoencoder.encode(images).detach(), rtol=0, atol=0)


def test_interpolation_passes_z_sem_on_a_line_and_x_T_on_a_circle(tiny_autoencoder, images, loops):
    line = InterpolationInferer(loops, num_points=5)(images, tiny_autoencoder, images.flip(0))
    z_sem = tiny_autoencoder.encode(images)
    x_T = loops.invert(images, tiny_autoencoder, z_sem)
    z_sem, x_T = lerp(z_sem, z_sem.flip(0), 0.25), slerp(x_T, x_T.flip(0), 0.25)
    torch.testing.assert_close(line[:, 1], loops.decode(z_sem, x_T, tiny_autoencoder), rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_points", [1, 0, -3])
def test_interpolation_refuses_fewer_than_two_points(loops, num_points):
    with pytest.raises(ValueError, match=f"num_points must be 2 or more, got {num_points}"):
        InterpolationInferer(loops, num_points)


def test_interpolation_refuses_images_of_different_shapes(tiny_autoencoder, images, loops):
    with pytest.raises(ValueError, match=r"one shape, got \[3, 1, 8, 12\] and \[3, 1, 8, 8\]"):
        InterpolationInferer(loops)(images, tiny_autoencoder, images[..., :8])


def chained(images: torch.Tensor) -> list[torch.Tensor]:
    """Three more batches, so that the chain has four images."""
    return [images.flip(0), -images, images.roll(1, dims=-1)]


@pytest.mark.parametrize("num_points", [2, 4])
@pytest.mark.parametrize("x_T", X_T)
def test_a_chain_is_the_lines_from_each_image_to_the_next_without_doubled_ends(
    tiny_autoencoder, images, loops, x_T, num_points
):
    inferer = InterpolationInferer(loops, num_points, x_T, seed=2)
    others = chained(images)
    chain = inferer.predict(images, tiny_autoencoder, others)
    assert chain["interpolation"].shape == (3, 3 * (num_points - 1) + 1, 1, 8, 12)
    for i, (first, second) in enumerate(pairwise([images, *others])):
        line = inferer(first, tiny_autoencoder, second)
        stretch = chain["interpolation"][:, i * (num_points - 1) :][:, :num_points]
        torch.testing.assert_close(stretch, line, rtol=0, atol=1e-5)
    assert chain["interpolation"].diff(dim=1).abs().mean(dim=(0, 2, 3, 4)).min() > 1e-3


def test_each_image_of_a_chain_is_encoded_once(tiny_autoencoder, images, loops):
    encoded = []
    handle = tiny_autoencoder.encoder.register_forward_hook(lambda _, images, __: encoded.append(len(images[0])))
    InterpolationInferer(loops, 2)(images, tiny_autoencoder, chained(images))
    handle.remove()
    assert sum(encoded) == 4 * len(images)


def test_a_chain_of_two_is_the_pair_and_a_tuple_is_a_list(tiny_autoencoder, images, loops):
    inferer = InterpolationInferer(loops, 3)
    pair = inferer(images, tiny_autoencoder, images.flip(0))
    for others in ([images.flip(0)], (images.flip(0),)):
        torch.testing.assert_close(inferer(images, tiny_autoencoder, others), pair, rtol=0, atol=0)


def test_images_of_a_chain_may_lie_on_another_device_and_hold_metadata(tiny_autoencoder, images, loops):
    inferer = InterpolationInferer(loops, 2)
    expected = inferer(images, tiny_autoencoder, chained(images))
    first = MetaTensor(images, meta={"filename_or_obj": "a.png"})
    line = inferer(first, tiny_autoencoder, [MetaTensor(other.cpu()) for other in chained(images)])
    assert line.meta["filename_or_obj"] == "a.png"
    torch.testing.assert_close(line.as_tensor(), expected, rtol=0, atol=0)


def test_interpolation_refuses_an_empty_chain(tiny_autoencoder, images, loops):
    with pytest.raises(ValueError, match="empty list"):
        InterpolationInferer(loops)(images, tiny_autoencoder, [])


def test_interpolation_refuses_a_chain_with_one_image_of_another_shape(tiny_autoencoder, images, loops):
    with pytest.raises(ValueError, match=r"one shape, got \[3, 1, 8, 12\] and \[2, 1, 8, 12\]"):
        InterpolationInferer(loops)(images, tiny_autoencoder, [images, images[:2]])
