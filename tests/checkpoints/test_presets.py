# SPDX-License-Identifier: Apache-2.0
"""The presets describe the authors' released networks, name by name and shape by shape."""

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_diffae.checkpoints.official import keys

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "bundles" / "natural_images_diffae" / "configs"
RELEASED = {
    "celeba64": "celeba64",
    "ffhq128": "ffhq128",
    "ffhq256": "ffhq256",
    "horse128": "horse128_bedroom128",
    "bedroom128": "horse128_bedroom128",
}


def released_shapes(preset: str) -> dict[str, tuple[int, ...]]:
    path = REPOSITORY / "tests" / "data" / "official_state_dicts" / f"{RELEASED[preset]}.json"
    return {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}


def parser(preset: str, workflow: str = "inference") -> ConfigParser:
    config = ConfigParser()
    config.read_config([str(CONFIGS / f"{workflow}.yaml"), str(CONFIGS / "presets" / f"{preset}.yaml")])
    return config


@pytest.mark.parametrize("preset", RELEASED)
def test_preset_has_the_parameters_of_the_released_network(preset):
    config = parser(preset)
    with torch.device("meta"):
        network = config.get_parsed_content("network_def").state_dict()
        latent_network = config.get_parsed_content("latent_network_def").state_dict()
    shapes = {keys.official_key(key, network): keys.shape_for(key, tuple(x.shape)) for key, x in network.items()}
    num_layers = config["latent_network_def"]["num_layers"]
    latent_names = {name.removeprefix("latent_net.") for name in released_shapes(preset)}
    for key, value in latent_network.items():
        name = f"latent_net.{keys.official_latent_key(key, num_layers, latent_names)}"
        shapes[name] = tuple(value.shape)
        shapes[keys.other_name(name)] = tuple(value.shape)  # some stand under two names
    assert shapes == released_shapes(preset)


@pytest.mark.parametrize("preset", RELEASED)
def test_architecture_derived_from_the_released_names_is_the_preset(preset):
    shapes = released_shapes(preset)
    derived = ConfigParser({"network_def": keys.network_def_of(shapes)})
    latent_shapes = {k.removeprefix("latent_net."): v for k, v in shapes.items() if k.startswith("latent_net.")}
    latent_def = keys.latent_network_def_of(latent_shapes)
    config = parser(preset)
    for part in ("encoder", "decoder"):
        for key, value in config.get_parsed_content(f"network_def::{part}", instantiate=False).get_config().items():
            expected = config[value[1:]] if isinstance(value, str) and value.startswith("@") else value
            assert derived["network_def"][part][key] == expected, (part, key)
    assert {**latent_def, "z_dim": 512} == {**config["latent_network_def"], "z_dim": 512, "time_channels": 64}


@pytest.mark.parametrize("preset", RELEASED)
def test_preset_sets_the_recipe_of_the_paper(preset):
    config = parser(preset, "train")
    assert config.get_parsed_content("scheduler").clip_sample
    assert config.get_parsed_content("scheduler").prediction_type == "epsilon"
    assert config.get_parsed_content("latent_scheduler").betas.unique().tolist() == [0.008]
    assert (config["learning_rate"], config["ema_decay"], config["max_grad_norm"]) == (1e-4, 0.9999, 1.0)
    assert config["network_def"]["decoder"]["dropout"] == 0.1
    samples = {"celeba64": 72e6, "ffhq128": 130e6, "ffhq256": 90e6, "horse128": 130e6, "bedroom128": 120e6}
    batch = 64 if preset == "ffhq256" else 128
    assert config.get_parsed_content("max_iterations") == -(-samples[preset] // batch)


@pytest.mark.parametrize("preset", RELEASED)
def test_preset_that_clips_inverts_explicitly(preset):
    config = parser(preset)
    assert config["clip_sample"]
    assert config["inversion"] == "explicit"
