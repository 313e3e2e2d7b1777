"""The AFD-Module: FDE-Net and FE-Net together, in two variants, whatever the backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.nets import rep_conv
from dctafd.nets.fde_net import KNOWN_SCALES, BlockSums, FDENet
from dctafd.nets.fe_net import FENet, LearntSlope, NoCorrection, StageCorrection
from dctafd.nets.layers import BackboneLayers, find_layers
from dctafd.nets.modulation import Affine, Modulation

Variant = Literal["stem", "deep"]

_UNET_STRIDE = 4  # classifier pixels per cell of the U-Net's upper level, where the stem is at least as fine
_FE_WIDTH = {"stem": 32, "deep": 16}
_STAGE_WIDTHS = (24, 48, 64, 96)
_MODULATION_WIDTH = 64
_FDM_CHANNELS, _FDE_WIDTH = 16, 48
#: Corrections have their full strength from so many times `AFDConfig.quiet_drift` on.
FULL_STRENGTH = 1.5
#: What files leave unsaid that were written before FDE-Net read what survives the resize.
_BEFORE_SURVIVAL = {"scales": (0.8, 1.3), "reads_surviving": False}


@dataclass(frozen=True, slots=True)
class AFDConfig:
    """What an AFD-Module is built from; stored in its weights file.

    Attributes:
        variant: "stem" corrects the stem's features only, "deep" those of the later stages, too.
        layers: the backbone's stem and stages.
        fdm_channels: channels of the Feature Drifting Map.
        fde_width: hidden channels of FDE-Net.
        fe_width: channels of FE-Net's upper level; 0 for a stem that stays as it is.
        stage_widths: channels inside the bottleneck after each stage; empty for variant "stem".
        modulation_width: hidden channels of the modulation of `layers.norms`; 0 for none.
        scales, reads_surviving: of FDE-Net.
        quiet_drift: mean drift of a photo up to which it is left exactly as it is; from `FULL_STRENGTH` times
            that on corrections have their full strength. 0 leaves alone what has not drifted at all.
    """

    variant: Variant
    layers: BackboneLayers
    fdm_channels: int = _FDM_CHANNELS
    fde_width: int = _FDE_WIDTH
    fe_width: int = 32
    stage_widths: tuple[int, ...] = ()
    modulation_width: int = 0
    scales: tuple[float, float] = KNOWN_SCALES
    reads_surviving: bool = True
    quiet_drift: float = 0.0

    @classmethod
    def for_layers(
        cls,
        layers: BackboneLayers,
        variant: Variant = "deep",
        fe_width: int | None = None,
        stage_widths: tuple[int, ...] | None = None,
        fde_width: int | None = None,
        fdm_channels: int | None = None,
    ) -> AFDConfig:
        """Choose the widths for a backbone's layers; those that are given replace the defaults."""
        if variant == "stem":
            stage_widths = ()
        elif stage_widths is None:
            stage_widths = (_STAGE_WIDTHS + _STAGE_WIDTHS[-1:] * len(layers.stages))[: len(layers.stages)]
        return cls(
            variant,
            layers,
            fdm_channels=fdm_channels or _FDM_CHANNELS,
            fde_width=fde_width or _FDE_WIDTH,
            fe_width=_FE_WIDTH[variant] if fe_width is None else fe_width,
            stage_widths=stage_widths,
            modulation_width=_MODULATION_WIDTH if variant == "deep" and layers.norms else 0,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries and lists, for metadata; weights files call the variant shape."""
        record = asdict(self)
        return {"shape": record.pop("variant"), **record}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> AFDConfig:
        """Read what `to_json` wrote, under either name of the variant."""
        layers = BackboneLayers.from_json(record["layers"])
        record = {**_BEFORE_SURVIVAL, **record, "layers": layers}
        if "shape" in record:
            record["variant"] = record.pop("shape")
        return cls(**{**record, **{name: tuple(record[name]) for name in ("stage_widths", "scales")}})


@dataclass(frozen=True, slots=True)
class Guidance:
    """What an AFD-Module makes of a photo's coefficients, before it sees a feature.

    Attributes:
        fdm: the Feature Drifting Map, (B, fdm_channels, G, G).
        acting: the same as the corrections read it, its channel 0 lower, down to 0, in quiet photos.
        affines: of each batch norm that is modulated.
    """

    fdm: Tensor
    acting: Tensor
    affines: list[Affine]


class AFDModule(nn.Module):
    """Estimates the Feature Drifting Map of a JPEG photo and corrects a classifier's features with it.

    A new module is the identity: the last layer of each correction starts at zero. Where FDM channel 0, the
    predicted drift, is 0, the features stay as they are, whatever was trained.

    Args:
        config: variant, widths and the backbone's layers.
    """

    stem_rms: Tensor

    def __init__(self, config: AFDConfig) -> None:
        super().__init__()
        self.config = config
        self.fde = FDENet(config.fdm_channels, config.fde_width, config.scales, config.reads_surviving)
        self.fe = _stem_correction(config)
        self.stages = nn.ModuleList(
            StageCorrection(stage.channels, config.fdm_channels, width, stage.non_negative)
            for stage, width in zip(config.layers.stages, config.stage_widths, strict=False)
        )
        channels = [norm.channels for norm in config.layers.norms]
        self.modulation = Modulation(channels, config.modulation_width) if config.modulation_width else None
        self.register_buffer("stem_rms", torch.ones(()))

    @classmethod
    def for_backbone(
        cls, backbone: nn.Module, variant: Variant = "deep", layer: str | None = None, input_size: int = 224
    ) -> AFDModule:
        """Build a new module that fits a backbone (see `find_layers` for `layer`, `input_size`, errors)."""
        return cls(AFDConfig.for_layers(find_layers(backbone, layer, input_size), variant))

    def guide(
        self,
        coefficients: Tensor | BlockSums,
        steps: Tensor,
        survival: Tensor,
        scale: Tensor,
        primary_quality: Tensor,
    ) -> Guidance:
        """Return the FDM and what follows from the whole photo; inputs as in `InputBatch` (or `BlockSums`).

        FDM channel 0 is the predicted drift in units of `measured_drift`.
        """
        summarize = self.modulation is not None
        return self.guidance(*self.fde(coefficients, steps, survival, scale, primary_quality, summarize))

    def guidance(self, fdm: Tensor, summary: Tensor | None) -> Guidance:
        """Return what follows from FDE-Net's answer: an FDM (B, F, G, G) and a summary of the whole photo."""
        acting = _without_quiet(fdm, self.config.quiet_drift)
        if self.modulation is None or summary is None:
            return Guidance(fdm, acting, [])
        return Guidance(fdm, acting, self.modulation(summary, acting))

    def forward(
        self,
        stem: Tensor,
        coefficients: Tensor,
        steps: Tensor,
        survival: Tensor,
        scale: Tensor,
        primary_quality: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the corrected stem (B, C, H, W) and the FDM (B, F, G, G); `attach` corrects the rest."""
        guidance = self.guide(coefficients, steps, survival, scale, primary_quality)
        return self.fe(stem, guidance.acting), guidance.fdm

    def measured_drift(self, stem: Tensor, clean_stem: Tensor, grid: int) -> Tensor:
        """Return how far a stem drifted, (B, grid, grid): RMS difference of each block over `stem_rms`.

        Args:
            stem, clean_stem: (B, C, H, W), of the compressed and of the clean photo.
            grid: blocks a side.
        """
        squared = (stem - clean_stem).square().mean(1, keepdim=True)  # (B, 1, H, W)
        return functional.adaptive_avg_pool2d(squared, grid)[:, 0].sqrt() / self.stem_rms

    def reparameterize(self) -> AFDModule:
        """Fold every RepConv into one 3x3 convolution, in place, and return the module; idempotent.

        Learnt slopes become plain numbers.

        Raises:
            RuntimeError: the module is in training mode.
        """
        rep_conv.reparameterize(self)
        for module in self.modules():
            if isinstance(module, LearntSlope):
                module.fix()
        return self

    def rebuilt(self, changes: Mapping[str, Tensor], **widths: Any) -> AFDModule:
        """Return a narrower module, in eval mode, that does what this one does but for `changes`.

        Args:
            changes: entries of the state dict in place of this module's, which has to be re-parameterised.
            widths: fields of `config` in place of this module's; what the new one lacks is left out.
        """
        narrower = AFDModule(replace(self.config, **widths)).eval().reparameterize()
        state = {**self.state_dict(), **changes}
        narrower.load_state_dict({name: state[name] for name in narrower.state_dict()})
        return narrower

    @property
    def reparameterized(self) -> bool:
        """Whether `reparameterize` was called."""
        return not any(isinstance(m, rep_conv.RepConv) and m.deployed is None for m in self.modules())


def _without_quiet(fdm: Tensor, quiet_drift: float) -> Tensor:
    """Return an FDM (B, F, G, G), its channel 0 set to 0 in photos whose mean is at most `quiet_drift`."""
    if not quiet_drift:
        return fdm
    drift = fdm[:, :1]  # (B, 1, G, G)
    above = drift.mean((2, 3), keepdim=True) / quiet_drift - 1  # (B, 1, 1, 1)
    strength = (above / (FULL_STRENGTH - 1)).clamp(0, 1)  # (B, 1, 1, 1)
    return torch.cat([drift * strength, fdm[:, 1:]], 1)


def _stem_correction(config: AFDConfig) -> FENet | NoCorrection:
    if not config.fe_width:
        return NoCorrection()
    stem = config.layers.stem
    patch = max(1, _UNET_STRIDE // stem.stride)
    return FENet(stem.channels, config.fdm_channels, config.fe_width, patch, stem.non_negative)
