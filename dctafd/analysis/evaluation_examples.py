"""Photos that an evaluation is about: those whose answer the module changes most, to the better or worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.drift_map import DriftMap, map_input
from dctafd.inference.assembly import ModelFacts

if TYPE_CHECKING:
    from dctafd.analysis.evaluation import Evaluation
    from dctafd.analysis.evaluation_rows import EvaluationRow
    from dctafd.analysis.evaluation_task import EvaluationTask
    from dctafd.analysis.photo_scores import PhotoScore
    from dctafd.analysis.protocols import Condition

_BETTER, _WORSE = 2, 1


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A photo of an evaluation.

    Attributes:
        title: its name and what was done to it.
        wanted: name of the class that is wanted.
        seen: what the classifier makes of it.
    """

    title: str
    wanted: str
    seen: DriftMap


def examples(task: EvaluationTask, evaluation: Evaluation) -> list[Example]:
    """Return two photos that the module rights most and one that it spoils most, of the row that loses most.

    Photos are read and compressed anew. There are fewer where the module rights or spoils fewer; none without
    a module.
    """
    row = min(evaluation.rows, key=lambda row: row.direct_top1 or 0.0)
    if row.afd_top1 is None:
        return []
    number = _condition_number(task, row)
    changes = []
    for index, photo in enumerate(evaluation.photos):
        if photo.failure is None and (row.folder is None or photo.folder == row.folder):
            changes.append((_change(photo.scores[number]), index))
    best = sorted((change for change in changes if change[0] > 0), reverse=True)[:_BETTER]
    worst = sorted(change for change in changes if change[0] < 0)[:_WORSE]
    return [_example(task, evaluation, index, number) for _, index in best + worst]


def _condition_number(task: EvaluationTask, row: EvaluationRow) -> int:
    def is_rows(condition: Condition) -> bool:
        return (condition.quality, condition.times) == (row.quality, row.times)

    found = [number for number, condition in enumerate(task.conditions) if is_rows(condition)]
    return found[-1]


def _change(score: PhotoScore) -> float:
    """Return how much the wanted class gains where it becomes the best, and loses where it was; else 0."""
    before, after = score.uncorrected, score.afd
    if after is None or (before.rank == 0) == (after.rank == 0):
        return 0.0
    return after.score - before.score if after.rank == 0 else min(after.score - before.score, -1e-6)


def _example(task: EvaluationTask, evaluation: Evaluation, index: int, number: int) -> Example:
    photo, condition, spec = task.photos.photos[index], task.conditions[number], task.backbone.spec
    ((_, read),) = task.photos.containers[photo.container].contents([photo.key])
    (model_input,) = compressed_inputs(read(), [condition], spec, (task.seed, index), task.limits)
    wanted, labels = evaluation.photos[index].wanted, task.backbone.labels
    assert wanted is not None
    seen = map_input(
        model_input,
        spec.preprocessing,
        task.classifier,
        ModelFacts(spec.name, labels, spec.temperature),
        task.device,
    )
    name = photo.name.rpartition("/")[2]
    how = f"quality {condition.quality}" if condition.quality is not None else photo.folder or "as it is"
    if condition.times is not None:
        how = f"{condition.times} compressions"
    return Example(f"{name}, {how}", labels[wanted], seen)
