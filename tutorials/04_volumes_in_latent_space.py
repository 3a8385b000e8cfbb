# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# Copyright (c) monai_diffae contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

# %% [markdown]
# # Volumes in the latent space of a compression model
#
# A diffusion autoencoder of whole volumes costs much in voxels. In the latents of a compression model (stage 1, MONAI's
# `AutoencoderKL`) its denoiser (stage 2) sees 64 times fewer of them
# ([Lozupone et al. 2025](https://arxiv.org/abs/2504.08635)). This notebook trains both on hippocampi at 2 mm, for some
# minutes only, to show the way; then it takes the shipped weights, of 1 mm, to see where information is lost and to
# edit a volume. About ten minutes on two CPU cores.
#
# Research only, not for clinical use. **No image is stored with this notebook**, because they would be of people: its
# figures appear when you run it, what it prints is as it was.
#
# ## Setup environment

# %%
# !python -c "import monai_diffae" || pip install -q "..[demo]"
# %matplotlib inline

# %% [markdown]
# ## Setup imports

# %%
import csv
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.config import print_config
from monai.utils import set_determinism

from monai_diffae.checkpoints import load_weights
from monai_diffae.datasets import find_hippocampus
from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer

print_config()

# %% [markdown]
# ## Data and options
#
# `MONAI_DATA_DIRECTORY` keeps the data (27 MB, CC BY-SA 4.0), which MONAI downloads unless `Task04_Hippocampus` lies
# there. The overlay `volumes.yaml` makes the bundle one of whole volumes: 48x48x64 voxels of 1 mm, or with `image_size`
# 24, as in the trainings here, 24x24x32 of 2 mm, at an eighth of the cost.

# %%
root_dir = Path(os.environ.get("MONAI_DATA_DIRECTORY") or tempfile.mkdtemp())
output_dir = root_dir / "diffae_tutorial_04"
bundle = Path("../bundles/hippocampus_mri_diffae")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
set_determinism(seed=0)

train, test = (find_hippocampus(root_dir, split, download=True) for split in ("train", "test"))
print(f"{len(train)} volumes to train, {len(test)} to test")


def run(start: str, *names: str, **options: object) -> Path:
    """Run overlays on ``train.yaml`` or ``inference.yaml`` into a folder named like the last of them."""
    files = [str(bundle / "configs" / f"{name}.yaml") for name in (start, "volumes", *names)]
    folder = output_dir / names[-1]
    options |= {"bundle_root": str(bundle), "dataset_dir": str(root_dir), "output_dir": str(folder)}
    workflow_type = "train" if start == "train" else "infer"
    workflow = ConfigWorkflow(files, workflow_type=workflow_type, logging_file=False, **options)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return folder


def tell(folder: Path, *columns: str) -> None:
    """Columns of a training's log where there was a validation."""
    with open(folder / "training_log.csv", newline="") as f:
        for row in csv.DictReader(f):
            if row[columns[-1]]:
                print({name: row[name] for name in ("iteration", *columns)})


# %% [markdown]
# ## Stage 1: the compression model
#
# `train_autoencoder.yaml`: L1, KL and an adversarial loss. Sides become a quarter, with 4 channels. Any `AutoencoderKL`
# or `VQVAE` of your own does as well: `stage_1_path` and `stage_1_def`.

# %%
brief = {"image_size": 24, "num_workers": 0, "accumulation_steps": 1, "val_interval": 1, "ema_decay": 0.95}
stage_1 = run("train", "train_autoencoder", max_iterations=180, epoch_length=60, learning_rate=1e-3, **brief)
tell(stage_1, "train_loss", "val_psnr")

# %% [markdown]
# ## Stage 2: the diffusion autoencoder of the latents
#
# `latent_space.yaml` behind `train.yaml`: the training volumes are compressed once and scaled to a standard deviation
# of 1; the semantic encoder sees the volume, the denoiser its latent. The *semantic gap* (the noise loss with the
# z_sem of another volume over that with the right one) says whether the encoder is of use; it starts at 1.

# %%
stage_1_path = str(stage_1 / "models" / "model.pt")
stage_2 = run(
    "train",
    "latent_space",
    stage_1_path=stage_1_path,
    max_iterations=120,
    epoch_length=60,
    batch_size=8,
    num_inference_steps=5,
    **{"network_def::autoencoder::encoder::patch_size": 2},  # sides of 24 are no multiples of 16
    **brief,
)
tell(stage_2, "train_loss", "val_psnr", "val_noise_semantic_gap")

