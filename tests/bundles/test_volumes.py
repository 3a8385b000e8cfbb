# SPDX-License-Identifier: Apache-2.0
"""volumes.yaml: the brain bundle on whole volumes, by 3D networks."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from latent_workflows import Bundle, read_table
from monai.bundle import ConfigParser

from monai_diffae.semantics import AttributeDirections, LatentStatistics

OPTIONS = {"z_dim": 8, "num_inference_steps": 2, "num_inversion_steps": 2, "batch_size": 2}
TRAINING = {"max_iterations": 2, "epoch_length": 2, "val_interval": 1, "num_workers": 0, "val_fraction": 0.4}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """Balls of tissue, turned axes, of another size than the network's."""
    folder = tmp_path_factory.mktemp("volumes")
    distance = np.linalg.norm(np.indices((20, 22, 18)) - np.array([9.5, 10.5, 8.5])[:, None, None, None], axis=0)
    for i in range(5):
        values = (distance < 6 + i / 2) * 300.0 + (distance < 3) * 300.0
        nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([-9.0, 9, 9, 1])), folder / f"{i}.nii.gz")
    return Bundle("brain_slices_diffae", folder, dataset_dir=str(folder))


def train(bundle: Bundle, folder: Path, **options) -> list[dict]:
    options = OPTIONS | TRAINING | options | {"output_dir": str(folder), "init_from": str(folder / "start.pt")}
    parser = ConfigParser()
    parser.read_config([str(bundle.configs / f"{name}.yaml") for name in ("train", "volumes")])
    parser.update(options)
    generator = torch.Generator().manual_seed(0)
    state = parser.get_parsed_content("network_def").state_dict()
    folder.mkdir()
    torch.save({k: 0.05 * torch.randn(x.shape, generator=generator) for k, x in state.items()}, folder / "start.pt")
    bundle.run("train", "volumes", workflow_type="train", **options)
    return read_table(folder / "training_log.csv")


@pytest.mark.parametrize("image_size", [16, pytest.param(32, marks=pytest.mark.slow)])
def test_volumes_are_trained_on_reconstructed_and_edited(bundle, tmp_path, image_size):
    rows = train(bundle, tmp_path / "run", image_size=image_size)
    assert float(rows[0]["train_loss"]) > 0
    assert float(rows[0]["val_psnr"]) > 0
    weight = torch.ones(1, 8)
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    AttributeDirections(["size"], weight, torch.zeros(1), statistics).save(tmp_path / "attributes.pt")
    options = OPTIONS | {"image_size": image_size, "progress": False}
    options |= {"ckpt_path": str(tmp_path / "run" / "models" / "model.pt"), "output_dir": str(tmp_path / "out")}
    options |= {"inversion": "explicit", "attribute": "size", "attributes_path": str(tmp_path / "attributes.pt")}
    bundle.run("inference", "volumes", "manipulate", **options)
    for kind in ("reconstruction", "edit", "difference"):
        files = sorted((tmp_path / "out").glob(f"*_{kind}.nii.gz"))
        assert [file.name for file in files] == [f"{i}_{kind}.nii.gz" for i in range(5)]
        volume = nib.load(files[0])
        assert volume.shape == (image_size,) * 3
        np.testing.assert_allclose(nib.affines.voxel_sizes(volume.affine), 192 / image_size, rtol=1e-5)
    assert len(read_table(tmp_path / "out" / "latents.csv")) == 5
    assert len(read_table(tmp_path / "out" / "edits.csv")) == 5


def test_checkpointing_changes_no_loss_and_accumulation_makes_fewer_steps(bundle, tmp_path):
    options = {"image_size": 16, "epoch_length": 1, "val_interval": 5}
    losses = {}
    for name, changes in (
        ("plain", {"use_checkpoint": False, "accumulation_steps": 1}),
        ("checkpointed", {"use_checkpoint": True, "accumulation_steps": 1}),
        ("accumulated", {"use_checkpoint": True, "accumulation_steps": 2, "epoch_length": 2}),
    ):
        rows = train(bundle, tmp_path / name, **options | changes)
        losses[name] = [float(row["train_loss"]) for row in rows]
    assert losses["checkpointed"] == pytest.approx(losses["plain"], rel=1e-4)
    # Without a step between its two batches, the second is seen by the weights of the start.
    assert losses["accumulated"][0] != pytest.approx(sum(losses["plain"]) / 2, rel=1e-6)
