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
# # Counterfactuals of real MRI: this hippocampus at 80 % of its volume
#
# Task04_Hippocampus of the Medical Segmentation Decathlon holds 260 T1 volumes around a hippocampus, with masks by
# experts. The bundle `hippocampus_mri_diffae` has learned their sagittal slices and where the volume of the hippocampus
# lies in z_sem. This notebook goes from the download to volumes of test subjects of which 80 % (and 90, 110 and 120 %)
# of their hippocampus is asked, and has an independent segmentation network measure what came of it. About five minutes
# on two CPU cores.
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
import json
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    RandFlipd,
    RandZoomd,
    ResizeWithPadOrCropd,
    ScaleIntensityRangePercentilesd,
)
from monai.utils import set_determinism
from scipy.ndimage import distance_transform_edt

from monai_diffae.datasets import find_hippocampus, write_hippocampus_labels
from monai_diffae.semantics import AttributeDirections

print_config()

# %% [markdown]
# ## Data
#
# `MONAI_DATA_DIRECTORY` keeps the data (27 MB, CC BY-SA 4.0); without it they go to a temporary folder. MONAI downloads
# them unless `Task04_Hippocampus` lies there. Files are hippocampi, not people: the two sides of a person are on one
# side of the split, which is committed. The weights are those that the bundle ships, or `models/` of your own training
# in `HIPPOCAMPUS_MODELS`. Volumes are in millilitres, of the experts' masks.

# %%
root_dir = Path(os.environ.get("MONAI_DATA_DIRECTORY") or tempfile.mkdtemp())
output_dir = root_dir / "diffae_tutorial_03"
bundle = Path("../bundles/hippocampus_mri_diffae")
models = Path(os.environ.get("HIPPOCAMPUS_MODELS") or bundle / "models")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
set_determinism(seed=0)

train, test = (find_hippocampus(root_dir, split, download=True) for split in ("train", "test"))
edited = test[:4]
labels_file = write_hippocampus_labels(test, root_dir, output_dir / "labels.csv")
with open(labels_file, newline="") as f:
    expert = {Path(row["file"]).name: float(row["volume_ml"]) for row in csv.DictReader(f)}
ml = np.array(list(expert.values()))
print(f"{len(train)} volumes to train, {len(test)} to test, of {len({item['subject'] for item in test})} subjects")
print(f"hippocampi of test subjects: {ml.mean():.2f} +- {ml.std():.2f} ml")


# %% [markdown]
# ## A hippocampus, and what the experts have drawn


# %%
def voxels(path: str | Path) -> np.ndarray:
    """``(X, Y, Z)``, or of a series ``(X, Y, Z, N)``."""
    return np.asarray(nib.load(path).dataobj, dtype=np.float32)


def sagittal(volume: np.ndarray) -> np.ndarray:
    """The slice in the middle, its upper row first."""
    return volume[len(volume) // 2].T[::-1]


def show(pictures: dict[str, np.ndarray], contours: dict[str, np.ndarray] | None = None) -> None:
    """Slices in the grey levels of the first one, changes in blue and red."""
    low, high = np.percentile(next(iter(pictures.values())), (0, 99.75))
    _, axes = plt.subplots(1, len(pictures), figsize=(1.9 * len(pictures), 1.7), dpi=80, squeeze=False)
    for axis, (name, picture) in zip(axes.flat, pictures.items()):
        if name.startswith("change"):
            axis.imshow(picture, cmap="seismic", vmin=-0.3 * (high - low), vmax=0.3 * (high - low))
        else:
            axis.imshow(picture, cmap="gray", vmin=low, vmax=high)
        if name in (contours or {}) and contours[name].any():
            axis.contour(contours[name], [0.5], colors="orange", linewidths=0.8)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=8)
    plt.tight_layout()
    plt.show()


for item in edited[:2]:
    image, mask = (sagittal(voxels(item[key])) for key in ("image", "mask"))
    title = f"{expert[Path(item['image']).name]:.2f} ml"
    show({"slice": image, title: image}, {title: mask > 0})

