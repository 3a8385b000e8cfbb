# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, LatentSampler, ReconstructionInferer
from monai_diffae.metrics import frechet_distance
from monai_diffae.metrics.evaluation import (
    EditingSection,
    Evaluation,
    EvaluationBench,
    Findings,
    GenerationSection,
    Judge,
    Part,
    ReconstructionSection,
    RepresentationSection,
)
from monai_diffae.metrics.evaluation.findings import Measure
from monai_diffae.networks import LatentDenoiser
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, LatentStatistics, LatentTypicality

LABELS = ("bright", "size")


def squares(n: int, seed: int) -> list[dict]:
    """A square of some size and brightness; two images a subject."""
    random, items = np.random.default_rng(seed), []
    for k in range(n):
        side, bright = int(random.integers(3, 9)), float(random.integers(2))
        image = torch.full((1, 16, 16), -1.0)
        image[0, 4 : 4 + side, 4 : 4 + side] = 0.8 if bright else 0.0
        mask = (image > -1).float()
        image += torch.from_numpy(0.02 * random.normal(size=(1, 16, 16))).float()
        items.append({"image": image, "bright": bright, "size": float(side), "subject": f"s{k // 2}", "mask": mask})
    return items


@pytest.fixture
def make_bench(tiny_autoencoder, tmp_path, device):
    def make(labels: tuple[str, ...] = LABELS, train: bool = True, **others) -> EvaluationBench:
        inferer = DiffusionAutoencoderInferer(
            InvertibleDDIMScheduler(), 4, inversion="exact", verbose=False, max_evaluations=40
        )
        heldout = Part(squares(24, 0), labels, progress=False)
        training = Part(squares(40, 1), labels, progress=False) if train else None
        options = {"num_images": 8, "batch_size": 5, "device": device, "progress": False} | others
        return EvaluationBench(tiny_autoencoder, inferer, heldout, training, tmp_path / "resume", **options)

    return make


def values(found: Findings, measure: str) -> dict[str, float]:
    return {m.of: m.value for m in found.measures if m.measure == measure}


def directions_of(bench: EvaluationBench) -> AttributeDirections:
    features, labels, _ = bench.train.features({"z_sem": bench.encode}, 8)
    return AttributeDirections.fit(
        torch.from_numpy(features["z_sem"]).float(), {k: torch.from_numpy(v) for k, v in labels.items()}
    )


@pytest.mark.filterwarnings("ignore:The inversion of")
def test_reconstruction_is_measured_for_every_x_T_and_number_of_steps(make_bench, tiny_autoencoder, device):
    bench = make_bench()
    found = ReconstructionSection(bench, step_counts=(2, 4)).measure()
    psnr = values(found, "psnr")
    ways = [f"x_T {way}, {steps} steps" for way in ("exact", "explicit", "random", "zeros") for steps in (2, 4)]
    assert list(psnr) == [*ways, "8 principal components", "the mean training image"]
    images = bench.chosen["image"].to(device)
    inferer = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), 4, verbose=False)
    for way, x_T in (("explicit", "encode"), ("random", "random"), ("zeros", "zeros")):
        error = (ReconstructionInferer(inferer, x_T)(images, tiny_autoencoder) - images).square()
        expected = (10 * torch.log10(4 / error.flatten(1).mean(dim=1))).mean().item()
        assert psnr[f"x_T {way}, 4 steps"] == pytest.approx(expected, abs=1e-3)
    assert psnr["x_T exact, 4 steps"] > psnr["x_T explicit, 4 steps"]
    assert values(found, "evaluations")["x_T explicit, 4 steps"] == 8
    assert values(found, "evaluations")["x_T zeros, 4 steps"] == 4
    assert set(values(found, "x_T variance")) == set(ways[:4])
    assert "ms_ssim" in found.skipped
    assert {len(curve.x) for curve in found.curves} == {2}
    rows, (spread, *_) = found.tables["reconstruction"], found.spreads
    assert [row["file"] for row in rows] == np.linspace(0, 23, 8).round().astype(int).tolist()
    assert spread.values == [row["psnr, x_T exact, 2 steps"] for row in rows]
    assert np.mean(spread.values) == pytest.approx(psnr["x_T exact, 2 steps"])
    assert len(found.spreads) == len(psnr)


