# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from monai_diffae.metrics import ImageQuality, lpips_network


def pictures(side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 1, side, side, generator=generator) * 2 - 1
    truth = torch.nn.functional.avg_pool2d(truth, 5, 1, 2)
    return truth + 0.05 * torch.randn(truth.shape, generator=generator), truth


def test_mse_and_psnr_are_those_of_the_formula():
    images, truth = pictures()
    values = ImageQuality((1, 48, 48))(images, truth)
    mse = (images - truth).double().square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(values["mse"], mse, rtol=1e-5, atol=0)
    torch.testing.assert_close(values["psnr"], 10 * torch.log10(4 / mse), rtol=1e-5, atol=0)


def test_ssim_is_that_of_scikit_image():
    images, truth = pictures()
    ssim = ImageQuality((1, 48, 48))(images, truth)["ssim"]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0}
    for k in range(3):
        _, full = structural_similarity(truth[k, 0].numpy(), images[k, 0].numpy(), full=True, **options)
        inside = full[5:-5, 5:-5]  # where the window of 11 pixels fits, which is all that MONAI takes
        assert float(ssim[k]) == pytest.approx(float(np.mean(inside)), abs=2e-4)


def test_the_same_image_is_perfect():
    _, truth = pictures(176)
    values = ImageQuality((1, 176, 176))(truth, truth)
    assert values["ssim"].allclose(torch.ones(3, dtype=torch.float64))
    assert values["ms_ssim"].allclose(torch.ones(3, dtype=torch.float64))
    assert values["mse"].tolist() == [0, 0, 0]


def ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2003, Eq. 7, with the weights of their Section 3."""

    def blur(z):
        return gaussian_filter(z, 1.5, truncate=3.5)[5:-5, 5:-5]

    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            x, y = (z.reshape(len(z) // 2, 2, -1, 2).mean(axis=(1, 3)) for z in (x, y))
        mean_x, mean_y = blur(x), blur(y)
        var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
        contrast = (2 * cov + 0.06**2) / (var_x + var_y + 0.06**2)
        luminance = (2 * mean_x * mean_y + 0.02**2) / (mean_x**2 + mean_y**2 + 0.02**2)
        product *= np.mean(contrast * luminance if scale == 4 else contrast) ** weight
    return product


def test_ms_ssim_is_that_of_the_formula():
    images, truth = pictures(176)
    measured = ImageQuality((1, 176, 176))(images, truth)["ms_ssim"].tolist()
    pairs = zip(images[:, 0].double().numpy(), truth[:, 0].double().numpy())
    assert measured == pytest.approx([ms_ssim(x, y) for x, y in pairs], abs=1e-4)


@pytest.mark.parametrize(
    ("shape", "skipped"),
    [
        ((1, 8, 8), {"ssim", "ms_ssim", "lpips"}),
        ((1, 175, 180), {"ms_ssim", "lpips"}),
        ((1, 176, 180), {"lpips"}),
        ((2, 176, 176), {"lpips"}),
        ((1, 16, 16, 16), {"ms_ssim", "lpips"}),
    ],
)
def test_what_cannot_be_measured_is_said(shape, skipped):
    quality = ImageQuality(shape)
    assert set(quality.skipped) == skipped
    images = torch.rand(2, *shape)
    values = quality(images, images.flip(0))
    assert set(values) == {"mse", "psnr", "ssim", "ms_ssim", "lpips"} - skipped
    assert all(value.shape == (2,) for value in values.values())


def test_lpips_takes_grey_pictures_as_three_channels():
    class Distance(torch.nn.Module):
        def forward(self, x, y):
            assert x.shape[1] == 3
            return (x - y).abs().mean(dim=(1, 2, 3), keepdim=True)

    quality = ImageQuality((1, 31, 31), lpips=Distance())
    assert "lpips" not in quality.skipped
    assert quality(torch.ones(2, 1, 31, 31), torch.zeros(2, 1, 31, 31))["lpips"].tolist() == [1, 1]
    assert "AlexNet" in ImageQuality((1, 30, 31), lpips=Distance()).skipped["lpips"]


def test_lpips_is_not_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    lpips_network.cache_clear()
    network, why = lpips_network()
    assert network is None
    assert "lpips" in why or "AlexNet" in why
    lpips_network.cache_clear()


def test_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        ImageQuality((1, 16, 16))(torch.zeros(1, 1, 16, 16), torch.zeros(2, 1, 16, 16))
