"""From a batch and the network's answer to results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dctafd.inference.network import Answer
from dctafd.inference.prepared import Prepared, PreparedPhoto
from dctafd.inference.results import Failure, Prediction, Result

#: Decimals of scores and drift in a record: more would only show how a sum was ordered.
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a classifier besides its weights.

    Attributes:
        name: what records call it.
        labels: class names by index.
        temperature: divides the logits before the softmax.
        description: one line for people: which weights, which AFD-Module.
        afd: name of the AFD-Module that corrects it, None without one.
        min_score: results whose best score is below it are `unsure`; None for none.
    """

    name: str
    labels: tuple[str, ...]
    temperature: float = 1.0
    description: str = ""
    afd: str | None = None
    min_score: float | None = None

    def label(self, index: int) -> str:
        """Return a class's name, or its number where it has none."""
        return self.labels[index] if index < len(self.labels) else str(index)


def assemble(batch: Sequence[Prepared], answer: Answer | None, facts: ModelFacts, top_k: int) -> list[Result]:
    """Return one result per input, in order.

    Args:
        batch: good inputs and bad ones.
        answer: the network's for the good ones, in order; None where there is none.
        facts: of the classifier.
        top_k: predictions in each result.
    """
    predictions = iter(() if answer is None else best_classes(answer.logits, facts, top_k))
    drifts = iter(()) if answer is None or answer.drift is None else iter(answer.drift.mean((1, 2)).tolist())
    results = []
    for entry in batch:
        if isinstance(entry.outcome, Failure):
            origin = entry.origin
            results.append(
                Result(
                    origin.source,
                    origin.member,
                    model=facts.name,
                    afd=facts.afd,
                    error=entry.outcome,
                    kept=origin.kept,
                )
            )
        else:
            results.append(_result(entry, entry.outcome, next(predictions), next(drifts, None), facts))
    return results


def best_classes(logits: NDArray[np.float32], facts: ModelFacts, top_k: int) -> list[tuple[Prediction, ...]]:
    """Return the `top_k` most probable classes of each photo, best first, for logits (B, classes)."""
    scores = softmax(logits / np.float32(facts.temperature))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    rows = zip(order.tolist(), np.take_along_axis(scores, order, 1).tolist(), strict=True)
    return [
        tuple(
            Prediction(index, facts.label(index), round(score, DECIMALS))
            for index, score in zip(indices, values, strict=True)
        )
        for indices, values in rows
    ]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities for logits, both (B, classes)."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def _result(
    entry: Prepared,
    photo: PreparedPhoto,
    predictions: tuple[Prediction, ...],
    drift: float | None,
    facts: ModelFacts,
) -> Result:
    header = photo.model_input.header
    return Result(
        entry.origin.source,
        entry.origin.member,
        width=header.width,
        height=header.height,
        color_space=header.color_space,
        process=header.process,
        subsampling=header.subsampling,
        quality=photo.quality.value,
        quality_exact=photo.quality.exact,
        primary_quality=photo.model_input.primary_quality,
        drift=None if drift is None else round(drift, DECIMALS),
        model=facts.name,
        afd=facts.afd,
        predictions=predictions,
        warnings=tuple(header.warnings),
        thumbnail=photo.thumbnail,
        unsure=None if facts.min_score is None else predictions[0].score < facts.min_score,
        kept=entry.origin.kept,
    )
