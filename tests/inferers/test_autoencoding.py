# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from conftest import randomize
from monai.data import MetaTensor

from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer
from monai_diffae.inferers.stochastic_code import StochasticCode
from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, SemanticEncoder
from monai_diffae.schedulers import InvertibleDDIMScheduler

PREDICTIONS = ["epsilon", "sample", "v_prediction"]


class Wrapper(torch.nn.Module):
    """Like DistributedDataParallel: can be called, and has none of the network's other methods."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


def make_inferer(steps: int = 4, prediction_type: str = "v_prediction", **options) -> DiffusionAutoencoderInferer:
    options = {"verbose": False} | options
    return DiffusionAutoencoderInferer(InvertibleDDIMScheduler(prediction_type=prediction_type), steps, **options)


@pytest.fixture
def noise(images) -> torch.Tensor:
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(2)).to(images)


@pytest.mark.parametrize("kind", ["network", "wrapped network"])
def test_training_call_is_the_prediction_for_noised_images_and_the_clean_ones_code(
    tiny_autoencoder, images, noise, kind
):
    timesteps = torch.tensor([0, 500, 999], device=images.device)
    inferer = make_inferer()
    network = tiny_autoencoder if kind == "network" else Wrapper(tiny_autoencoder)
    prediction = inferer(images, network, noise, timesteps)
    noised = inferer.scheduler.add_noise(images, noise, timesteps)
    expected = tiny_autoencoder.decoder(noised, timesteps, tiny_autoencoder.encoder(images))
    torch.testing.assert_close(prediction, expected, rtol=0, atol=0)
    prediction.square().mean().backward()
    assert all(parameter.grad is not None for parameter in tiny_autoencoder.parameters())


def test_training_call_takes_off_metadata(tiny_autoencoder, images, noise):
    timesteps = torch.tensor([0, 500, 999], device=images.device)
    prediction = make_inferer()(MetaTensor(images), tiny_autoencoder, MetaTensor(noise), timesteps)
    assert type(prediction) is torch.Tensor
    torch.testing.assert_close(prediction, make_inferer()(images, tiny_autoencoder, noise, timesteps), rtol=0, atol=0)


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.parametrize("direction", ["invert", "decode"])
def test_both_directions_are_loops_over_the_schedulers_steps(
    tiny_autoencoder, images, noise, prediction_type, direction
):
    scheduler, inferer = InvertibleDDIMScheduler(prediction_type=prediction_type), make_inferer(4, prediction_type)
    scheduler.set_timesteps(4)
    up = direction == "invert"
    with torch.no_grad():
        z_sem = tiny_autoencoder.encode(images)
        expected = images if up else noise
        for t in (0, 250, 500, 750) if up else (750, 500, 250, 0):
            prediction = tiny_autoencoder(expected, torch.tensor([t], device=images.device), context=z_sem)
            expected = (scheduler.reversed_step if up else scheduler.step)(prediction, t, expected)[0]
    z_sem.requires_grad_()
    found = inferer.invert(images, tiny_autoencoder, z_sem) if up else inferer.decode(z_sem, noise, tiny_autoencoder)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not found.requires_grad


def test_decode_shares_a_single_x_T_among_all_images(tiny_autoencoder, images, noise):
    z_sem = tiny_autoencoder.encode(images)
    shared = make_inferer().decode(z_sem, noise[:1], tiny_autoencoder)
    repeated = make_inferer().decode(z_sem, noise[:1].repeat(3, 1, 1, 1), tiny_autoencoder)
    torch.testing.assert_close(shared, repeated, rtol=0, atol=0)


def test_decode_shares_a_single_z_sem_among_all_x_T(tiny_autoencoder, images, noise):
    z_sem = tiny_autoencoder.encode(images)[:1]
    shared = make_inferer().decode(z_sem, noise, tiny_autoencoder)
    repeated = make_inferer().decode(z_sem.repeat(3, 1), noise, tiny_autoencoder)
    torch.testing.assert_close(shared, repeated, rtol=0, atol=0)


def test_decode_refuses_codes_that_do_not_pair(tiny_autoencoder, images, noise):
    with pytest.raises(ValueError, match="as many z_sem as x_T, or one of either; got 3 and 2"):
        make_inferer().decode(tiny_autoencoder.encode(images), noise[:2], tiny_autoencoder)


def test_invert_refuses_images_of_integers(tiny_autoencoder, images):
    with pytest.raises(ValueError, match=r"images of floats in .* got torch.uint8"):
        make_inferer().invert(images.to(torch.uint8), tiny_autoencoder, tiny_autoencoder.encode(images))


def test_invert_and_decode_only_call_the_network(tiny_autoencoder, images):
    z_sem = tiny_autoencoder.encode(images)
    results = []
    for network in (tiny_autoencoder, Wrapper(tiny_autoencoder)):
        x_T = make_inferer().invert(images, network, z_sem)
        results.append((x_T, make_inferer().decode(z_sem, x_T, network)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_round_trip_comes_closer_to_the_images_with_more_steps(tiny_autoencoder, images):
    errors = [
        (ReconstructionInferer(make_inferer(steps))(images, tiny_autoencoder) - images).abs().mean().item()
        for steps in (5, 10, 20, 50)
    ]
    assert all(later < 0.75 * earlier for earlier, later in pairwise(errors)), errors
    assert errors[-1] < 0.1


@pytest.mark.parametrize(("num_inversion_steps", "expected"), [(None, 4), (10, 10), (2, 2)])
def test_inversion_takes_its_own_number_of_steps_or_that_of_decoding(
    tiny_autoencoder, images, num_inversion_steps, expected
):
    calls = []
    tiny_autoencoder.register_forward_hook(lambda module, args, output: calls.append(int(args[1])))
    inferer = make_inferer(4, num_inversion_steps=num_inversion_steps)
    z_sem = tiny_autoencoder.encode(images)
    x_T = inferer.invert(images, tiny_autoencoder, z_sem)
    assert calls == [i * 1000 // expected for i in range(expected)]
    calls.clear()
    inferer.decode(z_sem, x_T, tiny_autoencoder)
    assert calls == [750, 500, 250, 0]


@pytest.mark.parametrize("method", ["call", "invert", "decode"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_networks_run_in_the_precision_and_results_are_float32(tiny_autoencoder, images, noise, method, precision):
    z_sem = tiny_autoencoder.encode(images)
    timesteps = torch.tensor([0, 500, 999], device=images.device)
    inside = []
    tiny_autoencoder.decoder.conv_in.register_forward_hook(lambda module, args, output: inside.append(output.dtype))

    def compute(precision: str) -> torch.Tensor:
        inferer = make_inferer(2, precision=precision)
        if method == "call":
            return inferer(images, tiny_autoencoder, noise, timesteps)
        if method == "invert":
            return inferer.invert(images, tiny_autoencoder, z_sem)
        return inferer.decode(z_sem, noise, tiny_autoencoder)

    exact = compute("float32")
    inside.clear()
    result = compute(precision)
    assert set(inside) == {getattr(torch, precision)}
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, exact, rtol=0, atol=0 if precision == "float32" else 0.1)
    assert result.equal(exact) == (precision == "float32")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float64"}, "precision must be one of .*'float64'"),
        ({"steps": 999}, "1000 timesteps into 999 steps"),
        ({"num_inversion_steps": 0}, "from 1 to 1000"),
        ({"inversion": "implicit"}, "inversion must be 'explicit' or 'exact', got 'implicit'"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_inferer(**options)


@pytest.mark.parametrize("verbose", [True, False])
def test_progress_bar_is_shown_on_stderr_if_verbose(tiny_autoencoder, images, capsys, verbose):
    ReconstructionInferer(make_inferer(2, verbose=verbose))(images, tiny_autoencoder)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("invert" in captured.err and "decode" in captured.err) if verbose else captured.err == ""


def test_stochastic_code_encodes_by_inversion(tiny_autoencoder, images):
    z_sem = tiny_autoencoder.encode(images)
    x_T = StochasticCode("encode")(images, tiny_autoencoder, z_sem, make_inferer())
    torch.testing.assert_close(x_T, make_inferer().invert(images, tiny_autoencoder, z_sem), rtol=0, atol=0)


@pytest.mark.parametrize("x_T", ["random", "zeros"])
def test_stochastic_code_without_encoding_does_not_depend_on_the_batch(tiny_autoencoder, images, x_T):
    codes = [
        StochasticCode(x_T, seed=3)(batch, tiny_autoencoder, tiny_autoencoder.encode(batch), make_inferer())
        for batch in (images, images[1:2])
    ]
    for code in codes:
        assert code.shape == (1, *images.shape[1:])
        torch.testing.assert_close(code, codes[0], rtol=0, atol=0)
    assert codes[0].any() == (x_T == "random")


def test_random_codes_are_a_function_of_seed_and_k(device):
    images = torch.zeros(2, 1, 64, 64, device=device)
    draws = {(seed, k): StochasticCode("random", seed).draw(images, k) for seed in (0, 1) for k in (0, 1)}
    torch.manual_seed(99)
    for (seed, k), draw in draws.items():
        torch.testing.assert_close(StochasticCode("random", seed).draw(images, k), draw, rtol=0, atol=0)
        assert abs(float(draw.mean())) < 0.06
        assert abs(float(draw.std()) - 1) < 0.05
        assert draw.device == images.device
    pairs = torch.corrcoef(torch.stack([draw.flatten() for draw in draws.values()]).cpu())
    assert (pairs - torch.eye(4)).abs().max() < 0.07


def test_unknown_stochastic_code_is_refused():
    with pytest.raises(ValueError, match="x_T must be 'encode', 'random' or 'zeros', got 'one'"):
        ReconstructionInferer(make_inferer(), x_T="one")


@pytest.mark.parametrize("x_T", ["encode", "random", "zeros"])
def test_reconstruction_is_decoded_from_the_images_codes(tiny_autoencoder, images, x_T):
    result = ReconstructionInferer(make_inferer(), x_T=x_T, seed=5).predict(images, tiny_autoencoder)
    z_sem = tiny_autoencoder.encode(images)
    code = StochasticCode(x_T, seed=5)(images, tiny_autoencoder, z_sem, make_inferer())
    torch.testing.assert_close(result["z_sem"], z_sem, rtol=0, atol=0)
    expected = make_inferer().decode(z_sem, code, tiny_autoencoder)
    torch.testing.assert_close(result["reconstruction"], expected, rtol=0, atol=0)


def test_reconstruction_of_volumes(device):
    common = {"spatial_dims": 3, "in_channels": 2, "z_dim": 4, "channels": (4, 8), "num_res_blocks": 1}
    common |= {"attention_levels": (False, False), "norm_num_groups": 2}
    network = DiffusionAutoencoder(SemanticEncoder(**common), DiffAEUNet(**common, out_channels=2))
    network = randomize(network).eval().to(device)
    volumes = torch.rand(2, 2, 4, 6, 8, device=device) * 2 - 1
    errors = [
        (ReconstructionInferer(make_inferer(steps))(volumes, network) - volumes).abs().mean() for steps in (5, 25)
    ]
    assert errors[1] < 0.5 * errors[0]
    assert ReconstructionInferer(make_inferer(2))(volumes, network).shape == volumes.shape
