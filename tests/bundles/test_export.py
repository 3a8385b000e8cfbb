# SPDX-License-Identifier: Apache-2.0
"""MONAI's commands that check, load and export a bundle, on the encoder of both bundles."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import run_module
from monai.bundle import ConfigParser, load, verify_metadata, verify_net_in_out
from monai.data import load_net_with_metadata

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "tests" / "data" / "meta_schema_20240725.json"
BUNDLES = ["brain_slices_diffae", "natural_images_diffae"]


def parser_of(bundle: str) -> ConfigParser:
    configs = REPOSITORY / "bundles" / bundle / "configs"
    parser = ConfigParser()
    parser.read_meta(str(configs / "metadata.json"))
    parser.read_config(str(configs / "inference.yaml"))
    return parser


def image_shape(bundle: str) -> tuple[int, ...]:
    image = parser_of(bundle)["_meta_::network_data_format::inputs::image"]
    return (image["num_channels"], *image["spatial_shape"])


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def exported(tmp_path_factory, bundle) -> dict:
    """The encoder of a bundle with weights of this test, and what ckpt_export makes of it."""
    folder = tmp_path_factory.mktemp(bundle)
    torch.manual_seed(0)
    encoder = parser_of(bundle).get_parsed_content("encoder_def").eval()
    torch.save(encoder.state_dict(), folder / "encoder.pt")
    configs = REPOSITORY / "bundles" / bundle / "configs"
    command = ["monai.bundle", "ckpt_export", "encoder_def", "--filepath", "encoder.ts"]
    command += ["--ckpt_file", "encoder.pt", "--meta_file", str(configs / "metadata.json")]
    done = run_module(*command, "--config_file", configs / "inference.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return {"encoder": encoder, "folder": folder}


def images_of(bundle: str, count: int = 3) -> torch.Tensor:
    return torch.randn(count, *image_shape(bundle), generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


def test_metadata_are_verified_without_a_download(bundle, tmp_path):
    schema = tmp_path / "schema.json"
    shutil.copy(SCHEMA, schema)
    configs = REPOSITORY / "bundles" / bundle / "configs"
    verify_metadata(meta_file=str(configs / "metadata.json"), filepath=str(schema))


def test_wrong_metadata_are_found(bundle, tmp_path):
    shutil.copy(SCHEMA, tmp_path / "schema.json")
    metadata = ConfigParser.load_config_file(str(REPOSITORY / "bundles" / bundle / "configs" / "metadata.json"))
    metadata["network_data_format"]["inputs"]["image"]["num_channels"] = "one"
    ConfigParser.export_config_file(metadata, str(tmp_path / "metadata.json"))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(tmp_path / "schema.json"))


def test_the_encoder_takes_and_gives_what_the_metadata_say(bundle):
    configs = REPOSITORY / "bundles" / bundle / "configs"
    files = {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.yaml")}
    verify_net_in_out("encoder_def", device="cpu", **files)
    with pytest.raises(ValueError, match="output channel number"):
        verify_net_in_out("encoder_def", device="cpu", z_dim=7, **files)


def test_torchscript_of_the_encoder_gives_its_codes(bundle, exported):
    script, metadata, files = load_net_with_metadata(
        str(exported["folder"] / "encoder.ts"), more_extra_files=("inference.json",)
    )
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == list(image_shape(bundle)[1:])
    assert b"encoder_def" in files["inference.json"]
    images = images_of(bundle)
    with torch.no_grad():
        torch.testing.assert_close(script(images), exported["encoder"](images), rtol=0, atol=1e-4)


def test_onnx_of_the_encoder_gives_its_codes_for_any_number_of_images(bundle, exported, tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    reference = pytest.importorskip("onnx.reference")
    configs = REPOSITORY / "bundles" / bundle / "configs"
    command = ["monai.bundle", "onnx_export", "encoder_def", "--filepath", "encoder.onnx"]
    command += ["--ckpt_file", str(exported["folder"] / "encoder.pt"), "--meta_file", str(configs / "metadata.json")]
    any_batch = {"input_names": ["image"], "output_names": ["z_sem"], "dynamic_axes": {"image": {0: "batch"}}}
    command += ["--converter_kwargs", str(any_batch)]
    done = run_module(*command, "--config_file", configs / "inference.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    onnx.checker.check_model(str(tmp_path / "encoder.onnx"), full_check=True)
    evaluator = reference.ReferenceEvaluator(str(tmp_path / "encoder.onnx"))
    for count in (1, 2):  # it was traced with one
        images = images_of(bundle, count)
        [z_sem] = evaluator.run(None, {"image": images.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(z_sem, exported["encoder"](images).numpy(), rtol=0, atol=1e-4)


def test_load_returns_a_network_that_encodes_and_decodes(bundle, exported, tmp_path):
    shutil.copytree(REPOSITORY / "bundles" / bundle / "configs", tmp_path / bundle / "configs")
    (tmp_path / bundle / "models").mkdir()
    torch.manual_seed(1)
    weights = parser_of(bundle).get_parsed_content("network_def").state_dict()
    torch.save(weights, tmp_path / bundle / "models" / "model.pt")
    network = load(bundle, bundle_dir=tmp_path, workflow_type="inference", device="cpu")
    torch.testing.assert_close(dict(network.state_dict()), dict(weights), rtol=0, atol=0)
    images = images_of(bundle)
    with torch.no_grad():
        z_sem = network.encode(images)
        assert network(images, torch.tensor([3]), context=z_sem).shape == images.shape


@pytest.mark.parametrize("name", BUNDLES)
def test_shipped_encoder_is_that_of_the_shipped_network(name):
    models = REPOSITORY / "bundles" / name / "models"
    if not (models / "model.pt").exists():
        assert not (models / "encoder.pt").exists()
        return
    network, encoder = (torch.load(models / file, weights_only=True) for file in ("model.pt", "encoder.pt"))
    expected = {key.removeprefix("encoder."): x for key, x in network.items() if key.startswith("encoder.")}
    torch.testing.assert_close(dict(encoder), expected, rtol=0, atol=0)
