"""A classifier that takes JPEG files and returns `Result`s: `load_classifier`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dctafd.config import Limits, Preprocessing
from dctafd.inference.results import DECIMALS, Prediction, Result, failed, header_facts
from dctafd.inputs.model_input import ModelInput
from dctafd.inputs.source_items import SourceItem, readable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dctafd.inference.device import DeviceRunner

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One input on its way to the network.

    Attributes:
        item: where it came from, without its bytes.
        size: bytes read.
        outcome: what the network needs, or the result of an input that failed.
        facts: what the header and the tables say, as fields of `Result`.
    """

    item: SourceItem
    size: int
    outcome: ModelInput | Result
    facts: dict[str, Any]


class Classifier:
    """A network with its preprocessing, class names and device.

    Args:
        module: `CorrectedClassifier`, or any network from pixels (B, 3, S, S) to logits (B, classes).
        name: what records call the model.
        labels: class names by index.
        preprocessing: what the network expects of its pixels.
        temperature: divides the logits before the softmax.
        device: "auto" (CUDA where there is a device), "cpu", "cuda", "cuda:1" ...
        dtype: one of `DTYPES`; other than float32 it is used through autocast.
        description: one line for people: which weights, which AFD-Module.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        labels: Sequence[str],
        preprocessing: Preprocessing,
        *,
        temperature: float = 1.0,
        device: str = "auto",
        dtype: str = "float32",
        description: str = "",
    ) -> None:
        import torch

        from dctafd.nets.device import choose_device

        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r}; it is one of {', '.join(DTYPES)}")
        self.name = name
        self.labels = tuple(labels)
        self.preprocessing = preprocessing
        self.temperature = temperature
        self.device = choose_device(device)
        self.dtype = dtype
        self.description = description
        self.module = module.eval().to(self.device).to(memory_format=torch.channels_last)

    def classify(
        self, sources: Source | Iterable[Source], top_k: int = 5, *, batch_size: int = 32, jobs: int = 1
    ) -> list[Result]:
        """Classify photos.

        Args:
            sources: paths, bytes or binary file objects (one of them is a list of one). Archives and
                directories are `iter_sources`' and the command line's business.
            top_k: predictions in each result.
            batch_size: photos that go through the network together.
            jobs: threads that decode and prepare, and batches (up to 4) side by side on a CPU; call
                `torch.set_num_threads` with what is left for each of them.

        Returns:
            One result a source, in order; a source that cannot be read has `error` set.
        """
        return list(self.iter_classify(sources, top_k, batch_size=batch_size, jobs=jobs))

    def iter_classify(
        self, sources: Source | Iterable[Source], top_k: int = 5, *, batch_size: int = 32, jobs: int = 1
    ) -> Iterator[Result]:
        """Yield what `classify` returns, batch by batch; `sources` may be endless."""
        from dctafd.inference.stream import classify_items

        items = (_item_of(source) for source in _listed(sources))
        yield from classify_items(self, items, top_k=top_k, batch_size=batch_size, jobs=jobs)

    def prepare(self, item: SourceItem, limits: Limits = Limits()) -> Prepared:
        """Make of one input what the network needs; thread-safe, and never raises for a bad file."""
        from dctafd.inputs.prepare import prepare
        from dctafd.jpeg.quality import estimate_quality

        origin = SourceItem(item.source, item.member)
        size = 0
        try:
            data = item.read()
            size = len(data)
            model_input = prepare(
                data,
                self.preprocessing.resize,
                self.preprocessing.crop,
                mean=self.preprocessing.mean,
                std=self.preprocessing.std,
                max_pixels=limits.max_pixels,
                max_scans=limits.max_scans,
            )
            facts = header_facts(model_input.header, estimate_quality(model_input.header))
        except Exception as error:  # whatever a hostile file sets off belongs to that file's record
            return Prepared(origin, size, failed(item.source, item.member, self.name, error), {})
        return Prepared(origin, size, model_input, facts)

    def predict(self, batch: Sequence[Prepared], top_k: int = 5) -> list[Result]:
        """Run the network on one batch; inputs that failed keep their results and their places."""
        return self.runner().submit(batch, top_k)()

    def runner(self, parallel: int = 1) -> DeviceRunner:
        """Return what runs batches on the device, on a CPU so many at a time."""
        from dctafd.inference.device import DeviceRunner

        return DeviceRunner(self, parallel if self.device.type == "cpu" else 1)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return probabilities (B, classes) and drift (B,), float32, for the tensors of an `InputBatch`."""
        import torch

        from dctafd.nets.attach import CorrectedClassifier

        autocast = self.dtype != "float32"
        dtype = getattr(torch, self.dtype) if autocast else None
        with torch.inference_mode(), torch.autocast(self.device.type, dtype, enabled=autocast):
            pixels = inputs[0].to(memory_format=torch.channels_last)
            if isinstance(self.module, CorrectedClassifier):
                logits, fdm = self.module.forward_with_fdm(pixels, *inputs[1:])
                drift = fdm[:, 0].float().mean((1, 2))
            else:
                logits, drift = self.module(pixels), None
            return torch.softmax(logits.float() / self.temperature, 1), drift

    def results(
        self, batch: Sequence[Prepared], scores: Tensor | None, drift: Tensor | None, top_k: int
    ) -> list[Result]:
        """Turn the probabilities of a batch's good inputs (on the CPU) into results for all its inputs."""
        if scores is None:
            return [cast(Result, entry.outcome) for entry in batch]
        best = scores.topk(min(top_k, scores.shape[1]), 1)
        rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        drifts = iter(drift.tolist() if drift is not None else [None] * len(scores))
        return [
            entry.outcome
            if isinstance(entry.outcome, Result)
            else self._result(entry, entry.outcome, *next(rows), next(drifts))
            for entry in batch
        ]

    def _result(
        self,
        entry: Prepared,
        model_input: ModelInput,
        scores: list[float],
        indices: list[int],
        drift: float | None,
    ) -> Result:
        predictions = tuple(
            Prediction(index, self._label(index), round(score, DECIMALS))
            for index, score in zip(indices, scores, strict=True)
        )
        return Result(
            entry.item.source,
            entry.item.member,
            primary_quality=model_input.primary_quality,
            drift=None if drift is None else round(drift, DECIMALS),
            model=self.name,
            predictions=predictions,
            **entry.facts,
        )

    def _label(self, index: int) -> str:
        return self.labels[index] if index < len(self.labels) else str(index)

    def digest(self) -> str:
        """Return a SHA-256 over all that decides the answers: weights, preprocessing, class names, dtype."""
        digest = hashlib.sha256(
            repr((self.name, self.labels, self.preprocessing, self.temperature, self.dtype)).encode()
        )
        for key, tensor in self.module.state_dict().items():
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_classifier(
    model: str = "builtin",
    weights: str | Path | None = None,
    afd: str | Path = "auto",
    device: str = "auto",
    dtype: str = "float32",
) -> Classifier:
    """Load a classifier by name, with the AFD-Module that corrects it.

    Args:
        model: a name of `dctafd models`, or any classifier of torchvision.
        weights: a state dict (.safetensors or .pth); None takes the model's own.
        afd: "auto" for the module that ships for this model, "off", or a weights file.
        device: "auto" (CUDA where there is a device), "cpu", "cuda", "cuda:1" ...
        dtype: "float32", "bfloat16" or "float16".

    Raises:
        WeightsError: weights are missing, damaged, or made for another network.
        ValueError: an unknown dtype.

    Example:
        >>> classifier = load_classifier()                       # doctest: +SKIP
        >>> classifier.classify(["photo.jpg"])[0].predictions    # doctest: +SKIP
    """
    from dctafd.nets.afd_weights import select_afd
    from dctafd.nets.attach import attach
    from dctafd.nets.registry import load_backbone

    backbone = load_backbone(model, weights)
    module = select_afd(afd, backbone)
    spec = backbone.spec
    net = backbone.module if module is None else attach(backbone.module, module.reparameterize())
    return Classifier(
        net,
        model,
        backbone.labels,
        Preprocessing(spec.resize, spec.crop, spec.mean, spec.std),
        temperature=spec.temperature,
        device=device,
        dtype=dtype,
        description=f"{backbone.weights.name}, {'uncorrected' if module is None else 'AFD-Module'}",
    )


def _listed(sources: Source | Iterable[Source]) -> Iterable[Source]:
    """Take a single source for a list of one."""
    if isinstance(sources, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(sources, "read"):
        return [cast(Source, sources)]
    return sources


def _item_of(source: Source) -> SourceItem:
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        return SourceItem(readable(path), path=path)
    if isinstance(source, bytes | bytearray | memoryview):
        return SourceItem("<bytes>", data=bytes(source))
    name = readable(str(getattr(source, "name", "<stream>")))
    try:
        return SourceItem(name, data=source.read())
    except (OSError, ValueError) as error:
        return SourceItem(name, error=error)
