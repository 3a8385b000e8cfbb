# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import re
import shlex
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from hippocampi import write_hippocampi
from monai.bundle import ConfigParser
from PIL import Image

from monai_diffae import commands
from monai_diffae.data import find_volumes
from monai_diffae.datasets import generate_brain_slices
from monai_diffae.datasets.hippocampus.subject_lists import listed_subjects, subject_of
from monai_diffae.datasets.mednist.name_lists import listed_names
from monai_diffae.demo import inputs, make_demo
from monai_diffae.demo.page import write_page
from monai_diffae.demo.run import _read_metrics, main
from monai_diffae.demo.workflows import WORKFLOWS

BUNDLES = Path(__file__).parents[1] / "bundles"


def test_volumes_that_are_there_are_used_again_and_get_the_template(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("file\n")
    inputs.make_brains(tmp_path, num_subjects=8)
    assert (tmp_path / "labels.csv").read_text() == "file\n"
    (found,) = find_volumes(tmp_path)
    template = nib.load(found["image"])
    assert Path(found["image"]).name == "mni152_template.nii.gz"
    assert template.header.get_zooms() == (1.0, 1.0, 1.0)
    assert nib.aff2axcodes(template.affine) == ("R", "A", "S")
    assert 1000 < (np.asarray(template.dataobj) > 0).sum() / 1000 < 2500  # ml of brain
    before = Path(found["image"]).stat().st_mtime_ns
    inputs.make_brains(tmp_path, num_subjects=8)
    assert Path(found["image"]).stat().st_mtime_ns == before


def test_digits_are_one_of_each_class_and_few_of_them_have_labels(tmp_path):
    inputs.make_digits(tmp_path / "digits")
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == [f"digit-{k}.png" for k in range(10)]
    inputs.make_few_digits(tmp_path / "few", digit=3)
    with open(tmp_path / "few" / "labels.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["label"] for row in rows] == ["1"] * 10 + ["0"] * 10
    pictures = [np.asarray(Image.open(tmp_path / "few" / row["file"])) for row in rows]
    assert len({picture.tobytes() for picture in pictures}) == 20
    others = {path.read_bytes() for path in (tmp_path / "few").glob("unlabelled-*.png")}
    assert len(others) == 300
    assert not others & {(tmp_path / "few" / row["file"]).read_bytes() for row in rows}
    three = np.asarray(Image.open(tmp_path / "digits" / "digit-3.png"))
    assert [picture.tobytes() == three.tobytes() for picture in pictures] == [True] + [False] * 19


def test_real_images_are_those_of_pydicom_or_of_mednist(tmp_path):
    inputs.make_scans(tmp_path / "scans")
    pictures = {path.name: Image.open(path) for path in (tmp_path / "scans").iterdir()}
    assert {name: (picture.size, picture.mode) for name, picture in pictures.items()} == {
        "ct.png": ((128, 128), "L"),
        "mr.png": ((64, 64), "L"),
    }
    assert all(np.asarray(picture).std() > 30 for picture in pictures.values())
    for name in sorted(listed_names("test")):
        (tmp_path / "MedNIST" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "MedNIST" / name).touch()
    inputs.list_mednist(tmp_path, tmp_path / "some" / "list.csv")
    with open(tmp_path / "some" / "list.csv", newline="") as f:
        kinds = [Path(row["image"]).parent.name for row in csv.DictReader(f)]
    assert kinds == ["Hand"] * 2 + ["HeadCT"] * 2 + ["CXR"] * 2 + ["AbdomenCT"] * 2


def test_hippocampi_are_those_of_the_template_or_real_ones(tmp_path):
    inputs.make_template_hippocampi(tmp_path / "template")
    left, right = (nib.load(item["image"]) for item in find_volumes(tmp_path / "template"))
    for crop, sign in ((left, -1), (right, 1)):
        assert nib.aff2axcodes(crop.affine) == ("R", "A", "S")
        assert crop.shape == (36, 50, 36)
        middle = crop.affine @ [18, 25, 18, 1]
        assert np.abs(middle[:3] - [sign * 26, -22, -14]).max() <= 1  # mm in MNI space
        grey = np.asarray(crop.dataobj)
        assert 0.3 < grey[18, 25, 18] / grey.max() < 0.9  # grey matter, no fluid and no white matter
    mirrored = np.asarray(left.dataobj)[::-1]  # the template is symmetric
    assert np.corrcoef(mirrored.ravel(), np.asarray(right.dataobj).ravel())[0, 1] > 0.9
    write_hippocampi(tmp_path / "real", num_test=2)
    inputs.list_hippocampi(tmp_path / "real", tmp_path / "list.csv")
    with open(tmp_path / "list.csv", newline="") as f:
        numbers = [subject_of(row["image"]) for row in csv.DictReader(f)]
    assert numbers == [min(listed_subjects("test"))] * 2  # both sides


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_commands_name_overlays_and_options_that_the_bundle_has(workflow, capsys):
    options = {"dataset_dir": Path("in dir"), "output_dir": Path("out dir")}
    run, *words = workflow.monai_words(BUNDLES, options)
    assert run == "run"
    arguments = dict(zip(words[::2], words[1::2], strict=True))
    assert Path(arguments.pop("--bundle_root")).resolve() == BUNDLES / workflow.bundle
    files = yaml.safe_load(arguments.pop("--config_file"))
    config = ConfigParser()
    config.read_config(files)
    assert workflow.caption
    assert workflow.figure == "samples" or config["figure"] == workflow.figure
    for option, value in arguments.items():
        assert option.removeprefix("--") in config.get()
        if option.removeprefix("--") in workflow.options:
            assert yaml.safe_load(value) == workflow.options[option.removeprefix("--")]
    # The short command does the same.
    name, *short = shlex.split(workflow.short_command(BUNDLES, options))
    assert name == "monai-diffae"
    assert commands.main([*short, "--dry_run"]) == 0
    assert shlex.split(capsys.readouterr().out)[3:] == [run, *words]


def test_the_page_shows_numbers_commands_and_pictures(tmp_path):
    commands = {workflow.name: f"monai-diffae --{workflow.name} '<a & b>'" for workflow in WORKFLOWS}
    write_page(tmp_path / "index.html", WORKFLOWS, {"PSNR <1>": "31.3 dB"}, commands)
    page = (tmp_path / "index.html").read_text()
    assert "<td>PSNR &lt;1&gt;</td><td>31.3 dB</td>" in page
    for workflow in WORKFLOWS:
        assert f"<pre>monai-diffae --{workflow.name} &#x27;&lt;a &amp; b&gt;&#x27;</pre>" in page
        assert f'<a href="{workflow.name}.png"><img src="{workflow.name}.png" alt="{workflow.title}"></a>' in page
    targets = re.findall(r'<li><a href="#(\w+)">', page)
    assert targets[-len(WORKFLOWS) :] == [workflow.name for workflow in WORKFLOWS]  # the contents
    assert re.findall(r'<h2 id="(\w+)">', page) == targets[-len(WORKFLOWS) :]
    assert set(targets[: -len(WORKFLOWS)]) <= set(targets[-len(WORKFLOWS) :])  # what to look at first
    assert "not for clinical use" in page


def test_what_has_no_weights_is_left_out_aloud(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match=r"have no weights.*mednist_diffae.models.model.pt"):
        make_demo(tmp_path / "no_bundles", tmp_path / "out", num_subjects=1)
    by_verb = {workflow.verb: workflow for workflow in WORKFLOWS if workflow.bundle == "natural_images_diffae"}
    models = tmp_path / "natural_images_diffae" / "models"
    models.mkdir(parents=True)
    for name, able in (
        ("model.pt", {"compare-x_T", "interpolate"}),
        ("attributes.pt", {"compare-x_T", "interpolate", "edit"}),
        ("latent.pt", {"compare-x_T", "interpolate", "edit"}),
        ("statistics.pt", set(by_verb)),
    ):
        (models / name).touch()
        assert {verb for verb, workflow in by_verb.items() if not workflow.missing_weights(tmp_path)} == able
    write_page(tmp_path / "index.html", [], {}, {}, ["Samples: there is no latent.pt", "Edits: there is no <a>.pt"])
    page = (tmp_path / "index.html").read_text()
    assert "<p>Left out. Samples: there is no latent.pt. Edits: there is no &lt;a&gt;.pt.</p>" in page
    assert "What to look at first" in page
    assert 'href="#' not in page  # nothing that is not there


def test_command_line_help_states_the_options(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["demo", "--help"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert "--bundles_root" in (help_text := capsys.readouterr().out)
    assert "--output_dir" in help_text


@pytest.mark.slow
def test_the_demo_goes_from_images_to_a_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the bundles replace
    generate_brain_slices(tmp_path / "data", num_subjects=2, seed=2000, spacing=4.0, lesions="balls")
    few_steps = {"num_inference_steps": 5, "num_inversion_steps": 5, "progress": False}
    page = make_demo(BUNDLES, tmp_path, num_subjects=2, **few_steps)
    assert page == tmp_path / "index.html"
    able = [workflow for workflow in WORKFLOWS if not workflow.missing_weights(BUNDLES)]
    said = capsys.readouterr().out.splitlines()
    assert f"workflow 3 of {len(able)}: {able[2].title}" in said
    for workflow in WORKFLOWS:
        if workflow in able:
            assert (tmp_path / f"{workflow.name}.png").stat().st_size > 5_000
            assert f"{workflow.name}.png" in page.read_text()
        else:
            assert any(line.startswith(f"left out: {workflow.title}") for line in said)
            assert workflow.title.replace("&", "&amp;") in page.read_text()
    with open(tmp_path / "results" / "reconstruction" / "latents.csv", newline="") as f:
        files = [row["file"] for row in csv.DictReader(f)]
    assert set(files) == {"images/mni152_template.nii.gz", "images/sub-0000.nii.gz", "images/sub-0001.nii.gz"}
    assert f"<td>{len(files)}</td>" in page.read_text()
    results = tmp_path / "results"
    for name in ("real_reconstruction", "reconstruction", "digits_reconstruction"):
        metrics = _read_metrics(results / name)
        assert metrics["psnr"] > metrics["psnr_random_x_T"] > 8
    for name, kinds in (
        ("reconstruction", {"reconstruction"}),
        ("manipulation", {"reconstruction", "edit", "difference"}),
        ("variations", {"variations", "variation_std"}),
    ):
        names = {path.name for path in (results / name / "images").glob("*.nii.gz")}  # figures lie beside them
        assert names == {f"{Path(file).name[:-7]}_{kind}.nii.gz" for file in set(files) for kind in kinds}
    assert len(list((results / "interpolation").rglob("*_interpolation.nii.gz"))) == 2
    assert len(list((results / "digits_samples" / "samples").iterdir())) == 64
