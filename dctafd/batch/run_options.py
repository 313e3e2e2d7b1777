"""What a run is told besides its sources and its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dctafd.batch.formats import TextFormat
from dctafd.inference.results import Result

if TYPE_CHECKING:
    from dctafd.config import Limits


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is told besides its sources and its model.

    Attributes:
        top_k: predictions in each result.
        batch_size: inputs that go through the network together.
        jobs: threads that decode and prepare.
        limits: what a hostile file may cost.
        stop_on_error: whether the first input that fails ends the run.
        output_format: "table", "json", "jsonl", "csv" or "parquet".
        thumbnail: pixels of the longer side of each result's thumbnail; None for none.
        column: that of the photos in tables, where one was named.
        append_columns: whether the output is a copy of the tables, with the results as further columns; see
            `check_appendable`.
    """

    top_k: int
    batch_size: int
    jobs: int
    limits: Limits
    stop_on_error: bool
    output_format: str
    thumbnail: int | None = None
    column: str | None = None
    append_columns: bool = False


@dataclass(frozen=True, slots=True)
class Companion:
    """A second file that a run writes beside its results, such as a page with pictures.

    Attributes:
        path: the file.
        layout: how results become its text, given how many of them an earlier process has written already.
    """

    path: Path
    layout: Callable[[int], TextFormat[Result]]