def test_clipping_has_no_exact_x_T(make_bench):
    bench = make_bench(train=False)
    bench.inferer = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(clip_sample=True), 4, verbose=False)
    found = ReconstructionSection(bench, (2,), ("exact", "zeros")).measure()
    assert "clip" in found.skipped["x_T exact, 2 steps"]
    assert "x_T zeros, 2 steps" in values(found, "psnr")
    assert "the mean training image" in found.skipped


def test_representation_is_probed_beside_simpler_features(make_bench):
    found = RepresentationSection(make_bench(), shares=(1.0, 0.5), num_draws=5).measure()
    auroc, r2 = values(found, "auroc"), values(found, "r2")
    encoders = ["z_sem", "8 principal components", "untrained encoder"]
    assert list(auroc) == [f"bright, {e}{share}" for e in encoders for share in ("", ", 50% of the labels")]
    assert auroc["bright, 8 principal components"] > 0.9
    assert r2["size, 8 principal components"] > 0.5
    assert {"DCI disentanglement", "TAD", "participation_ratio", "semantic gap"} <= {m.measure for m in found.measures}
    assert "ImageNet encoder" in found.skipped
    bounded = [m for m in found.measures if m.measure == "auroc" and m.interval]
    assert len(bounded) == 6
    assert all(m.low <= m.high for m in bounded)
    assert "cross-validated" not in found.text


def test_without_training_images_probes_are_cross_validated(make_bench):
    found = RepresentationSection(make_bench(("size",), train=False), shares=(1.0,), num_draws=5).measure()
    assert values(found, "r2")["size, 8 principal components"] > 0.5
    assert "cross-validated" in found.text
    assert "two labels" in found.skipped["DCI"]
    assert "binary" in found.skipped["TAD"]


def test_without_labels_what_needs_none_is_measured(make_bench):
    bench = make_bench(labels=())
    found = RepresentationSection(bench).measure()
    assert "no labels" in found.skipped["linear probes, DCI and TAD"]
    assert "semantic gap" in {m.measure for m in found.measures}
    edits = EditingSection(bench, lambda: None, Judge(bench)).measure()
    assert not edits.measures
    assert "no labels" in edits.skipped["edits"]


@pytest.mark.filterwarnings("ignore:The inversion of")
def test_edits_are_judged_by_a_classifier_of_images(make_bench):
    bench = make_bench()
    directions = directions_of(bench)
    judge = Judge(bench, num_iterations=60)
    section = EditingSection(bench, lambda: directions, judge, (-1.0, 1.0), num_images=6, mask_key="mask")
    section.masks = {"size": "none"}
    section.typicality = lambda: LatentTypicality.fit(bench.encode(bench.train_chosen["image"]), torch.zeros(5, 8))
    found = section.measure()
    measures = {m.measure for m in found.measures}
    assert {"response: rank_correlation", "response: monotonic", "slope of what is seen", "extrapolation"} <= measures
    assert "change of size" in measures
    outside = values(found, "share of the squared change outside the mask")
    assert list(outside) == ["bright +1, mask mask"]  # nothing shows a size
    assert found.skipped["change of size outside a mask"] == "the images have no mask 'none'"
    assert values(found, "typicality of the code").keys() == {
        f"{name}{strength}" for name in LABELS for strength in (" -1", ", unedited", " +1")
    }
    assert values(found, "auroc")["the classifier of images, bright"] > 0.9
    assert [gallery.titles for gallery in found.galleries] == [
        [f"{name} -1", "reconstruction", f"{name} +1"] for name in LABELS
    ]
    # The image of strength +1 is that of the moved code with the image's own x_T.
    codes = bench.codes()
    moved = directions.move(codes["z_sem"][:1], "bright", 1.0).to(bench.device)
    expected = bench.inferer.decode(moved, codes["x_T"][:1].to(bench.device), bench.network).cpu()
    torch.testing.assert_close(found.galleries[0].images[0][2], expected[0], rtol=0, atol=1e-3)


