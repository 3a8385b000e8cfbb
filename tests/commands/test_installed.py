# SPDX-License-Identifier: Apache-2.0
"""Bundles in an installed package: what a wheel carries, and that nothing is written into it."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monai_diffae.commands.installed import options_of_installed

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """A bundle where an installed package has them."""
    configs = tmp_path / "shipped" / "cells" / "configs"
    configs.mkdir(parents=True)
    (configs / "inference.yaml").write_text("# Encodes.\ndefault_dataset_dir: data\n")
    (configs / "sample.yaml").write_text("# Samples.\nnum_samples: 4\n")
    monkeypatch.setattr("monai_diffae.commands.installed.SHIPPED", tmp_path / "shipped")
    return configs.parent


def test_results_and_generated_data_go_where_the_user_says(installed):
    encode, sample = ([installed / "configs" / f"{name}.yaml"] for name in ("inference", "sample"))
    with pytest.raises(ValueError, match=r"cells lies in the installed package: .*--output_dir"):
        options_of_installed(installed, encode, {"dataset_dir": "x"})
    out = {"output_dir": "out"}
    assert options_of_installed(installed, encode, out) == out | {"default_dataset_dir": os.path.join("out", "data")}
    assert options_of_installed(installed, encode, out | {"dataset_dir": "x"}) == out | {"dataset_dir": "x"}
    assert options_of_installed(installed, sample, out) == out


def test_bundles_elsewhere_are_left_alone(installed):
    configs = [installed / "configs" / "inference.yaml"]
    assert options_of_installed(installed.parents[1], configs, {}) == {}
    linked = installed.parents[1] / "linked"
    linked.symlink_to(installed.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monai_diffae.commands.installed.SHIPPED", linked)  # as in a checkout
        assert options_of_installed(installed, configs, {}) == {}


def test_the_wheel_carries_the_weights_of_the_two_smallest_bundles():
    """Of those whose weights have the licence of the code, which is the wheel's."""
    sizes = {
        folder.parent.name: sum(path.stat().st_size for path in folder.iterdir())
        for folder in (REPOSITORY / "bundles").glob("*/models")
        if "CC BY-SA" not in (folder.parent / "LICENSE").read_text()
    }
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    lines = settings["options.package_data"]["monai_diffae.bundles"].split()
    carried = [line.split("/")[1] for line in lines if line.endswith("/models/*")]
    assert sorted(carried) == sorted(sorted(sizes, key=sizes.get)[:2])


@pytest.mark.slow
def test_an_installed_wheel_lists_and_runs_its_bundles(tmp_path):
    source, site, out = tmp_path / "source", tmp_path / "site", tmp_path / "out"
    source.mkdir()
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "monai_diffae", source / "monai_diffae", symlinks=True)
    made = shutil.ignore_patterns("data", "output", "runs")
    shutil.copytree(REPOSITORY / "bundles", source / "bundles", ignore=made)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, "wheel", *options, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)

    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-P", "-m", "monai_diffae", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True
        )

    assert (site / "bin" / "monai-diffae").exists()
    listed = run("list").stdout
    for name in (folder.name for folder in (REPOSITORY / "bundles").iterdir()):
        assert os.path.join("site", "monai_diffae", "bundles", "shipped", name) in listed
    before = sorted(path for path in site.rglob("*") if "__pycache__" not in path.parts)
    refused = run("reconstruct", "natural_images_diffae")
    assert refused.returncode == 2
    assert "--output_dir" in refused.stderr
    few_steps = ["--num_inference_steps", "2", "--inversion", "explicit"]
    done = run("reconstruct", "natural_images_diffae", "--output_dir", str(out), *few_steps)
    assert done.returncode == 0, done.stderr
    assert (out / "metrics.csv").exists()
    assert (out / "data" / "labels.csv").exists()
    assert sorted(path for path in site.rglob("*") if "__pycache__" not in path.parts) == before
