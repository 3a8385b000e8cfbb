# SPDX-License-Identifier: Apache-2.0
"""The latent diffusion of the bundle for pictures: train, sample, sample a class from few labels."""

import csv
import logging
import os

import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table, root_cause, weights_of
from PIL import Image
from skimage.data import lfw_subset

from monai_diffae.data import find_images, split_indices

NUM_FACES = 24


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    for i, pixels in enumerate((255 * lfw_subset()[:NUM_FACES]).astype(np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, faces):
    return Bundle(
        "natural_images_diffae", tmp_path_factory.mktemp("weights"), dataset_dir=str(faces), z_dim=8, image_size=16
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("trained")
    bundle.train(folder)
    return folder


def test_training_writes_weights_statistics_codes_and_a_log(trained, bundle):
    state = torch.load(trained / "models" / "latent.pt", weights_only=True)
    assert state["out.weight"].shape == (8, 32 + 8)
    statistics = torch.load(trained / "models" / "statistics.pt", weights_only=True)
    latents = torch.load(trained / "latents.pt", weights_only=True)["latents"]
    assert latents["source"].tolist() == list(range(NUM_FACES))
    training, held_out = split_indices(find_images(bundle.options["dataset_dir"]), 0.05)
    assert len(held_out) == 1
    codes = latents["z_sem"][training]
    torch.testing.assert_close(statistics, {"mean": codes.mean(dim=0), "std": codes.std(dim=0)})
    rows = read_table(trained / "training_log.csv")
    assert [row["iteration"] for row in rows] == ["2", "4"]
    assert all(float(row["val_loss"]) > 0 for row in rows)
    assert not list(trained.rglob("*.partial*"))


def test_codes_are_those_of_the_encoder_in_evaluation_mode(trained, bundle):
    workflow = bundle.workflow("inference")
    network = workflow.parser.get_parsed_content("network").eval()
    network.load_state_dict(torch.load(bundle.options["ckpt_path"], weights_only=True))
    images = torch.stack([workflow.dataset[i]["image"].as_tensor() for i in range(NUM_FACES)])
    with torch.no_grad():
        expected = network.encode(images.to(next(network.parameters()).device)).cpu()
    latents = torch.load(trained / "latents.pt", weights_only=True)["latents"]
    torch.testing.assert_close(latents["z_sem"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("epoch_length", [1, 3])
def test_a_resumed_training_equals_an_uninterrupted_one(bundle, tmp_path, epoch_length):
    bundle.train(tmp_path / "whole", latent_max_iterations=6, epoch_length=epoch_length)
    bundle.train(tmp_path / "parts", latent_max_iterations=3, epoch_length=epoch_length)
    bundle.train(tmp_path / "parts", latent_max_iterations=6, epoch_length=epoch_length)
    whole, parts = (
        torch.load(tmp_path / name / "models" / "latent.pt", weights_only=True) for name in ("whole", "parts")
    )
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)
    iterations = [row["iteration"] for row in read_table(tmp_path / "parts" / "training_log.csv")]
    assert iterations == [str(i) for i in range(epoch_length, 7, epoch_length)]


def test_training_starts_afresh_where_it_is_not_to_be_resumed(bundle, tmp_path):
    bundle.train(tmp_path, latent_max_iterations=4)
    workflow = bundle.train(tmp_path, latent_max_iterations=2, resume=False)
    assert workflow.trainer.state.iteration == 2
    assert [row["iteration"] for row in read_table(tmp_path / "training_log.csv")] == ["2"]


@pytest.mark.parametrize("change", ["nothing", "weights", "file", "preprocessing"])
def test_codes_are_re_used_while_they_fit_and_made_anew_with_a_reason(bundle, faces, tmp_path, caplog, change):
    bundle.train(tmp_path, latent_max_iterations=2)
    before = (tmp_path / "latents.pt").stat().st_mtime_ns
    options = {}
    if change == "weights":
        state = torch.load(bundle.options["ckpt_path"], weights_only=True)
        name = next(name for name in state if name.startswith("encoder."))
        state[name] = state[name] + 0.1
        torch.save(state, tmp_path / "other.pt")
        options = {"ckpt_path": str(tmp_path / "other.pt")}
    elif change == "file":
        os.utime(faces / "03.png", ns=(1, 1))
    elif change == "preprocessing":
        options = {"preprocessing::transforms::2::_target_": "Resized"}  # by areas
    caplog.clear()
    with caplog.at_level(logging.INFO, "monai_diffae"):
        workflow = bundle.train(tmp_path, latent_max_iterations=4, **options)
    messages = [record.message for record in caplog.records if "latents.pt" in record.message]
    again = (tmp_path / "latents.pt").stat().st_mtime_ns != before
    assert len(messages) == 1
    reason = {"nothing": "Re-used 24 codes", "file": "other files of the data set: the data set is encoded anew"}
    reason |= {"weights": "other weights of the encoder:", "preprocessing": "other preprocessing:"}
    assert reason[change] in messages[0]
    assert again == (change != "nothing")
    # A denoiser of other codes is not gone on with; codes that turn out the same are.
    resumed = [record.message for record in caplog.records if record.message.startswith("Resumed")]
    assert bool(resumed) == (change in ("nothing", "file"))
    assert workflow.trainer.state.iteration == 4


@pytest.mark.parametrize("preset", ["celeba64", "horse128"])
def test_a_preset_replaces_the_recipe(bundle, tmp_path, preset):
    workflow = bundle.workflow(
        "inference",
        "train_latent",
        f"presets/{preset}",
        workflow_type="train",
        output_dir=str(tmp_path),
        network_def={"_target_": "monai_diffae.networks.DiffusionAutoencoder", **small_parts(bundle)},
        in_channels=1,
        num_workers=0,
        **{"latent_network_def::hidden_dim": 16},
    )
    optimizer = workflow.parser.get_parsed_content("train::optimizer")
    expected = {"celeba64": (torch.optim.AdamW, 0.01, 512, 301e6), "horse128": (torch.optim.Adam, 0.0, 2048, 2001e6)}
    kind, weight_decay, batch_size, samples = expected[preset]
    assert type(optimizer) is kind
    assert optimizer.defaults["weight_decay"] == weight_decay
    assert workflow.train_dataset.batch_size == batch_size
    assert workflow.max_epochs * 1000 >= samples / batch_size > (workflow.max_epochs - 1) * 1000
    assert workflow.parser.get_parsed_content("ema_decay") == 0.9999


def small_parts(bundle) -> dict:
    return {part: bundle.workflow("inference").parser["network_def"][part] for part in ("encoder", "decoder")}


def test_samples_are_written_one_by_one_and_depend_on_seed_and_number_only(trained, bundle, tmp_path):
    options = weights_of(trained)
    bundle.run("inference", "sample", output_dir=str(tmp_path / "a"), num_samples=5, batch_size=2, **options)
    names = [f"{k:06d}.png" for k in range(5)]
    assert sorted(path.name for path in (tmp_path / "a" / "samples").iterdir()) == names
    rows = read_table(tmp_path / "a" / "latents.csv")
    assert [row["file"] for row in rows] == [f"samples/{name}" for name in names]
    assert list(rows[0]) == ["file", *(f"z_{i}" for i in range(8))]
    figure = np.asarray(Image.open(tmp_path / "a" / "figures" / "samples.png"))
    assert figure.shape == (2 * 66 - 2, 3 * 66 - 2, 3)
    again = {"output_dir": str(tmp_path / "b"), "num_samples": 2, "first_sample": 3, "batch_size": 5}
    bundle.run("inference", "sample", **again, **options)
    assert read_table(tmp_path / "b" / "latents.csv")[0]["file"] == "samples/000003.png"
    for name in names[3:]:
        first, second = (np.asarray(Image.open(tmp_path / f / "samples" / name)).astype(int) for f in ("a", "b"))
        assert first.shape == (16, 16)
        assert np.abs(first - second).max() <= 1
    bundle.run("inference", "sample", output_dir=str(tmp_path / "c"), num_samples=1, seed=1, **options)
    pictures = [np.asarray(Image.open(tmp_path / f / "samples" / names[0])).astype(int) for f in ("a", "c")]
    assert np.abs(pictures[0] - pictures[1]).mean() > 1.5  # an untrained network has little contrast


def test_samples_of_zero_x_T_are_smoother_than_those_of_random_x_T(trained, bundle, tmp_path):
    roughness = {}
    for x_T in ("zeros", "random"):
        options = {"output_dir": str(tmp_path / x_T), "num_samples": 2, "x_T": x_T}
        bundle.run("inference", "sample", **options, **weights_of(trained))
        picture = np.asarray(Image.open(tmp_path / x_T / "samples" / "000000.png")).astype(int)
        roughness[x_T] = np.abs(np.diff(picture)).mean()
    assert roughness["zeros"] < roughness["random"]


@pytest.mark.parametrize("latent", [True, False])
def test_missing_weights_are_named(trained, bundle, tmp_path, latent):
    options = weights_of(trained) | ({"latent_ckpt_path": str(tmp_path / "none.pt")} if latent else {})
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run("inference", "sample", output_dir=str(tmp_path), z_dim=8 if latent else 9, **options)
    assert ("none.pt" if latent else "are of another network") in root_cause(raised.value)


def write_labels(path, faces, labels: dict[int, str]):
    with open(path, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["file", "label"])
        table.writerows([faces / f"{i:02d}.png", label] for i, label in labels.items())


@pytest.mark.parametrize(("negatives", "max_unlabelled"), [(True, 0), (True, 5), (False, 1000)])
def test_a_class_is_sampled_from_twenty_labels(trained, bundle, faces, tmp_path, negatives, max_unlabelled):
    file = tmp_path / "few.csv"
    write_labels(file, faces, {i: "1" if i < 10 else ("0" if negatives else "") for i in range(20)})
    workflow = bundle.run(
        "inference",
        "sample",
        "conditional_sample",
        output_dir=str(tmp_path),
        labels_file=str(file),
        attribute="label",
        max_unlabelled=max_unlabelled,
        num_samples=6,
        batch_size=4,
        **weights_of(trained),
    )
    labels = workflow.parser.get_parsed_content("labelled")["label"]
    assert (labels == 1).sum() == 10
    assert (labels == 0).sum() == (10 if negatives else 0)
    num_unlabelled = min(max_unlabelled, NUM_FACES - (20 if negatives else 10))
    assert labels.isnan().sum() == num_unlabelled
    assert workflow.parser.get_parsed_content("classifier").summary("label").num_unlabelled == num_unlabelled
    rows = read_table(tmp_path / "latents.csv")
    tries = [int(row["tries"]) for row in rows]
    assert len(rows) == len(list((tmp_path / "samples").iterdir())) == 6
    assert all(0 < float(row["probability"]) <= 1 for row in rows)
    with open(tmp_path / "metrics.csv", newline="") as f:
        metrics = {name: float(value) for name, value in csv.reader(f)}
    assert metrics["acceptance_rate"] == pytest.approx(6 / sum(tries), rel=1e-4)


def test_a_class_that_is_never_accepted_ends_in_an_error(trained, bundle, faces, tmp_path):
    write_labels(tmp_path / "few.csv", faces, {i: str(int(i < 10)) for i in range(20)})
    with pytest.raises(Exception, match="Failed") as raised:
        bundle.run(
            "inference",
            "sample",
            "conditional_sample",
            output_dir=str(tmp_path),
            labels_file=str(tmp_path / "few.csv"),
            attribute="label",
            prior=1e-300,  # the codes of a denoiser that has hardly learnt lie far out
            max_tries=20,
            **weights_of(trained),
        )
    assert "None of 20 latent samples was accepted as 'label'" in root_cause(raised.value)
