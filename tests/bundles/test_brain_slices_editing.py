# SPDX-License-Identifier: Apache-2.0
"""Interpolation, variations, swaps and semantic reconstruction of the brain bundle, on random weights."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import workflows
from monai.bundle import ConfigWorkflow
from workflows import metrics

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_slices_diffae"
CONFIGS = BUNDLE / "configs"
OPTIONS = {"num_inference_steps": 2, "num_inversion_steps": 2, "num_slices": 2, "batch_size": 3, "progress": False}
OPTIONS |= {"network_def::encoder::channels": [8, 16, 16, 16, 16], "network_def::decoder::channels": [8, 16, 16]}
OPTIONS |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}
PROCESSED = {"source_files": [], "volume_files": {"reconstruction": "reconstruction"}}  # on the network's grid
SUBJECTS = [f"images/sub-{k:04d}.nii.gz" for k in range(3)]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """Ellipsoids of noise in the size of heads, with 4 mm voxels; faster than the generator."""
    folder = tmp_path_factory.mktemp("volumes")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    for k, name in enumerate(SUBJECTS):
        place = np.linspace(-1, 1, 48)[:, None, None], np.linspace(-1, 1, 54)[:, None], np.linspace(-1, 1, 46)
        inside = sum(x**2 for x in place) < 0.7 + 0.1 * k
        image = nib.Nifti1Image(
            (inside * random.uniform(0.2, 1, inside.shape)).astype(np.float32), np.diag([4, 4, 4, 1])
        )
        nib.save(image, folder / name)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return workflows.draw_weights(BUNDLE, tmp_path_factory.mktemp("weights") / "model.pt", **OPTIONS)


@pytest.fixture
def run(volumes, weights, tmp_path, device):
    def run(*names: str, **overrides) -> ConfigWorkflow:
        paths = {"dataset_dir": str(volumes), "ckpt_path": str(weights), "output_dir": str(tmp_path)}
        return workflows.run(BUNDLE, "inference", *names, **{**paths, "device": device, **OPTIONS, **overrides})

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.nii.gz"))


def values(file: Path) -> np.ndarray:
    return nib.load(file).get_fdata()


def test_by_default_each_volume_is_joined_with_the_next(run, tmp_path):
    run("interpolate", num_points=3)
    assert names(tmp_path) == [f"images/sub-000{k}_to_sub-000{k + 1}_interpolation.nii.gz" for k in (0, 1)]
    line = values(tmp_path / names(tmp_path)[0])
    assert line.shape == (64, 64, 2, 3)
    assert np.abs(np.diff(line, axis=-1)).mean(axis=(0, 1, 2)).min() > 1e-3
    run(**PROCESSED)
    reconstructions = [values(tmp_path / f"images/sub-000{k}_reconstruction.nii.gz") for k in (0, 1)]
    for end, reconstruction in ((0, reconstructions[0]), (2, reconstructions[1])):
        np.testing.assert_allclose(line[..., end], reconstruction, atol=1e-4)
    assert (tmp_path / "figures" / "interpolation.png").stat().st_size > 10_000
    assert set(metrics(tmp_path)) >= {"psnr"}


def test_one_volume_begins_several_pairs_and_only_those_given_are_read(run, tmp_path, volumes):
    pairs = [[SUBJECTS[2], SUBJECTS[0]], [SUBJECTS[2], str(volumes / SUBJECTS[1])]]
    run("interpolate", num_points=2, pairs=pairs)
    assert names(tmp_path) == [f"images/sub-0002_to_sub-000{k}_interpolation.nii.gz" for k in (0, 1)]
    first, second = (values(tmp_path / name) for name in names(tmp_path))
    np.testing.assert_allclose(first[..., 0], second[..., 0], atol=1e-4)
    assert np.abs(first[..., 1] - second[..., 1]).max() > 1e-2
    (tmp_path / "pairs.csv").write_text(f"file,file_to\n{SUBJECTS[0]},{SUBJECTS[2]}\n")
    workflow = run("interpolate", num_points=2, pairs_file=str(tmp_path / "pairs.csv"), output_dir=str(tmp_path / "t"))
    assert names(tmp_path / "t") == ["images/sub-0000_to_sub-0002_interpolation.nii.gz"]
    assert len(workflow.parser.get_parsed_content("volumes")) == 2


def noise_losses(folder: Path) -> dict[tuple[str, ...], float]:
    rows = workflows.read_table(folder / "latents.csv")
    return {(row["file"], row["slice"], n): float(row[f"noise_loss_{n}"]) for row in rows for n in ("25", "50", "75")}


def test_a_chain_is_one_line_through_its_volumes(run, tmp_path):
    run("interpolate", num_points=3, chain=[SUBJECTS[1], SUBJECTS[0], SUBJECTS[2]], noise_losses=True)
    losses = noise_losses(tmp_path)
    assert names(tmp_path) == ["images/sub-0001_to_sub-0002_interpolation.nii.gz"]
    line = values(tmp_path / names(tmp_path)[0])
    assert line.shape == (64, 64, 2, 5)
    run(**PROCESSED, noise_losses=True)
    assert losses == pytest.approx(noise_losses(tmp_path), rel=1e-3)  # those that follow in a chain have theirs, too
    for place, k in enumerate((1, 0, 2)):
        reconstruction = values(tmp_path / f"images/sub-000{k}_reconstruction.nii.gz")
        np.testing.assert_allclose(line[..., 2 * place], reconstruction, atol=1e-4)


def figures(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*_figure.png"))


@pytest.mark.parametrize("overlay", [(), ("compare_x_T",), ("variations",)])
def test_every_volume_has_a_figure_unless_that_is_switched_off(run, tmp_path, overlay):
    run(*overlay)
    assert figures(tmp_path) == [subject.replace(".nii.gz", "_figure.png") for subject in SUBJECTS]
    assert not list(tmp_path.rglob("*.partial*"))
    run(*overlay, volume_figures=False, output_dir=str(tmp_path / "off"))
    assert figures(tmp_path / "off") == []
    assert len(list((tmp_path / "off" / "figures").glob("*.png"))) == 1


@pytest.mark.parametrize("overlay", ["interpolate", "swap"])
def test_joined_volumes_have_no_figures_of_their_own(run, tmp_path, overlay):
    run(overlay, pairs=[SUBJECTS[:2]])
    assert figures(tmp_path) == []


def test_results_lie_where_the_first_volume_lies(run, tmp_path):
    run("interpolate", num_points=2, pairs=[SUBJECTS[:2]])
    run(**PROCESSED)
    line = nib.load(tmp_path / "images/sub-0000_to_sub-0001_interpolation.nii.gz")
    np.testing.assert_allclose(line.affine, nib.load(tmp_path / "images/sub-0000_reconstruction.nii.gz").affine)


def test_variations_share_z_and_differ_in_x_T(run, tmp_path):
    run("variations", num_variations=3)
    variations = values(tmp_path / "images" / "sub-0000_variations.nii.gz")
    spread = values(tmp_path / "images" / "sub-0000_variation_std.nii.gz")
    assert variations.shape == (64, 64, 2, 3)
    np.testing.assert_allclose(spread, variations.std(axis=-1), atol=1e-5)
    assert spread.mean() > 1e-3
    run(x_T="random", **PROCESSED)  # semantic only: the first of the variations
    reconstruction = values(tmp_path / "images" / "sub-0000_reconstruction.nii.gz")
    np.testing.assert_allclose(reconstruction, variations[..., 0], atol=1e-4)


def test_swaps_of_volumes_are_written_in_both_directions(run, tmp_path):
    run("swap", pairs=[SUBJECTS[:2], SUBJECTS[1::-1]])
    stems = ("images/sub-0000_to_sub-0001", "images/sub-0001_to_sub-0000")
    assert names(tmp_path) == [f"{stem}_{kind}.nii.gz" for stem in stems for kind in ("swap", "swap_reversed")]
    there, back = (values(tmp_path / f"{stem}_{kind}.nii.gz") for stem, kind in zip(stems, ("swap", "swap_reversed")))
    np.testing.assert_allclose(there, back, atol=1e-4)
    assert np.abs(there - values(tmp_path / f"{stems[0]}_swap_reversed.nii.gz")).max() > 1e-2
    assert set(metrics(tmp_path)) == {"psnr", "psnr_x_T"}
    assert (tmp_path / "figures" / "swap.png").stat().st_size > 10_000


def test_encoded_and_random_x_T_are_compared(run, tmp_path):
    run("compare_x_T")
    own = metrics(tmp_path)
    assert set(own) == {"psnr", "ssim", "psnr_random_x_T"}
    run(x_T="random")
    assert metrics(tmp_path)["psnr"] == pytest.approx(own["psnr_random_x_T"], abs=1e-3)
    assert own["psnr"] != pytest.approx(own["psnr_random_x_T"], abs=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"chain": [SUBJECTS[0]]}, "Chain means two files or more"),
        ({"pairs": [["sub-0000.nii.gz", SUBJECTS[1]]]}, "'sub-0000.nii.gz' is not a file of the data set.*images/sub"),
    ],
)
def test_what_cannot_be_joined_ends_before_anything_is_read(run, tmp_path, given, message):
    with pytest.raises(RuntimeError) as raised:
        run("interpolate", **given)
    cause = raised.value
    while cause.__cause__ is not None:
        cause = cause.__cause__
    assert isinstance(cause, ValueError)
    with pytest.raises(ValueError, match=message):
        raise cause
    assert list(tmp_path.iterdir()) == []
