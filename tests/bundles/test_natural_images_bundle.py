# SPDX-License-Identifier: Apache-2.0
"""The bundle for pictures as its users run it, on photographs and with converted weights of the authors."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigWorkflow
from PIL import Image
from skimage.data import lfw_subset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_diffae.checkpoints.official.convert import convert
from monai_diffae.checkpoints.safe_reading import read_checkpoint

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "bundles" / "natural_images_diffae"
CONFIGS = BUNDLE / "configs"
GOLDEN = REPOSITORY / "tests" / "data" / "official_small"


def run(*names: str, workflow_type: str = "infer", **overrides) -> ConfigWorkflow:
    workflow = ConfigWorkflow(
        [name if name.endswith(".yaml") else str(CONFIGS / f"{name}.yaml") for name in names],
        meta_file=str(CONFIGS / "metadata.json"),
        logging_file=False,
        workflow_type=workflow_type,
        bundle_root=str(BUNDLE),
        **overrides,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    return workflow


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """Real faces, grey and RGB, in the formats that are read, of other sizes than the network's, in subfolders."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "more").mkdir()
    pixels = (255 * lfw_subset()[:4]).astype(np.uint8)
    Image.fromarray(pixels[0]).resize((40, 50)).save(folder / "a.png")
    Image.fromarray(pixels[1]).convert("RGB").resize((50, 40)).save(folder / "b.jpg")
    Image.fromarray(pixels[2]).save(folder / "more" / "c.tif")
    Image.fromarray(pixels[3]).convert("RGB").save(folder / "more" / "d.webp")
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    for name in ("last.ckpt", "cls.ckpt"):
        command = [sys.executable, "-m", "monai_diffae.checkpoints.official", str(GOLDEN / name)]
        done = subprocess.run([*command, "--output_dir", str(folder)], capture_output=True, text=True, check=True)
        assert "RuntimeWarning" not in done.stderr
    return folder


def test_conversion_writes_what_the_files_hold(converted):
    names = {"model.pt", "latent.pt", "statistics.pt", "attributes.pt", "converted.yaml"}
    assert {path.name for path in converted.iterdir()} == names


