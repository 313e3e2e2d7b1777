"""Five small photos, and trainings of a few steps on them."""

import numpy as np
import torch
from PIL import Image

from dctafd.nets.registry import Backbone
from dctafd.training.config import TrainingConfig, TrainingRuntime
from dctafd.training.trainer import Trainer
from tests.support.small_nets import (
    small_backbone,
    small_spec,
)

SPEC = small_spec()
RUNTIME = TrainingRuntime(torch.device("cpu"), jobs=1)
QUICK = TrainingConfig(
    steps=4, batch_size=2, fe_width=4, stage_widths=(4, 4, 4, 4), warm_up=2, learning_rate=1e-3
)


def photo(seed: int, size: tuple[int, int] = (48, 56)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


PHOTOS = [photo(seed) for seed in range(5)]


def trainer(
    config: TrainingConfig = QUICK, backbone: Backbone | None = None, runtime: TrainingRuntime = RUNTIME
) -> Trainer:
    return Trainer(backbone or small_backbone(), PHOTOS, config, runtime)
