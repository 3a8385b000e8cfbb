# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from monai.bundle import ConfigParser

from monai_diffae import demo
from monai_diffae.data import find_volumes, generate_brain_slices

REPOSITORY = Path(__file__).parents[1]
BUNDLE = REPOSITORY / "bundles" / "brain_slices_diffae"


def test_a_data_set_that_is_there_is_used_again_and_gets_the_template(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("file\n")
    demo._make_input(tmp_path, num_subjects=8)
    assert (tmp_path / "labels.csv").read_text() == "file\n"
    (found,) = find_volumes(tmp_path)
    template = nib.load(found["image"])
    assert Path(found["image"]).name == "mni152_template.nii.gz"
    assert template.header.get_zooms() == (1.0, 1.0, 1.0)
    assert nib.aff2axcodes(template.affine) == ("R", "A", "S")
    assert 1000 < (np.asarray(template.dataobj) > 0).sum() / 1000 < 2500  # ml of brain
    before = Path(found["image"]).stat().st_mtime_ns
    demo._make_input(tmp_path, num_subjects=8)
    assert Path(found["image"]).stat().st_mtime_ns == before


@pytest.mark.parametrize("name", list(demo._WORKFLOWS))
def test_commands_name_an_overlay_its_figure_and_options_that_the_bundle_has(name):
    overlay, figure, caption, options = demo._WORKFLOWS[name]
    command = demo._command(BUNDLE, overlay, options | {"output_dir": Path("out dir")})
    assert command[:3] == ["-m", "monai.bundle", "run"]
    arguments = dict(zip(command[3::2], command[4::2], strict=True))
    assert arguments.pop("--bundle_root") == str(BUNDLE)
    assert arguments["--output_dir"] == "out dir"
    files = yaml.safe_load(arguments.pop("--config_file"))
    assert [Path(file).stem for file in files] == ["inference", overlay]
    config = ConfigParser()
    config.read_config(files)
    assert config["figure"] == figure
    assert caption
    for option, value in arguments.items():
        assert option.removeprefix("--") in config.get()
        if option != "--output_dir":
            assert yaml.safe_load(value) == options[option.removeprefix("--")]


def test_metrics_are_read_as_numbers(tmp_path):
    (tmp_path / "metrics.csv").write_text("psnr,31.5\nssim,0.98\n")
    assert demo._read_metrics(tmp_path / "metrics.csv") == {"psnr": 31.5, "ssim": 0.98}


def test_the_page_shows_metrics_commands_and_figures(tmp_path):
    metrics = {"psnr": 31.26, "ssim": 0.9876, "psnr_random_x_T": 20.04}
    commands = {name: f"python --{name} '<a & b>'" for name in demo._WORKFLOWS}
    demo._write_page(tmp_path, metrics, 36, commands)
    page = (tmp_path / "index.html").read_text()
    for value in ("31.3 dB", "0.988", "20.0 dB", "36"):
        assert f"<td>{value}</td>" in page
    for name, (_, figure, _, _) in demo._WORKFLOWS.items():
        assert f"<code>python --{name} &#x27;&lt;a &amp; b&gt;&#x27;</code>" in page
        assert f"<img src='{figure}.png' alt='{name}'>" in page
    assert page.count("<h2>") == len(demo._WORKFLOWS)
    assert "not for clinical use" in page


def test_command_line_help_states_the_options(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["demo", "--help"])
    with pytest.raises(SystemExit) as stopped:
        demo.main()
    assert stopped.value.code == 0
    assert "--bundle_root" in (help_text := capsys.readouterr().out)
    assert "--output_dir" in help_text


@pytest.mark.slow
def test_the_demo_goes_from_volumes_to_a_page(tmp_path):
    generate_brain_slices(tmp_path / "data", num_subjects=2, seed=2000, spacing=4.0)
    few_steps = {"num_inference_steps": 5, "num_inversion_steps": 5, "progress": False}
    page = demo.make_demo(BUNDLE, tmp_path, num_subjects=2, **few_steps)
    assert page == tmp_path / "index.html"
    for _, figure, _, _ in demo._WORKFLOWS.values():
        assert (tmp_path / f"{figure}.png").stat().st_size > 10_000
        assert f"{figure}.png" in page.read_text()
    with open(tmp_path / "latents.csv", newline="") as f:
        files = [row["file"] for row in csv.DictReader(f)]
    assert set(files) == {"images/mni152_template.nii.gz", "images/sub-0000.nii.gz", "images/sub-0001.nii.gz"}
    assert f"<td>{len(files)}</td>" in page.read_text()
    metrics = demo._read_metrics(tmp_path / "reconstruct" / "metrics.csv")
    assert metrics["psnr"] > metrics["psnr_random_x_T"] > 10
    for workflow, results in (
        ("reconstruct", {"reconstruction"}),
        ("manipulate", {"reconstruction", "edit", "difference"}),
        ("variations", {"variations", "variation_std"}),
    ):
        names = {path.name for path in (tmp_path / workflow / "images").iterdir()}
        assert names == {f"{Path(file).name[:-7]}_{result}.nii.gz" for file in set(files) for result in results}
    assert len(list((tmp_path / "interpolate").rglob("*_interpolation.nii.gz"))) == 2