def test_edited_images_are_drawn_from_all_that_have_the_label(make_bench):
    bench = make_bench(num_images=None)
    bench.chosen["size"][:20] = np.nan  # of pictures sorted by class, the first have none
    section = EditingSection(bench, lambda: None, Judge(bench), num_images=3)
    assert section._edited("size").tolist() == [20, 22, 23]
    assert section._edited("bright").tolist() == [0, 12, 23]
    assert section._edited("unknown").tolist() == [0, 12, 23]


def test_edits_without_directions_are_skipped(make_bench):
    def none():
        raise FileNotFoundError("There are no attribute directions")

    bench = make_bench()
    assert "no attribute directions" in EditingSection(bench, none, Judge(bench)).measure().skipped["edits"]
    with pytest.raises(ValueError, match="both sides"):
        EditingSection(bench, none, Judge(bench), strengths=(0.3,))


def sampler_of(bench: EvaluationBench) -> LatentSampler:
    torch.manual_seed(0)
    network = LatentDenoiser(z_dim=8, hidden_dim=16, num_layers=3).eval()
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8))
    return LatentSampler(network, InvertibleDDIMScheduler(schedule="constant_beta"), statistics, 4)


def test_samples_are_compared_beside_real_images(make_bench):
    bench = make_bench(num_images=12)
    found = GenerationSection(
        bench, lambda: sampler_of(bench), Judge(bench, num_iterations=5), num_samples=12
    ).measure()
    distances = values(found, "Frechet distance")
    spaces = ("8 principal components", "features of the classifier")
    names = ("samples", "reconstructions, random x_T", "training images")
    assert list(distances) == [f"{name} to held-out, {space}" for space in spaces for name in names]
    real = bench.chosen["image"]
    places = torch.linspace(0, 39, 12).round().long()
    train = bench.train_chosen["image"][places]
    expected = frechet_distance(bench.components.encode(train), bench.components.encode(real))
    assert distances["training images to held-out, 8 principal components"] == pytest.approx(expected)
    assert distances["samples to held-out, 8 principal components"] > 10 * expected  # of an untrained network
    nearest = values(found, "distance to the nearest training image")
    assert len(nearest) == 6
    pixels = torch.cdist(real.flatten(1), bench.train_chosen["image"].flatten(1)).min(dim=1).values.mean()
    assert nearest["held-out images, pixels, 40 of 40 training images"] == pytest.approx(float(pixels), rel=1e-4)
    assert {m.measure for m in found.measures} >= {"precision", "recall", "density", "coverage"}


def test_images_that_samples_are_compared_with_are_evenly_spaced(make_bench):
    bench = make_bench(num_images=16)
    section = GenerationSection(bench, lambda: sampler_of(bench), Judge(bench, num_iterations=1), num_samples=11)
    distances = values(section.measure(), "Frechet distance")
    places = np.linspace(0, 15, 11).round().astype(int)
    real, train = bench.chosen["image"][places], bench.train_chosen["image"][np.linspace(0, 39, 11).round().astype(int)]
    expected = frechet_distance(bench.components.encode(train), bench.components.encode(real))
    assert distances["training images to held-out, 8 principal components"] == pytest.approx(expected)


def test_without_training_images_real_ones_are_compared_by_halves(make_bench):
    bench = make_bench(labels=(), train=False, num_images=12)
    section = GenerationSection(bench, lambda: sampler_of(bench), Judge(bench), num_samples=12)
    distances = values(section.measure(), "Frechet distance")
    features = bench.components.encode(bench.chosen["image"])
    of_halves = distances["half of the held-out to the other half, 8 principal components"]
    assert of_halves == pytest.approx(frechet_distance(features[1::2], features[::2]))
    assert distances["as many samples to that half, 8 principal components"] > of_halves


@pytest.mark.parametrize(("kinds", "says"), [({"size": "ordinal", "age": "binary"}, None), ({"size": "big"}, "'big'")])
def test_kinds_of_labels_are_checked_before_anything_is_measured(make_bench, kinds, says):
    bench = make_bench()
    for make in (RepresentationSection, lambda bench, kinds: Judge(bench, kinds=kinds)):
        if says is None:
            assert make(bench, kinds).kinds == {"size": "continuous"}
        else:
            with pytest.raises(ValueError, match=says):
                make(bench, kinds)


