# SPDX-License-Identifier: Apache-2.0
"""Interpolation, variations, swaps and semantic reconstruction of the bundle for pictures, on random weights."""

import csv
from pathlib import Path

import numpy as np
import pytest
import workflows
from in_process import run_module
from monai.bundle import ConfigWorkflow
from PIL import Image
from workflows import metrics

BUNDLE = Path(__file__).parents[2] / "bundles" / "natural_images_diffae"
CONFIGS = BUNDLE / "configs"
OPTIONS = {"num_inference_steps": 2, "num_inversion_steps": 2, "batch_size": 2, "progress": False}
OPTIONS |= {"network_def::encoder::channels": [8, 16, 16, 16], "network_def::decoder::channels": [8, 16, 16]}
OPTIONS |= {f"network_def::{part}::norm_num_groups": 4 for part in ("encoder", "decoder")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Coloured noise of several sizes and formats, in subfolders."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    (folder / "more").mkdir()
    for name, size in (("a.png", (40, 50)), ("b.png", (36, 36)), ("more/c.tif", (33, 40)), ("more/d.webp", (32, 32))):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights of one and of three channels, so that every branch of the networks takes part."""
    folder = tmp_path_factory.mktemp("weights")
    for in_channels in (1, 3):
        workflows.draw_weights(BUNDLE, folder / f"{in_channels}.pt", **OPTIONS, in_channels=in_channels)
    return folder


@pytest.fixture
def run(pictures, weights, tmp_path, device):
    def run(*names: str, in_channels: int = 1, **overrides) -> ConfigWorkflow:
        paths = {"dataset_dir": str(pictures), "ckpt_path": str(weights / f"{in_channels}.pt")}
        paths |= {"output_dir": str(tmp_path), "in_channels": in_channels, "device": device}
        return workflows.run(BUNDLE, "inference", *names, **{**paths, **OPTIONS, **overrides})

    return run


def names(folder: Path) -> list[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*.png"))
    return sorted(path.as_posix() for path in files if path.parts[0] != "figures")


def pixels(*files: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in files]).astype(float)


def latent_files(folder: Path) -> list[str]:
    with open(folder / "latents.csv", newline="") as f:
        return [row["file"] for row in csv.DictReader(f)]


def test_by_default_each_picture_is_joined_with_the_next(run, tmp_path):
    run("interpolate", num_points=3)
    lines = ("a_to_b", "b_to_more_c", "more/c_to_d")
    assert names(tmp_path) == sorted(f"{line}_interpolation_{k}.png" for line in lines for k in range(3))
    line = pixels(*(tmp_path / f"a_to_b_interpolation_{k}.png" for k in range(3)))
    assert line.shape == (3, 32, 32)
    assert np.abs(np.diff(line, axis=0)).mean(axis=(1, 2)).min() > 1
    assert latent_files(tmp_path) == ["a.png", "b.png", "more/c.tif", "more/d.webp"]
    assert (tmp_path / "figures" / "interpolation.png").stat().st_size > 10_000
    assert set(metrics(tmp_path)) == {"psnr"}


def test_the_ends_of_a_line_are_the_reconstructions(run, tmp_path):
    run("interpolate", num_points=2, pairs=[["more/d.webp", "a.png"], ["more/d.webp", "b.png"]], in_channels=3)
    assert len(names(tmp_path)) == 4
    run(in_channels=3)
    starts = pixels(*(tmp_path / f"more/d_to_{end}_interpolation_0.png" for end in "ab"))
    assert starts.shape == (2, 32, 32, 3)
    for start in starts:
        np.testing.assert_allclose(start, pixels(tmp_path / "more/d_reconstruction.png")[0], atol=1)
    ends = pixels(*(tmp_path / f"more/d_to_{end}_interpolation_1.png" for end in "ab"))
    assert np.abs(ends[0] - ends[1]).mean() > 1


def test_a_chain_is_one_series_through_its_pictures(run, tmp_path):
    workflow = run("interpolate", num_points=6, chain=["more/d.webp", "a.png", "b.png"])
    assert names(tmp_path) == [f"more/d_to_b_interpolation_{k:02d}.png" for k in range(11)]
    assert [Path(item["image"]).name for item in workflow.parser.get_parsed_content("chained")] == [
        "a.png",
        "b.png",
        "d.webp",
    ]
    assert latent_files(tmp_path) == ["more/d.webp", "a.png", "b.png"]
    series = pixels(*(tmp_path / name for name in names(tmp_path)))
    assert np.abs(np.diff(series, axis=0)).mean(axis=(1, 2)).min() > 0.1
    run("interpolate", num_points=2, pairs=[["a.png", "b.png"]])
    ends = pixels(*(tmp_path / f"a_to_b_interpolation_{k}.png" for k in range(2)))
    np.testing.assert_allclose(series[[5, 10]], ends, atol=1)


def test_pairs_are_read_from_a_table(run, tmp_path):
    (tmp_path / "pairs.csv").write_text("file,file_to\nmore/c.tif,b.png\nb.png,a.png\n")
    run("interpolate", num_points=2, pairs_file=str(tmp_path / "pairs.csv"), x_T="random")
    assert names(tmp_path) == [
        *(f"b_to_a_interpolation_{k}.png" for k in range(2)),
        *(f"more/c_to_b_interpolation_{k}.png" for k in range(2)),
    ]


def test_variations_are_the_decoded_z_with_each_random_x_T(run, tmp_path):
    run("variations", num_variations=3)
    assert names(tmp_path) == sorted(
        f"{stem}_variations_{k}.png" for stem in ("a", "b", "more/c", "more/d") for k in range(3)
    )
    variations = pixels(*(tmp_path / f"a_variations_{k}.png" for k in range(3)))
    assert np.abs(np.diff(variations, axis=0)).mean() > 1
    assert len(latent_files(tmp_path)) == 4
    assert (tmp_path / "figures" / "variations.png").stat().st_size > 10_000
    run(x_T="random")  # semantic only: the first of the variations
    reconstruction = np.asarray(Image.open(tmp_path / "more/d_reconstruction.png").convert("L")).astype(float)
    np.testing.assert_allclose(pixels(tmp_path / "more/d_variations_0.png")[0], reconstruction, atol=1)


def test_semantic_only_depends_on_the_seed_and_is_told_from_the_encoded_x_T(run, tmp_path):
    results = {}
    for key, options in {"own": {}, "0": {"x_T": "random"}, "1": {"x_T": "random", "seed": 1}}.items():
        run(**options)
        results[key] = pixels(tmp_path / "more/d_reconstruction.png")
    for first, second in (("own", "0"), ("own", "1"), ("0", "1")):
        assert np.abs(results[first] - results[second]).mean() > 1, (first, second)


def test_swaps_of_pictures_are_written_in_both_directions(run, tmp_path):
    run("swap", pairs=[["a.png", "b.png"], ["b.png", "a.png"], ["a.png", "more/c.tif"]])
    stems = ("a_to_b", "a_to_more_c", "b_to_a")
    assert names(tmp_path) == sorted(f"{stem}_{kind}.png" for stem in stems for kind in ("swap", "swap_reversed"))
    there = pixels(tmp_path / "a_to_b_swap.png", tmp_path / "a_to_b_swap_reversed.png")
    back = pixels(tmp_path / "b_to_a_swap_reversed.png", tmp_path / "b_to_a_swap.png")
    np.testing.assert_allclose(there, back, atol=1)
    assert latent_files(tmp_path) == ["a.png", "b.png", "more/c.tif"]
    assert np.abs(there[0] - there[1]).mean() > 1
    assert set(metrics(tmp_path)) == {"psnr", "psnr_x_T"}
    assert (tmp_path / "figures" / "swap.png").stat().st_size > 10_000


def test_encoded_and_random_x_T_are_compared(run, tmp_path):
    run("compare_x_T")
    assert set(metrics(tmp_path)) == {"psnr", "ssim", "psnr_random_x_T"}
    assert len([name for name in names(tmp_path) if name.endswith("_reconstruction.png")]) == 4
    own = metrics(tmp_path)
    run(x_T="random")
    assert metrics(tmp_path)["psnr"] == pytest.approx(own["psnr_random_x_T"], abs=1e-3)
    assert own["psnr"] != pytest.approx(own["psnr_random_x_T"], abs=1e-3)


def test_command_line_takes_a_chain_and_ends_an_error_with_its_cause(pictures, weights, tmp_path):
    command = ["monai.bundle", "run", "--bundle_root", str(BUNDLE), "--config_file"]
    command += [str([str(CONFIGS / "inference.yaml"), str(CONFIGS / "interpolate.yaml")]), "--num_points", "2"]
    options = {"dataset_dir": pictures, "output_dir": tmp_path / "out", "ckpt_path": weights / "1.pt", **OPTIONS}
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = run_module(*command, "--chain", "['a.png','b.png','more/c.tif']")
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == [f"a_to_more_c_interpolation_{k}.png" for k in range(3)]
    failed = run_module(*command, "--pairs", "[['a.png','z.png']]")
    assert failed.returncode != 0
    assert failed.stderr.strip().splitlines()[-1].startswith("ValueError: 'z.png' is not a file of the data set.")
