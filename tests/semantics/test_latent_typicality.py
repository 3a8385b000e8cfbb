# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import chi2
from sklearn.covariance import ledoit_wolf

from monai_diffae.semantics import LatentTypicality


def codes(n: int, seed: int, dims: int = 6) -> torch.Tensor:
    mix = torch.randn(dims, dims, generator=torch.Generator().manual_seed(9))
    return torch.randn(n, dims, generator=torch.Generator().manual_seed(seed)) @ mix + 3


def test_distance_is_that_of_mahalanobis():
    z = codes(200, 0)
    typicality = LatentTypicality.fit(z, codes(50, 1))
    covariance, _ = ledoit_wolf(z.double().numpy())
    inverse = torch.linalg.inv(torch.from_numpy(covariance)).numpy()
    expected = [mahalanobis(code, z.double().mean(dim=0).numpy(), inverse) for code in codes(5, 2).double().numpy()]
    assert typicality.distance(codes(5, 2)).tolist() == pytest.approx(expected, rel=1e-4)


def test_percentiles_of_codes_of_the_same_kind_are_uniform():
    typicality = LatentTypicality.fit(codes(20000, 0), codes(999, 1))
    percentiles = typicality(codes(2000, 2))
    assert 0 <= percentiles.min() <= percentiles.max() <= typicality.finest == 99.9
    assert percentiles.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist() == pytest.approx([10, 50, 90], abs=4)
    # The distances themselves are those of six normal numbers.
    assert typicality.withheld.square().median().item() == pytest.approx(chi2.ppf(0.5, 6), rel=0.1)


def test_other_kinds_lie_beyond_all():
    typicality = LatentTypicality.fit(codes(500, 0), codes(99, 1))
    assert (typicality(codes(10, 2) + 100) == typicality.finest).all()
    assert typicality.finest == 99
    assert typicality(typicality.mean[None]).item() == 0


def test_it_is_kept_in_a_file(tmp_path):
    typicality = LatentTypicality.fit(codes(100, 0), codes(20, 1))
    typicality.save(tmp_path / "new" / "typicality.pt")
    again = LatentTypicality.load(tmp_path / "new" / "typicality.pt")
    assert torch.equal(again(codes(30, 2)), typicality(codes(30, 2)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["typicality.pt"]


def test_other_files_and_codes_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="fit_typicality"):
        LatentTypicality.load(tmp_path / "none.pt")
    torch.save({"mean": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="must hold mean"):
        LatentTypicality.load(tmp_path / "other.pt")
    typicality = LatentTypicality.fit(codes(100, 0), codes(20, 1))
    with pytest.raises(ValueError, match="Expected codes"):
        typicality(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="do not vary"):
        LatentTypicality.fit(torch.ones(10, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="Expected two codes"):
        LatentTypicality.fit(codes(1, 0), codes(2, 0))
    with pytest.raises(ValueError, match="Expected mean"):
        LatentTypicality(torch.zeros(2), torch.eye(2), torch.zeros(0))
    with pytest.raises(ValueError, match="finite"):
        LatentTypicality(torch.zeros(2), torch.eye(2), torch.tensor([float("nan")]))