# %% [markdown]
# ## Where information is lost
#
# From here on with the weights that the bundle ships, trained for some hours (`models/volumes`). What compression loses
# no code brings back: with its own x_T a *latent* comes back exactly, the volume only as well as stage 1 can. A random
# x_T shows what z_sem alone knows. All three on test subjects.

# %%
config = ConfigParser()
config.read_config([bundle / "configs" / f"{name}.yaml" for name in ("inference", "volumes", "latent_space")])
config.update({"bundle_root": str(bundle), "dataset_dir": str(root_dir)})
ckpt_path = config.get_parsed_content("ckpt_path")
network = load_weights(config.get_parsed_content("network_def").to(device), ckpt_path).eval()
dataset = config.get_parsed_content("dataset")
volumes = torch.stack([dataset[k]["image"].as_tensor() for k in range(2)]).to(device)
loops = DiffusionAutoencoderInferer(config.get_parsed_content("scheduler"), 10, inversion="exact", verbose=False)


def psnr(result: torch.Tensor, truth: torch.Tensor, span: float = 2.0) -> float:
    return float(10 * torch.log10(span**2 / (result - truth).square().mean()))


with torch.no_grad():
    latents = network.to_latent(volumes)
    compressed = network.to_image(latents)
    exact = ReconstructionInferer(loops, x_T="encode")(volumes, network)
    semantic = ReconstructionInferer(loops, x_T="random", seed=1)(volumes, network)
print(f"a volume has {volumes[0].numel()} numbers, its latent {latents[0].numel()}, z_sem {config['z_dim']}")
print(f"stage 1 alone:               {psnr(compressed, volumes):.1f} dB of the volume")
print(f"own x_T:                     {psnr(exact, volumes):.1f} dB of the volume")
print(f"own x_T, against stage 1's:  {psnr(exact, compressed):.1f} dB")
print(f"random x_T:                  {psnr(semantic, volumes):.1f} dB of the volume")

# %%
names = ("volume", "stage 1", "own x_T", "random x_T")
_, axes = plt.subplots(len(volumes), len(names), figsize=(1.8 * len(names), 2.2 * len(volumes)), dpi=80, squeeze=False)
for row, of_volume in zip(axes, zip(volumes, compressed, exact, semantic)):
    for axis, name, volume in zip(row, names, of_volume):
        axis.imshow(volume[0, 24].cpu().rot90(), cmap="gray", vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=8)
plt.show()

# %% [markdown]
# ## Edit in the patient's space
#
# The other overlays go behind `latent_space.yaml`: `manipulate` moves along the direction of the hippocampus' volume,
# which `fit_attributes` found in the codes of training subjects. An edit is written as a residual (what it changes is
# added to the source), so that the source keeps the detail that compression loses. How far the hippocampus follows
# stands on the bundle's page: not as far as with slices.

# %%
(output_dir / "edited.csv").write_text(f"image\n{test[0]['image']}\n")
edits = run(
    "inference",
    "latent_space",
    "manipulate",
    data_list=str(output_dir / "edited.csv"),
    attribute="hippocampus_area",
    along="pattern",
    target="80%",
    num_inference_steps=10,
    progress=False,
)
(edit,) = edits.rglob("*_edit.nii.gz")
source = nib.load(test[0]["image"])
before, after = (np.asarray(image.dataobj, dtype=float) for image in (source, nib.load(edit)))
print(edit.name, "has the source's shape and place:", np.allclose(source.affine, nib.load(edit).affine))
print(f"changed by {abs(after - before).mean() / np.ptp(before):.2%} of its range, on average")

# %% [markdown]
# ## Next
#
# Your own volumes: `monai-diffae train-autoencoder hippocampus_mri_diffae --with volumes --dataset_dir DIR`, then
# `monai-diffae train hippocampus_mri_diffae --with volumes --with latent_space --stage_1_path STAGE_1.pt`, with the
# options that the bundle's page has. When to take slices, volumes in voxels, or volumes in a latent space stands there,
# too. Large volumes are compressed in windows (`roi_size`).
