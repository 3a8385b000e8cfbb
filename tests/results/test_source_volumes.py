# SPDX-License-Identifier: Apache-2.0
"""Volumes back in the geometry of their source, bit by bit where nothing was processed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import (
    Compose,
    CropForegroundd,
    FlattenSubKeysd,
    LoadImaged,
    Orientationd,
    ResizeWithPadOrCropd,
    Spacingd,
)

from monai_diffae.data import RescaleIntensityd, VolumeSlices, WholeVolumes, find_volumes
from monai_diffae.results import SourceVolumeSaver

SHAPE = (30, 26, 20)
FILES = [
    {"postfix": "reconstruction", "key": "reconstruction", "mode": "decoded"},
    {"postfix": "edit", "key": "edit", "mode": "residual", "minus": "reconstruction"},
    {"postfix": "difference", "key": "edit", "mode": "difference", "minus": "reconstruction"},
]
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, -0.3, 0.1) @ np.diag([-1.5, 2.0, 3.0]), [30.0, -40.0, 12.5]
)

TEXT = ("data_type", "db_name", "descrip", "aux_file", "intent_name")  # of headers, blank in results


def write(file: Path, dtype: str = "<i2", affine: np.ndarray = OBLIQUE, slope: float = 1.0, seed: int = 0) -> Path:
    """Noise of detail that a coarse grid cannot hold, in a header with entries of its own."""
    stored = np.random.default_rng(seed).uniform(20, 120, SHAPE).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(stored.dtype)
    header["descrip"] = b"not made here"
    header.set_xyzt_units("mm", "sec")
    image = nib.Nifti1Image(stored, affine, header)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=4)
    image.header.set_slope_inter(slope, 5.0 if slope != 1 else 0.0)
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, file)
    return file


def prepare(size: int = 12, spacing: float = 3.0) -> Compose:
    return Compose(
        [
            LoadImaged("image", ensure_channel_first=True),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(spacing,) * 3),
            CropForegroundd("image", source_key="image", allow_smaller=True),
            ResizeWithPadOrCropd("image", spatial_size=(size, size, -1)),
            RescaleIntensityd("image", percentiles=[0, 100]),
        ]
    )


def blur_and_brighten(inputs: torch.Tensor, network: Callable) -> dict:
    """A reconstruction without detail, and an edit of it that is 0.2 brighter: a tenth of the range."""
    reconstruction = torch.full_like(inputs, -0.5)
    return {"reconstruction": reconstruction, "edit": reconstruction + 0.2}


def run(
    dataset_dir: Path, output_dir: Path, device: str, inferer: Callable = blur_and_brighten, **settings
) -> SourceVolumeSaver:
    preprocessing = settings.pop("preprocessing", prepare())
    volumes = CacheDataset(find_volumes(dataset_dir), preprocessing, progress=False)
    slices = VolumeSlices(volumes, num_slices=settings.pop("num_slices", 2), slice_range=(0.3, 0.7))
    files = settings.pop("files", FILES)
    saver = SourceVolumeSaver(output_dir, files, volumes, preprocessing, dataset_dir, **settings)
    return evaluate(slices, device, inferer, saver)


def evaluate(data: Dataset, device: str, inferer: Callable, saver: SourceVolumeSaver) -> SourceVolumeSaver:
    SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(data, batch_size=3),
        network=torch.nn.Identity(),
        inferer=inferer,
        postprocessing=FlattenSubKeysd("pred"),
        val_handlers=[saver],
    ).run()
    return saver


def assert_same_geometry(found: nib.Nifti1Image, source: nib.Nifti1Image, besides: tuple = ()) -> None:
    assert type(found) is type(source)
    np.testing.assert_array_equal(found.affine, source.affine)
    for field in source.header:
        if field not in besides:
            expected = b"" if field in TEXT else source.header[field]
            np.testing.assert_array_equal(found.header[field], expected, err_msg=field)


def unscaled(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj.get_unscaled())


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "slope"), [("u1", 1), ("<i2", 1), (">i2", 1), ("<i2", 0.25), ("<f4", 1), ("<f8", 1)])
def test_a_volume_comes_back_as_it_was_but_for_the_slices(tmp_path, device, dtype, slope, extension):
    source = nib.load(write(tmp_path / "data" / f"a{extension}", dtype, slope=slope))
    run(tmp_path / "data", tmp_path / "out", device)
    found = {entry["postfix"]: nib.load(tmp_path / "out" / f"a_{entry['postfix']}.nii.gz") for entry in FILES}
    for kind in ("reconstruction", "edit"):
        assert_same_geometry(found[kind], source)
        assert (found[kind].dataobj.slope, found[kind].dataobj.inter) == (source.dataobj.slope, source.dataobj.inter)
        assert unscaled(found[kind]).dtype == unscaled(source).dtype
    assert_same_geometry(found["difference"], source, ("datatype", "bitpix"))
    assert found["difference"].get_data_dtype().newbyteorder("=") == np.float32

    difference = found["difference"].get_fdata()
    covered = difference != 0
    assert 0.03 < covered.mean() < 0.3
    for kind in ("reconstruction", "edit"):
        assert unscaled(found[kind])[~covered].tobytes() == unscaled(source)[~covered].tobytes()
    tenth = np.median(difference[covered])
    assert tenth > 0
    np.testing.assert_allclose(difference[covered], tenth, rtol=1e-4)
    step = slope if dtype[-2] in "iu" else 1e-3
    intensities = source.get_fdata()
    # The edit keeps the detail of the source, the reconstruction has none.
    np.testing.assert_allclose((found["edit"].get_fdata() - intensities)[covered], tenth, atol=step)
    assert found["reconstruction"].get_fdata()[covered].std() <= step < intensities[covered].std()


def test_intensities_are_those_that_the_scaling_had_started_from(tmp_path, device):
    source = nib.load(write(tmp_path / "data" / "a.nii", "<f4"))
    saver = run(tmp_path / "data", tmp_path / "out", device)
    limits = saver.volumes[0]["image"].applied_operations[-1]["extra_info"]
    low, high = limits["low"], limits["high"]
    changed = nib.load(tmp_path / "out" / "a_difference.nii.gz").get_fdata() != 0
    reconstruction = nib.load(tmp_path / "out" / "a_reconstruction.nii.gz").get_fdata()
    np.testing.assert_allclose(reconstruction[changed], low + 0.25 * (high - low), rtol=1e-4)
    edit = nib.load(tmp_path / "out" / "a_edit.nii.gz").get_fdata()
    np.testing.assert_allclose((edit - source.get_fdata())[changed], 0.1 * (high - low), rtol=1e-3)


def test_an_edit_can_be_written_as_it_was_decoded(tmp_path, device):
    write(tmp_path / "data" / "a.nii", "<f4")
    files = [FILES[0], {"postfix": "edit", "key": "edit", "mode": "decoded"}, FILES[2]]
    run(tmp_path / "data", tmp_path / "out", device, files=files)
    found = {
        entry["postfix"]: nib.load(tmp_path / "out" / f"a_{entry['postfix']}.nii.gz").get_fdata() for entry in FILES
    }
    changed = found["difference"] != 0
    assert found["edit"][changed].std() < 0.01
    np.testing.assert_allclose(
        (found["edit"] - found["reconstruction"])[changed], found["difference"][changed], rtol=1e-3
    )


def test_what_the_network_gives_beyond_its_range_is_clipped(tmp_path, device):
    write(tmp_path / "data" / "a.nii", "u1")

    def too_bright(inputs: torch.Tensor, network: Callable) -> dict:
        return {"reconstruction": torch.full_like(inputs, 1.5), "edit": torch.full_like(inputs, 9.0)}

    saver = run(tmp_path / "data", tmp_path / "out", device, too_bright)
    assert not nib.load(tmp_path / "out" / "a_difference.nii.gz").get_fdata().any()
    source = nib.load(tmp_path / "data" / "a.nii").get_fdata()
    assert np.array_equal(nib.load(tmp_path / "out" / "a_edit.nii.gz").get_fdata(), source)
    high = saver.volumes[0]["image"].applied_operations[-1]["extra_info"]["high"]
    found = nib.load(tmp_path / "out" / "a_reconstruction.nii.gz").get_fdata()
    assert set(np.unique(found[found != source])) == {round(high)}


def test_integers_are_clipped_to_their_type(tmp_path, device):
    stored = np.full(SHAPE, 250, dtype=np.uint8)
    stored[::2] = 5
    (tmp_path / "data").mkdir()
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "data" / "a.nii")

    def darken(inputs: torch.Tensor, network: Callable) -> dict:
        return {"reconstruction": torch.zeros_like(inputs), "edit": torch.zeros_like(inputs) - 0.5}

    run(tmp_path / "data", tmp_path / "out", device, darken)
    found = nib.load(tmp_path / "out" / "a_edit.nii.gz").get_fdata()
    changed = found[found != stored]
    assert set(np.unique(changed[changed < 100])) == {0}  # 5 minus about 60
    assert 180 < changed[changed > 100].min() <= changed.max() < 195


@pytest.mark.parametrize("dtype", ["u1", "<f4"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_results_that_are_not_finite_are_not_written(tmp_path, device, dtype, value):
    write(tmp_path / "data" / "a.nii", dtype)

    def break_down(inputs: torch.Tensor, network: Callable) -> dict:
        results = blur_and_brighten(inputs, network)
        results["edit"][0, 0, 3, 4] = value
        return results

    with pytest.raises(ValueError, match=r"a\.nii: 1 of the 144 numbers of its edit are NaN or infinite"):
        run(tmp_path / "data", tmp_path / "out", device, break_down)
    assert list((tmp_path / "out").rglob("*.nii.gz")) == []


def test_a_series_becomes_the_fourth_dimension(tmp_path, device):
    def series(inputs: torch.Tensor, network: Callable) -> dict:
        steps = torch.tensor([-0.1, 0.0, 0.1]).to(inputs.device).reshape(1, 3, 1, 1, 1)
        return {"reconstruction": inputs, "edit": inputs.as_tensor()[:, None] + steps}

    source = nib.load(write(tmp_path / "data" / "a.nii", "<f4"))
    run(tmp_path / "data", tmp_path / "out", device, series)
    edit = nib.load(tmp_path / "out" / "a_edit.nii.gz")
    assert edit.shape == (*SHAPE, 3)
    np.testing.assert_array_equal(edit.affine, source.affine)
    np.testing.assert_array_equal(edit.get_fdata()[..., 1], source.get_fdata())
    difference = nib.load(tmp_path / "out" / "a_difference.nii.gz").get_fdata()
    assert difference.shape == (*SHAPE, 3)
    assert difference[..., 0].min() < 0 == difference[..., 0].max()


@pytest.mark.parametrize(
    "entry",
    [
        {"postfix": "edit", "key": "edit", "mode": "blended"},
        {"postfix": "edit", "key": "edit", "mode": "residual"},
        {"postfix": "edit", "key": "edit", "mode": "decoded", "plus": "reconstruction"},
        {"key": "edit", "mode": "decoded"},
    ],
)
def test_files_that_are_not_understood_are_refused(tmp_path, entry):
    with pytest.raises(ValueError, match="A file has postfix, key and mode"):
        SourceVolumeSaver(tmp_path, [entry], [], Compose([]))


def test_files_of_the_same_results_are_left_alone_unless_they_are_to_be_overwritten(tmp_path, device):
    for seed, name in enumerate(("x/a", "x/b", "c")):
        write(tmp_path / "data" / f"{name}.nii", seed=seed)
    out = tmp_path / "out"

    def times(**settings) -> dict[str, int]:
        run(tmp_path / "data", out, device, **settings)
        return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.rglob("*.nii.gz")}

    first = times(overwrite=False)
    assert len(first) == 9
    assert times(overwrite=False) == first
    (out / "x" / "b_edit.nii.gz").unlink()
    write(tmp_path / "data" / "c.nii", seed=7)
    third = times(overwrite=False)
    again = {name for name in first if third[name] != first[name]}
    assert again == {f"{stem}_{entry['postfix']}.nii.gz" for stem in ("x/b", "c") for entry in FILES}
    decoded = [*FILES[:1], {"postfix": "edit", "key": "edit", "mode": "decoded"}, *FILES[2:]]
    fourth = times(overwrite=False, files=decoded)
    assert all(fourth[name] != third[name] for name in third)
    fifth = times(overwrite=True, files=decoded)
    assert all(fifth[name] != fourth[name] for name in third)


def test_an_interrupted_run_leaves_complete_volumes_only(tmp_path, device, monkeypatch):
    write(tmp_path / "data" / "a.nii")

    def stop(image: nib.Nifti1Image, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("monai_diffae.results.nifti_files.nib.save", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "data", tmp_path / "out", device, overwrite=False)
    assert list((tmp_path / "out").glob("a_*")) == []
    assert list((tmp_path / "out").rglob("*.json")) == []
    monkeypatch.undo()
    run(tmp_path / "data", tmp_path / "out", device, overwrite=False)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == [
        "a_difference.nii.gz",
        "a_edit.nii.gz",
        "a_reconstruction.nii.gz",
    ]


@pytest.mark.parametrize("series", [False, True])
def test_results_of_whole_volumes_come_back_like_those_of_all_their_slices(tmp_path, device, series):
    for seed in range(2):
        write(tmp_path / "data" / f"{seed}.nii", seed=seed)
    preprocessing = prepare()
    volumes = CacheDataset(find_volumes(tmp_path / "data"), preprocessing, progress=False)

    def brighten(inputs: torch.Tensor, network: Callable) -> dict:
        reconstruction = inputs.as_tensor() * 0.5
        edit = reconstruction + 0.2
        return {
            "reconstruction": reconstruction,
            "edit": torch.stack([edit, -edit], dim=1) if series else edit,
        }

    found = {}
    for dims, data in ((2, VolumeSlices(volumes)), (3, WholeVolumes(volumes))):
        folders = tmp_path / str(dims), FILES, volumes, preprocessing, tmp_path / "data"
        evaluate(data, device, brighten, SourceVolumeSaver(*folders, spatial_dims=dims))
        found[dims] = {path.name: nib.load(path) for path in (tmp_path / str(dims)).glob("*.nii.gz")}
    assert len(found[2]) == 6
    assert set(found[2]) == set(found[3])
    for name, image in found[2].items():
        assert image.shape == ((*SHAPE, 2) if series and "reconstruction" not in name else SHAPE)
        np.testing.assert_array_equal(unscaled(found[3][name]), unscaled(image))


def test_results_of_anything_but_slices_and_volumes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"spatial_dims must be 2 \(slices\) or 3 \(whole volumes\), got 1"):
        SourceVolumeSaver(tmp_path, [], [], Compose([]), spatial_dims=1)
