"""Train an AFD-Module and prove it: `train`.

It holds photos out, begins with the nearest module that ships, trains, measures on those photos whether
the module helps, and writes that into the weights file's card.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dctafd.analysis.evaluate import plan_of_photos
from dctafd.analysis.evaluation import Evaluation
from dctafd.analysis.failures import FileFailure
from dctafd.analysis.labelled_photos import photos_at
from dctafd.analysis.photo_containers import read_file
from dctafd.analysis.verdict import PROVING_QUALITIES, Verdict, judge
from dctafd.errors import DctafdError, WeightsError
from dctafd.inputs.pictures import decode_picture
from dctafd.inputs.source_items import readable
from dctafd.nets.afd_weights import load_afd
from dctafd.nets.fold import fold_batch_norms
from dctafd.nets.registry import load_backbone
from dctafd.plain_text import counted
from dctafd.training.checkpoints import read_checkpoint
from dctafd.training.config import TrainingConfig, TrainingRuntime
from dctafd.training.data import find_photos, load_photos
from dctafd.training.quiet_drift import choose_quiet_drift
from dctafd.training.trainer import Trainer, TrainingReport
from dctafd.training.validation import Validation, split_photos
from dctafd.training.views import Photo
from dctafd.training.warm_start import fitting_modules

if TYPE_CHECKING:
    from dctafd.nets.model_specs import ModelSpec
    from dctafd.nets.registry import Backbone

_HELD_OUT_SHARE = 5  # one photo in so many
_LEAST_HELD_OUT, _MOST_HELD_OUT = 16, 128
_MANY_PHOTOS = 1500  # the modules that ship were trained on 1,700
_FEW_PHOTOS = 300
_SHOWN_FAILURES = 10
_GAIN_DEVIATION = 35.0  # points: of one photo's gain in agreement, mean over the strong qualities


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What `train` made.

    Attributes:
        path: the weights file.
        model: the classifier's name.
        steps: optimiser steps, over all runs of this training.
        seconds: spent on them.
        photos: trained on.
        held_out: kept apart.
        failures: photos that could not be read.
        started_from: name of the weights file that it began with; None for a new module.
        evaluation: agreement on the held-out photos; None where none were held out.
        verdict: whether the module helps; None where nothing was measured.
    """

    path: Path
    model: str
    steps: int
    seconds: float
    photos: int
    held_out: int
    started_from: str | None
    evaluation: Evaluation | None
    verdict: Verdict | None
    failures: tuple[FileFailure, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "path": str(self.path),
            "model": self.model,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "photos": self.photos,
            "held_out": self.held_out,
            "started_from": self.started_from,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "failures": [failure.to_dict() for failure in self.failures],
            "report": None if self.evaluation is None else self.evaluation.to_dict(),
        }


