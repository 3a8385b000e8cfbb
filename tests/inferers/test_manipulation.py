# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_diffae.inferers import DiffusionAutoencoderInferer, ManipulationInferer, ReconstructionInferer
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.schedulers import InvertibleDDIMScheduler
from monai_diffae.semantics import AttributeDirections, AttributeSummary, Edit, LatentStatistics
from monai_diffae.support.fingerprints import fingerprint

X_T = ["encode", "random", "zeros"]


@pytest.fixture
def attributes(device) -> AttributeDirections:
    """A continuous attribute with scores from -50 to 50 in training, and a binary one of which that is not known."""
    random = torch.Generator().manual_seed(4)
    mean, weight = torch.randn(8, generator=random), torch.randn(2, 8, generator=random)
    statistics = LatentStatistics(mean, torch.rand(8, generator=random) + 0.5)
    summaries = {"age": AttributeSummary("continuous", score_min=-50.0, score_max=50.0, score_std=10.0)}
    means = torch.randn(2, 2, 8, generator=random)
    means[0] = torch.nan  # of a continuous attribute
    mix = torch.randn(8, 8, generator=random)
    pattern = weight @ mix @ mix.T
    bias = torch.tensor([0.5, -1.5])
    return AttributeDirections(["age", "lesion"], weight, bias, statistics, summaries, means, pattern).to(device)


@pytest.mark.parametrize("x_T", X_T)
def test_manipulation_decodes_the_moved_code_with_the_same_x_T(tiny_autoencoder, images, loops, attributes, x_T):
    result = ManipulationInferer(loops, attributes, Edit("lesion", 0.5), x_T=x_T, seed=2).predict(
        images, tiny_autoencoder
    )
    z_sem = tiny_autoencoder.encode(images)
    code = StochasticCode(x_T, seed=2)(images, tiny_autoencoder, z_sem, loops)
    attributes.to(images.device)
    edit = loops.decode(attributes.move(z_sem, "lesion", 0.5), code, tiny_autoencoder)
    torch.testing.assert_close(result["edit"], edit, rtol=0, atol=1e-5)
    reconstruction = ReconstructionInferer(loops, x_T, seed=2)(images, tiny_autoencoder)
    torch.testing.assert_close(result["reconstruction"], reconstruction, rtol=0, atol=1e-5)
    torch.testing.assert_close(result["difference"], edit - reconstruction, rtol=0, atol=1e-5)
    assert result["difference"].abs().max() > 1e-3


def test_manipulation_by_zero_is_the_reconstruction(tiny_autoencoder, images, loops, attributes):
    result = ManipulationInferer(loops, attributes, Edit("lesion", 0.0)).predict(images, tiny_autoencoder)
    torch.testing.assert_close(result["edit"], result["reconstruction"], rtol=0, atol=1e-5)
    assert result["difference"].abs().max() < 1e-5


