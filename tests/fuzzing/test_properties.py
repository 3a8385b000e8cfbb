# SPDX-License-Identifier: Apache-2.0
"""Properties that hold for any input, tried by hypothesis: levels of noise, interpolation, edits, places of voxels."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, Orientationd, Spacingd

from monai_diffae.data import LoadVolumed, find_volumes
from monai_diffae.data.label_tables import read_label_table
from monai_diffae.schedulers import InvertibleDDIMScheduler, ddim_update
from monai_diffae.semantics import AttributeDirections, LatentStatistics, lerp, slerp

settings.register_profile("here", deadline=None, max_examples=60, derandomize=True, print_blob=True)
settings.load_profile("here")
SPACINGS = ("leading", "trailing", "linspace", "quadratic")
seeds = st.integers(0, 2**31 - 1)


def result_or_refusal(function: Callable[[], Any], *names: str) -> Any:
    """What the function gives, or None where it refuses by a ValueError that has one of the names."""
    try:
        return function()
    except ValueError as error:
        if not any(name in str(error) for name in names):
            raise
        return None


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    steps=st.integers(1, 1000),
    spacing=st.sampled_from(SPACINGS),
    prediction_type=st.sampled_from(("epsilon", "v_prediction", "sample")),
    schedule=st.sampled_from(("linear_beta", "scaled_linear_beta", "cosine", "constant_beta")),
    seed=seeds,
)
@example(steps=1, spacing="leading", prediction_type="epsilon", schedule="linear_beta", seed=0)
def test_any_grid_is_impossible_or_walks_down_and_up_again(steps, spacing, prediction_type, schedule, seed):
    scheduler = InvertibleDDIMScheduler(schedule=schedule, timestep_spacing=spacing, prediction_type=prediction_type)
    grid = result_or_refusal(lambda: scheduler.set_timesteps(steps) or scheduler.timesteps, str(steps))
    if grid is None:
        return
    assert len(grid) == steps
    assert bool((grid[:-1] > grid[1:]).all())
    assert int(grid[0]) < 1000
    assert int(grid[-1]) >= 0
    # A prediction that belongs to one (x_0, eps) at every level: the walk up, and the one down again, lose nothing.
    x_0, eps = randn(seed, 1, 1, 3, 3), randn(seed + 1, 1, 1, 3, 3)

    def prediction(t: torch.Tensor) -> torch.Tensor:
        if prediction_type == "epsilon":
            return eps
        return x_0 if prediction_type == "sample" else scheduler.get_velocity(x_0, eps, t.reshape(1))

    x = x_0
    for t in grid.flip(0):
        level = scheduler.add_noise(x_0, eps, t.reshape(1))
        x, _ = scheduler.reversed_step(prediction(t), t, level)
        assert torch.isfinite(x).all()
    torch.testing.assert_close(x, eps, rtol=0, atol=1e-4)  # pure noise at the end
    down = scheduler.add_noise(x_0, eps, grid[:1])
    for t in grid:
        down, _ = scheduler.step(prediction(t), t, down)
    torch.testing.assert_close(down, x_0, rtol=0, atol=1e-3)


@given(levels=st.tuples(*[st.floats(1e-4, 1 - 1e-6)] * 2), seed=seeds)
def test_any_pair_of_levels_is_a_move_and_its_inverse(levels, seed):
    alpha_from, alpha_to = levels
    x, eps = randn(seed, 5), randn(seed + 1, 5)
    moved = ddim_update(x, eps, alpha_from, alpha_to)
    torch.testing.assert_close(ddim_update(moved, eps, alpha_to, alpha_from), x, rtol=1e-6, atol=1e-6)


@given(weight=st.floats(0, 1), size=st.integers(2, 40), seed=seeds, scale=st.floats(1e-3, 1e3))
def test_interpolations_keep_their_ends_and_great_circles_the_norm(weight, size, seed, scale):
    first, last = randn(seed, 2, size) * scale, randn(seed + 1, 2, size) * scale
    for way in (lerp, slerp):
        torch.testing.assert_close(way(first, last, 0.0), first)
        torch.testing.assert_close(way(first, last, 1.0), last)
        torch.testing.assert_close(way(first, first, weight), first)
        torch.testing.assert_close(way(first, last, weight), way(last, first, 1 - weight), rtol=1e-6, atol=1e-6 * scale)
    unit_first, unit_last = (x / x.norm(dim=1, keepdim=True) for x in (first, last))
    norm = slerp(unit_first, unit_last, weight).norm(dim=1)
    torch.testing.assert_close(norm, torch.ones_like(norm), rtol=1e-6, atol=1e-6)


@given(amount=st.floats(-20, 20), target=st.floats(-50, 50), size=st.integers(2, 12), seed=seeds)
def test_edits_reach_their_target_keep_what_is_kept_and_can_be_undone(amount, target, size, seed):
    z = randn(seed, 3, size).float()
    statistics = LatentStatistics(randn(seed + 1, size).float(), 0.1 + randn(seed + 2, size).float().abs())
    attributes = AttributeDirections(
        ["a", "b"], randn(seed + 3, 2, size).float(), randn(seed + 4, 2).float(), statistics
    )
    weights = attributes.weight / attributes.weight.norm(dim=1, keepdim=True)
    assume(abs(float(weights[0] @ weights[1])) < 0.99)  # else nothing is left of "a" without "b"
    moved = attributes.move(z, "a", amount)
    tolerance = 1e-3 * (1 + abs(amount)) * float(statistics.std.max())
    torch.testing.assert_close(attributes.move(moved, "a", -amount), z, rtol=1e-4, atol=tolerance)
    for keep in ((), ("b",)):
        scores = attributes.scores(attributes.move_to(z, "a", target, keep))
        largest = float(attributes.weight.norm(dim=1).max())
        torch.testing.assert_close(scores[:, 0], torch.full((3,), target), rtol=1e-3, atol=1e-2 * (1 + largest))
        if keep:
            torch.testing.assert_close(scores[:, 1], attributes.scores(z)[:, 1], rtol=1e-3, atol=2e-2 * (1 + largest))


@st.composite
def affines(draw) -> np.ndarray:
    """A rotation, voxels of 0.4 to 6 mm, possibly mirrored, anywhere."""
    random = np.random.default_rng(draw(seeds))
    rotation, _ = np.linalg.qr(random.standard_normal((3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * random.uniform(0.4, 6, 3)
    affine[:3, 3] = random.uniform(-200, 200, 3)
    return affine


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    affine=affines(),
    shape=st.tuples(*[st.integers(8, 20)] * 3),
    share=st.tuples(*[st.floats(0.3, 0.7)] * 3),
    spacing=st.floats(0.8, 3),
    axcodes=st.sampled_from(("RAS", "LPI", "ASR", "SRA")),
)
def test_marker_stays_in_place_whatever_the_affine(affine, shape, share, spacing, axcodes):
    marker = tuple(int(size * part) for size, part in zip(shape, share))
    values = np.zeros(shape, np.float32)
    values[marker] = 1000
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = float(max(spacing, sizes.min()))  # coarser voxels than a finer grid needs would lose a single one
    assume(spacing < 2 * sizes.min())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii"
        nib.save(nib.Nifti1Image(values, affine), path)
        transforms = Compose(
            [
                LoadVolumed("image"),
                Orientationd("image", axcodes=axcodes, labels=None),
                Spacingd("image", pixdim=(spacing,) * 3, mode="bilinear"),
            ]
        )
        image = transforms({"image": str(path)})["image"]
    place = np.array(np.unravel_index(int(image[0].argmax()), image.shape[1:]))
    found = np.asarray(image.affine) @ [*place, 1]
    expected = affine @ [*marker, 1]
    # Half a voxel of either grid, along each axis of the new one.
    new_axes = np.asarray(image.affine)[:3, :3] / spacing
    off = np.abs(new_axes.T @ (found - expected)[:3])
    half_of_source = np.abs(new_axes.T @ (affine[:3, :3] / 2)).sum(axis=1)
    assert (off <= spacing / 2 + half_of_source + 1e-3).all()


@given(
    rows=st.lists(st.tuples(st.text(min_size=0, max_size=12), st.text(max_size=12)), max_size=6),
    label=st.text(min_size=1),
)
def test_tables_of_labels_are_read_or_refused_by_name(rows, label):
    assume("\x00" not in label and all("\x00" not in cell for row in rows for cell in row))
    try:
        for text in (label, *(cell for row in rows for cell in row)):
            text.encode()
    except UnicodeEncodeError:  # surrogates are in no file
        assume(False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", label), *rows])
        found = result_or_refusal(lambda: read_label_table(path, [label], []), "labels.csv")
    if found is not None:
        assert len(found) <= len(rows)
        assert all(label in row.labels for row in found.values())


@given(
    entries=st.lists(
        st.dictionaries(
            st.sampled_from(("image", "label", "subject", "fold", "mask")),
            st.one_of(st.text(max_size=20), st.integers(), st.none(), st.booleans(), st.lists(st.text(), max_size=2)),
        ),
        max_size=4,
    ),
    key=st.sampled_from(("training", "test", "other")),
)
def test_data_lists_are_read_or_refused_by_name(entries, key):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.json"
        path.write_text(json.dumps({key: entries}))
        found = result_or_refusal(lambda: find_volumes(folder, None, str(path), "training"), "list.json", folder)
    assert found is None or len(found) == len(entries)
