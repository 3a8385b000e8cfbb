# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_diffae.schedulers import InvertibleDDIMScheduler, timestep_weights


def test_uniform_needs_no_weights():
    assert timestep_weights(InvertibleDDIMScheduler(), "uniform") is None


@pytest.mark.parametrize("density", ["min_snr", "logit_normal"])
def test_weights_are_positive_with_a_mean_of_one(density):
    weights = timestep_weights(InvertibleDDIMScheduler(prediction_type="v_prediction"), density)
    assert weights.shape == (1000,)
    assert weights.min() > 0
    assert weights.mean() == pytest.approx(1)


def test_logit_normal_prefers_the_middle_and_is_symmetric():
    weights = timestep_weights(InvertibleDDIMScheduler(), "logit_normal")
    torch.testing.assert_close(weights, weights.flip(0))
    assert weights[450:550].mean() > 1.5
    assert weights[:20].mean() < 0.3


def test_min_snr_is_one_weight_of_the_error_of_x_0_in_each_parametrisation():
    alpha_bar = InvertibleDDIMScheduler().alphas_cumprod.double()
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    # An error d of x_0 is an error -signal / noise * d of eps, and signal * eps - noise * x_0 of v.
    squared = {"sample": 1, "epsilon": (signal / noise) ** 2, "v_prediction": (signal**2 / noise + noise) ** 2}
    of_x_0 = [
        timestep_weights(InvertibleDDIMScheduler(prediction_type=name), "min_snr") * factor
        for name, factor in squared.items()
    ]
    for weights in of_x_0[1:]:
        ratio = weights / of_x_0[0]
        torch.testing.assert_close(ratio, ratio.mean().expand(1000), rtol=1e-4, atol=0)
    snr = alpha_bar / (1 - alpha_bar)
    assert (of_x_0[0][snr > 5].diff().abs() < 1e-9).all()  # capped
    assert of_x_0[0][-1] < of_x_0[0][0] / 1000


def test_another_density_is_refused():
    with pytest.raises(
        ValueError, match="timestep_density must be one of uniform, min_snr, logit_normal, got 'cosine'"
    ):
        timestep_weights(InvertibleDDIMScheduler(), "cosine")
