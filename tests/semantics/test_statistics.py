# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from monai_diffae.semantics import LatentStatistics


@pytest.fixture
def z_sem() -> torch.Tensor:
    return torch.randn(50, 4) * torch.tensor([0.1, 1.0, 5.0, 20.0]) + torch.tensor([-3.0, 0.0, 1.0, 100.0])


def test_fitted_statistics_are_mean_and_sample_standard_deviation(z_sem):
    statistics = LatentStatistics.fit(z_sem)
    values = z_sem.double().numpy()
    assert_close(statistics.mean.double(), torch.from_numpy(values.mean(axis=0)), rtol=1e-5, atol=1e-6)
    assert_close(statistics.std.double(), torch.from_numpy(np.std(values, axis=0, ddof=1)), rtol=1e-5, atol=0)


def test_normalized_codes_have_mean_zero_and_deviation_one(z_sem):
    normalized = LatentStatistics.fit(z_sem).normalize(z_sem)
    assert_close(normalized.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-4)
    assert_close(normalized.std(dim=0), torch.ones(4), rtol=0, atol=1e-4)


def test_denormalize_undoes_normalize_for_codes_that_were_not_fitted(z_sem):
    statistics = LatentStatistics.fit(z_sem)
    other = 3 * torch.randn(7, 4)
    assert_close(statistics.denormalize(statistics.normalize(other)), other, rtol=1e-5, atol=2e-5)
    assert_close(statistics.normalize(statistics.denormalize(other)), other, rtol=1e-5, atol=1e-4)


def test_statistics_travel_with_the_state_and_keep_no_hold_on_their_arguments(z_sem):
    mean, std = torch.ones(4), torch.full((4,), 2.0)
    statistics = LatentStatistics(mean, std)
    mean.zero_()
    assert statistics.normalize(torch.full((1, 4), 5.0)).tolist() == [[2.0] * 4]
    fitted = LatentStatistics.fit(z_sem)
    statistics.load_state_dict(fitted.state_dict())
    assert torch.equal(statistics.normalize(z_sem), fitted.normalize(z_sem))
    assert not list(statistics.parameters())


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e4])
def test_dimension_that_does_not_vary_is_an_error_that_names_it(z_sem, value):
    z_sem[:, 2] = value
    with pytest.raises(ValueError, match=r"dimensions \[2\] of z_sem do not vary"):
        LatentStatistics.fit(z_sem)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (0, 4), (5, 2, 4)])
def test_codes_of_another_shape_are_an_error_that_names_it(shape):
    with pytest.raises(ValueError, match=rf"\(N, D\) with two codes or more, got \[{', '.join(map(str, shape))}\]"):
        LatentStatistics.fit(torch.randn(shape))


@pytest.mark.parametrize(("mean", "std"), [((4,), (3,)), ((1, 4), (1, 4)), ((), ())])
def test_mean_and_std_of_other_shapes_are_an_error(mean, std):
    with pytest.raises(ValueError, match=r"one shape \(D,\), got"):
        LatentStatistics(torch.zeros(mean), torch.ones(std))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_standard_deviation_that_is_not_positive_is_an_error(value):
    with pytest.raises(ValueError, match=r"std must be positive; dimensions \[1\]"):
        LatentStatistics(torch.zeros(2), torch.tensor([1.0, value]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_an_error(value):
    with pytest.raises(ValueError, match="must be finite; codes that are not come from a failed training"):
        LatentStatistics(torch.tensor([0.0, value]), torch.ones(2))
    with pytest.raises(ValueError, match="must be finite"):
        LatentStatistics(torch.zeros(2), torch.tensor([1.0, value]))


def test_statistics_are_read_from_a_file_of_their_state(z_sem, tmp_path):
    statistics = LatentStatistics.fit(z_sem)
    torch.save(statistics.state_dict(), tmp_path / "statistics.pt")
    assert_close(LatentStatistics.load(tmp_path / "statistics.pt").state_dict(), statistics.state_dict())
    torch.save({"weight": z_sem}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"must hold mean, std of statistics of z_sem, got \['weight'\]"):
        LatentStatistics.load(tmp_path / "other.pt")


def test_file_of_impossible_statistics_is_named(tmp_path):
    torch.save({"mean": torch.zeros(2), "std": torch.tensor([1.0, 0.0])}, tmp_path / "statistics.pt")
    with pytest.raises(ValueError, match=r"statistics\.pt' holds no statistics of z_sem: std must be positive"):
        LatentStatistics.load(tmp_path / "statistics.pt")
