# SPDX-License-Identifier: Apache-2.0
"""What the heads of configurations say, which the short commands and the demo put lists of files together from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monai_diffae.bundles.finding import bundle_folders, find_bundle, shown_path
from monai_diffae.bundles.main_ids import main_ids
from monai_diffae.bundles.workflows import BundleConfigs, Configuration

BUNDLES = Path(__file__).parents[2] / "bundles"
BUNDLE = BundleConfigs(BUNDLES / "brain_slices_diffae")
PICTURES = BundleConfigs(BUNDLES / "natural_images_diffae")
CONFIGS = sorted(BUNDLES.glob("*/configs/**/*.yaml"))


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_configuration_says_what_it_does_and_what_it_lies_on(path):
    config = Configuration.read(path)
    assert config.summary.endswith(".")
    assert "--config_file" not in config.summary
    assert (config.bases == ()) == (path.stem in ("inference", "train") or config.is_preset)
    assert set(config.bases) <= {other.stem for other in path.parent.glob("*.yaml")}


@pytest.mark.parametrize(
    ("verb", "additions", "expected"),
    [
        ("reconstruct", [], ["inference"]),
        ("edit", [], ["inference", "manipulate"]),
        ("manipulate", [], ["inference", "manipulate"]),  # by the file's name
        ("counterfactual", [], ["inference", "manipulate", "counterfactual"]),
        ("sample-class", [], ["inference", "sample", "conditional_sample"]),
        ("sample_class", [], ["inference", "sample", "conditional_sample"]),
        ("compare-x_T", [], ["inference", "compare_x_T"]),
        ("train-adversarial", [], ["train", "train_adversarial"]),
        ("edit", ["windows", "volumes"], ["inference", "volumes", "manipulate", "windows"]),
        ("train", ["volumes"], ["train", "volumes"]),
    ],
)
def test_files_come_in_the_order_in_which_they_are_laid_upon_each_other(verb, additions, expected):
    assert names(BUNDLE.files(verb, additions)) == expected


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("encode", ["inference", "encode", "multi_gpu_inference"]),
        ("train", ["train", "multi_gpu_train"]),
        ("train-adversarial", ["train", "train_adversarial", "multi_gpu_train"]),
        ("train-latent", ["inference", "train_latent", "multi_gpu_train_latent"]),
    ],
)
def test_several_processes_get_the_overlay_of_the_latest_file_that_has_one(verb, expected):
    assert names(BUNDLE.files(verb, several_processes=True)) == expected


def test_presets_and_own_files_come_behind_the_workflow(tmp_path):
    own = tmp_path / "converted.yaml"
    own.write_text("z_dim: 8\n")
    assert names(PICTURES.files("train-latent", ["ffhq128"])) == ["inference", "train_latent", "ffhq128"]
    assert PICTURES.files("edit", [str(own)])[-1] == own
    assert names(PICTURES.files("train", ["ffhq128"], several_processes=True))[-2:] == ["ffhq128", "multi_gpu_train"]


@pytest.mark.parametrize(
    ("verb", "additions", "message"),
    [
        ("edti", [], r"brain_slices_diffae has no workflow edti: .*train.*\. Did you mean edit\?"),
        ("volumes", [], "no workflow volumes"),
        ("edit", ["window"], r"no addition window: .*windows.*\. Did you mean windows\?"),
        ("edit", ["ffhq128"], "no addition ffhq128"),  # of the other bundle
        ("edit", ["nowhere.yaml"], "No file nowhere.yaml"),
        ("train", ["windows"], "windows is laid upon inference.yaml, which train does not have"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(verb, additions, message):
    with pytest.raises(ValueError, match=message):
        BUNDLE.files(verb, additions)


def test_a_bundle_without_overlays_for_processes_says_so(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.yaml").write_text("# Encodes.\nz_dim: 8\n")
    with pytest.raises(ValueError, match="no overlay that shares reconstruct between processes"):
        BundleConfigs(tmp_path).files("reconstruct", several_processes=True)


def test_bundles_are_found_by_name_and_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"brain_slices_diffae", "natural_images_diffae"} <= set(bundle_folders())
    assert find_bundle("brain_slices_diffae") == BUNDLE.folder
    (tmp_path / "bundles" / "mine" / "configs").mkdir(parents=True)
    (tmp_path / "bundles" / "mine" / "configs" / "metadata.json").write_text("{}")
    assert find_bundle("mine") == find_bundle("bundles/mine") == tmp_path / "bundles" / "mine"
    assert shown_path(find_bundle("mine")) == "bundles/mine"
    assert shown_path(BUNDLE.folder) == str(BUNDLE.folder)
    with pytest.raises(ValueError, match=r"no bundle 'brain_slice'.*Did you mean brain_slices_diffae\?"):
        find_bundle("brain_slice")


CONFIG = """\
# Encodes.
imports:
- $import os

# Hyper-parameters
num_slices: 4 # of every volume
spacing: ['@pixdim', 2] # mm
plain: word

# Paths
bundle_root: .
output_dir: $@bundle_root + '/output' # for # results

# Network
kernel: 3 # made of others
"""
OVERLAY = """\
# Overlay on inference.yaml: strengthens.
amount: '$0.8 if @target is None else None' # how far
num_slices: 2 # fewer
attributes: $monai_diffae.semantics.AttributeDirections.load(@path) # no setting
spacing: [3, 3]
figure: montage
inferer: # a block
  _target_: Inferer
inferer::seed: 3 # nested
"""


def test_main_ids_are_those_of_the_last_file_with_defaults_and_comments(tmp_path):
    for name, text in (("inference", CONFIG), ("edit", OVERLAY)):
        (tmp_path / f"{name}.yaml").write_text(text)
    found = main_ids([tmp_path / "inference.yaml", tmp_path / "edit.yaml"])
    assert [(item.name, item.default, item.comment, item.overlay) for item in found] == [
        ("amount", "'$0.8 if @target is None else None'", "how far", True),
        ("num_slices", "2", "fewer", True),
        ("spacing", "[3, 3]", "mm", True),
        ("plain", "word", "", False),
        ("output_dir", "$@bundle_root + '/output'", "for # results", False),
    ]


@pytest.mark.parametrize("bundle", [BUNDLE, PICTURES], ids=lambda bundle: bundle.folder.name)
def test_every_workflow_has_main_ids_that_its_files_have(bundle):
    for verb in bundle.workflows:
        files = bundle.files(verb)
        merged = {key for path in files for key in yaml.safe_load(path.read_text())}
        ids = {item.name for item in main_ids(files)}
        assert {"dataset_dir", "output_dir", "seed", "device"} <= ids <= merged
    assert {"attribute", "amount", "target", "keep"} <= {item.name for item in main_ids(bundle.files("edit"))}
