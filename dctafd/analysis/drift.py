"""How far compression moves coefficients and features, block by block (the paper's Fig. 4): `measure_drift`.

The photo is resized and cropped as the classifier sees it, then compressed (protocol "single"). Blocks
are the 8x8 pixels of a cell of the classifier's grid, G = crop // 8 cells a side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.failures import FileFailure
from dctafd.analysis.photo_containers import read_file
from dctafd.analysis.protocols import AS_IT_IS, PAPER_QUALITIES, Condition
from dctafd.analysis.stem_features import StemFeatures
from dctafd.config import Limits
from dctafd.errors import DctafdError
from dctafd.inputs.block_grid import RGB_TO_YCC
from dctafd.inputs.folders import walk_photos
from dctafd.inputs.model_input import InputBatch, ModelInput, collate
from dctafd.inputs.pictures import is_picture_name
from dctafd.plain_text import summary

if TYPE_CHECKING:
    from torch import Tensor

    from dctafd.nets.afd import AFDModule
    from dctafd.nets.model_specs import ModelSpec
    from dctafd.nets.registry import Backbone

_K = np.arange(8)
_DCT = np.sqrt(np.where(_K == 0, 1, 2) / 8)[:, None] * np.cos((2 * _K + 1) * _K[:, None] * np.pi / 16)
"""(8, 8) the DCT of T.81 A.3.3 as a matrix: coefficients = _DCT @ samples @ _DCT.T."""


@dataclass(frozen=True, slots=True, eq=False)
class DriftMeasurement:
    """Drift of Q qualities on n photos, with G x G blocks each and C stem channels.

    Attributes:
        model: the classifier's name.
        photos: file names, in the order of the arrays.
        qualities: (Q,) int64.
        coefficient_angles: (Q, n, G, G) float32, DA: degrees between the 192-vectors of Y, Cb and Cr
            coefficients of the clean and of the compressed block.
        feature_angles: (Q, n, G, G) float32, FA: degrees between the stem's C-vectors of the clean and of
            the compressed photo, at each place of the feature map, averaged over those within the block.
        measured_drift: (Q, n, G, G) float32, RMS difference of the stem's features within the block, over
            the RMS of clean features.
        predicted_drift: (Q, n, G, G) float32, FDM channel 0; None without an AFD-Module.
        frequency_drift: (Q, 3, 8, 8) float64, RMS difference of each coefficient of Y, Cb, Cr, in DCT units.
        clean_coefficients: (3, 8, 8) float64, RMS of the clean coefficients.
        channel_drift: (Q, C) float64, RMS difference of each stem channel over that channel's RMS in clean
            photos.
        failures: photos that could not be read.
    """

    model: str
    photos: tuple[str, ...]
    qualities: NDArray[np.int64]
    coefficient_angles: NDArray[np.float32]
    feature_angles: NDArray[np.float32]
    measured_drift: NDArray[np.float32]
    predicted_drift: NDArray[np.float32] | None
    frequency_drift: NDArray[np.float64]
    clean_coefficients: NDArray[np.float64]
    channel_drift: NDArray[np.float64]
    failures: tuple[FileFailure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: one row per quality, as `dctafd drift --format json` has them."""
        from dctafd.analysis.drift_summary import summary_records

        return {
            "model": self.model,
            "photos": len(self.photos),
            "qualities": self.qualities.tolist(),
            "rows": summary_records(self),
            "failures": [failure.to_dict() for failure in self.failures],
        }

    __repr__ = summary


def measure_drift(
    images: str | Path | Sequence[str | Path],
    model: str | Backbone,
    qualities: Sequence[int] = PAPER_QUALITIES,
    *,
    weights: str | Path | None = None,
    afd: str | Path | AFDModule = "off",
    layer: str | None = None,
    batch_size: int = 8,
    jobs: int = 2,
    device: str = "cpu",
    limits: Limits = Limits(),
    advance: Callable[[int], None] = lambda count: None,
    on_failure: Callable[[FileFailure], None] = lambda failure: None,
) -> DriftMeasurement:
    """Measure the drift of photos' coefficients and stem features at each quality.

    Args:
        images: a folder of photos, or files, in Pillow's formats (`decode_picture`), taken as clean.
        model: a name of `dctafd models`, or what `load_backbone` returned.
        qualities: of the compressions.
        weights: the classifier's weights, where `model` is a name.
        afd: the module whose FDM is compared: "auto", "off", a weights file, or one that is loaded.
        layer: name of the stem layer where the architecture is not known.
        batch_size: photos that go through the network together.
        jobs: threads that compress and prepare photos.
        device: where the networks run.
        limits: what one photo may cost; larger ones count as failures.
        advance: called with the number of photos that are done.
        on_failure: called with every photo that cannot be read; what it raises ends the measurement.

    Raises:
        DctafdError: there are no photos, none of them could be read, or the weights do not fit.

    Example:
        >>> found = measure_drift("photos/", "resnet18", (10, 50))      # doctest: +SKIP
        >>> found.feature_angles.mean(axis=(1, 2, 3))                   # doctest: +SKIP
    """
    from dctafd.nets.afd_weights import select_afd
    from dctafd.nets.registry import load_backbone

    photos = _photo_paths(images)
    if not photos:
        raise DctafdError("there are no photos to measure")
    backbone = load_backbone(model, weights) if isinstance(model, str) else model
    if isinstance(afd, str | Path):
        selected = select_afd(afd, backbone)
        module = None if selected is None else selected.module.reparameterize()
    else:
        module = afd
    stem = StemFeatures(backbone.module, layer, device)
    batches, names, failures = [], [], []
    with ThreadPoolExecutor(jobs) as pool:
        for first in range(0, len(photos), batch_size):
            chunk = photos[first : first + batch_size]
            prepared = list(pool.map(lambda path: _prepare(path, backbone.spec, qualities, limits), chunk))
            good = [inputs for inputs in prepared if not isinstance(inputs, FileFailure)]
            for found in prepared:
                if isinstance(found, FileFailure):
                    on_failure(found)
                    failures.append(found)
            names += [
                path.name
                for path, found in zip(chunk, prepared, strict=True)
                if not isinstance(found, FileFailure)
            ]
            if good:
                batches.append(_measure_batch(good, stem, module, backbone.spec))
            advance(len(chunk))
    if not batches:
        raise DctafdError(f"none of {len(photos)} photos could be read; the first: {failures[0]}")
    return _joined(backbone.spec.name, names, qualities, batches, failures)


