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
# # Encode, edit and reconstruct brain slices
#
# A diffusion autoencoder ([Preechakul et al., CVPR 2022](https://arxiv.org/abs/2111.15640)) encodes an image into two
# codes: **z_sem**, a vector of meaning, and **x_T**, an image of noise that holds the remaining detail. This notebook
# uses the weights that the bundle `brain_slices_diffae` ships: it reconstructs slices, removes and adds a lesion,
# checks an edit against the truth, and turns one slice into another. About three minutes on two CPU cores.
#
# The anatomy is one template, deformed, and the lesions are simulated: research only, not for clinical use.
#
# ## Setup environment

# %%
# !python -c "import monai_diffae" || pip install -q "..[demo]"
# %matplotlib inline

# %% [markdown]
# ## Setup imports

# %%
import dataclasses
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.config import print_config
from monai.transforms import SaveImage
from monai.utils import set_determinism

from monai_diffae.datasets.brain_slices import draw_factors, render_subject
from monai_diffae.inferers import (
    DiffusionAutoencoderInferer,
    InterpolationInferer,
    ManipulationInferer,
    ReconstructionInferer,
)
from monai_diffae.semantics import AttributeDirections, Edit

print_config()

# %% [markdown]
# ## Setup data directory and deterministic behaviour
#
# `MONAI_DATA_DIRECTORY` keeps the data; without it they go to a temporary folder.

# %%
directory = os.environ.get("MONAI_DATA_DIRECTORY")
root_dir = Path(tempfile.mkdtemp() if directory is None else directory) / "diffae_tutorial_01"
bundle = Path("../bundles/brain_slices_diffae")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
set_determinism(seed=0)

# %% [markdown]
# ## Four subjects, each with and without its lesion
#
# `draw_factors` gives what distinguishes a subject from the template; two that differ in `lesion` only have the same
# anatomy. Training used seed 0, so no network has seen these. We take subjects whose lesion lies on their left (x < 0
# in MNI space).

# %%
subjects = (draw_factors(seed=3000, index=index, lesions="balls") for index in range(100))
for index, factors in enumerate([f for f in subjects if f.lesion_center[0] < 0][:4]):
    for lesion in (False, True):
        image, _ = render_subject(dataclasses.replace(factors, lesion=lesion))
        image.meta["filename_or_obj"] = f"sub{index}_{'lesion' if lesion else 'healthy'}.nii.gz"
        SaveImage(root_dir, output_postfix="", resample=False, separate_folder=False, print_log=False)(image)
sorted(path.name for path in root_dir.iterdir())

# %% [markdown]
# ## The bundle's data, network and scheduler
#
# All of it is described in `configs/inference.yaml`; Python asks for the parts. Slices come out as `(1, 64, 64)` in
# [-1, 1].

# %%
config = ConfigParser()
config.read_config(bundle / "configs" / "inference.yaml")
config["bundle_root"], config["dataset_dir"], config["num_slices"] = str(bundle), str(root_dir), 5
slices = config.get_parsed_content("dataset")
middle = [slices[i]["image"] for i in range(2, len(slices), 5)]  # the middle one of the five of each volume
images = torch.stack([image.as_tensor() for image in middle]).to(device)
healthy, diseased = images[0::2], images[1::2]

network = config.get_parsed_content("network_def").to(device).eval()
network.load_state_dict(torch.load(bundle / "models" / "model.pt", map_location=device, weights_only=True))
steps = DiffusionAutoencoderInferer(config.get_parsed_content("scheduler"), 20, inversion="exact", verbose=False)


def show(rows: dict[str, torch.Tensor], signed: tuple[str, ...] = ()) -> None:
    """One row of pictures for each entry, differences in blue and red."""
    count = max(len(images) for images in rows.values())
    _, axes = plt.subplots(len(rows), count, figsize=(1.4 * count, 1.4 * len(rows)), dpi=60, squeeze=False)
    for axes_row, (name, images) in zip(axes, rows.items()):
        for axis, image in zip(axes_row, images):
            look = {"cmap": "seismic", "vmin": -0.5, "vmax": 0.5} if name in signed else {"cmap": "gray", "vmin": -1}
            axis.imshow(np.rot90(image[0].cpu()), **{"vmax": 1} | look)
            axis.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(name, fontsize=8)
    plt.tight_layout()
    plt.show()


# %% [markdown]
# ## Two codes, and back
#
# With its own x_T an image comes back almost exactly; with a random one we see what z_sem alone knows.

# %%
exact = ReconstructionInferer(steps, x_T="encode")(diseased, network)
semantic = ReconstructionInferer(steps, x_T="random", seed=1)(diseased, network)
for name, result in (("encoded x_T", exact), ("random x_T", semantic)):
    print(f"{name}: PSNR {10 * torch.log10(4 / (result - diseased).square().mean()):.1f} dB")
show(
    {"slice": diseased, "own x_T": exact, "error": exact - diseased, "random x_T": semantic},
    signed=("error",),
)

# %% [markdown]
# ## Remove the lesion
#
# A linear classifier of a lesion on the left, fitted to z_sem by `fit_attributes.yaml`, gives the direction. x_T stays,
# so the rest of the image does too. Here the truth is known: the same subject without its lesion.

# %%
directions = AttributeDirections.load(bundle / "models" / "attributes.pt")
removed = ManipulationInferer(steps, directions, Edit(attribute="lesion_left", amount=-0.6)).predict(diseased, network)
show(
    {
        "slice": diseased,
        "removed": removed["edit"],
        "truth": healthy,
        "change": removed["difference"],
        "true change": healthy - diseased,
    },
    signed=("change", "true change"),
)
for name, result in (("as it was", exact), ("lesion removed", removed["edit"])):
    print(f"{name}: mean squared distance to the truth {(result - healthy).square().mean():.4f}")
print("score before the edit:", [round(s, 1) for s in removed["score"].tolist()])

# %% [markdown]
# ## Add a lesion, little by little

# %%
series = ManipulationInferer(steps, directions, Edit(attribute="lesion_left", amount=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
added = series(healthy[:2], network)  # (2, 6, 1, 64, 64)
show({"first": added[0], "second": added[1]})

# %% [markdown]
# ## From one slice to another
#
# z_sem on a straight line, x_T on a great circle. What lies between is a brain, not a blend of two.

# %%
line = InterpolationInferer(steps, num_points=7)(healthy[:1], network, healthy[1:2])[0]
blend = torch.stack([torch.lerp(healthy[0], healthy[1], w) for w in torch.linspace(0, 1, 7).tolist()])
show({"Diff-AE": line, "pixel blend": blend})

# %% [markdown]
# ## Next
#
# The same by one command each, on any folder of NIfTI files: see the README's table of the bundle's commands. The
# results are then written as NIfTI volumes with the affine of the source.
