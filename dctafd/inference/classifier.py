"""A classifier that takes JPEG files and returns `Result`s."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from dctafd.config import Limits, Preprocessing
from dctafd.errors import DctafdError, LimitExceededError
from dctafd.inference.assembly import ModelFacts, assemble
from dctafd.inference.prepared import Prepared, prepare_item
from dctafd.inference.results import Result
from dctafd.inference.runner import Runner
from dctafd.inference.stream import START, ItemStream, Position, Step, Unit, classify_units, submitted
from dctafd.inputs.prepare import prepare_for
from dctafd.inputs.source_items import SourceItem, read_bounded, readable
from dctafd.jpeg.reader import Source

if TYPE_CHECKING:
    from dctafd.inference.network import Network


class Classifier:
    """A network with its preprocessing and class names.

    Args:
        network: from prepared photos to logits, and to drift where an AFD-Module corrects it.
        facts: name, class names, temperature.
        preprocessing: what the network expects of its pixels.
    """

    def __init__(self, network: Network, facts: ModelFacts, preprocessing: Preprocessing) -> None:
        self.network = network
        self.facts = facts
        self.preprocessing = preprocessing

    @property
    def name(self) -> str:
        """What records call the model."""
        return self.facts.name

    def classify(
        self, sources: Source | Iterable[Source], top_k: int = 5, *, batch_size: int = 32, jobs: int = 1
    ) -> list[Result]:
        """Classify photos.

        Args:
            sources: paths, bytes or binary file objects (one of them is a list of one). Archives and
                directories are `iter_sources`' and the command line's business.
            top_k: predictions in each result.
            batch_size: photos that go through the network together.
            jobs: threads that decode and prepare, and batches (up to 16) side by side on a CPU; call
                `torch.set_num_threads` with what is left for each of them.

        Returns:
            One result per source, in order; a source that cannot be read has `error` set.
        """
        return list(self.iter_classify(sources, top_k, batch_size=batch_size, jobs=jobs))

    def iter_classify(
        self, sources: Source | Iterable[Source], top_k: int = 5, *, batch_size: int = 32, jobs: int = 1
    ) -> Iterator[Result]:
        """Yield what `classify` returns, batch by batch; `sources` may be endless."""
        items = ItemStream(_item_of(source) for source in _listed(sources))
        for step in self.classify_units([items], top_k=top_k, batch_size=batch_size, jobs=jobs):
            yield from step.results

    def classify_units(
        self,
        units: Sequence[Unit],
        *,
        top_k: int = 5,
        batch_size: int = 32,
        jobs: int = 1,
        limits: Limits = Limits(),
        start: Position = START,
        thumbnail: int | None = None,
    ) -> Generator[Step, None, None]:
        """Classify units of work from `start` on; yields after each batch and at the end of each unit.

        Arguments as for `classify`, and:

        Args:
            units: as `plan_sources` makes them.
            limits: what a hostile file may cost.
            start: a position that an earlier run of the same units and batch size yielded.
            thumbnail: pixels of the longer side of each result's thumbnail; None for none.
        """
        return classify_units(
            units,
            partial(prepare_item, preprocessing=self.preprocessing, limits=limits, thumbnail=thumbnail),
            Runner(self.network, jobs),
            self.facts,
            top_k=top_k,
            batch_size=batch_size,
            jobs=jobs,
            start=start,
        )

    def drift_map(self, source: Source, limits: Limits = Limits()) -> NDArray[np.float32]:
        """Return how far the stem's features of a photo have drifted, cell by cell under the crop.

        Args:
            source: path, bytes or binary file object of a JPEG file.
            limits: what it may cost.

        Returns:
            (G, G) float32, channel 0 of the Feature Drifting Map, G = crop // 8 (28 for a crop of 224): the
            RMS change of the features in a cell, in units of their RMS in clean photos.

        Raises:
            DctafdError: the classifier has no AFD-Module, or the file cannot be read.
            OSError: the file cannot be opened.

        Example:
            >>> classifier = dctafd.load_classifier("efficientnet_lite0")
            >>> classifier.drift_map("photo.jpg").shape
            (28, 28)
        """
        model_input = prepare_for(source, self.preprocessing, limits)
        with Runner(self.network) as runner:
            drift = runner.submit([model_input]).result().drift
        if drift is None:
            raise DctafdError(f"{self.name} has no AFD-Module here, which is what estimates drift")
        return drift[0]

    def predict(self, batch: Sequence[Prepared], top_k: int = 5) -> list[Result]:
        """Run the network on one batch; inputs that failed keep their places."""
        with Runner(self.network) as runner:
            future = submitted(runner, batch)
            return assemble(batch, None if future is None else future.result(), self.facts, top_k)

    def digest(self) -> str:
        """Return a SHA-256 over all that decides the answers: weights, preprocessing, class names, dtype."""
        facts = (self.facts.name, self.facts.labels, self.preprocessing, self.facts.temperature)
        least = () if self.facts.min_score is None else (self.facts.min_score,)
        decisive = repr((*facts, *least, self.network.dtype, self.network.digest()))
        return hashlib.sha256(decisive.encode()).hexdigest()


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
    if not hasattr(source, "read"):
        what = type(source).__name__
        return SourceItem(
            f"<{what}>", error=TypeError(f"source is a path, bytes or a binary file object, not {what}")
        )
    try:
        return SourceItem(name, data=read_bounded(source))
    except (OSError, ValueError, LimitExceededError) as error:
        return SourceItem(name, error=error)
