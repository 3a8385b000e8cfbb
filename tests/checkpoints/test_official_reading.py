# SPDX-License-Identifier: Apache-2.0
"""Files of the authors: of other sizes and settings, raw, incomplete."""

import pytest
import torch
from monai.bundle import ConfigParser
from official_files import GOLDEN, golden_content, saved

from monai_diffae.checkpoints import load_official_checkpoint
from monai_diffae.checkpoints.official.keys import official_key, official_latent_key, shape_for
from monai_diffae.checkpoints.safe_reading import read_checkpoint
from monai_diffae.networks import DiffAEUNet, DiffusionAutoencoder, LatentDenoiser, SemanticEncoder


def official_state(network: DiffusionAutoencoder, prefix: str = "ema_model.") -> dict[str, torch.Tensor]:
    """Our weights under the authors' names, in their shapes."""
    state = network.state_dict()
    return {prefix + official_key(key, state): x.reshape(shape_for(key, tuple(x.shape))) for key, x in state.items()}


ARCHITECTURES = {
    "one channel": {"in_channels": 1, "widths": (32, 64), "encoder_widths": (32, 64, 64), "attention": (1,)},
    "equal widths": {"widths": (32, 32, 64), "encoder_widths": (32, 32, 64, 64), "attention": (1,), "blocks": 2},
    "two heads": {"widths": (32, 64), "encoder_widths": (32, 64, 64), "attention": (1,), "heads": 2},
    "attention at two levels": {"widths": (32, 64, 64), "encoder_widths": (32, 64, 64, 96), "attention": (1, 2)},
    "encoder of other depth": {"widths": (32, 64), "encoder_widths": (32, 64), "attention": (0,), "encoder_blocks": 3},
    "first level widened": {"widths": (64, 96), "encoder_widths": (64, 96, 96), "attention": (1,), "time_channels": 32},
}


