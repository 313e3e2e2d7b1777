"""Small classifiers, modules and inputs for the tests of nets and research."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dctafd.nets.afd import AFDConfig, AFDModule, Variant
from dctafd.nets.layers import find_layers
from dctafd.nets.model_specs import ModelSpec
from dctafd.nets.registry import Backbone
from tests.support.slim_resnet import SlimResNet

CROP = 32
CLASSES = 6
FDM_CHANNELS = 5


def small_resnet(seed: int = 0) -> nn.Module:
    """A ResNet whose layers have 8 channels and whose logits differ clearly."""
    torch.manual_seed(seed)
    net = SlimResNet(CLASSES).eval()
    nn.init.normal_(net.fc.weight, std=3.0)
    return net


def small_spec(**options: object) -> ModelSpec:
    return ModelSpec("small", "resnet18", resize=40, crop=CROP, **options)  # type: ignore[arg-type]


def small_backbone(seed: int = 0) -> Backbone:
    labels = tuple(f"class {index}" for index in range(CLASSES))
    return Backbone(small_resnet(seed), small_spec(), labels, Path("small.pth"))


def trained_afd(
    backbone: nn.Module, variant: Variant, layer: str | None = None, crop: int = CROP
) -> AFDModule:
    """A narrow module that corrects: as if trained, no weight of it is zero."""
    layers = find_layers(backbone, layer, crop)
    widths = (4,) * len(layers.stages) if variant == "deep" else ()
    torch.manual_seed(1)
    modulation_width = 3 if variant == "deep" and layers.norms else 0
    afd = AFDModule(
        AFDConfig(
            variant,
            layers,
            FDM_CHANNELS,
            fde_width=6,
            fe_width=4,
            stage_widths=widths,
            modulation_width=modulation_width,
        )
    )
    for parameter in afd.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return afd.eval()


def random_inputs(batch: int = 2, crop: int = CROP, seed: int = 0) -> tuple[Tensor, ...]:
    """Inputs of a corrected classifier."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    grid = crop // 8
    steps = torch.randint(1, 100, (batch, 192), generator=generator).float()
    levels = torch.randint(-3, 4, (batch, 192, grid, grid), generator=generator)
    primary_quality = torch.tensor([0.0, 30.0] * batch)[:batch]
    scale = torch.ones(batch, 2)
    survival = 0.1 + 0.9 * torch.rand(batch, 192, generator=generator)
    coefficients = levels * steps[:, :, None, None]
    return normal(batch, 3, crop, crop), coefficients, steps, survival, scale, primary_quality
