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
# # Train a diffusion autoencoder on pictures, and sample new ones
#
# The bundle `natural_images_diffae` trains on any folder of pictures. This notebook trains it for a minute on MNIST
# digits, looks at whether the encoder learns, and goes on with the weights that the bundle ships: it edits a measured
# quantity (stroke thickness), draws a line from digit to digit, samples new digits by the latent diffusion, and samples
# one class from twenty labels. About five minutes on two CPU cores.
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
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.config import print_config
from monai.utils import set_determinism

from monai_diffae.checkpoints import load_weights
from monai_diffae.datasets import load_digits_arrays
from monai_diffae.inferers import (
    ConditionalLatentSampler,
    DiffusionAutoencoderInferer,
    InterpolationInferer,
    LatentSampler,
    ManipulationInferer,
    SamplingInferer,
)
from monai_diffae.semantics import AttributeDirections, Edit, LatentStatistics, fit_few_shot

print_config()

# %% [markdown]
# ## Setup data directory and deterministic behaviour
#
# `MONAI_DATA_DIRECTORY` keeps the data; without it they go to a temporary folder.

# %%
directory = os.environ.get("MONAI_DATA_DIRECTORY")
root_dir = Path(tempfile.mkdtemp() if directory is None else directory) / "diffae_tutorial_02"
bundle = Path("../bundles/natural_images_diffae")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
set_determinism(seed=0)

# %% [markdown]
# ## A minute of training
#
# Everything is described in `configs/train.yaml`; here it gets few iterations. `dataset_dir` may be any folder of
# pictures; left out, the bundle writes the digits to its own `data/train`. The same command goes on where a run was
# stopped.
#
# **Does the encoder learn?** With its own x_T any network reconstructs well, so PSNR does not tell. The *semantic gap*
# does: the noise loss with the z_sem of another image over the loss with the right one. It starts at 1.

# %%
training = ConfigWorkflow(
    str(bundle / "configs" / "train.yaml"),
    workflow_type="train",
    logging_file=False,
    bundle_root=str(bundle),
    output_dir=str(root_dir / "run"),
    max_iterations=150,
    epoch_length=50,
    val_interval=1,
    num_workers=0,
)
training.initialize()
training.run()

with open(root_dir / "run" / "training_log.csv", newline="") as f:
    for row in csv.DictReader(f):
        print({name: row[name] for name in ("iteration", "train_loss", "val_psnr", "val_noise_semantic_gap")})

# %% [markdown]
# ## The shipped weights

# %%
config = ConfigParser()
config.read_config(bundle / "configs" / "inference.yaml")
config["bundle_root"] = str(bundle)
models = bundle / "models"
network = load_weights(config.get_parsed_content("network_def").to(device), models / "model.pt").eval()
loops = DiffusionAutoencoderInferer(config.get_parsed_content("scheduler"), 20, inversion="exact", verbose=False)
images, labels = load_digits_arrays("test")
images = images.to(device)


def show(rows: list[torch.Tensor]) -> None:
    """Rows of pictures ``(N, 1, 32, 32)``."""
    _, axes = plt.subplots(len(rows), len(rows[0]), figsize=(len(rows[0]), len(rows)), dpi=50, squeeze=False)
    for axis, image in zip(axes.flat, torch.cat(list(rows))):
        axis.imshow(image[0].cpu(), cmap="gray", vmin=-1, vmax=1)
        axis.set_axis_off()
    plt.tight_layout(pad=0.2)
    plt.show()


# %% [markdown]
# ## Thinner and thicker, and towards 8
#
# `fit_attributes.yaml` has fitted a linear model of the measured stroke thickness (in pixels) to z_sem. `target` asks
# for a value; x_T stays. Towards another class it goes further to move to the mean code of its digits: three quarters
# of the way turn a digit into an 8, whose slant and thickness are kept.

# %%
directions = AttributeDirections.load(models / "attributes.pt")
print(directions.summary("thickness").row())
edit = ManipulationInferer(loops, directions, Edit("thickness", target=[1.6, 2.4, 3.2, 4.0]))
edited = edit(images[:5], network)  # (5, 4, 1, 32, 32)
show([torch.cat([image[None], series]) for image, series in zip(images[:5], edited)])

shares = [0.25, 0.5, 0.75]
edit = ManipulationInferer(loops, directions, Edit("is_8", to_class_mean=shares, keep=["slant", "thickness"]))
show([torch.cat([image[None], series]) for image, series in zip(images[:5], edit(images[:5], network))])

# %% [markdown]
# ## From digit to digit

# %%
line = InterpolationInferer(loops, num_points=9)
show([line(images[a : a + 1], network, images[b : b + 1])[0] for a, b in ((4, 9), (3, 8), (1, 7))])

# %% [markdown]
# ## New digits
#
# A second, small diffusion model draws z_sem, x_T is random. Sample k depends on the seed and k only.

# %%
latent_network = load_weights(config.get_parsed_content("latent_network_def").to(device), models / "latent.pt").eval()
statistics = LatentStatistics.load(models / "statistics.pt")
sampler = LatentSampler(latent_network, config.get_parsed_content("latent_scheduler"), statistics, seed=1)
shape = images.shape[1:]
samples = SamplingInferer(loops, sampler, shape)(torch.arange(30, device=device), network)
show(list(samples.split(10)))

# %% [markdown]
# ## A class from twenty labels
#
# Ten threes and ten others, and the rest of the digits without their labels, train a classifier on z_sem; samples are
# accepted with the probability that it gives them.

# %%
few = torch.cat([torch.nonzero(labels == 3)[:10, 0], torch.nonzero(labels != 3)[:10, 0]])
is_three = torch.full((len(images),), torch.nan, dtype=torch.double)  # NaN: unlabelled
is_three[few] = (labels[few] == 3).double()
with torch.no_grad():
    classifier = fit_few_shot(network.encode(images).cpu(), is_three, "three", regularization=10.0)
threes = ConditionalLatentSampler(sampler, classifier, "three", prior=0.1)
result = SamplingInferer(loops, threes, shape).predict(torch.arange(20, device=device), network)
print(f"{20 / result['tries'].sum():.1%} of the latent samples were accepted")
show(list(result["sample"].split(10)))

# %% [markdown]
# ## Next
#
# Your own pictures: `--dataset_dir`, see the bundle's page for reading, sizes, labels and the latent diffusion.