def build(name: str) -> DiffusionAutoencoder:
    a = {"in_channels": 3, "blocks": 1, "heads": 1} | ARCHITECTURES[name]
    common = {"spatial_dims": 2, "in_channels": a["in_channels"], "z_dim": 24}

    def levels(widths: tuple[int, ...], blocks: int) -> dict:
        return {
            "channels": widths,
            "attention_levels": [level in a["attention"] for level in range(len(widths))],
            "num_res_blocks": blocks,
            "num_head_channels": [width // a["heads"] for width in widths],
        }

    encoder = SemanticEncoder(**common, **levels(a["encoder_widths"], a.get("encoder_blocks", a["blocks"])))
    decoder = DiffAEUNet(
        **common,
        **levels(a["widths"], a["blocks"]),
        out_channels=a["in_channels"],
        time_embed_dim=48,
        time_channels=a.get("time_channels"),
    )
    network = DiffusionAutoencoder(encoder, decoder).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("heads_from", ["hyper_parameters", "argument"])
def test_architecture_is_derived_from_names_and_shapes(name, heads_from, tmp_path):
    network = build(name)
    heads = ARCHITECTURES[name].get("heads", 1)
    content = {"state_dict": official_state(network)}
    if heads_from == "hyper_parameters":
        content["hyper_parameters"] = {"net_beatgans_attn_head": heads, "img_size": 16, "T": 500}
    path = saved(content, tmp_path)
    result = load_official_checkpoint(path, num_heads=heads if heads_from == "argument" else None)
    x = torch.randn(2, network.encoder.in_channels, 16, 16)
    t = torch.tensor([3, 700])
    with torch.no_grad():
        torch.testing.assert_close(result.autoencoder(x, t, image=x), network(x, t, image=x))
    assert result.config["z_dim"] == 24
    assert result.config.get("image_size") == (16 if heads_from == "hyper_parameters" else None)
    assert result.config["scheduler"]["num_train_timesteps"] == (500 if heads_from == "hyper_parameters" else 1000)
    assert (result.latent_denoiser, result.statistics, result.attributes) == (None, None, None)
    assert not result.left_out


def test_layout_of_the_encoder_follows_the_configuration_where_shapes_leave_a_choice(tmp_path):
    """Seven blocks of one width without attention: four levels of one block, or two of three."""
    levels = {"attention_levels": (False, False), "channels": (32, 32), "norm_num_groups": 32}
    common = {"spatial_dims": 2, "in_channels": 1, "z_dim": 8}
    network = DiffusionAutoencoder(
        SemanticEncoder(**common, **levels, num_res_blocks=3),
        DiffAEUNet(**common, **levels, out_channels=1, num_res_blocks=1),
    )
    content = {"state_dict": official_state(network)}
    assert load_official_checkpoint(saved(content, tmp_path)).config["network_def"]["encoder"]["num_res_blocks"] == 1
    content["hyper_parameters"] = {"net_enc_num_res_blocks": 3}
    assert load_official_checkpoint(saved(content, tmp_path)).config["network_def"]["encoder"]["num_res_blocks"] == 3


def test_image_size_is_taken_from_the_stored_x_T_where_the_configuration_is_missing(tmp_path):
    content = golden_content()
    del content["hyper_parameters"]
    result = load_official_checkpoint(saved(content, tmp_path))
    assert result.config == load_official_checkpoint(GOLDEN / "last.ckpt").config | {
        "latent_scheduler": result.config["latent_scheduler"]
    }
    assert result.config["latent_scheduler"]["beta"] == 0.008


def test_every_key_is_used_or_named_as_left_out():
    content = read_checkpoint(GOLDEN / "last.ckpt")
    result = load_official_checkpoint(GOLDEN / "last.ckpt")
    names = {f"state_dict.{name}" for name in content["state_dict"]}
    names |= {name for name in content if name != "state_dict"}
    assert set(result.used) | set(result.left_out) == names
    assert not set(result.used) & set(result.left_out)
    assert len(result.used) == len(set(result.used))
    assert "state_dict.x_T" in result.left_out
    assert "callbacks" in result.left_out


def test_raw_weights_are_taken_on_request(tmp_path):
    content = golden_content()
    averaged = {name: x for name, x in content["state_dict"].items() if name.startswith("ema_model.")}
    content["state_dict"] |= {name.removeprefix("ema_"): 2 * x for name, x in averaged.items()}
    path = saved(content, tmp_path)
    raw, ema = load_official_checkpoint(path, raw=True), load_official_checkpoint(path)
    for name, value in ema.autoencoder.state_dict().items():
        assert torch.equal(raw.autoencoder.state_dict()[name], 2 * value)
    assert any(name.startswith("state_dict.ema_model.") for name in raw.left_out)
    with pytest.raises(ValueError, match="no weights model"):
        load_official_checkpoint(GOLDEN / "last.ckpt", raw=True)


def test_raw_classifier_is_taken_on_request():
    raw, ema = (load_official_checkpoint(GOLDEN / "cls.ckpt", raw=raw).attributes for raw in (True, False))
    state = read_checkpoint(GOLDEN / "cls.ckpt")["state_dict"]
    assert torch.equal(raw.weight, state["classifier.weight"])
    assert torch.equal(ema.weight, state["ema_classifier.weight"])
    assert not torch.equal(raw.weight, ema.weight)


def test_classifier_of_other_classes_gets_numbered_names(tmp_path):
    state = {"conds_mean": torch.zeros(1, 4), "conds_std": torch.ones(1, 4)}
    state |= {"ema_classifier.weight": torch.randn(2, 4), "ema_classifier.bias": torch.zeros(2)}
    assert load_official_checkpoint(saved({"state_dict": state}, tmp_path)).attributes.names == ["class_0", "class_1"]
    del state["conds_std"]
    with pytest.raises(ValueError, match="lacks"):
        load_official_checkpoint(saved({"state_dict": state}, tmp_path))


def test_latent_network_of_other_depth_is_read(tmp_path):
    content = golden_content()
    latent = LatentDenoiser(z_dim=24, hidden_dim=40, num_layers=6)
    state = {k: v for k, v in content["state_dict"].items() if ".latent_net." not in k}
    for key, value in latent.state_dict().items():
        name = f"ema_model.latent_net.{official_latent_key(key, 6, ())}"
        state[name] = value
        if "linear_emb" in name:
            state[name.replace("linear_emb", "cond_layers.1")] = value.clone()
    result = load_official_checkpoint(saved(content | {"state_dict": state}, tmp_path))
    z, t = torch.randn(3, 24), torch.tensor([1, 50, 999])
    torch.testing.assert_close(result.latent_denoiser(z, t), latent(z, t))
    assert not [name for name in result.left_out if "linear_emb" in name]
    # Of two names with two values the authors' code reads this one last.
    name = "ema_model.latent_net.layers.2.cond_layers.1.weight"
    state[name] = state[name] + 1
    result = load_official_checkpoint(saved(content | {"state_dict": state}, tmp_path))
    assert torch.equal(result.latent_denoiser.layers[2].time_proj.weight, state[name])
    left_out = [name for name in result.left_out if "linear_emb" in name]
    assert left_out == ["state_dict.ema_model.latent_net.layers.2.linear_emb.weight"]
    state = {name: x for name, x in state.items() if "cond_layers" not in name}
    result = load_official_checkpoint(saved(content | {"state_dict": state}, tmp_path))
    torch.testing.assert_close(result.latent_denoiser(z, t), latent(z, t))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("beatgans_model_mean_type", "start_x"),
        ("net_latent_condition_bias", 0),
        ("latent_beta_scheduler", "cosine"),
        ("latent_beta_scheduler", "const5"),
        ("net_latent_num_time_layers", 3),
        ("net_beatgans_attn_head", 0),
        ("net_beatgans_attn_head", [1]),
        ("net_beatgans_attn_head", 5),
        ("T", -5),
        ("T", "many"),
        ("img_size", [16, 16]),
        ("dropout", 7.0),
    ],
)
def test_settings_that_change_the_arithmetic_are_refused(setting, value, tmp_path):
    content = golden_content()
    content["hyper_parameters"][setting] = value
    with pytest.raises(ValueError, match="attention heads" if value == 5 else setting):
        load_official_checkpoint(saved(content, tmp_path))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("beatgans_model_mean_type", "ModelMeanType.eps"), ("dropout", None), ("T", None), ("net_latent_dropout", 0.3)],
)
def test_settings_that_say_the_same_are_accepted(setting, value, tmp_path):
    content = golden_content()
    content["hyper_parameters"][setting] = value
    result = load_official_checkpoint(saved(content, tmp_path))
    assert result.config == load_official_checkpoint(GOLDEN / "last.ckpt").config


