# SPDX-License-Identifier: Apache-2.0
"""The bundle for pictures as its users run it, on photographs and with converted weights of the authors."""

import csv
import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import workflows
import yaml
from in_process import run_module
from monai.bundle import ConfigWorkflow
from PIL import Image
from skimage.data import lfw_subset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_diffae.checkpoints.official.convert import convert
from monai_diffae.checkpoints.safe_reading import read_checkpoint
from monai_diffae.data import split_indices
from monai_diffae.datasets import load_digits_arrays
from monai_diffae.support.root_cause import root_cause

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "bundles" / "natural_images_diffae"
CONFIGS = BUNDLE / "configs"
GOLDEN = REPOSITORY / "tests" / "data" / "official_small"


run = functools.partial(workflows.run, BUNDLE)


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
        done = run_module("monai_diffae.checkpoints.official", GOLDEN / name, "--output_dir", folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_conversion_writes_what_the_files_hold(converted):
    names = {"model.pt", "latent.pt", "statistics.pt", "attributes.pt", "converted.yaml"}
    assert {path.name for path in converted.iterdir()} == names


def test_conversion_of_a_broken_file_says_why_and_writes_nothing(tmp_path):
    (tmp_path / "last.ckpt").write_bytes((GOLDEN / "last.ckpt").read_bytes()[:1000])
    command = ["monai_diffae.checkpoints.official", tmp_path / "last.ckpt", "--output_dir", tmp_path / "out"]
    done = run_module(*command)
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
        device=device,
        num_inference_steps=100,
        clip_sample=clip_sample,
        progress=False,
    )
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*_reconstruction.png")}
    assert files == {f"{stem}_reconstruction.png" for stem in ("a", "b", "more/c", "more/d")}
    assert Image.open(tmp_path / "a_reconstruction.png").size == (40, 50)
    assert Image.open(tmp_path / "a_reconstruction.png").mode == "RGB"
    with open(tmp_path / "latents.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["file"] for row in rows] == ["a.png", "b.jpg", "more/c.tif", "more/d.webp"]
    assert list(rows[0]) == ["file", "x_T_evaluations", "x_T_residual", *(f"z_{i}" for i in range(24))]
    assert {row["x_T_residual"] for row in rows} == {"nan"}  # explicit, because the authors clip
    assert (tmp_path / "figures" / "reconstruction.png").stat().st_size > 10_000


def test_converted_attributes_manipulate(faces, converted, tmp_path):
    workflow = run(
        "inference",
        "manipulate",
        str(converted / "converted.yaml"),
        dataset_dir=str(faces),
        output_dir=str(tmp_path),
        attribute="Smiling",
        num_inference_steps=5,
        num_inversion_steps=5,
        progress=False,
    )
    assert workflow.inferer.edit.attribute == "Smiling"
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
    assert len([r for r in caplog.records if "encoder does not seem to learn" in r.getMessage()]) == 2  # of each run
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
    assert picture.size == Image.open(faces / "more" / "c.tif").size
    assert picture.mode == ("L" if in_channels == 1 else "RGB")


def workflow_of(name: str, *overlays: str, **overrides) -> ConfigWorkflow:
    """Before initialize."""
    files = [str(CONFIGS / f"{n}.yaml") for n in (name, *overlays)]
    kind = "train" if name == "train" else "infer"
    return ConfigWorkflow(files, workflow_type=kind, logging_file=False, bundle_root=str(BUNDLE), **overrides)


def start(workflow: ConfigWorkflow) -> None:
    workflow.initialize()
    workflow.run()


def root_error_of(workflow: ConfigWorkflow) -> BaseException:
    with pytest.raises(Exception, match="Failed") as raised:
        start(workflow)
    return root_cause(raised.value)


@pytest.mark.parametrize("side", ["train", "validate"])
def test_prepared_pictures_are_kept_in_memory(faces, tmp_path, side):
    workflow = workflow_of("train", dataset_dir=str(faces), output_dir=str(tmp_path), val_fraction=0.5, image_size=16)
    images = workflow.parser.get_parsed_content(f"{side}::pictures")
    assert [tuple(item["image"].shape) for item in images._cache] == [(1, 16, 16)] * 2


def test_the_network_gets_pictures_upright_rows_before_columns(tmp_path):
    """As the authors' weights expect them; MONAI's PILReader gives the transpose."""
    Image.fromarray(np.arange(64, dtype=np.uint8)[:, None].repeat(64, 1)).save(tmp_path / "dark_above.png")
    workflow = workflow_of("inference", dataset_dir=str(tmp_path))
    workflow.initialize()
    image = workflow.dataset[0]["image"]  # (C, rows, columns)
    assert torch.all(image[0, 0] < image[0, -1])


@pytest.mark.parametrize("source_size", [True, False])
def test_results_have_the_size_of_the_source_or_of_the_network(faces, tiny, tmp_path, source_size):
    options = {"dataset_dir": str(faces), "output_dir": str(tmp_path), "source_size": source_size, **tiny}
    run("inference", image_size=[16, 32], **options)
    for file in ("a.png", "b.jpg", "more/c.tif", "more/d.webp"):
        stem, _, _ = file.partition(".")
        with Image.open(faces / file) as source, Image.open(tmp_path / f"{stem}_reconstruction.png") as result:
            assert result.size == (source.size if source_size else (32, 16))
            if source_size:  # above the centred crop, of twice the width of its height, nothing has changed
                top = (source.height - source.width // 2) // 2 - 1
                expected, found = (np.asarray(x.convert("L"))[:top].astype(int) for x in (source, result))
                assert top > 0
                np.testing.assert_array_equal(found, expected)
                assert (np.asarray(source.convert("L")) != np.asarray(result)).any()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> dict:
    """Options for a quick inference, with untrained weights."""
    weights = tmp_path_factory.mktemp("weights") / "model.pt"
    network = workflow_of("inference").parser.get_parsed_content("network_def")
    torch.save(network.state_dict(), weights)
    return {"ckpt_path": str(weights), "num_inference_steps": 1, "num_inversion_steps": 1, "progress": False}


@pytest.mark.parametrize("name", ["inference", "train"])
@pytest.mark.parametrize("image_size", [36, [32, 36], [32, 32, 32], 0])
def test_sizes_that_the_network_cannot_take_are_refused_before_anything_is_read(faces, tmp_path, name, image_size):
    options = {"dataset_dir": str(faces), "output_dir": str(tmp_path / "out"), "image_size": image_size}
    error = root_error_of(workflow_of(name, **options))
    assert isinstance(error, ValueError)
    assert "multiples of 8" in str(error)
    assert str(image_size) in str(error)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_picture_is_named(faces, tiny, tmp_path):
    shutil.copytree(faces, tmp_path / "data")
    broken = tmp_path / "data" / "broken.png"
    broken.write_bytes((faces / "a.png").read_bytes()[:200])
    options = {"dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "out"), "on_error": "stop"}
    workflow = workflow_of("inference", **options, **tiny)
    workflow.initialize()
    with pytest.raises(RuntimeError, match="Failed to") as raised:
        workflow.run()
    error = root_cause(raised.value)
    assert isinstance(error, ValueError)
    assert str(broken) in str(error)


@pytest.fixture(scope="module")
def digits_of_both_workflows(tmp_path_factory) -> dict[str, ConfigWorkflow]:
    """The workflows in a bundle whose default folders are empty."""
    root = tmp_path_factory.mktemp("bundle")
    options = {"max_iterations": 2, "batch_size": 2, "num_workers": 0, "cache_rate": 0.0}
    workflows = {"train": workflow_of("train", **options), "inference": workflow_of("inference")}
    for workflow in workflows.values():
        workflow.parser["bundle_root"] = str(root)
        workflow.initialize()
        workflow.parser.get_parsed_content("data" if "data" in workflow.parser.get() else "files")
    return workflows


def test_default_data_are_the_digits_and_training_does_not_see_those_of_inference(digits_of_both_workflows):
    train, inference = (digits_of_both_workflows[name] for name in ("train", "inference"))
    root = Path(train.parser["bundle_root"])
    assert {path.relative_to(root).as_posix() for path in root.glob("data/*/labels.csv")} == {
        "data/test/labels.csv",
        "data/train/labels.csv",
    }
    images, _ = load_digits_arrays("test")
    for k in (0, 1, 999):
        torch.testing.assert_close(inference.dataset[k]["image"].as_tensor(), images[k], rtol=0, atol=1e-6)
    images, labels = load_digits_arrays("train")
    train_images, val_images = (train.parser.get_parsed_content(f"{part}::images") for part in ("train", "validate"))
    assert (len(train_images), len(val_images)) == (3800, 200)
    places = split_indices(train.parser.get_parsed_content("files"), fraction=200 / 4000)
    for part, found in zip(places, (train_images, val_images)):
        torch.testing.assert_close(found[3]["image"], images[part[3]], rtol=0, atol=1e-6)
    assert torch.bincount(labels[places[1]], minlength=10).min() >= 5
    sample = train.parser.get_parsed_content("train::dataset")[(0, 3)]
    torch.testing.assert_close(
        sample["image"].as_tensor(), images[places[0][3]], rtol=0, atol=1e-6
    )  # no flips or crops


@pytest.mark.parametrize(("random_crop", "flip_prob"), [(0.8, 0.0), (1.0, 1.0)])
def test_random_crops_and_flips_change_the_training_pictures_alone(faces, tmp_path, random_crop, flip_prob):
    options = {"dataset_dir": str(faces), "output_dir": str(tmp_path), "num_workers": 0}
    plain = workflow_of("train", **options)
    varied = workflow_of("train", random_crop=random_crop, flip_prob=flip_prob, **options)
    samples, validated = [], []
    for workflow in (plain, varied):
        workflow.initialize()
        dataset = workflow.parser.get_parsed_content("train::dataset")
        samples.append([dataset[(epoch, 0)]["image"].as_tensor() for epoch in range(6)])
        validated.append(workflow.parser.get_parsed_content("validate::images")[0]["image"])
    torch.testing.assert_close(*validated)
    for before, after in zip(*samples):
        assert after.shape == (1, 32, 32)
        if flip_prob:  # left and right: the columns
            torch.testing.assert_close(after, before.flip(-1))
        elif (after - before).abs().mean() < 0.01:
            pytest.fail("not cropped")
        elif torch.corrcoef(torch.stack([after.flatten(), before.flatten()]))[0, 1] < 0.6:
            pytest.fail("not a crop of the same picture")


def training(faces: Path, output_dir: Path, *overlays: str, **options) -> ConfigWorkflow:
    small = {"dataset_dir": str(faces), "output_dir": str(output_dir), "batch_size": 2, "num_workers": 0}
    small |= {"epoch_length": 1, "val_interval": 9}
    return run("train", *overlays, workflow_type="train", **(small | options))


def test_learning_rate_warms_up_and_falls_along_a_cosine_also_when_resumed(faces, tmp_path):
    rates = []
    for max_iterations in (2, 4):
        # t_total is that of the whole run, as if the first part had been interrupted
        config = {"lr_scheduler::t_total": 4, "warmup_iterations": 2, "max_iterations": max_iterations}
        workflow = training(faces, tmp_path, **config)
        optimizer = workflow.parser.get_parsed_content("train::optimizer")
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 0.0])  # of the iteration that would follow
    scheduler = workflow.parser.get_parsed_content("train::lr_scheduler")
    factors = [scheduler.lr_lambda(step) for step in range(5)]
    assert factors == pytest.approx([0.01, 0.505, 1.0, 0.5, 0.0])


def test_presets_keep_the_learning_rate_constant_also_when_resumed(faces, tmp_path):
    """The preset's training with a network that is small enough to run."""
    preset = yaml.safe_load((CONFIGS / "presets" / "celeba64.yaml").read_text())
    small = yaml.safe_load((CONFIGS / "train.yaml").read_text())["network_def"]
    overlay = tmp_path / "preset.yaml"
    few = {"num_workers": 0, "z_dim": 8, "batch_size": 2}
    overlay.write_text(yaml.safe_dump(preset | {"network_def": small} | few))
    for max_iterations in (1, 3):
        workflow = training(faces, tmp_path / "run", str(overlay), max_iterations=max_iterations, image_size=16)
        assert isinstance(workflow.parser.get_parsed_content("lr_scheduler"), torch.optim.lr_scheduler.ConstantLR)
        optimizer = workflow.parser.get_parsed_content("train::optimizer")
        assert optimizer.param_groups[0]["lr"] == 1e-4
    assert workflow.parser.get_parsed_content("train::trainer").state.iteration == 3


def test_training_starts_from_given_weights_unless_it_is_resumed(faces, tiny, tmp_path, caplog):
    weights = torch.load(tiny["ckpt_path"], weights_only=True)
    options = {"init_from": tiny["ckpt_path"], "learning_rate": 0.0}
    training(faces, tmp_path / "run", max_iterations=1, **options)
    trained = torch.load(tmp_path / "run" / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(trained, weights)  # the moving average of equal weights is rounded
    torch.save({name: torch.zeros_like(value) for name, value in weights.items()}, tmp_path / "zeros.pt")
    with caplog.at_level("INFO"):
        training(faces, tmp_path / "run", max_iterations=2, **options | {"init_from": str(tmp_path / "zeros.pt")})
    assert "is ignored: training goes on at iteration 1" in caplog.text
    trained = torch.load(tmp_path / "run" / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(trained, weights)  # the moving average of equal weights is rounded


def test_training_goes_on_from_converted_weights_of_the_authors(faces, converted, tmp_path):
    options = {"init_from": str(converted / "model.pt"), "learning_rate": 0.0, "max_iterations": 1}
    training(faces, tmp_path, str(converted / "converted.yaml"), **options)
    trained, weights = (
        torch.load(file, weights_only=True) for file in (tmp_path / "models" / "model.pt", converted / "model.pt")
    )
    torch.testing.assert_close(trained, weights)  # the moving average of equal weights is rounded


def test_weights_of_another_network_are_refused_before_training(faces, converted, tmp_path):
    options = {"dataset_dir": str(faces), "output_dir": str(tmp_path), "init_from": str(converted / "model.pt")}
    error = root_error_of(workflow_of("train", **options))
    assert isinstance(error, ValueError)
    assert "are of another network" in str(error)


def test_folder_without_pictures_is_named(tmp_path):
    workflow = ConfigWorkflow(str(CONFIGS / "inference.yaml"), workflow_type="infer", logging_file=False)
    workflow.parser["dataset_dir"] = str(tmp_path)
    cause = root_error_of(workflow)
    assert "No pictures" in str(cause)
    assert str(tmp_path) in str(cause)
