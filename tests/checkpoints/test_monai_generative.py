# SPDX-License-Identifier: Apache-2.0
"""Models of MONAI's tutorial, trained with MONAI core's or with monai-generative's network."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.inferers import DiffusionInferer
from monai.networks.nets import DiffusionModelUNet, ResNet

from monai_diffae.checkpoints import load_monai_generative_checkpoint
from monai_diffae.inferers import DiffusionAutoencoderInferer, ReconstructionInferer
from monai_diffae.schedulers import InvertibleDDIMScheduler

pytest.importorskip("einops", reason="MONAI's cross-attention needs it: pip install 'monai-diffae[generative]'")


class TutorialModel(nn.Module):
    """The tutorial's network; its torchvision ResNet18 is built from MONAI's, which has the same parameters."""

    def __init__(self, unet: nn.Module, in_channels: int = 1, z_dim: int = 16) -> None:
        super().__init__()
        self.unet = unet
        self.semantic_encoder = ResNet(
            "basic",
            [2, 2, 2, 2],
            [64, 128, 256, 512],
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            num_classes=z_dim,
            bias_downsample=False,
        )

    def forward(self, xt: torch.Tensor, x_cond: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        latent = self.semantic_encoder(x_cond)
        return self.unet(x=xt, timesteps=t, context=latent.unsqueeze(2)), latent


def unet(library: str, in_channels: int = 1, num_head_channels: int = 32) -> nn.Module:
    options = {"spatial_dims": 2, "in_channels": in_channels, "out_channels": in_channels, "num_res_blocks": 1}
    options |= {"attention_levels": (False, True), "with_conditioning": True, "cross_attention_dim": 1}
    options["num_head_channels"] = (32, num_head_channels)
    if library == "monai":
        return DiffusionModelUNet(channels=(32, 64), **options)
    nets = pytest.importorskip("generative.networks.nets", reason="needs monai-generative")
    return nets.DiffusionModelUNet(num_channels=(32, 64), **options)


def train_one_step(model: TutorialModel, in_channels: int = 1) -> None:
    with torch.no_grad():  # attention ends in zeros at the start, and would not take part
        for parameter in model.unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    image, noise, t = torch.rand(2, in_channels, 32, 32), torch.randn(2, in_channels, 32, 32), torch.tensor([10, 900])
    prediction, _ = model(InvertibleDDIMScheduler().add_noise(image, noise, t), image, t)
    F.mse_loss(prediction, noise).backward()
    optimizer.step()


@pytest.mark.parametrize("library", ["monai", "generative"])
@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_trained_model_is_read_and_computes_the_same(library, wrapped, tmp_path, device):
    model = TutorialModel(unet(library, num_head_channels=64))
    train_one_step(model)
    state = model.state_dict()
    torch.save(state if wrapped is None else {wrapped: state, "epoch": 3}, tmp_path / "model.pt")
    network = load_monai_generative_checkpoint(tmp_path / "model.pt").to(device)
    model.eval().to(device)
    image, x_t = torch.rand(2, 1, 32, 32, device=device), torch.randn(2, 1, 32, 32, device=device)
    t = torch.tensor([10, 900], device=device)
    with torch.no_grad():
        expected, z_sem = model(x_t, image, t)
        torch.testing.assert_close(network.encode(image), z_sem, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(network(x_t, t, image=image), expected, atol=1e-5, rtol=1e-5)
    reconstruct = ReconstructionInferer(
        DiffusionAutoencoderInferer(InvertibleDDIMScheduler(), num_inference_steps=4, verbose=False)
    )
    assert reconstruct(image, network).shape == image.shape


@pytest.mark.parametrize(
    ("channels", "heads"), [((64, 128, 256), [64, 128, 256]), ((128, 256, 256), 64)], ids=["MONAI", "monai-generative"]
)
def test_heads_are_those_of_the_tutorial_with_these_channels(channels, heads, tmp_path):
    options = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "num_res_blocks": 1}
    options |= {"attention_levels": (False, True, True), "with_conditioning": True, "cross_attention_dim": 1}
    model = TutorialModel(DiffusionModelUNet(channels=channels, num_head_channels=heads, **options))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    network = load_monai_generative_checkpoint(tmp_path / "model.pt")
    found, expected = (
        [block.num_heads for block in unet.modules() if hasattr(block, "num_heads")]
        for unet in (network.decoder.unet, model.unet)
    )
    assert found == expected
    assert set(expected) == ({4} if heads == 64 else {1})


def test_channels_and_heads_other_than_the_tutorials(tmp_path):
    model = TutorialModel(unet("monai", in_channels=3, num_head_channels=16), in_channels=3)
    train_one_step(model, in_channels=3)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    network = load_monai_generative_checkpoint(tmp_path / "model.pt", num_head_channels=(32, 16))
    model.eval()
    x, t = torch.rand(2, 3, 32, 32), torch.tensor([10, 900])
    with torch.no_grad():
        torch.testing.assert_close(network(x, t, image=x), model(x, x, t)[0], atol=1e-5, rtol=1e-5)


def test_resnet18_is_torchvisions(tmp_path):
    """Against torchvision's ResNet18 written out: stem with stride 2, max pooling, eight blocks, average, linear."""
    model = TutorialModel(unet("monai"))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    encoder = load_monai_generative_checkpoint(tmp_path / "model.pt").encoder
    state = encoder.state_dict()

    def norm(h: torch.Tensor, name: str) -> torch.Tensor:
        return F.batch_norm(h, *(state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")))

    image = torch.rand(2, 1, 64, 64)
    h = F.relu(norm(F.conv2d(image, state["conv1.weight"], stride=2, padding=3), "bn1"))
    h = F.max_pool2d(h, 3, 2, 1)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            residual = h
            if stride == 2:
                shortcut = F.conv2d(h, state[f"{name}.downsample.0.weight"], stride=2)
                residual = norm(shortcut, f"{name}.downsample.1")
            h = F.relu(norm(F.conv2d(h, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
            h = F.relu(norm(F.conv2d(h, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2") + residual)
    expected = F.linear(h.mean((2, 3)), state["fc.weight"], state["fc.bias"])
    with torch.no_grad():
        torch.testing.assert_close(encoder(image), expected, atol=1e-5, rtol=1e-5)


def test_monai_generatives_inferer_runs_our_scheduler_and_network(tiny_autoencoder, device):
    generative = pytest.importorskip("generative.inferers", reason="needs monai-generative")
    scheduler = InvertibleDDIMScheduler()
    scheduler.set_timesteps(4)
    z_sem = torch.randn(2, 8, device=device)
    noise = torch.randn(2, 1, 16, 16, device=device)
    with torch.no_grad():
        sampled = generative.DiffusionInferer(scheduler).sample(
            noise, tiny_autoencoder, scheduler, conditioning=z_sem, verbose=False
        )
        ours = DiffusionAutoencoderInferer(scheduler, 4, verbose=False).decode(z_sem, noise, tiny_autoencoder)
        monais = DiffusionInferer(scheduler).sample(
            noise, tiny_autoencoder, scheduler, conditioning=z_sem, verbose=False
        )
    torch.testing.assert_close(sampled, ours)
    torch.testing.assert_close(monais, ours)


@pytest.mark.parametrize("state", [{"encoder.weight": torch.zeros(3)}, {"unet.conv_in.conv.weight": torch.zeros(3)}])
def test_other_models_are_refused(state, tmp_path):
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no model of MONAI's tutorial"):
        load_monai_generative_checkpoint(tmp_path / "model.pt")
