# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_diffae.metrics import ImageClassifier, train_image_classifier


def squares(n: int, seed: int, dims: int = 2) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """A bright square of some size, at the left or the right."""
    random, images = np.random.default_rng(seed), torch.full((n, 1, *[16] * dims), -1.0)
    left, side = random.integers(0, 2, n).astype(float), random.integers(3, 8, n).astype(float)
    for k in range(n):
        end = int(side[k])
        place = slice(0, end) if left[k] else slice(16 - end, 16)
        images[(k, 0, place, slice(4, 4 + end), *[slice(4, 12)] * (dims - 2))] = 1
    return images, {"left": left, "side": side}


@pytest.mark.parametrize("dims", [2, 3])
def test_it_learns_what_images_show(dims):
    images, labels = squares(120, 0, dims)
    labels["left"][:10] = np.nan
    network = train_image_classifier(images, labels, num_iterations=60, batch_size=32, progress=False)
    assert network.kinds == ["binary", "continuous"]
    test, truth = squares(60, 1, dims)
    with torch.no_grad():
        seen = network(test).numpy()
        assert network.features(test).shape == (60, 64)
    assert ((seen[:, 0] > 0) == truth["left"]).mean() > 0.9
    assert np.corrcoef(seen[:, 1], truth["side"])[0, 1] > 0.8
    assert abs(seen[:, 1] - truth["side"]).mean() < 1.5  # in the unit of the labels


def test_the_same_seed_gives_the_same_network():
    images, labels = squares(40, 0)
    state = torch.random.get_rng_state()
    networks = [
        train_image_classifier(images, labels, num_iterations=3, seed=seed, progress=False) for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [torch.nn.utils.parameters_to_vector(network.parameters()) for network in networks]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_cannot_be_learnt_is_refused():
    images, _ = squares(8, 0)
    with pytest.raises(ValueError, match="one value"):
        train_image_classifier(images, {"same": np.ones(8)})
    with pytest.raises(ValueError, match="kinds"):
        ImageClassifier((1, 16, 16), ["a"], ["classes"])
    with pytest.raises(ValueError, match="8 pixels"):
        ImageClassifier((1, 4, 16), ["a"], ["binary"])