def held_out_count(photos: int) -> int:
    """Return how many of so many photos are held out where nobody says: a fifth, 16 to 128, at most half."""
    return min(max(_LEAST_HELD_OUT, min(_MOST_HELD_OUT, photos // _HELD_OUT_SHARE)), photos // 2)


def enough_photos(photos: int, held_out: int) -> str:
    """Return a sentence on what so many photos are good for."""
    text = f"{counted(photos, 'photo')} to train on, {held_out} held out to prove it"
    if photos < _FEW_PHOTOS:
        text += f": few, of which a module learns much by heart; {_MANY_PHOTOS} are enough, without labels"
    elif photos < _MANY_PHOTOS:
        text += f": usable; more help, up to some {_MANY_PHOTOS}"
    if held_out:
        least = 1.96 * _GAIN_DEVIATION / math.sqrt(held_out)
        text += f". Gains of less than about {least:.0f} points cannot be told from chance"
    return text


def train(
    images: str | Path | Sequence[str | Path],
    model: str | Backbone,
    output: str | Path,
    *,
    weights: str | Path | None = None,
    config: TrainingConfig | None = None,
    minutes: float | None = None,
    held_out: int | None = None,
    start_from: str | Path | None = "auto",
    restart: bool = False,
    licence: str | None = None,
    device: str = "auto",
    jobs: int = 2,
    compile: bool = False,
    validate_every: int = 1000,
    report: Callable[[TrainingReport], None] = lambda report: None,
    say: Callable[[str], None] = lambda text: None,
    advance: Callable[[int], None] = lambda count: None,
) -> Training:
    """Train an AFD-Module for a frozen classifier on unlabelled photos, and measure whether it helps.

    Beside `output` lie a checkpoint, from which the same call goes on, and a log (.jsonl). A module that does
    not help is written, too; its card says so, and `afd="auto"` does not take it.

    Args:
        images: folders of clean photos, or text files with a path on each line.
        model: a name of `dctafd models`, or what `load_backbone` returned.
        output: the weights file, .safetensors.
        weights: the classifier's weights, where `model` is a name.
        config: what is trained and how; None for `TrainingConfig`'s defaults.
        minutes: time to train, in place of the configuration's; measuring comes on top.
        held_out: photos kept apart; None for a fifth (`held_out_count`); 0 for none, which proves nothing.
        start_from: a weights file or checkpoint to begin with; "auto" takes the nearest module that ships,
            where one fits; None begins anew.
        restart: begin anew even where there is a checkpoint.
        licence: of the weights; Apache-2.0 where none is given.
        device: "auto" (CUDA where there is a device), "cpu", "cuda" ...
        jobs: threads that make training pairs.
        compile: use torch.compile.
        validate_every: steps between validations.
        report: called with every `TrainingReport`.
        say: called with sentences for people.
        advance: called with the number of held-out photos that are measured.

    Raises:
        ValueError: no photo is left to train on, or the configuration makes no sense.
        WeightsError: the weights do not fit, a checkpoint is of another training, or the training diverged.
        DctafdError, OSError: photos cannot be found or read.

    Example:
        >>> found = train("photos/", "resnet18", "afd.safetensors", minutes=10)     # doctest: +SKIP
        >>> found.verdict.helps, found.verdict.gain                                 # doctest: +SKIP
    """
    output = Path(output)
    config = config or TrainingConfig()
    if minutes is not None:
        config = replace(config, minutes=minutes, steps=None)
    backbone = load_backbone(model, weights) if isinstance(model, str) else model
    runtime = TrainingRuntime.choose(device, jobs, compile)
    material = _gather(images, held_out, backbone.spec, runtime.jobs, say)
    say(f"on {runtime.device}, {runtime.jobs} threads{', bfloat16' if runtime.bf16 else ''}")
    checkpoint = output.with_suffix(".checkpoint.pt")
    if checkpoint.is_file() and not restart:
        trainer = Trainer(
            backbone, material.photos, _widths_of(checkpoint, config), runtime, material.validation
        )
        trainer.resume(checkpoint)
        started_from = trainer.earlier[-1].get("file") if trainer.earlier else None
        say(f"going on at step {trainer.state.step} ({checkpoint})")
    else:
        trainer, started_from = _begun(backbone, material, config, runtime, start_from)
        say(f"beginning with {started_from}" if started_from else "beginning with a new module")
    with output.with_suffix(".jsonl").open("a" if trainer.state.step else "w") as log:

        def logged(entry: TrainingReport) -> None:
            log.write(json.dumps(asdict(entry)) + "\n")
            log.flush()
            report(entry)

        trainer.run(logged, checkpoint, validate_every=validate_every, validate_last=False)
    quiet_drift = choose_quiet_drift(trainer.ema.afd, _pictures(material.held_out, []), backbone.spec)
    trainer.save(output, licence, quiet_drift=quiet_drift)
    evaluation, verdict = None, None
    if material.held_out:
        say(f"measuring on {len(material.held_out)} photos that were held out")
        evaluation = prove(
            backbone, output, material.held_out, device=str(runtime.device), jobs=jobs, advance=advance
        )
        verdict = judge(evaluation)
        trainer.save(output, licence, verdict.to_dict(), quiet_drift)
    return Training(
        output,
        backbone.spec.name,
        trainer.state.step,
        trainer.state.seconds,
        len(material.photos),
        len(material.held_out),
        started_from,
        evaluation,
        verdict,
        material.failures,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """What a training is made of.

    Attributes:
        photos: to train on.
        held_out: files of photos to prove it on.
        validation: measures on those; None where there are none.
        failures: photos that could not be read.
    """

    photos: list[Photo]
    held_out: list[Path]
    validation: Validation | None
    failures: tuple[FileFailure, ...]


def _gather(
    images: str | Path | Sequence[str | Path],
    held_out: int | None,
    spec: ModelSpec,
    jobs: int,
    say: Callable[[str], None],
) -> _Material:
    """Find the photos, hold some out, and load them; say how many there are and what that is good for."""
    folders = [Path(images)] if isinstance(images, str | Path) else [Path(path) for path in images]
    paths = find_photos(folders)
    training, held = split_photos(paths, held_out_count(len(paths)) if held_out is None else held_out)
    say(enough_photos(len(training), len(held)))
    side = round(1.5 * spec.crop)
    photos, failures = _loaded(training, lambda path: load_photos([path], side, 1)[0], jobs)
    unseen: list[FileFailure] = []
    validation = Validation(_pictures(held, unseen), spec, jobs)
    failures += unseen
    for failure in failures[:_SHOWN_FAILURES]:
        say(f"left out: {failure}")
    if len(failures) > _SHOWN_FAILURES:
        say(f"left out: {len(failures)} photos in all")
    if not photos:
        raise DctafdError(f"none of {len(training)} photos could be read; the first: {failures[0]}")
    bad = {failure.file for failure in unseen}
    held = [path for path in held if readable(str(path)) not in bad]
    return _Material(photos, held, validation if held else None, tuple(failures))


def _loaded(
    paths: Sequence[Path], load: Callable[[Path], Photo], jobs: int
) -> tuple[list[Photo], list[FileFailure]]:
    """Return what can be loaded, in order, and what cannot and why."""

    def attempt(path: Path) -> Photo | FileFailure:
        try:
            return load(path)
        except Exception as error:  # whatever a hostile file sets off belongs to that file's record
            return FileFailure.of(str(path), error)

    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(attempt, paths))
    return (
        [photo for photo in found if not isinstance(photo, FileFailure)],
        [failure for failure in found if isinstance(failure, FileFailure)],
    )


def _pictures(paths: Sequence[Path], failures: list[FileFailure]) -> Iterator[Photo]:
    """Yield photos at their own size, one at a time; add those that cannot be read to `failures`."""
    for path in paths:
        try:
            yield decode_picture(read_file(path))
        except (DctafdError, OSError) as error:
            failures.append(FileFailure.of(str(path), error))


def prove(
    backbone: Backbone,
    afd: str | Path,
    photos: Sequence[Path],
    *,
    device: str = "cpu",
    jobs: int = 2,
    advance: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Measure a weights file's module by agreement on photos, at `PROVING_QUALITIES`.

    Args:
        backbone: the classifier.
        afd: the weights file.
        photos: files of photos that were not trained on.
        device: where the networks run.
        jobs: threads that compress and prepare photos.
        advance: called with the number of photos that are done.
    """
    frozen = replace(backbone, module=fold_batch_norms(backbone.module))
    module = load_afd(afd).reparameterize()
    task = plan_of_photos(
        photos_at(photos), frozen, module, qualities=PROVING_QUALITIES, jobs=jobs, device=device
    )
    return task.run(advance)


def _begun(
    backbone: Backbone,
    material: _Material,
    config: TrainingConfig,
    runtime: TrainingRuntime,
    start_from: str | Path | None,
) -> tuple[Trainer, str | None]:
    """Return a trainer, and the name of the file whose module it begins with."""
    candidates: list[tuple[Path, TrainingConfig]] = []
    if start_from == "auto":
        candidates = fitting_modules(backbone, config)
    elif start_from is not None:
        path = Path(start_from)
        trainer = Trainer(backbone, material.photos, config, runtime, material.validation)
        trainer.start_from(path)
        return trainer, path.name
    for path, its_config in candidates:
        trainer = Trainer(backbone, material.photos, its_config, runtime, material.validation)
        with suppress(WeightsError):  # it differs in what shapes do not show: the next may fit
            trainer.start_from(path)
            return trainer, path.name
    return Trainer(backbone, material.photos, config, runtime, material.validation), None


def _widths_of(checkpoint: Path, config: TrainingConfig) -> TrainingConfig:
    """Return a configuration that leaves widths open with those that a checkpoint's training took."""
    settings = read_checkpoint(checkpoint)["settings"]
    stages = settings.get("stage_widths")
    if config.stage_widths is None and stages is not None:
        config = replace(config, stage_widths=tuple(stages))
    rest = ("fe_width", "fde_width", "fdm_channels")
    return replace(config, **{name: getattr(config, name) or settings.get(name) for name in rest})
