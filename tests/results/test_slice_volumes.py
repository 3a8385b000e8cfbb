# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, FlattenSubKeysd, LoadImaged

from monai_diffae.data import VolumeSlices, find_volumes
from monai_diffae.results import SliceVolumeSaver

SHAPE = (6, 5, 9)
# A turned, flipped and anisotropic grid.
AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.3, 0.1) @ np.diag([-1.5, 2.0, 3.0]), [30.0, -40.0, 12.5]
)


def write(file: Path, seed: int, shape: tuple = SHAPE) -> np.ndarray:
    data = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, AFFINE), file)
    return data


@pytest.fixture
def dataset_dir(tmp_path) -> Path:
    """Two volumes of one name in two folders, and one beside these."""
    for seed, file in enumerate(("a/T1.nii.gz", "b/T1.nii.gz", "c.nii")):
        write(tmp_path / "data" / file, seed)
    return tmp_path / "data"


def evaluator(
    dataset_dir: Path, device: str, saver: SliceVolumeSaver, inferer: Callable, batch_size: int = 2, **slices
) -> SupervisedEvaluator:
    volumes = Dataset(find_volumes(dataset_dir), Compose([LoadImaged("image", ensure_channel_first=True)]))
    return SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(VolumeSlices(volumes, **slices), batch_size=batch_size),
        network=torch.nn.Identity(),
        inferer=inferer,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[saver],
    )


def double(inputs: torch.Tensor, network: Callable) -> dict:
    return {"double": inputs * 2, "negative": -inputs.as_tensor()}


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_every_source_has_a_file_at_its_own_place_whatever_the_batches(dataset_dir, tmp_path, device, batch_size):
    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2", "negative": "minus"}, data_root_dir=dataset_dir)
    evaluator(dataset_dir, device, saver, double, batch_size, num_slices=3).run()
    stems = ["a/T1", "b/T1", "c"]
    assert files(tmp_path / "out") == sorted(f"{s}_{kind}.nii.gz" for s in stems for kind in ("x2", "minus"))
    for stem, source in zip(stems, find_volumes(dataset_dir)):
        expected = nib.load(source["image"]).get_fdata()[..., [1, 4, 7]]
        for kind, factor in (("x2", 2), ("minus", -1)):
            found = nib.load(tmp_path / "out" / f"{stem}_{kind}.nii.gz")
            assert found.get_data_dtype() == np.float32
            np.testing.assert_allclose(found.get_fdata(), factor * expected, rtol=1e-6)


@pytest.mark.parametrize(("num_slices", "indices"), [(None, range(9)), (3, [1, 4, 7]), (1, [4])])
def test_slices_lie_where_they_lie_in_the_source(dataset_dir, tmp_path, device, num_slices, indices):
    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2"}, data_root_dir=dataset_dir)
    evaluator(dataset_dir, device, saver, double, num_slices=num_slices).run()
    found = nib.load(tmp_path / "out" / "c_x2.nii.gz")
    assert found.shape == (*SHAPE[:2], len(indices))
    for place, k in enumerate(indices):
        for i, j in ((0, 0), (5, 0), (2, 4)):
            there = nib.affines.apply_affine(found.affine, (i, j, place))
            np.testing.assert_allclose(there, nib.affines.apply_affine(AFFINE, (i, j, k)), atol=1e-3)


@pytest.mark.parametrize("shape_after", [(6, 5, 9), (8, 4, 3)])
def test_volumes_of_different_shapes_follow_each_other(tmp_path, device, shape_after):
    first, second = write(tmp_path / "data" / "a.nii", 0), write(tmp_path / "data" / "b.nii", 1, shape_after)
    saver = SliceVolumeSaver(tmp_path / "out", {"negative": "minus"}, data_root_dir=tmp_path / "data")
    evaluator(tmp_path / "data", device, saver, double, batch_size=1).run()
    for name, data in (("a", first), ("b", second)):
        np.testing.assert_array_equal(nib.load(tmp_path / "out" / f"{name}_minus.nii.gz").get_fdata(), -data)


def test_a_series_becomes_the_fourth_dimension(dataset_dir, tmp_path, device):
    def series(inputs: torch.Tensor, network: Callable) -> dict:
        return {"series": torch.stack([inputs, inputs + 10], dim=1)}

    saver = SliceVolumeSaver(tmp_path / "out", {"series": "series"}, data_root_dir=dataset_dir)
    evaluator(dataset_dir, device, saver, series, num_slices=3).run()
    found = nib.load(tmp_path / "out" / "a" / "T1_series.nii.gz").get_fdata()
    source = nib.load(dataset_dir / "a" / "T1.nii.gz").get_fdata()[..., [1, 4, 7]]
    assert found.shape == (6, 5, 3, 2)
    np.testing.assert_allclose(found, np.stack([source, source + 10], axis=-1), rtol=1e-5, atol=1e-5)


