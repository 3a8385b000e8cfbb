# SPDX-License-Identifier: Apache-2.0
"""The bundles' files are what their parts make of them, and a bundle's source cannot name what is not there."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from monai_diffae.bundles import build_bundle, built_files
from monai_diffae.bundles.building import PARTS

BUNDLES = Path(__file__).parents[2] / "bundles"
SCHEMA = Path(__file__).parents[1] / "data" / "meta_schema_20240725.json"
NAMES = sorted(path.parent.name for path in BUNDLES.glob("*/bundle.yaml"))


@pytest.fixture
def own(tmp_path) -> Path:
    """A copy of a bundle's source, to change."""
    folder = tmp_path / "own_diffae"
    folder.mkdir()
    shutil.copy(BUNDLES / "natural_images_diffae" / "bundle.yaml", folder)
    return folder


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "bundle.yaml").read_text()
    assert text.count(old) == 1
    (folder / "bundle.yaml").write_text(text.replace(old, new))


def test_every_bundle_is_built():
    assert NAMES == sorted(path.name for path in BUNDLES.iterdir() if (path / "configs").exists()) != []


@pytest.mark.parametrize("name", NAMES)
def test_built_files_agree_with_their_parts(name):
    """If not: change bundle.yaml or monai_diffae/bundles/parts, and run make bundles."""
    built = built_files(BUNDLES / name)
    for path, text in built.items():
        assert (BUNDLES / name / path).read_text() == text, path
    files = [path for path in (BUNDLES / name / "configs").rglob("*") if path.is_file()]
    assert {path.relative_to(BUNDLES / name).as_posix() for path in files} <= set(built)


@pytest.mark.parametrize("name", NAMES)
def test_inference_json_says_the_same_as_yaml(name):
    configs = BUNDLES / name / "configs"
    expected = yaml.safe_load((configs / "inference.yaml").read_text())
    assert json.loads((configs / "inference.json").read_text()) == expected


@pytest.mark.parametrize("name", NAMES)
def test_metadata_fit_monais_schema(name):
    metadata = json.loads((BUNDLES / name / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, json.loads(SCHEMA.read_text()))
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize("name", NAMES)
def test_training_and_inference_describe_one_network_and_its_images(name):
    train, inference = (
        yaml.safe_load((BUNDLES / name / "configs" / f"{config}.yaml").read_text()) for config in ("train", "inference")
    )
    common = {"network_def", "scheduler", "z_dim", "image_size", "prediction_type", "clip_sample"}
    pictures, volumes = {"in_channels", "background"}, {"pixdim", "spacing", "orientation", "slice_range"}
    volumes |= {"percentiles", "window", "foreground_threshold"}
    described = common | next(kind for kind in (pictures, volumes) if kind <= set(train))
    assert {key: train[key] for key in described} == {key: inference[key] for key in described}


@pytest.mark.parametrize("name", NAMES)
def test_built_files_hold_nothing_of_the_parts_language(name):
    for path, text in built_files(BUNDLES / name).items():
        assert not re.search(r"\{\{|# include:", text), path


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_is_written_by_hand_in_few_lines(name):
    assert len((BUNDLES / name / "bundle.yaml").read_text().splitlines()) <= 150


def test_each_block_that_the_parts_ask_for_is_given_by_some_bundle_or_kind():
    texts = [path.read_text() for path in [*PARTS.rglob("*.yaml"), *BUNDLES.glob("*/bundle.yaml")]]
    asked = {name for text in texts for name in re.findall(r"# include: (\w+)", text)}
    given = {name for text in texts for name in re.findall(r"^ {0,2}(\w+):", text, re.MULTILINE)}
    assert asked <= given


def test_what_both_kinds_say_stands_among_what_all_share():
    runs = {kind: set() for kind in ("volumes", "pictures")}
    for kind, found in runs.items():
        for path in (PARTS / kind).glob("*.yaml"):
            lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
            found |= {tuple(lines[k : k + 6]) for k in range(len(lines) - 5)}
    assert all(runs.values())
    assert runs["volumes"] & runs["pictures"] == set()


def test_building_writes_what_differs_and_leaves_the_rest_alone(own):
    written = build_bundle(own)
    assert set(written) == set(built_files(own))
    assert build_bundle(own) == []
    (own / "configs" / "encode.yaml").write_text("changed by hand\n")
    assert build_bundle(own) == ["configs/encode.yaml"]
    assert "own_diffae" in (own / "configs" / "train.yaml").read_text()


def test_an_id_of_both_stands_in_training_and_inference(own):
    change(own, "  z_dim: 64", "  z_dim: 96\n  image_size: [48, 32]")
    built = built_files(own)
    for config in ("train", "inference"):
        assert yaml.safe_load(built[f"configs/{config}.yaml"])["z_dim"] == 96
    metadata = json.loads(built["configs/metadata.json"])
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 96
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [48, 32]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: pictures", "kind: photos", r"bundle\.yaml: kind should be one of pictures, volumes, got photos\."),
        ("  batch_size: 32", "  batchsize: 32", r"bundle\.yaml, for train\.yaml: no id 'batchsize' to change"),
        ("  z_dim: 64", "  zdim: 64", r"bundle\.yaml: neither train\.yaml nor inference\.yaml has zdim\."),
        ("\ntrain:", "\ntraining:", r"bundle\.yaml: no configuration training of this kind\."),
        ("  presets_note:", "  presetsnote:", r"bundle\.yaml: nothing includes the blocks presetsnote\."),
        ("{{file_formats}}", "{{formats}}", r"bundle\.yaml, for inference\.yaml: no word 'formats'; there are: a_file"),
        (
            "    title: FFHQ 128\n",
            "",
            r"bundle\.yaml, for presets/ffhq128\.yaml: no word 'title'; there are: batch_size",
        ),
        ("kind: pictures", "kind: volumes", r"bundle\.yaml: volumes have no presets\."),
        ("  task:", "  tasks:", r"bundle\.yaml, for metadata\.json: no word 'task'; there are: changelog"),
    ],
)
def test_what_is_not_there_is_refused_with_its_place(own, old, new, message):
    change(own, old, new)
    with pytest.raises(ValueError, match=message):
        built_files(own)


def test_what_a_bundle_says_of_its_weights_stands_above_the_licence_of_the_code(own):
    code = (PARTS / "common" / "LICENSE").read_text()
    assert built_files(own)["LICENSE"] == code
    change(own, "kind: pictures\n", "kind: pictures\n\nlicense: |\n  The weights are CC BY-SA 4.0.\n")
    text = built_files(own)["LICENSE"]
    assert text.startswith("The weights are CC BY-SA 4.0.\n")
    assert text.endswith(code)