def test_conversion_of_a_broken_file_says_why_and_writes_nothing(tmp_path):
    (tmp_path / "last.ckpt").write_bytes((GOLDEN / "last.ckpt").read_bytes()[:1000])
    command = [sys.executable, "-m", "monai_diffae.checkpoints.official", str(tmp_path / "last.ckpt")]
    done = subprocess.run([*command, "--output_dir", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "truncated" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_conversion_changes_nothing_where_it_cannot_write_all(tmp_path):
    (tmp_path / "statistics.pt").mkdir()
    with pytest.raises(OSError, match="is a folder"):
        convert(GOLDEN / "last.ckpt", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["statistics.pt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        convert(GOLDEN / "last.ckpt", tmp_path / "file")


def test_image_size_is_asked_for_where_the_file_does_not_tell_it(tmp_path):
    content = read_checkpoint(GOLDEN / "last.ckpt")
    state = {name: x for name, x in content["state_dict"].items() if name != "x_T"}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="image_size"):
        convert(tmp_path / "last.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert(tmp_path / "last.ckpt", tmp_path / "out", image_size=24)
    assert yaml.safe_load((tmp_path / "out" / "converted.yaml").read_text())["image_size"] == 24


@pytest.mark.parametrize("clip_sample", [True, False])
def test_converted_weights_reconstruct(faces, converted, tmp_path, clip_sample, device):
    run(
        "inference",
        str(converted / "converted.yaml"),
        dataset_dir=str(faces),
        output_dir=str(tmp_path),
        device=torch.device(device),
        num_inference_steps=100,
        clip_sample=clip_sample,
        progress=False,
    )
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*_reconstruction.png")}
    assert files == {f"{stem}_reconstruction.png" for stem in ("a", "b", "more/c", "more/d")}
    assert Image.open(tmp_path / "a_reconstruction.png").size == (16, 16)
    assert Image.open(tmp_path / "a_reconstruction.png").mode == "RGB"
    with open(tmp_path / "latents.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["file"] for row in rows] == ["a.png", "b.jpg", "more/c.tif", "more/d.webp"]
    assert list(rows[0]) == ["file", *(f"z_{i}" for i in range(24))]
    assert (tmp_path / "figures" / "reconstruction.png").stat().st_size > 10_000


def test_converted_attributes_manipulate(faces, converted, tmp_path):
    workflow = run(
        "inference",
        "manipulate",
        str(converted / "converted.yaml"),
        dataset_dir=str(faces),
        output_dir=str(tmp_path),
        num_inference_steps=5,
        num_inversion_steps=5,
        progress=False,
    )
    assert workflow.parser["attribute"] == "Smiling"
    assert len(list(tmp_path.rglob("*_edit.png"))) == 4
    assert (tmp_path / "figures" / "manipulation.png").exists()


def logged_scalars(folder: Path) -> set[str]:
    """Names of the curves that TensorBoard shows."""
    names = set()
    for file in folder.glob("events.out.tfevents*"):
        events = EventAccumulator(str(file))
        events.Reload()
        names |= set(events.Tags()["scalars"])
    return names


@pytest.mark.parametrize(("in_channels", "cache_rate", "flip_prob"), [(1, 1.0, 0.0), (3, 0.0, 0.5)])
def test_training_runs_resumes_and_its_weights_reconstruct(faces, tmp_path, in_channels, cache_rate, flip_prob, caplog):
    options = {"dataset_dir": str(faces), "output_dir": str(tmp_path / "run"), "batch_size": 2, "num_workers": 0}
    options |= {"in_channels": in_channels, "cache_rate": cache_rate, "flip_prob": flip_prob}
    options |= {"num_inference_steps": 2, "num_inversion_steps": 2, "epoch_length": 1, "val_interval": 2}
    options |= {"val_fraction": 0.5, "semantic_gap_threshold": 100.0, "semantic_gap_patience": 2}
    for max_iterations in (2, 3):
        run("train", workflow_type="train", max_iterations=max_iterations, **options)
        with open(tmp_path / "run" / "training_log.csv", newline="") as f:
            rows = list(csv.DictReader(f))
        assert len(rows) == max_iterations
    assert float(rows[1]["val_psnr"]) > 0
    assert float(rows[0]["encoder_grad_norm"]) == 0  # the decoder's last layer starts at zero
    assert float(rows[2]["encoder_grad_norm"]) > 0
    assert float(rows[1]["val_noise_semantic_gap"]) > 0
    assert {"encoder_grad_norm", "semantic_gap"} <= logged_scalars(tmp_path / "run")
    assert "encoder_grad_norm" in caplog.text
    assert len([r for r in caplog.records if "encoder does not seem to learn" in r.getMessage()]) == 1
    weights = str(tmp_path / "run" / "models" / "model.pt")
    run(
        "inference",
        dataset_dir=str(faces),
        output_dir=str(tmp_path / "out"),
        ckpt_path=weights,
        in_channels=in_channels,
        num_inference_steps=2,
        progress=False,
    )
    picture = Image.open(tmp_path / "out" / "more" / "c_reconstruction.png")
    assert picture.size == (32, 32)
    assert picture.mode == ("L" if in_channels == 1 else "RGB")


def test_pictures_stand_upright(faces, tmp_path):
    """The cropped and resized picture that the network gets, not its transpose."""
    Image.fromarray(np.arange(64, dtype=np.uint8)[:, None].repeat(64, 1)).save(tmp_path / "dark_above.png")
    workflow = ConfigWorkflow(
        str(CONFIGS / "inference.yaml"), workflow_type="infer", logging_file=False, dataset_dir=str(tmp_path)
    )
    workflow.initialize()
    image = workflow.dataset[0]["image"]  # (C, X, Y)
    assert torch.all(image[0, :, 0] < image[0, :, -1])


def test_folder_without_pictures_is_named(tmp_path):
    workflow = ConfigWorkflow(str(CONFIGS / "inference.yaml"), workflow_type="infer", logging_file=False)
    workflow.parser["dataset_dir"] = str(tmp_path)
    with pytest.raises(Exception, match="Failed") as raised:
        workflow.initialize()
    cause = raised.value
    while cause.__cause__ is not None:
        cause = cause.__cause__
    assert "No pictures" in str(cause)
    assert str(tmp_path) in str(cause)


def test_inference_json_says_the_same_as_yaml():
    assert json.loads((CONFIGS / "inference.json").read_text()) == yaml.safe_load(
        (CONFIGS / "inference.yaml").read_text()
    )


def test_train_and_inference_describe_one_network():
    train, inference = (yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) for name in ("train", "inference"))
    for key in ("network_def", "scheduler", "z_dim", "image_size", "in_channels", "prediction_type", "clip_sample"):
        assert train[key] == inference[key], key


def test_metadata_fits_monai_schema():
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    schema = json.loads((REPOSITORY / "tests" / "data" / "meta_schema_20240725.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]