@pytest.mark.parametrize("num_train_timesteps", [100, 4000])
def test_betas_are_scaled_to_other_numbers_of_timesteps_as_the_authors_do(num_train_timesteps, tmp_path):
    content = golden_content()
    content["hyper_parameters"]["T"] = num_train_timesteps
    config = ConfigParser(load_official_checkpoint(saved(content, tmp_path)).config)
    scale = 1000 / num_train_timesteps
    betas = config.get_parsed_content("scheduler").betas
    expected = torch.linspace(1e-4 * scale, 2e-2 * scale, num_train_timesteps, dtype=torch.float64)
    torch.testing.assert_close(betas, expected)
    latent_betas = config.get_parsed_content("latent_scheduler").betas
    torch.testing.assert_close(latent_betas, torch.full((num_train_timesteps,), 0.008 * scale, dtype=torch.float64))


@pytest.mark.parametrize("name", ["latent_net.time_embed.4.weight", "input_blocks.9.0.weight", "initial"])
def test_parts_of_the_network_that_would_be_ignored_are_refused(name, tmp_path):
    content = golden_content()
    content["state_dict"][f"ema_model.{name}"] = torch.zeros(24, 24)
    with pytest.raises(ValueError, match=r"parts that cannot be represented|not the parameters of the authors"):
        load_official_checkpoint(saved(content, tmp_path))


@pytest.mark.parametrize(
    "value",
    [torch.full((24, 32, 1, 1), torch.nan), torch.zeros(24, 32, 1, 1, dtype=torch.int64), "text"],
    ids=["NaN", "int", "text"],
)
def test_weights_that_are_no_finite_numbers_are_named(value, tmp_path):
    content = golden_content()
    content["state_dict"]["ema_model.encoder.out.3.weight"] = value
    with pytest.raises(ValueError, match=r"encoder\.out\.3|authors' autoencoder"):
        load_official_checkpoint(saved(content, tmp_path))


def test_statistics_of_another_length_are_refused(tmp_path):
    content = golden_content()
    content["state_dict"] |= {"conds_mean": torch.zeros(1, 7), "conds_std": torch.ones(1, 7)}
    with pytest.raises(ValueError, match="z_sem has 24 numbers, but conds_mean 7"):
        load_official_checkpoint(saved(content, tmp_path))


def test_missing_and_misshapen_weights_are_named(tmp_path):
    content = golden_content()
    del content["state_dict"]["ema_model.middle_block.0.emb_layers.1.bias"]
    content["state_dict"]["ema_model.out.0.weight"] = torch.zeros(31)
    with pytest.raises(ValueError, match=r"middle_block.0.emb_layers.1.bias has no entry.*out.0.weight has \(31,\)"):
        load_official_checkpoint(saved(content, tmp_path))


def test_weights_do_not_depend_on_the_file(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes((GOLDEN / "last.ckpt").read_bytes())
    result = load_official_checkpoint(path)
    before = result.autoencoder.decoder.conv_in.weight.clone()
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(result.autoencoder.decoder.conv_in.weight, before)
    assert result.autoencoder.decoder.conv_in.weight.requires_grad
