# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from monai_diffae.schedulers import InvertibleDDIMScheduler


def test_constant_beta_decays_geometrically_in_float64():
    scheduler = InvertibleDDIMScheduler(num_train_timesteps=50, schedule="constant_beta", beta=0.02)
    expected = 0.98 ** torch.arange(1, 51, dtype=torch.float64)
    torch.testing.assert_close(scheduler.alphas_cumprod, expected, atol=1e-14, rtol=0)


def test_constant_beta_is_the_papers_by_default():
    assert InvertibleDDIMScheduler(schedule="constant_beta").betas.unique().tolist() == [0.008]


def test_monai_schedulers_find_it_by_name():
    assert DDPMScheduler(schedule="constant_beta", beta=0.01).betas.unique().tolist() == [0.01]


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1])
def test_impossible_beta_is_refused(beta):
    with pytest.raises(ValueError, match="between 0 and 1"):
        InvertibleDDIMScheduler(schedule="constant_beta", beta=beta)
