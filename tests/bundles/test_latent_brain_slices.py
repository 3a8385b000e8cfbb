# SPDX-License-Identifier: Apache-2.0
"""The latent diffusion of the brain bundle: train, sample, sample a class from few labels."""

import csv
import logging

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table, weights_of
from PIL import Image

from monai_diffae.data import find_volumes, split_indices

NUM_SLICES = 3


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Four balls of tissue laid out as the generator's data set, two of them with a bright lesion in the middle."""
    folder = tmp_path_factory.mktemp("volumes")
    for name in ("images", "lesions"):
        (folder / name).mkdir()
    random = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices((30, 30, 30)) - 14.5, axis=0)
    rows = [["file", "lesion"]]
    for i, lesion in enumerate((1, 0, 1, 0)):
        image = (distance < 11 + i) * (300 + 50 * random.standard_normal(distance.shape))
        mask = lesion * (distance < 4)
        for name, volume in (("images", image + 500 * mask), ("lesions", mask)):
            file = folder / name / f"{i}.nii.gz"
            nib.save(nib.Nifti1Image(volume.astype(np.float32), np.diag([6.0, 6, 6, 1])), file)
        rows.append([f"images/{i}.nii.gz", lesion])
    with open(folder / "labels.csv", "w", newline="") as f:
        csv.writer(f).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, volumes):
    folder = tmp_path_factory.mktemp("weights")
    return Bundle("brain_slices_diffae", folder, dataset_dir=str(volumes), z_dim=8, image_size=32, pixdim=6.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("trained")
    bundle.train(folder, num_slices=NUM_SLICES)
    return folder


def test_training_encodes_slices_and_validates_on_whole_volumes(trained, volumes):
    latents = torch.load(trained / "latents.pt", weights_only=True)["latents"]
    assert latents["source"].tolist() == [volume for volume in range(4) for _ in range(NUM_SLICES)]
    statistics = torch.load(trained / "models" / "statistics.pt", weights_only=True)
    training, held_out = split_indices(find_volumes(volumes), 0.05)
    assert (len(training), len(held_out)) == (3, 1)
    seen = latents["z_sem"].view(4, NUM_SLICES, -1)[training].flatten(0, 1)
    torch.testing.assert_close(statistics["mean"], seen.mean(dim=0))
    assert torch.load(trained / "models" / "latent.pt", weights_only=True)["out.weight"].shape[0] == 8
    assert all(float(row["val_loss"]) > 0 for row in read_table(trained / "training_log.csv"))


@pytest.mark.parametrize("num_slices", [NUM_SLICES, 2])
def test_codes_are_re_used_for_the_same_slices_only(bundle, tmp_path, caplog, num_slices):
    bundle.train(tmp_path, num_slices=NUM_SLICES)
    with caplog.at_level(logging.INFO, "monai_diffae"):
        workflow = bundle.train(tmp_path, num_slices=num_slices, latent_max_iterations=6)
    read = [image for image in workflow.parser.get_parsed_content("volumes")._cache if image is not None]
    if num_slices == NUM_SLICES:
        assert "Re-used 12 codes" in caplog.text
        assert read == []  # no volume of the data set was loaded again
    else:
        assert "made with other settings" in caplog.text
        assert len(read) == 4


def test_samples_are_volumes_of_one_slice(trained, bundle, tmp_path):
    bundle.run("inference", "sample", output_dir=str(tmp_path), num_samples=3, batch_size=2, **weights_of(trained))
    files = sorted((tmp_path / "samples").iterdir())
    assert [file.name for file in files] == [f"{k:06d}.nii.gz" for k in range(3)]
    image = nib.load(files[1])
    assert image.shape == (32, 32, 1)
    assert image.affine.diagonal().tolist() == [6, 6, 6, 1]
    assert np.asarray(image.dataobj).std() > 0.005  # an untrained network has little contrast
    rows = read_table(tmp_path / "latents.csv")
    assert [row["file"] for row in rows] == [f"samples/{k:06d}.nii.gz" for k in range(3)]
    assert list(rows[0])[1] == "z_0"
    assert Image.open(tmp_path / "figures" / "samples.png").size == (2 * 66 - 2, 2 * 66 - 2)
    bundle.run("inference", "sample", output_dir=str(tmp_path / "b"), num_samples=1, **weights_of(trained))
    again = nib.load(tmp_path / "b" / "samples" / "000000.nii.gz")
    np.testing.assert_allclose(again.dataobj, nib.load(files[0]).dataobj, atol=1e-3)


def test_a_class_is_sampled_from_labels_of_volumes_and_masks_of_slices(trained, bundle, volumes, tmp_path):
    labels = {row["file"]: row["lesion"] for row in read_table(volumes / "labels.csv")}
    workflow = bundle.run(
        "inference",
        "sample",
        "conditional_sample",
        output_dir=str(tmp_path),
        num_samples=3,
        **weights_of(trained),
    )
    labelled = workflow.parser.get_parsed_content("labelled")
    for volume, label in enumerate(labels.values()):
        of_volume = labelled["label"][labelled["source"] == volume]
        assert of_volume.max() == float(label)
    assert 0 in labelled["label"][labelled["source"] == 0]  # a slice of a volume with a lesion, beside the lesion
    assert len(list((tmp_path / "samples").iterdir())) == 3
    tries = [int(row["tries"]) for row in read_table(tmp_path / "latents.csv")]
    with open(tmp_path / "metrics.csv", newline="") as f:
        metrics = {name: float(value) for name, value in csv.reader(f)}
    assert metrics["acceptance_rate"] == pytest.approx(3 / sum(tries), rel=1e-4)


def test_unlabelled_volumes_stay_unlabelled_though_they_have_masks(trained, bundle, volumes, tmp_path):
    rows = read_table(volumes / "labels.csv")
    positive = next(row["file"] for row in rows if row["lesion"] == "1")
    with open(tmp_path / "few.csv", "w", newline="") as f:
        csv.writer(f).writerows([["file", "lesion"], [volumes / positive, "1"]])
    workflow = bundle.workflow(
        "inference",
        "sample",
        "conditional_sample",
        labels_file=str(tmp_path / "few.csv"),
        output_dir=str(tmp_path),
        **weights_of(trained),
    )
    labelled = workflow.parser.get_parsed_content("labelled")
    place = [row["file"] for row in rows].index(positive)
    unlabelled = labelled["label"].isnan()
    assert torch.equal(unlabelled, labelled["source"] != place)