@pytest.mark.parametrize("kind", [list, tuple])
def test_manipulation_stacks_a_series_of_amounts(tiny_autoencoder, images, loops, attributes, kind):
    amounts = kind([-0.5, 0.0, 0.5])
    series = ManipulationInferer(loops, attributes, Edit("age", amounts)).predict(images, tiny_autoencoder)
    for i, amount in enumerate(amounts):
        single = ManipulationInferer(loops, attributes, Edit("age", amount)).predict(images, tiny_autoencoder)
        torch.testing.assert_close(series["edit"][:, i], single["edit"], rtol=0, atol=1e-5)
        torch.testing.assert_close(series["difference"][:, i], single["difference"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("attribute", ["age", "lesion"])
def test_manipulation_scores_are_the_attributes_logits_before_the_edit(
    tiny_autoencoder, images, loops, attributes, attribute
):
    scores = [
        ManipulationInferer(loops, attributes, Edit(attribute, amount)).predict(images, tiny_autoencoder)["score"]
        for amount in (0.0, 3.0)
    ]
    expected = attributes.scores(tiny_autoencoder.encode(images))[:, ["age", "lesion"].index(attribute)]
    for score in scores:
        torch.testing.assert_close(score, expected.detach())


def test_manipulation_reports_the_scores_after_the_edit(tiny_autoencoder, images, loops, attributes):
    z_sem = tiny_autoencoder.encode(images)
    single, series = (
        ManipulationInferer(loops, attributes, Edit("age", amount)).predict(images, tiny_autoencoder)
        for amount in (0.5, [-0.5, 0.5])
    )
    expected = [attributes.scores(attributes.move(z_sem, "age", amount))[:, 0].detach() for amount in (-0.5, 0.5)]
    torch.testing.assert_close(single["score_after"], expected[1])
    torch.testing.assert_close(series["score_after"], torch.stack(expected, dim=1))
    assert not series["extrapolation"].any()


@pytest.mark.parametrize(("attribute", "target"), [("age", 2.5), ("lesion", -1), ("lesion", "boundary")])
def test_manipulation_to_a_target_gives_every_image_that_score(
    tiny_autoencoder, images, loops, attributes, attribute, target
):
    result = ManipulationInferer(loops, attributes, Edit(attribute, target=target)).predict(images, tiny_autoencoder)
    score = torch.full((3,), 0.0 if target == "boundary" else float(target), device=images.device)
    torch.testing.assert_close(result["score_after"], score, rtol=0, atol=1e-4)
    z_sem = tiny_autoencoder.encode(images)
    x_T = loops.invert(images, tiny_autoencoder, z_sem)
    edit = loops.decode(attributes.move_to(z_sem, attribute, target), x_T, tiny_autoencoder)
    torch.testing.assert_close(result["edit"], edit, rtol=0, atol=1e-5)
    assert result["difference"].abs().max() > 1e-4


@pytest.mark.parametrize("edit", [{"amount": 0.5}, {"target": 3.0}, {"to_class_mean": 0.75}])
def test_manipulation_goes_along_the_pattern_or_the_weight(tiny_autoencoder, images, loops, attributes, edit):
    ((way, value),) = edit.items()
    z_sem = tiny_autoencoder.encode(images)
    x_T = loops.invert(images, tiny_autoencoder, z_sem)
    edits = []
    for along in ("weight", "pattern"):
        inferer = ManipulationInferer(loops, attributes, Edit("lesion", **edit, keep="age", along=along))
        result = inferer.predict(images, tiny_autoencoder)
        moves = {"amount": "move", "target": "move_to", "to_class_mean": "move_to_class_mean"}
        moved = getattr(attributes, moves[way])(z_sem, "lesion", value, "age", along)
        torch.testing.assert_close(result["edit"], loops.decode(moved, x_T, tiny_autoencoder), rtol=0, atol=1e-5)
        torch.testing.assert_close(result["kept_after"], result["kept_before"], rtol=0, atol=1e-4)
        if way == "target":
            torch.testing.assert_close(result["score_after"], torch.full_like(result["score"], 3), rtol=0, atol=1e-4)
        edits.append(result["edit"])
    assert (edits[0] - edits[1]).abs().max() > 1e-3
    unsaid = ManipulationInferer(loops, attributes, Edit("lesion", **edit, keep="age"))(images, tiny_autoencoder)
    torch.testing.assert_close(unsaid, edits[0], rtol=0, atol=1e-5)


def test_manipulation_along_a_pattern_that_is_not_known_is_refused(loops, attributes):
    attributes.pattern[1] = torch.nan
    ManipulationInferer(loops, attributes, Edit("lesion", 0.5))
    with pytest.raises(ValueError, match="pattern of 'lesion' is not known"):
        ManipulationInferer(loops, attributes, Edit("lesion", 0.5, along="pattern"))
    with pytest.raises(ValueError, match="pattern of 'lesion' is not known"):
        ManipulationInferer(loops, attributes, Edit("age", target=0.0, keep="lesion", along="pattern"))
    with pytest.raises(ValueError, match="along must be one of weight, pattern; got 'gradient'"):
        ManipulationInferer(loops, attributes, Edit("age", 0.5, along="gradient"))


@pytest.mark.parametrize("share", [0.75, -1])
@pytest.mark.parametrize("keep", [[], "age"])
def test_manipulation_to_a_class_mean_decodes_the_code_moved_there(
    tiny_autoencoder, images, loops, attributes, share, keep
):
    inferer = ManipulationInferer(loops, attributes, Edit("lesion", to_class_mean=share, keep=keep))
    result = inferer.predict(images, tiny_autoencoder)
    z_sem = tiny_autoencoder.encode(images)
    x_T = loops.invert(images, tiny_autoencoder, z_sem)
    moved = attributes.move_to_class_mean(z_sem, "lesion", share, keep)
    torch.testing.assert_close(result["edit"], loops.decode(moved, x_T, tiny_autoencoder), rtol=0, atol=1e-5)
    torch.testing.assert_close(result["score_after"], attributes.scores(moved)[:, 1].detach(), rtol=0, atol=1e-5)
    distance = ((moved - z_sem) / attributes.statistics.std).norm(dim=1).detach()
    torch.testing.assert_close(result["distance"], distance)
    assert distance.min() > 0.5
    assert result["difference"].abs().max() > 1e-4


def test_manipulation_stacks_a_series_of_shares(tiny_autoencoder, images, loops, attributes):
    shares = [-0.5, 0.5, 1.0]
    series = ManipulationInferer(loops, attributes, Edit("lesion", to_class_mean=shares)).predict(
        images, tiny_autoencoder
    )
    for i, share in enumerate(shares):
        single = ManipulationInferer(loops, attributes, Edit("lesion", to_class_mean=share)).predict(
            images, tiny_autoencoder
        )
        for key in ("edit", "difference", "score_after", "distance"):  # kernels differ with the size of a batch
            torch.testing.assert_close(series[key][:, i], single[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize("keep", [[], ["age"]])
def test_steps_lead_straight_to_the_class_mean(tiny_autoencoder, images, loops, attributes, keep):
    options = {"to_class_mean": 0.8, "keep": keep}
    steps = ManipulationInferer(loops, attributes, Edit("lesion", **options, num_steps=2)).predict(
        images, tiny_autoencoder
    )
    for i, share in enumerate((0.4, 0.8)):
        options["to_class_mean"] = share
        single = ManipulationInferer(loops, attributes, Edit("lesion", **options)).predict(images, tiny_autoencoder)
        for key in ("edit", "score_after", "distance"):
            torch.testing.assert_close(steps[key][:, i], single[key], rtol=1e-4, atol=1e-4)


def test_manipulation_stacks_a_series_of_targets_of_both_kinds(tiny_autoencoder, images, loops, attributes):
    targets = [-2.0, "boundary", "across"]
    series = ManipulationInferer(loops, attributes, Edit("lesion", target=targets)).predict(images, tiny_autoencoder)
    for i, target in enumerate(targets):
        single = ManipulationInferer(loops, attributes, Edit("lesion", target=target)).predict(images, tiny_autoencoder)
        for key in ("edit", "difference", "score_after"):
            torch.testing.assert_close(series[key][:, i], single[key], rtol=0, atol=1e-5)
    torch.testing.assert_close(series["score_after"][:, 2], -series["score"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("edit", [{"amount": 0.5}, {"target": 3.0}])
def test_manipulation_leaves_the_scores_of_kept_attributes(tiny_autoencoder, images, loops, attributes, edit):
    moves = []
    decode = loops.decode
    loops.decode = lambda z_sem, *others: moves.extend(z_sem.chunk(2)) or decode(z_sem, *others)
    ManipulationInferer(loops, attributes, Edit("age", keep=["lesion"], **edit)).predict(images, tiny_autoencoder)
    ManipulationInferer(loops, attributes, Edit("age", **edit)).predict(images, tiny_autoencoder)
    before, kept, _, free = (attributes.scores(z_sem) for z_sem in moves)
    torch.testing.assert_close(kept[:, 1], before[:, 1], rtol=0, atol=1e-4)
    assert (free[:, 1] - before[:, 1]).abs().min() > 0.01
    assert (kept[:, 0] - before[:, 0]).abs().min() > 0.1


def test_manipulation_says_how_far_it_leads_outside_the_training_scores(tiny_autoencoder, images, loops, attributes):
    inferer = ManipulationInferer(loops, attributes, Edit("age", target=[0.0, 75.0]))
    with pytest.warns(UserWarning, match=r"'age': .* 2\.5 standard deviations outside the training scores"):
        result = inferer.predict(images, tiny_autoencoder)
    expected = torch.tensor([[0.0, 2.5]] * 3, device=images.device)
    torch.testing.assert_close(result["extrapolation"], expected, rtol=0, atol=1e-3)
    far = ManipulationInferer(loops, attributes, Edit("age", 20.0)).predict(images, tiny_autoencoder)
    torch.testing.assert_close(far["extrapolation"], (far["score_after"] - 50) / 10)
    unknown = ManipulationInferer(loops, attributes, Edit("lesion", 0.1)).predict(images, tiny_autoencoder)
    assert unknown["extrapolation"].isnan().all()


@pytest.mark.parametrize(
    ("attribute", "edit"),
    [
        ("lesion", {"target": "across"}),
        ("lesion", {"target": "boundary"}),
        ("age", {"target": 7.0}),
        ("age", {"amount": 1}),
    ],
)
@pytest.mark.parametrize("keep", [[], ["other"]])
def test_steps_lead_straight_to_the_target_and_keep_what_is_kept(
    tiny_autoencoder, images, loops, attributes, attribute, edit, keep
):
    keep = [name for name in ("age", "lesion") if name != attribute] if keep else []
    steps = ManipulationInferer(loops, attributes, Edit(attribute, **edit, keep=keep, num_steps=4))
    series, single = (
        inferer.predict(images, tiny_autoencoder)
        for inferer in (steps, ManipulationInferer(loops, attributes, Edit(attribute, **edit, keep=keep)))
    )
    assert series["edit"].shape == (3, 4, *images.shape[1:])
    for key in ("edit", "difference", "score_after", "distance"):
        torch.testing.assert_close(series[key][:, -1], single[key], rtol=1e-4, atol=1e-4)
    shares = torch.arange(1, 5, device=images.device) / 4
    torch.testing.assert_close(series["distance"], single["distance"][:, None] * shares, rtol=1e-4, atol=1e-5)
    expected = torch.lerp(series["score"][:, None], single["score_after"][:, None], shares)
    torch.testing.assert_close(series["score_after"], expected, rtol=1e-4, atol=1e-4)
    # The smallest move that reaches the score: the change of the score over the slope along the direction.
    slope = attributes.weight[attributes.index(attribute)] @ attributes.direction(attribute, keep)
    expected = (single["score_after"] - single["score"]).abs() / slope.abs()
    torch.testing.assert_close(single["distance"], expected, rtol=1e-3, atol=1e-4)


# The score of the image


@pytest.mark.parametrize("edit", [{"amount": 0.5}, {"target": [3.0, -2.0]}, {"target": 3.0, "num_steps": 2}])
def test_the_edited_image_is_encoded_again_for_its_own_scores(tiny_autoencoder, images, loops, attributes, edit):
    inferer = ManipulationInferer(loops, attributes, Edit("age", keep=["lesion"], **edit))
    result = inferer.predict(images, tiny_autoencoder)
    series = result["edit"] if inferer.edit.is_series else result["edit"][:, None]
    scores = torch.stack([attributes.scores(tiny_autoencoder.encode(image)) for image in series.unbind(1)], 1).detach()
    expected = scores if inferer.edit.is_series else scores[:, 0]
    torch.testing.assert_close(result["score_reencoded"], expected[..., 0])
    torch.testing.assert_close(result["kept_reencoded"], expected[..., 1:])
    assert (result["score_reencoded"] - result["score_after"]).abs().min() > 1e-3


def test_kept_scores_are_reported_before_and_after_in_their_order(tiny_autoencoder, images, loops, attributes):
    weight = torch.randn(1, 8, generator=torch.Generator().manual_seed(9)).to(attributes.weight)
    three = AttributeDirections(
        ["age", "lesion", "sex"], torch.cat([attributes.weight, weight]), torch.zeros(3), attributes.statistics
    )
    result = ManipulationInferer(loops, three, Edit("lesion", 0.5, keep=["sex", "age"])).predict(
        images, tiny_autoencoder
    )
    expected = three.to(images.device).scores(tiny_autoencoder.encode(images))[:, [2, 0]].detach()
    torch.testing.assert_close(result["kept_before"], expected)
    torch.testing.assert_close(result["kept_after"], expected, rtol=1e-4, atol=1e-4)
    one = ManipulationInferer(loops, three, Edit("lesion", 0.5, keep="sex")).predict(images, tiny_autoencoder)
    assert one["kept_after"].shape == (3, 1)
    none = ManipulationInferer(loops, three, Edit("lesion", 0.5)).predict(images, tiny_autoencoder)
    assert not [key for key in none if key.startswith("kept")]


class Lagging(torch.nn.Module):
    """An autoencoder of images of 8 rows whose images follow the code at less than half of its pace: rows are numbers
    of the code, bent and weakened."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 3))

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return (0.4 * context + 0.2 * torch.sin(context))[:, None, :, None].expand_as(x)


@pytest.mark.parametrize("x_T", X_T)
def test_aimed_moves_go_on_until_the_image_has_the_score(images, attributes, x_T):
    loops = DiffusionAutoencoderInferer(InvertibleDDIMScheduler(prediction_type="sample"), 4, verbose=False)
    edits = [Edit("age", target=[4.0, -2.0], keep="lesion", max_aims=n) for n in (0, 8)]
    plain, aimed = (ManipulationInferer(loops, attributes, e, x_T=x_T).predict(images, Lagging()) for e in edits)
    target = torch.tensor([4.0, -2.0], device=images.device)
    assert ((plain["score_reencoded"] - target).abs() > 0.5).all()
    assert ((aimed["score_reencoded"] - target).abs() < 0.4).all()
    # Along the same line: the code of each image has moved by a multiple, and what is kept stays.
    share = (aimed["score_after"] - aimed["score"][:, None]) / (plain["score_after"] - plain["score"][:, None])
    assert (share > 1.2).all()
    torch.testing.assert_close(aimed["distance"], share * plain["distance"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(aimed["kept_after"][..., 0], aimed["kept_before"].expand(-1, 2), rtol=0, atol=1e-3)


def test_steps_of_an_aimed_move_are_shares_of_it(tiny_autoencoder, images, loops, attributes):
    edit = {"target": 2.0, "max_aims": 4}
    steps = ManipulationInferer(loops, attributes, Edit("age", num_steps=3, **edit)).predict(images, tiny_autoencoder)
    one = ManipulationInferer(loops, attributes, Edit("age", **edit)).predict(images, tiny_autoencoder)
    shares = torch.arange(1, 4, device=images.device) / 3
    torch.testing.assert_close(steps["distance"], one["distance"][:, None] * shares, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(steps["edit"][:, -1], one["edit"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("edit", "titles"),
    [
        ({"amount": 0.3}, ["lesion +0.30"]),
        ({"amount": [-1, 0.25]}, ["lesion -1.00", "lesion +0.25"]),
        ({"target": "across"}, ["lesion to across"]),
        ({"target": [-1.5, 2, "boundary"]}, ["lesion to -1.5", "lesion to 2", "lesion to boundary"]),
        ({"to_class_mean": 0.75}, ["lesion +75% to mean"]),
        ({"to_class_mean": [-1, 0.125]}, ["lesion -100% to mean", "lesion +12.5% to mean"]),
        ({"to_class_mean": 1, "num_steps": 2}, ["lesion +100% to mean, 1/2", "lesion +100% to mean, 2/2"]),
        ({"target": 2.0, "num_steps": 2}, ["lesion to 2, 1/2", "lesion to 2, 2/2"]),
    ],
)
def test_manipulation_has_a_title_for_each_edit(loops, attributes, edit, titles):
    assert ManipulationInferer(loops, attributes, Edit("lesion", **edit)).titles == titles


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"amount": None}, "exactly one of amount, target and to_class_mean; got none of them"),
        ({"target": "boundary"}, "to_class_mean; got amount=0.3 and target='boundary'"),
        ({"to_class_mean": 0.5}, "to_class_mean; got amount=0.3 and to_class_mean=0.5"),
        ({"amount": None, "target": 1, "to_class_mean": 0.5}, "got target=1 and to_class_mean=0.5"),
        ({"amount": None, "to_class_mean": [0.5, 2]}, "is a number from -1 .*; got 2"),
        ({"attribute": "age", "amount": None, "to_class_mean": 0.5}, "'age' is continuous and has no two classes"),
        ({"amount": None, "to_class_mean": 0.5, "keep": "lesion"}, "'lesion' is to be edited and cannot be kept"),
        ({"amount": None, "target": "left"}, "'boundary' or 'across'; got 'left'"),
        ({"amount": None, "target": [0.0, "left"]}, "'boundary' or 'across'; got 'left'"),
        ({"attribute": "age", "amount": None, "target": "across"}, "continuous and has no boundary"),
        ({"attribute": "tumour"}, "Unknown attribute 'tumour'; there are age, lesion"),
        ({"keep": ["tumour"]}, "Unknown attribute 'tumour'; there are age, lesion"),
        ({"keep": "lesion"}, "'lesion' is to be edited and cannot be kept"),
        ({"x_T": "noise"}, "x_T must be"),
        ({"max_aims": -1}, "max_aims must be 0 or more, got -1"),
        ({"num_steps": 0}, "num_steps must be 1 or more, and 1 for a series; got 0"),
        ({"amount": [0.1, 0.2], "num_steps": 2}, "and 1 for a series; got 2"),
    ],
)
def test_manipulation_refuses_what_it_cannot_do_before_it_runs(loops, attributes, arguments, message):
    arguments = {"attribute": "lesion", "amount": 0.3} | arguments
    others = {"x_T": arguments.pop("x_T")} if "x_T" in arguments else {}
    with pytest.raises(ValueError, match=message):
        ManipulationInferer(loops, attributes, Edit(**arguments), **others)


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        (("lesion", 0.3), {}),
        (("lesion",), {"target": "across", "num_steps": 2, "x_T": "zeros"}),
        ((), {"attribute": "lesion", "amount": 0.3, "keep": "age", "along": "weight", "max_aims": 0, "seed": 1}),
    ],
)
def test_arguments_of_version_0_1_0_make_the_edit_with_a_warning(loops, attributes, values, arguments):
    with pytest.warns(
        DeprecationWarning, match=r"takes monai_diffae.semantics.Edit\(attribute='lesion', (amount|target)="
    ):
        old = ManipulationInferer(loops, attributes, *values, **arguments)
    edit = {"attribute": "lesion", "amount": 0.3} if "target" not in arguments else {"attribute": "lesion"}
    others = {name: arguments.pop(name) for name in ("x_T", "seed") if name in arguments}
    new = ManipulationInferer(loops, attributes, Edit(**edit | arguments), **others)
    assert fingerprint(old) == fingerprint(new)
    assert old.titles == new.titles == new.edit.titles


def test_an_edit_and_arguments_about_it_are_refused(loops, attributes):
    with pytest.raises(TypeError, match="takes an Edit and nothing else about it; got keep as well"):
        ManipulationInferer(loops, attributes, Edit("lesion", 0.3), keep="age")
    with pytest.raises(TypeError, match="strength"):
        ManipulationInferer(loops, attributes, "lesion", strength=0.3)
