"""Train an AFD-Module for a frozen classifier, without labels, on clean photos compressed on the fly."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.nets.afd import AFDConfig, AFDModule
from dctafd.nets.afd_weights import AFDCard, module_fingerprints, read_afd_card, save_afd
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.layers import find_layers
from dctafd.nets.registry import Backbone, load_backbone, own_labels
from dctafd.nets.state_dict import read_state_dict
from dctafd.nets.stem import features_at
from dctafd.nets.widen import load_narrower
from dctafd.training.checkpoints import (
    TrainingState,
    amount_of,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
    summary_of,
)
from dctafd.training.config import TrainingConfig, TrainingRuntime
from dctafd.training.data import PairSource, TrainingBatch, iter_batches
from dctafd.training.losses import afd_losses, weighted_sum
from dctafd.training.rates import learning_rate_factor, parameter_groups
from dctafd.training.teacher import OtherTeacher, Teacher
from dctafd.training.validation import Validation, ValidationRow
from dctafd.training.views import Photo

GRADIENT_CLIP = 1.0
SCALE_BATCHES = 4


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What is known after a step.

    Attributes:
        step: optimiser steps done.
        progress: 0..1, the share of the training that is done.
        losses: the terms of the loss and their weighted sum, "loss".
        learning_rate: of this step.
        images_per_second: over the last steps.
        validation: one row per quality, where the step ended with a validation.
    """

    step: int
    progress: float
    losses: dict[str, float]
    learning_rate: float
    images_per_second: float
    validation: tuple[ValidationRow, ...] = ()