# %% [markdown]
# ## What z_sem knows of the volume
#
# The bundle's workflows run from Python as on the command line (`monai-diffae encode hippocampus_mri_diffae ...`).
# `encode` writes z_sem of every slice; the ridge regression in `attributes.pt`, which `fit-attributes` has fitted to
# training subjects, reads the volume off each, and the mean over the slices is the volume's value.


# %%
def run(*names: str, **options: object) -> Path:
    """Run overlays on ``inference.yaml`` into a folder named like the last of them."""
    files = [str(bundle / "configs" / f"{name}.yaml") for name in ("inference", *names)]
    folder = output_dir / names[-1]
    options = {"dataset_dir": str(root_dir), "ckpt_path": str(models / "model.pt"), "progress": False} | options
    workflow = ConfigWorkflow(files, logging_file=False, bundle_root=str(bundle), output_dir=str(folder), **options)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return folder


def rows_of(table: Path) -> dict[str, list[dict[str, str]]]:
    """Those of each file, one for a slice."""
    rows: dict[str, list[dict[str, str]]] = {}
    with open(table, newline="") as f:
        for row in csv.DictReader(f):
            rows.setdefault(Path(row["file"]).name, []).append(row)
    return rows


directions = AttributeDirections.load(models / "attributes.pt")
read = {}
for name, rows in rows_of(run("encode") / "latents.csv").items():
    z_sem = torch.tensor([[float(row[f"z_{k}"]) for k in range(len(directions.statistics.mean))] for row in rows])
    read[name] = directions.scores(z_sem)[:, directions.names.index("volume_ml")].mean().item()

truth, value = (np.array([of[name] for name in expert]) for of in (expert, read))
print(f"the volume as z_sem tells it, {len(truth)} hippocampi of test subjects:")
print(f"correlation with the experts' {np.corrcoef(truth, value)[0, 1]:.2f}")
print(f"mean error {abs(value - truth).mean():.2f} ml")
print(f"mean error of saying {truth.mean():.2f} ml of all: {abs(truth - truth.mean()).mean():.2f} ml")

# %% [markdown]
# ## A judge
#
# What z_sem says of its own edits is no measurement. A small UNet of MONAI learns from images and masks of the training
# subjects where the hippocampus is; it shares nothing with the diffusion autoencoder. Its Dice score on test subjects
# says how far it can be trusted.

# %%
box = (48, 64, 48)  # voxels, which every crop fits into
prepare = [
    EnsureChannelFirstd("image", channel_dim="no_channel"),
    ScaleIntensityRangePercentilesd("image", 0, 99.75, -1, 1, clip=True),
    ResizeWithPadOrCropd("image", box, mode="edge"),
    EnsureTyped("image", track_meta=False),
]
prepare_mask = [
    EnsureChannelFirstd("mask", channel_dim="no_channel"),
    AsDiscreted("mask", threshold=0.5),
    ResizeWithPadOrCropd("mask", box),
    EnsureTyped("mask", track_meta=False),
]
both = ["image", "mask"]
vary = [
    RandFlipd(both, prob=0.5, spatial_axis=0),
    RandZoomd(both, prob=0.5, min_zoom=0.85, max_zoom=1.15, mode=("trilinear", "nearest")),
]
data = CacheDataset(train, Compose([LoadImaged(both), *prepare, *prepare_mask, *vary]), progress=False)
loader = DataLoader(data, batch_size=2, shuffle=True)
judge = UNet(3, 1, 2, channels=(8, 16, 32, 64), strides=(2, 2, 2), norm="instance").to(device)
optimizer = torch.optim.AdamW(judge.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, epochs=6, steps_per_epoch=len(loader))
loss_function = DiceCELoss(to_onehot_y=True, softmax=True)
for _ in range(6):
    for batch in loader:
        optimizer.zero_grad()
        loss_function(judge(batch["image"].to(device)), batch["mask"].to(device)).backward()
        optimizer.step()
        schedule.step()
judge.eval()


@torch.no_grad()
def segment(volume: np.ndarray) -> np.ndarray:
    """Where the judge sees the hippocampus, in the frame of the volume."""
    image = Compose(prepare)({"image": volume})["image"]
    mask = judge(image[None].to(device)).argmax(dim=1).cpu()
    return ResizeWithPadOrCropd("mask", volume.shape)({"mask": mask})["mask"][0].numpy() > 0


dice, judged = [], []
for item in test:
    mask, seen = voxels(item["mask"]) > 0, segment(voxels(item["image"]))
    dice.append(2 * (mask & seen).sum() / (mask.sum() + seen.sum()))
    judged.append(seen.sum() / 1000)  # voxels are 1 mm wide
print(f"Dice {np.mean(dice):.2f}; its volumes correlate with the experts' at {np.corrcoef(truth, judged)[0, 1]:.2f}")

# %% [markdown]
# ## To 80, 90, 110 and 120 %
#
# The volume is the sum of the areas in its slices: `edit` (`manipulate.yaml`) brings the area in each slice to 80 %
# of its own. z_sem moves along the pattern of `hippocampus_area` (the way on which codes of slices at one place with
# other areas differ), until the image, encoded again, has the area that was asked for (`max_aims`); x_T stays, and what
# that changes is added to the source. The results have the source's space and intensities; a series is the fourth
# dimension.

# %%
targets = [80, 90, 110, 120]  # per cent of its volume
listed = output_dir / "edited.json"
listed.write_text(json.dumps({"training": [{"image": item["image"], "subject": item["subject"]} for item in edited]}))
folder = run(
    "manipulate",
    data_list=str(listed),
    attributes_path=str(models / "attributes.pt"),
    attribute="hippocampus_area",
    along="pattern",
    target=[f"{share}%" for share in targets],
    max_aims=4,
    num_inference_steps=10,
    tolerance=1e-2,
)
results = {}
for item in edited:
    (results[item["image"]],) = folder.rglob(Path(item["image"]).name.replace(".nii.gz", "_edit.nii.gz"))
print(*sorted(path.name for path in results.values()), sep="\n")

# %% [markdown]
# ## What the edit did
#
# Orange: the hippocampus as the judge sees it.

# %%
for item in edited:
    source, series = voxels(item["image"]), voxels(results[item["image"]])
    pictures, contours = {}, {}
    for name, volume in (("source", source), *((f"{share} %", series[..., k]) for k, share in enumerate(targets))):
        pictures[name], contours[name] = sagittal(volume), sagittal(segment(volume))
    pictures |= {
        f"change, {share} %": sagittal(series[..., k] - source) for k, share in enumerate(targets) if share in (80, 120)
    }
    show(pictures, contours)

# %% [markdown]
# ## Measured
#
# The judge's volume of each result, in per cent of its volume of the source. Slope 1 is what was asked, 0 no effect.
# Outside: the share of the squared change that lies more than 3 mm away from the experts' mask.
#
# Without `max_aims` images follow their codes about half as far. What a segmentation sees of a change is less than the
# change, even where an image is scaled as a whole: the bundle's page has that beside the slope of more volumes.

# %%
asked, measured, outside = [], [], []
print("expert ml  judge ml  " + "  ".join(f"to {share} %" for share in targets))
for item in edited:
    source, series = voxels(item["image"]), voxels(results[item["image"]])
    before = segment(source).sum()
    shares = [100 * segment(series[..., k]).sum() / before for k in range(len(targets))]
    far = distance_transform_edt(voxels(item["mask"]) == 0) > 3
    change = (series - source[..., None]) ** 2
    outside.append(change[far].sum() / change.sum())
    asked += [share - 100 for share in targets]
    measured += [share - 100 for share in shares]
    numbers = "  ".join(f"{share:6.0f} %" for share in shares)
    print(f"{expert[Path(item['image']).name]:9.2f}  {before / 1000:8.2f}  {numbers}")
asked, measured = np.array(asked), np.array(measured)
print(f"slope of measured against asked change {(asked * measured).sum() / (asked**2).sum():.2f}")
print(f"mean error {abs(measured - asked).mean():.0f} % of the volume")
print(f"outside {100 * np.mean(outside):.0f} % of the squared change")

# %% [markdown]
# ## Next
#
# `monai-diffae counterfactual hippocampus_mri_diffae --attribute hippocampus_area --target 80%` does the same for
# your own volumes, step by step, with a table. The bundle's page has the numbers of all test subjects with their
# intervals, beside what principal components and the mere size of the crop tell of the volume, which is part of what
# z_sem reads: crops were cut around the masks. Whole volumes in place of slices: tutorial 04.
