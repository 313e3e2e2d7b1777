"""Seven small photos with labels, and evaluations of a small network on them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import functional

from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.evaluate import plan_evaluation
from dctafd.analysis.evaluation_task import EvaluationTask
from dctafd.analysis.protocols import Condition
from dctafd.inputs.model_input import ModelInput
from tests.support.small_nets import CLASSES, small_backbone, small_spec, trained_afd

SPEC = small_spec()


def photo(seed: int, size: tuple[int, int] = (48, 64)) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def stored(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def labelled_photos(folder: Path) -> Path:
    """Put seven photos into a folder, and a labels.csv."""
    lines = ["file,label"]
    for index in range(7):
        (folder / f"{index}.jpg").write_bytes(stored(photo(index)))
        lines.append(f"{index}.jpg,{index % CLASSES}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def afd_task(folder: Path, **options: Any) -> EvaluationTask:
    backbone = small_backbone()
    afd = trained_afd(backbone.module, "deep").reparameterize()
    return plan_evaluation(folder, backbone, afd, jobs=1, **options)


def plain_task(folder: Path, **options: Any) -> EvaluationTask:
    return plan_evaluation(folder, small_backbone(), None, jobs=1, **options)


def compressed_input(data: bytes, condition: Condition, seed: Sequence[int] = (0,)) -> ModelInput:
    (found,) = compressed_inputs(data, [condition], SPEC, seed)
    return found


def reference_crop(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return functional.center_crop(functional.resize(image, [SPEC.resize]), [SPEC.crop])


def normalised(image: Image.Image) -> np.ndarray:
    tensor = functional.normalize(functional.to_tensor(image), SPEC.mean, SPEC.std)
    return tensor.numpy()


def recompressed(image: Image.Image, *qualities: int) -> Image.Image:
    for quality in qualities:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer).convert("RGB")
    return image