class Trainer:
    """One training: build it, `resume` it if there is a checkpoint, `run` it, `save` its module.

    Args:
        backbone: the frozen classifier.
        photos: clean photos to train on.
        config: what is trained and how.
        runtime: where.
        validation: measures on photos that are not trained on, None for none.
    """

    def __init__(
        self,
        backbone: Backbone,
        photos: Sequence[Photo],
        config: TrainingConfig,
        runtime: TrainingRuntime,
        validation: Validation | None = None,
    ) -> None:
        if config.steps is None and config.minutes is None:
            raise ValueError("a training needs a number of steps or of minutes")
        self.backbone, self.config, self.runtime, self.validation = backbone, config, runtime, validation
        self.source = PairSource(
            photos,
            backbone.spec,
            config.degradations,
            config.batch_size,
            config.seed,
            config.crop,
            config.fixed_crops,
            config.cutmix,
            config.stretch,
        )
        torch.manual_seed(config.seed)
        afd = AFDModule(_module_config(backbone, config))
        if not config.rep_conv:
            afd.eval().reparameterize().train()
        frozen = fold_batch_norms(backbone.module)
        self.classifier = self._on_device(attach(frozen, afd).train())
        self.ema = self._on_device(attach(frozen, copy.deepcopy(afd)).eval())
        others = _other_teachers(config, backbone, runtime.device)
        self.teacher = Teacher(self.classifier, others, backbone.spec.temperature, config.teacher_share)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.classifier.afd, config.weight_decay, config.rep_conv_rate),
            lr=config.learning_rate,
        )
        self.state = TrainingState()
        self.earlier: list[dict[str, Any]] = []
        self._compare = afd_losses
        if runtime.compile:
            self._compile(others)

    def _on_device(self, classifier: CorrectedClassifier) -> CorrectedClassifier:
        return classifier.to(self.runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _compile(self, others: Sequence[OtherTeacher]) -> None:
        """Compile networks and losses, once for each shape of their batches; validation remains as it is."""
        from torch._dynamo import config as tracing
        from torch._inductor import config as generation

        # Else what was compiled for a teacher would run for the classifier, which has hooks and is like it.
        tracing.skip_nnmodule_hook_guards = False
        # Teachers' weights become constants, which is what lets ReLUs and residuals join the convolutions.
        generation.freezing = True
        self.classifier.backbone.compile(dynamic=False)
        self.classifier.afd.fde.compile(dynamic=False)
        for other in others:
            other.compile()
        self._compare = torch.compile(afd_losses, dynamic=False)

    # Running ------------------------------------------------------------------------------------------

    def run(
        self,
        report: Callable[[TrainingReport], None] = lambda report: None,
        checkpoint: Path | None = None,
        report_every: int = 20,
        report_seconds: float = 30.0,
        validate_every: int = 1000,
        checkpoint_seconds: float = 120.0,
        validate_last: bool = True,
    ) -> None:
        """Train to the end of the schedule.

        Args:
            report: called every `report_every` steps, on slow machines every `report_seconds`, and with each
                validation.
            checkpoint: file that is written every `checkpoint_seconds`, at the end and on an interruption.
            validate_every: steps between validations.
            checkpoint_seconds: between checkpoints.
            validate_last: whether there is a validation at the end, too.
        """
        if not self.state.loss_scales:
            self._measure_scales()
        batches = iter_batches(
            self.source, self.state.step, self.runtime.jobs, pin=self.runtime.device.type == "cuda"
        )
        clock = saved = reported = time.monotonic()
        timer = _Timer(self.config.batch_size)
        try:
            with closing(batches):
                while self.progress < 1:
                    losses = self._step(next(batches).to(self.runtime.device))
                    now = time.monotonic()
                    self.state.seconds, clock = self.state.seconds + now - clock, now
                    finished = self.progress >= 1
                    validates = self.state.step % validate_every == 0
                    validates = validate_last if finished else validates
                    waited = now - reported > report_seconds
                    if finished or validates or waited or self.state.step % report_every == 0:
                        reported = now
                        report(self._report(losses, timer.rate(self.state.step), validates))
                    if checkpoint and not finished and now - saved > checkpoint_seconds:
                        self.save_checkpoint(checkpoint)
                        saved = now
        finally:
            if checkpoint and self.state.step:
                self.save_checkpoint(checkpoint)

    @property
    def progress(self) -> float:
        """The share of the training that is done, 0..1."""
        shares = []
        if self.config.steps is not None:
            shares.append(self.state.step / self.config.steps)
        if self.config.minutes is not None:
            shares.append(self.state.seconds / (60 * self.config.minutes))
        return max(shares)

    def _step(self, batch: TrainingBatch) -> dict[str, Tensor]:
        factor = learning_rate_factor(self.state.step, self.progress, self.config.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * group["rate"] * factor
        losses = self._losses(batch)
        losses["loss"] = weighted_sum(losses, self.config.losses, self.state.loss_scales)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(self.classifier.afd.parameters(), GRADIENT_CLIP)
        self.optimizer.step()
        self._update_ema()
        self.state.step += 1
        return losses

    def _losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        with self.runtime.autocast():
            teacher = self.teacher(batch)
            student = self.classifier(*batch.compressed.tensors(), record=True)
        # At temperature 1, whatever suits the scores: what a training makes does not hang on calibration.
        return self._compare(student, teacher, self.classifier.afd, knee=self.config.divergence_knee)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.state.step) / (10 + self.state.step))
        averages, weights = (classifier.afd.parameters() for classifier in (self.ema, self.classifier))
        for averaged, weight in zip(averages, weights, strict=True):
            averaged.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def _measure_scales(self) -> None:
        """Measure, on the first batches, the unit of the drift and those of the loss's terms."""
        batches = iter_batches(self.source, 0, self.runtime.jobs, ahead=1)
        with closing(batches):
            first = [next(batches).to(self.runtime.device) for _ in range(SCALE_BATCHES)]
        network = self.classifier.backbone
        stems = [features_at(network, self.classifier.stem, batch.clean) for batch in first]
        rms = torch.stack([stem.square().mean() for stem in stems]).mean().sqrt()
        for classifier in (self.classifier, self.ema):
            classifier.afd.stem_rms.copy_(rms)
        losses = [self._losses(batch) for batch in first]
        self.state.loss_scales = {
            name: max(sum(float(terms[name]) for terms in losses) / SCALE_BATCHES, 1e-9) for name in losses[0]
        }

    def _validate(self) -> tuple[ValidationRow, ...]:
        if self.validation is None:
            return ()
        with self.runtime.autocast():
            return self.validation.measure(self.ema, self.runtime.device)

    def _report(self, losses: dict[str, Tensor], rate: float, validates: bool) -> TrainingReport:
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise WeightsError(f"the training diverged at step {self.state.step}: lower the learning rate")
        learning_rate = self.optimizer.param_groups[0]["lr"]
        validation = self._validate() if validates else ()
        progress = min(self.progress, 1.0)
        return TrainingReport(self.state.step, progress, values, learning_rate, rate, validation)

    # Files --------------------------------------------------------------------------------------------

    def save_checkpoint(self, path: Path) -> None:
        """Write all that `resume` needs."""
        record = {
            "settings": self._settings(),
            "state": asdict(self.state),
            "earlier": self.earlier,
            "afd": self.classifier.afd.state_dict(),
            "average": self.ema.afd.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(path, record)

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint stopped; what follows is what would have followed.

        Raises:
            WeightsError: the file is damaged, or belongs to a training with other settings.
        """
        record = load_checkpoint(path, self._settings())
        self.state = TrainingState.from_record(record["state"])
        self.earlier = record.get("earlier", [])
        self.classifier.afd.load_state_dict(record["afd"])
        self.ema.afd.load_state_dict(record["average"])
        self.optimizer.load_state_dict(record["optimizer"])

    def start_from(self, path: Path) -> None:
        """Begin with what another training made: its checkpoint's averaged weights, or its weights file.

        The module may be wider than the other one, or correct fewer or more stages (`load_narrower`).

        Raises:
            WeightsError: the file is damaged, or its module is wider or of another kind.
        """
        if path.suffix == ".safetensors":
            state, card = read_state_dict(path), read_afd_card(path)
            last = {"backbone": card.model, **card.training}  # older files do not tell the backbone's digest
            earlier = last.pop("earlier", [])
        else:
            record = read_checkpoint(path)
            state, earlier, last = record["average"], record.get("earlier", []), summary_of(record)
        last["file"] = path.name
        load_narrower(self.classifier.afd, state, path)
        self.ema.afd.load_state_dict(self.classifier.afd.state_dict())
        self.earlier = [*earlier, last]

    def _settings(self) -> dict[str, Any]:
        """Return what a checkpoint has to share with this training; its length may be changed."""
        settings = _record_of(self.config)
        for name in ("steps", "minutes"):
            del settings[name]
        return {**settings, "backbone": _digest(self.backbone.module), "photos": len(self.source.photos)}

    def save(
        self,
        path: Path,
        licence: str | None = None,
        verdict: Mapping[str, Any] | None = None,
        quiet_drift: float = 0.0,
    ) -> None:
        """Write the averaged module, re-parameterised, with its card.

        Args:
            path: the .safetensors file.
            licence: of the weights; "Apache-2.0" if None.
            verdict: what photos that were held out tell, with "helps"; None where nothing was measured.
            quiet_drift: of `AFDConfig`.
        """
        spec = self.backbone.spec
        afd = copy.deepcopy(self.ema.afd).eval().reparameterize()
        card = AFDCard(
            config=replace(afd.config, quiet_drift=quiet_drift),
            model=spec.name,
            architecture=spec.architecture,
            fingerprints=module_fingerprints(self.backbone.module, afd.config),
            licence=licence or "Apache-2.0",
            training={
                **_record_of(self.config),
                **amount_of(self.state, self.config.batch_size),
                "weights": self.backbone.weights.name,
                "backbone": _digest(self.backbone.module),
                "photos": len(self.source.photos),
                "earlier": self.earlier,
                "torch": torch.__version__,
                **({} if verdict is None else {"verdict": dict(verdict)}),
            },
            preprocessing=spec.preprocessing,
            labels=own_labels(self.backbone),
        )
        save_afd(path, afd, card)


def _record_of(config: TrainingConfig) -> dict[str, Any]:
    """Return a configuration as JSON has it; of the teachers' files the names only."""
    teachers = []
    for teacher in config.teachers:
        model, _, weights = teacher.partition("=")
        teachers.append(f"{model}={Path(weights).name}" if weights else model)
    record: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return {**record, "teachers": teachers}


def _module_config(backbone: Backbone, config: TrainingConfig) -> AFDConfig:
    layers = find_layers(backbone.module, config.layer, backbone.spec.crop)
    widths = (config.fe_width, config.stage_widths, config.fde_width, config.fdm_channels)
    return AFDConfig.for_layers(layers, config.variant, *widths)


def _other_teachers(config: TrainingConfig, backbone: Backbone, device: torch.device) -> list[OtherTeacher]:
    """Load the networks of `config.teachers`.

    Raises:
        WeightsError: one is not at hand, or has other classes than the classifier.
    """
    others = []
    for teacher in config.teachers:
        model, _, weights = teacher.partition("=")
        other = load_backbone(model, weights or None)
        if len(other.labels) != len(backbone.labels):
            raise WeightsError(
                f"{teacher} has {len(other.labels)} classes, {backbone.spec.name} has {len(backbone.labels)}"
            )
        others.append(OtherTeacher(other, backbone.spec, config.teacher_size, device))
    return others


def _digest(module: nn.Module) -> str:
    """Return a SHA-256 over a network's weights."""
    digest = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        digest.update(key.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Timer:
    """Measures images a second since it was last asked."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._last: tuple[int, float] | None = None

    def rate(self, step: int) -> float:
        """Return images a second since the last call, 0 at the first."""
        now = time.monotonic()
        last, self._last = self._last, (step, now)
        return 0.0 if last is None else (step - last[0]) * self.batch_size / (now - last[1])
