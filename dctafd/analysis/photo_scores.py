"""What a classifier says of one photo with and without its module, against the class that is wanted.

With labels the wanted class is the label; without, it is the classifier's own answer on the uncompressed
photo, whose five best classes and probabilities are compared, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dctafd.analysis.failures import FileFailure
from dctafd.inference.assembly import DECIMALS
from dctafd.inputs.model_input import InputBatch, ModelInput, collate
from dctafd.jpeg.quality import estimate_quality

if TYPE_CHECKING:
    from dctafd.nets.attach import FrozenClassifier

BEST = 5  # classes that "top-5" looks at


@dataclass(frozen=True, slots=True)
class NetworkScore:
    """How one network does on one photo.

    Attributes:
        best: the class with the highest score.
        rank: how many classes score above the wanted one.
        score: probability of the wanted class.
        overlap: share of the five best classes of the uncompressed photo among the five best, 0..1; None
            with labels.
        divergence: KL divergence, in nats, of the uncompressed photo's probabilities from these; None with
            labels.
    """

    best: int
    rank: int
    score: float
    overlap: float | None = None
    divergence: float | None = None


@dataclass(frozen=True, slots=True)
class PhotoScore:
    """One photo under one condition.

    Attributes:
        uncorrected: without the module.
        afd: with it; None where there is none.
        drift: mean of the first channel of the Feature Drifting Map; None without a module.
        table_quality: quality of the file's quantisation tables.
        primary_quality: quality of an earlier, coarser compression, None without a sign of one.
    """

    uncorrected: NetworkScore
    afd: NetworkScore | None
    drift: float | None
    table_quality: int
    primary_quality: int | None


@dataclass(frozen=True, slots=True)
class MeasuredPhoto:
    """One photo of an evaluation.

    Attributes:
        name, folder: as in `FoundPhoto`.
        wanted: the class that is wanted; None for a photo that could not be measured.
        scores: one a condition.
        failure: why there are none.
    """

    name: str
    folder: str
    wanted: int | None
    scores: tuple[PhotoScore, ...] = ()
    failure: FileFailure | None = None

    def to_list(self) -> list[Any]:
        """Return plain lists, from which `from_list` makes an equal one."""
        return [self.name, self.folder, self.wanted, [astuple(score) for score in self.scores],
                None if self.failure is None else astuple(self.failure)]  # fmt: skip

    @classmethod
    def from_list(cls, record: Sequence[Any]) -> MeasuredPhoto:
        """Read what `to_list` gave, also after a journey through JSON."""
        name, folder, wanted, scores, failure = record
        return cls(
            name,
            folder,
            wanted,
            tuple(
                PhotoScore(NetworkScore(*uncorrected), None if afd is None else NetworkScore(*afd), *rest)
                for uncorrected, afd, *rest in scores
            ),
            None if failure is None else FileFailure(*failure),
        )


class Networks:
    """A classifier without and with its module, on a device.

    Args:
        classifier: what `attach` returns; it is moved to the device.
        temperature: of the classifier (`ModelSpec`).
        device: where it runs.
    """

    def __init__(self, classifier: FrozenClassifier, temperature: float, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._classifier = classifier.eval()
        self._classifier.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._temperature = temperature

    @torch.inference_mode()
    def score(
        self, photos: Sequence[Sequence[ModelInput]], labels: Sequence[int] | None
    ) -> tuple[list[int], list[tuple[PhotoScore, ...]]]:
        """Return the wanted classes and the scores of B photos.

        Args:
            photos: B lists of one input a condition; without labels the first shows the uncompressed photo.
            labels: (B,) classes, None to compare with the answers on the first inputs.
        """
        conditions = list(zip(*photos, strict=True))
        answers = [self._answers(collate(list(inputs))) for inputs in conditions]
        reference = answers[0][0] if labels is None else None
        wanted = torch.tensor(labels) if reference is None else reference.argmax(1)
        columns = []
        for inputs, (uncorrected, corrected, drift) in zip(conditions, answers, strict=True):
            without = _compared(uncorrected, wanted, reference)
            with_afd = [None] * len(without) if corrected is None else _compared(corrected, wanted, reference)
            drifts = [None] * len(without) if drift is None else [round(x, DECIMALS) for x in drift.tolist()]
            columns.append(
                [
                    PhotoScore(*both, found, estimate_quality(item.header).value, item.primary_quality)
                    for both, found, item in zip(
                        zip(without, with_afd, strict=True), drifts, inputs, strict=True
                    )
                ]
            )
        return wanted.tolist(), list(zip(*columns, strict=True))

    def _answers(self, batch: InputBatch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return log probabilities (B, classes) without and with the module, and the mean drift (B,)."""
        batch = batch.to(self.device)
        pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
        uncorrected = self._log_probabilities(self._classifier(pixels).logits)
        if not self._classifier.corrects:
            return uncorrected, None, None
        output = self._classifier(pixels, *batch.tensors()[1:])
        assert output.fdm is not None
        return (
            uncorrected,
            self._log_probabilities(output.logits),
            output.fdm[:, 0].float().mean((1, 2)).cpu(),
        )

    def _log_probabilities(self, logits: Tensor) -> Tensor:
        return (logits.float() / self._temperature).log_softmax(1).cpu()


def _compared(log_scores: Tensor, wanted: Tensor, reference: Tensor | None) -> list[NetworkScore]:
    """Compare (B, classes) log probabilities with the wanted classes (B,) and, if given, with others."""
    right = log_scores.gather(1, wanted[:, None])  # (B, 1)
    columns = [
        log_scores.argmax(1).tolist(),
        (log_scores > right).sum(1).tolist(),
        [round(score, DECIMALS) for score in right[:, 0].exp().tolist()],
    ]
    if reference is not None:
        count = min(BEST, log_scores.shape[1])
        own, others = (scores.topk(count, 1).indices for scores in (log_scores, reference))
        overlap = (own[:, :, None] == others[:, None, :]).sum((1, 2)) / count
        divergence = (reference.exp() * (reference - log_scores)).sum(1).clamp(min=0)
        columns += [[round(x, DECIMALS) for x in found.tolist()] for found in (overlap, divergence)]
    return [NetworkScore(*row) for row in zip(*columns, strict=True)]