def _photo_paths(images: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(images, str | Path):
        return [Path(path) for path in images]
    if Path(images).is_dir():
        return [Path(found.path) for found in walk_photos(images, wanted=is_picture_name)]
    return [Path(images)]


def block_coefficients(pixels: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the DCT coefficients of RGB pixels, (G, G, 3, 8, 8): Y, Cb, Cr, level-shifted, not quantised.

    Args:
        pixels: (3, S, S), RGB in 0..255, S = 8 * G.
    """
    side = pixels.shape[1] // 8
    samples = np.tensordot(RGB_TO_YCC, pixels, 1)
    samples[0] -= 128
    blocks = samples.reshape(3, side, 8, side, 8).transpose(1, 3, 0, 2, 4)
    return np.asarray(_DCT @ blocks @ _DCT.T)


def angle(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the angle in degrees between vectors along the last axis; 0 between two zeros, 90 to one."""
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = np.zeros(lengths.shape)
    np.divide(np.sum(a * b, axis=-1), lengths, out=cosine, where=lengths > 0)
    cosine[~(a.any(axis=-1) | b.any(axis=-1))] = 1
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """What `DriftMeasurement` holds, of B photos; sums of squares where that holds RMS values."""

    coefficient_angles: NDArray[np.float32]
    feature_angles: NDArray[np.float32]
    squared_drift: NDArray[np.float32]
    predicted_drift: NDArray[np.float32] | None
    frequency_squares: NDArray[np.float64]
    clean_squares: NDArray[np.float64]
    channel_squares: NDArray[np.float64]
    clean_channel_squares: NDArray[np.float64]


def _prepare(
    path: Path, spec: ModelSpec, qualities: Sequence[int], limits: Limits
) -> list[ModelInput] | FileFailure:
    """Return the clean input and one a quality, or why there is none."""
    try:
        conditions = [AS_IT_IS, *(Condition(quality) for quality in qualities)]
        return compressed_inputs(read_file(path), conditions, spec, limits=limits)
    except Exception as error:  # whatever a hostile file sets off belongs to that file's record
        return FileFailure.of(path.name, error)


def _measure_batch(
    photos: list[list[ModelInput]],
    stem: StemFeatures,
    afd: AFDModule | None,
    spec: ModelSpec,
) -> _Batch:
    """Measure B photos, each a list of the clean input and one a quality."""
    variants = [collate(list(inputs)) for inputs in zip(*photos, strict=True)]
    grid = spec.crop // 8
    features = [stem(batch.pixels) for batch in variants]
    coefficients = [_coefficients(inputs, spec) for inputs in zip(*photos, strict=True)]
    clean = coefficients[0]
    differences = [compressed - clean for compressed in coefficients[1:]]
    flat = (*clean.shape[:3], 192)
    return _Batch(
        coefficient_angles=np.stack(
            [angle(clean.reshape(flat), compressed.reshape(flat)) for compressed in coefficients[1:]]
        ).astype(np.float32),
        feature_angles=np.stack(
            [stem.block_angles(features[0], compressed, grid) for compressed in features[1:]]
        ),
        squared_drift=np.stack([stem.block_squares(found - features[0], grid) for found in features[1:]]),
        predicted_drift=None if afd is None else np.stack([_fdm(afd, v) for v in variants[1:]]),
        frequency_squares=np.stack([(difference**2).mean(axis=(1, 2)) for difference in differences]),
        clean_squares=(clean**2).mean(axis=(1, 2)),
        channel_squares=np.stack([_channel_squares(found - features[0]) for found in features[1:]]),
        clean_channel_squares=_channel_squares(features[0]),
    )


def _coefficients(inputs: Sequence[ModelInput], spec: ModelSpec) -> NDArray[np.float64]:
    """Return (B, G, G, 3, 8, 8) coefficients of what the classifier sees."""
    mean, std = np.reshape(spec.mean, (3, 1, 1)), np.reshape(spec.std, (3, 1, 1))
    return np.stack([block_coefficients(255 * (item.pixels * std + mean)) for item in inputs])


def _channel_squares(features: Tensor) -> NDArray[np.float64]:
    return np.asarray(features.square().mean((2, 3)).double().cpu().numpy())


def _fdm(afd: AFDModule, batch: InputBatch) -> NDArray[np.float32]:
    """Return FDM channel 0, (B, G, G)."""
    import torch

    device = next(afd.parameters()).device
    with torch.inference_mode():
        fdm = afd.guide(*batch.to(device).tensors()[1:]).fdm
    return np.asarray(fdm[:, 0].float().cpu().numpy())


def _joined(
    model: str,
    names: list[str],
    qualities: Sequence[int],
    batches: list[_Batch],
    failures: list[FileFailure],
) -> DriftMeasurement:
    """Join the batches along the photos, and turn mean squares into RMS values."""

    def join(name: str, axis: int = 1) -> NDArray:
        return np.concatenate([getattr(batch, name) for batch in batches], axis=axis)

    clean_channels = join("clean_channel_squares", 0).mean(axis=0)
    return DriftMeasurement(
        model=model,
        photos=tuple(names),
        qualities=np.asarray(qualities, np.int64),
        coefficient_angles=join("coefficient_angles"),
        feature_angles=join("feature_angles"),
        measured_drift=np.sqrt(join("squared_drift") / clean_channels.mean()).astype(np.float32),
        predicted_drift=None if batches[0].predicted_drift is None else join("predicted_drift"),
        frequency_drift=np.sqrt(join("frequency_squares").mean(axis=1)),
        clean_coefficients=np.sqrt(join("clean_squares", 0).mean(axis=0)),
        channel_drift=np.sqrt(join("channel_squares").mean(axis=1) / np.maximum(clean_channels, 1e-12)),
        failures=tuple(failures),
    )