def test_outside_the_root_files_are_named_by_their_source_alone(dataset_dir, tmp_path, device):
    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2"}, data_root_dir=tmp_path / "elsewhere")
    evaluator(dataset_dir / "b", device, saver, double).run()
    assert files(tmp_path / "out") == ["T1_x2.nii.gz"]


def test_an_interrupted_run_leaves_complete_files_only(dataset_dir, tmp_path, device):
    calls = []

    def stop_in_the_second_volume(inputs: torch.Tensor, network: Callable) -> dict:
        calls.append(len(inputs))
        if sum(calls) > 5:
            raise RuntimeError("interrupted")
        return double(inputs, network)

    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2"}, data_root_dir=dataset_dir)
    with pytest.raises(RuntimeError, match="interrupted"):
        evaluator(dataset_dir, device, saver, stop_in_the_second_volume, batch_size=1, num_slices=3).run()
    assert files(tmp_path / "out") == ["a/T1_x2.nii.gz"]
    assert nib.load(tmp_path / "out" / "a" / "T1_x2.nii.gz").shape == (6, 5, 3)


def test_a_second_run_replaces_the_files_of_the_first(dataset_dir, tmp_path, device):
    for factor in (1.0, 3.0):
        saver = SliceVolumeSaver(tmp_path / "out", {"scaled": "scaled"}, data_root_dir=dataset_dir)
        evaluator(dataset_dir, device, saver, lambda inputs, network, factor=factor: {"scaled": inputs * factor}).run()
    found = nib.load(tmp_path / "out" / "c_scaled.nii.gz").get_fdata()
    np.testing.assert_allclose(found, 3 * nib.load(dataset_dir / "c.nii").get_fdata(), rtol=1e-6)
    assert len(files(tmp_path / "out")) == 3


def test_results_of_linked_sources_are_named_by_the_link(tmp_path, device):
    for subject in ("sub-1", "sub-2"):
        write(tmp_path / "archive" / subject / "T1.nii", 0)
        (tmp_path / "data" / subject).mkdir(parents=True)
        (tmp_path / "data" / subject / "T1.nii").symlink_to(tmp_path / "archive" / subject / "T1.nii")
    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2"}, data_root_dir=tmp_path / "data")
    evaluator(tmp_path / "data", device, saver, double, num_slices=3).run()
    assert files(tmp_path / "out") == ["sub-1/T1_x2.nii.gz", "sub-2/T1_x2.nii.gz"]


@pytest.mark.parametrize(("root", "expected"), [("", "T1_x2.nii.gz"), ("../data", "b/T1_x2.nii.gz")])
def test_results_of_relative_sources_stay_in_the_output_folder(
    dataset_dir, tmp_path, device, monkeypatch, root, expected
):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2"}, data_root_dir=root)
    evaluator(Path("../data/b"), device, saver, double).run()
    assert files(tmp_path / "out") == [expected]
    assert list((tmp_path / "work").iterdir()) == []


def test_a_saver_starts_from_nothing_after_an_interrupted_run(dataset_dir, tmp_path, device):
    calls = []

    def stop_once(inputs: torch.Tensor, network: Callable) -> dict:
        calls.append(len(inputs))
        if len(calls) == 3:
            raise RuntimeError("interrupted")
        return double(inputs, network)

    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2"}, data_root_dir=dataset_dir)
    with pytest.raises(RuntimeError, match="interrupted"):
        evaluator(dataset_dir, device, saver, stop_once, batch_size=1, num_slices=3).run()
    assert not (tmp_path / "out").exists()
    evaluator(dataset_dir, device, saver, stop_once, batch_size=1, num_slices=3).run()
    assert nib.load(tmp_path / "out" / "a" / "T1_x2.nii.gz").shape == (6, 5, 3)


def test_without_a_postfix_a_file_has_the_name_of_its_source(dataset_dir, tmp_path, device):
    saver = SliceVolumeSaver(tmp_path / "out", {"double": ""}, dataset_dir)
    evaluator(dataset_dir, device, saver, double).run()
    assert files(tmp_path / "out") == ["a/T1.nii.gz", "b/T1.nii.gz", "c.nii.gz"]


def test_slices_between_unevenly_spaced_ones_are_not_a_number(tmp_path, device):
    data = np.zeros(SHAPE, dtype=np.float32)
    data[..., [1, 3, 7]] = 1
    (tmp_path / "data").mkdir()
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "data" / "a.nii")
    saver = SliceVolumeSaver(tmp_path / "out", {"double": "x2"}, tmp_path / "data")
    evaluator(tmp_path / "data", device, saver, double, min_foreground=0.5, foreground_level=0.5).run()
    found = nib.load(tmp_path / "out" / "a_x2.nii.gz")
    assert found.shape == (6, 5, 4)
    np.testing.assert_array_equal(np.isnan(found.get_fdata()).all(axis=(0, 1)), [False, False, True, False])
    np.testing.assert_allclose(found.affine[:3, 2], 2 * AFFINE[:3, 2], rtol=1e-6)
    np.testing.assert_array_equal(found.get_fdata()[..., [0, 1, 3]], 2)