def test_binary_labels_of_other_values_are_skipped_with_the_reason(make_bench):
    bench = make_bench()
    kinds = {"size": "binary"}
    found = RepresentationSection(bench, kinds, shares=(1.0,), num_draws=2).measure()
    assert "Binary labels are 0 and 1" in found.skipped["probe of size, z_sem"]
    network, _ = Judge(bench, num_iterations=1, kinds=kinds).network()
    assert network.names == ["bright"]


def test_an_encoder_that_gives_all_images_one_code_is_told(make_bench):
    bench = make_bench()
    bench.encode = lambda images: torch.zeros(len(images), 8)
    found = RepresentationSection(bench, shares=(1.0,), num_draws=2).measure()
    assert "the same for all" in found.skipped["effective dimension of z_sem"]
    assert "no importance" in found.skipped["DCI"]


def test_the_semantic_gap_does_not_depend_on_the_batches(make_bench):
    gaps = [
        values(RepresentationSection(make_bench(labels=(), batch_size=size)).measure(), "semantic gap")
        for size in (1, 3, 8)
    ]
    (expected,) = gaps[0].values()
    for gap in gaps[1:]:
        assert list(gap.values()) == pytest.approx([expected], rel=1e-4)


def test_samples_without_a_latent_network_or_images_are_skipped(make_bench):
    def none():
        raise FileNotFoundError("There are no weights")

    bench = make_bench(labels=(), train=False)
    assert "no weights" in GenerationSection(bench, none, Judge(bench)).measure().skipped["samples"]
    found = GenerationSection(bench, lambda: sampler_of(bench), Judge(bench), num_samples=3).measure()
    assert "6 are needed" in found.skipped["samples"]


@pytest.mark.filterwarnings("ignore:The inversion of")
def test_a_stopped_run_goes_on_and_gives_the_same(make_bench, tmp_path):
    written: list[list[Findings]] = []

    def stop(found: list[Findings]) -> None:
        written.append(list(found))
        raise KeyboardInterrupt

    def evaluation() -> Evaluation:
        bench = make_bench()
        sections = [ReconstructionSection(bench, (2,)), RepresentationSection(bench, num_draws=2)]
        return Evaluation(bench, sections)

    first = evaluation()
    with pytest.raises(KeyboardInterrupt):
        first.run(stop)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "resume").iterdir()}
    assert kept
    again: list[Findings] = []

    def look(found: list[Findings]) -> None:
        again[:] = found
        if len(found) == 1:  # nothing was computed anew
            assert {path: path.stat().st_mtime_ns for path in (tmp_path / "resume").iterdir()} == kept

    evaluation().run(look)
    assert again[0].measures == written[0][0].measures  # seconds too: they are what was measured then
    assert len(again) == 2
    assert [path.name for path in (tmp_path / "resume").iterdir()] == [".pseudonyms_salt"]  # pseudonyms stay the same
    assert again[0].tables == written[0][0].tables


def test_only_some_sections_run(make_bench):
    bench = make_bench(labels=(), train=False)
    sections = [ReconstructionSection(bench), RepresentationSection(bench)]
    assert [found.name for found in Evaluation(bench, sections, only=["representation"])] == ["representation"]
    with pytest.raises(ValueError, match="Sections are reconstruction, representation"):
        Evaluation(bench, sections, only=["speed"])


def test_the_classifier_of_images_is_trained_once(make_bench, tmp_path):
    bench = make_bench()
    first, _ = Judge(bench, num_iterations=3).network()
    (file,) = (tmp_path / "resume").glob("classifier_*.pt")
    written = file.stat().st_mtime_ns
    second, _ = Judge(make_bench(), num_iterations=3).network()
    assert file.stat().st_mtime_ns == written
    images = bench.chosen["image"].to(bench.device)
    assert torch.equal(first(images), second(images))
    own, _ = Judge(make_bench(), own=first).network()
    assert own is first


def test_infinite_numbers_have_bounds():
    measure = Measure.over_images("psnr", "images", [30.0, float("inf"), 40.0])
    assert (measure.value, measure.low, measure.high) == (float("inf"), 30.0, float("inf"))


def test_empty_data_and_missing_labels_are_refused():
    with pytest.raises(ValueError, match="no images to evaluate"):
        Part([])
    with pytest.raises(ValueError, match="no label 'age'"):
        Part(squares(2, 0), ["age"], progress=False).chosen(None)
