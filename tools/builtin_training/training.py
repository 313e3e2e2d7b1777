"""The training loop: a schedule by seconds spent, an average of the weights, checkpoints to resume from."""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from builtin_training.mixing import paste_neighbours
from builtin_training.muon import Muon
from builtin_training.student import BatchMaker, Student, StudentOutput, distillation_loss
from builtin_training.teacher import fit_probe
from builtin_training.views import UNLABELLED, ViewCache
from dctafd.nets.state_dict import read_metadata, read_state_dict
from dctafd.training.config import Machine


@dataclass(frozen=True)
class Recipe:
    """What a training run is made of.

    Attributes:
        architecture: argument of `build_builtin`.
        seconds: training time; the schedule follows the share of it that is spent, over all resumed runs.
        batch: views a step.
        labelled_share: share of a batch that is drawn from the views with a label.
        sizes: (share of the time spent, pixels a side), the first whose share is not yet reached applies.
        mixed_share: share of the batches that CutMix is applied to, after any mixing the cache has already.
        muon_lr: peak learning rate of the convolutions.
        adam_lr: peak learning rate of everything else.
        decay: weight decay.
        averaging: the weight average forgets over this many steps.
        seed: of the initial weights and the order of views.
    """

    architecture: dict[str, Any]
    seconds: float
    batch: int = 64
    labelled_share: float = 0.65
    sizes: tuple[tuple[float, int], ...] = ((0.3, 112), (0.7, 128), (1.01, 144))
    mixed_share: float = 0.4
    muon_lr: float = 0.01
    adam_lr: float = 3e-3
    decay: float = 0.05
    averaging: int = 300
    seed: int = 0


class Trainer:
    """A student in training.

    Args:
        recipe: how to train.
        cache: views to train on; more may be appended meanwhile.
        checkpoint: file to resume from and to write.
        start_from: checkpoint of a finished run whose weights a new run begins with, or a shipped
            .safetensors file, which lacks the heads for the teacher's features: they begin anew. Its network
            may have fewer blocks, the further ones then begin as the identity.
    """

    def __init__(
        self, recipe: Recipe, cache: ViewCache, checkpoint: Path, start_from: Path | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.cache, self.checkpoint = recipe, cache, checkpoint
        self.machine = Machine.choose("cpu")
        self.student = Student(recipe.architecture).to(memory_format=torch.channels_last)
        self.earlier: list[dict[str, float]] = []  # steps and seconds of the runs this one began with
        if start_from is not None and not checkpoint.exists():
            self._begin_with(_finished_run(start_from))
        self.average = copy.deepcopy(self.student.network).requires_grad_(False)
        self.optimizers = _optimizers(self.student, recipe)
        self.spent, self.step = 0.0, 0
        if checkpoint.exists():
            self._resume()
        self._known_views = 0

    def run(self, every: int, report: Callable[[Trainer, dict[str, float]], None]) -> None:
        """Train until the recipe's seconds are spent; save and report every `every` steps."""
        running: dict[str, float] = {}
        started = time.monotonic() - self.spent
        generator = np.random.default_rng(self.recipe.seed + self.step)
        while self.spent < self.recipe.seconds:
            if self.step % every == 0:
                self._refresh()
            for name, value in self._train_step(self._draw(generator)).items():
                running[name] = running.get(name, value) * 0.98 + value * 0.02
            self.step += 1
            self.spent = time.monotonic() - started
            if self.step % every == 0:
                self.save()
                report(self, running)
        self.save()
        report(self, running)

    def _draw(self, generator: np.random.Generator) -> np.ndarray:
        """Return the rows of the cache that make the next batch."""
        labelled = round(self.recipe.labelled_share * self.recipe.batch)
        numbers = (labelled, self.recipe.batch - labelled)
        return np.concatenate(
            [generator.choice(pool, n, replace=False) for pool, n in zip(self._pools, numbers, strict=True)]
        )

    def _train_step(self, rows: np.ndarray) -> dict[str, float]:
        share = min(1.0, self.spent / self.recipe.seconds)
        size = next(size for limit, size in self.recipe.sizes if share < limit)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * schedule(share)
        pixels, targets = self._make_batch(rows, size)
        if random.random() < self.recipe.mixed_share:
            pixels, targets = paste_neighbours(pixels, targets)
        self.student.train()
        with self.machine.autocast():
            output = self.student(pixels)
        terms = distillation_loss(StudentOutput(*(part.float() for part in output)), targets)
        torch.stack(list(terms.values())).sum().backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self._update_average()
        return {name: term.item() for name, term in terms.items()}

    def _refresh(self) -> None:
        """Take in the rounds that the cache got meanwhile, and fit the probe anew on all its views."""
        if self.cache.count == self._known_views:
            return
        self._known_views = self.cache.count
        labels = torch.from_numpy(self.cache.labels[: self._known_views].astype(np.int64))
        labelled = labels != UNLABELLED
        self._pools = (labelled.nonzero()[:, 0].numpy(), (~labelled).nonzero()[:, 0].numpy())
        probe = fit_probe(*self.cache.labelled_features(), self.recipe.architecture["num_classes"])
        self._make_batch = BatchMaker(self.cache, probe)

    @torch.no_grad()
    def _update_average(self) -> None:
        weight = 1 / min(self.step + 1, self.recipe.averaging)
        for averaged, current in zip(
            self.average.state_dict().values(), self.student.network.state_dict().values(), strict=True
        ):
            if averaged.is_floating_point():
                averaged.lerp_(current, weight)
            else:
                averaged.copy_(current)

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "spent": self.spent,
            "step": self.step,
            "earlier": self.earlier,
            "architecture": self.recipe.architecture,
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            peaks = [group["peak_lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["peak_lr"] = peak
        self.spent, self.step = state["spent"], state["step"]
        self.earlier = state.get("earlier", [])

    def _begin_with(self, state: dict[str, Any]) -> None:
        weights = self.student.state_dict()
        added = {name for name in weights.keys() - state["student"].keys() if name.startswith("network.")}
        for name in added:
            if name.endswith("bn2.weight"):  # an added block's last scale: at 0 it is the identity
                weights[name].zero_()
        self.student.load_state_dict({**weights, **state["student"]})
        self.earlier = [*state.get("earlier", []), {"steps": state["step"], "seconds": round(state["spent"])}]


def _finished_run(path: Path) -> dict[str, Any]:
    """Return what `_begin_with` needs of a checkpoint or of a shipped weights file."""
    if path.suffix != ".safetensors":
        return dict(torch.load(path, weights_only=True))
    training = json.loads(read_metadata(path)["training"])
    weights = {f"network.{name}": tensor for name, tensor in read_state_dict(path).items()}
    amount = {"step": training["steps"], "spent": training["seconds"]}
    return {"student": weights, "earlier": training["earlier"], **amount}


def schedule(share: float, warm_up: float = 0.02) -> float:
    """Return the learning rate's factor when `share` of the time is spent: warm-up, then a cosine to 0."""
    return min(1.0, share / warm_up + 0.02) * (0.5 + 0.5 * math.cos(math.pi * share))


def _optimizers(student: Student, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return Muon for the inner convolutions and AdamW for the stem, norms and linear heads."""
    inner = [
        parameter
        for name, parameter in student.network.named_parameters()
        if parameter.ndim == 4 and name != "conv1.weight"
    ]
    inner_ids = {id(weight) for weight in inner}
    others = [weight for weight in student.parameters() if id(weight) not in inner_ids]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(inner, lr=recipe.muon_lr, weight_decay=recipe.decay),
        torch.optim.AdamW(others, lr=recipe.adam_lr, weight_decay=recipe.decay),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers
