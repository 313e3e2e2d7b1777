"""Images per second of `dctafd classify`'s pipeline over a tar, against what a user could write instead.

    python -m tools.benchmarks.benchmark_batch --photos ../shared/images/native -o runs/throughput.json
    python -m tools.benchmarks.benchmark_batch --photos ../shared/images/native --memory --images 100000

The alternatives have a PyTorch DataLoader whose workers take turns over the same tar, and no correction. One
is what tutorials show: Pillow and torchvision, and the network in PyTorch eager. One has torchvision.io,
transforms.v2 and the network just as dctafd runs it, and one the queue of OpenVINO's documentation. Runs
alternate, and each figure is the median of `--repeats`, so that a busy machine slows all. The stages run on
one thread each, and the network on two, too; `tools.benchmarks.scaling_model` reckons with what they take.
"""

from __future__ import annotations

import os
import statistics
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dctafd.batch.sources import plan_sources
from dctafd.cli.options import usable_cpus
from dctafd.config import Limits
from dctafd.inference.classifier import Classifier
from dctafd.inference.loading import load_classifier
from dctafd.inference.prepared import PreparedPhoto, prepare_item
from dctafd.inputs.model_input import stack_inputs
from dctafd.inputs.source_items import Skipped, SourceItem
from tests.support.archive_files import add_members
from tests.support.jpeg_files import encode
from tools.benchmarks.alternatives import pillow_whole, torchvision_v2
from tools.provenance import write_figures

QUALITIES = (10, 25, 50, 75, 85, 95)
SUBSAMPLINGS = ("4:2:0", "4:4:4", "4:2:0", "4:2:2")
BATCH = 32
SMALL_BATCH = 4
_DIFFERENT = 240
_STAGE_IMAGES = 480
#: To the end: freed before that, OpenVINO's networks have ended this process by a segmentation fault.
_LOADED: list[Classifier] = []


def write_photos(folder: Path, path: Path, images: int) -> None:
    """Write a tar of so many photos: a folder's, compressed anew in many ways, which repeat."""
    files = []
    for number, original in enumerate(sorted(folder.iterdir())[:_DIFFERENT]):
        with Image.open(original) as image:
            pixels = np.asarray(image.convert("RGB"))
        files.append(
            encode(
                pixels,
                QUALITIES[number % len(QUALITIES)],
                subsampling=SUBSAMPLINGS[number % len(SUBSAMPLINGS)],
                progressive=number % 5 == 0,
            )
        )
    with tarfile.open(path, "w") as archive:
        add_members(archive, ((f"{number:06d}.jpg", files[number % len(files)]) for number in range(images)))


class TarPhotos(IterableDataset[torch.Tensor]):
    """The photos of a tar through a transform; workers take turns."""

    def __init__(self, path: Path, transform: Callable[[bytes], Any]) -> None:
        self.path, self.transform = path, transform

    def __iter__(self) -> Iterator[torch.Tensor]:
        torch.set_num_threads(1)
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        with tarfile.open(self.path) as archive:
            for number, header in enumerate(archive):
                if number % workers == worker:
                    data = archive.extractfile(header)
                    assert data is not None
                    yield self.transform(data.read())


@dataclass(frozen=True)
class Case:
    """Something to time: its name, and a function that handles so many images."""

    name: str
    run: Callable[[], int]


@dataclass(frozen=True)
class Timing:
    """What one case took.

    Attributes:
        case: its name.
        images_per_second: median over the runs.
        low, high: of the runs.
        busy: share of the time that the machine's cores worked for it, per cent.
        cpu_ms: CPU milliseconds an image, of all its threads and processes.
    """

    case: str
    images_per_second: float
    low: float
    high: float
    busy: float
    cpu_ms: float


def ours(path: Path, name: str, classifier: Classifier, workers: int) -> Case:
    """Return the pipeline, as `dctafd classify` runs it."""

    def run() -> int:
        classifier.network.use_cores(workers)
        steps = classifier.classify_units(
            plan_sources([str(path)]).units, top_k=5, batch_size=BATCH, jobs=workers, limits=Limits()
        )
        return sum(len(step.results) for step in steps)

    return Case(name, run)


def alternative(
    path: Path, name: str, transform: Callable[[bytes], Any], classifier: Classifier, workers: int
) -> Case:
    """Return a DataLoader and a network, whose answers are ranked as ours are."""

    def run() -> int:
        network, done = classifier.network, 0
        network.use_cores(workers)
        network.side_by_side(1)
        # Threads of OpenVINO and OpenMP do not survive a fork.
        loader = DataLoader(
            TarPhotos(path, transform), BATCH, num_workers=workers, multiprocessing_context="fork"
        )
        for pixels in loader:
            logits = torch.from_numpy(network.run([pixels.numpy()]).logits)
            logits.softmax(1).topk(5)
            done += len(pixels)
        return done

    return Case(name, run)


def asynchronous(path: Path, name: str, classifier: Classifier, workers: int) -> Case:
    """Return a DataLoader and OpenVINO's own queue, as documented, with batches of a size that suits it."""
    import openvino

    options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    graph = classifier.network._graph  # type: ignore[attr-defined]
    compiled = openvino.Core().compile_model(graph.file("plain"), "CPU", options)

    def run() -> int:
        done = [0]

        def ranked(request: Any, photos: int) -> None:
            torch.from_numpy(request.get_output_tensor(0).data).softmax(1).topk(5)
            done[0] += photos

        queue = openvino.AsyncInferQueue(compiled)
        queue.set_callback(ranked)
        loader = DataLoader(
            TarPhotos(path, torchvision_v2), SMALL_BATCH, num_workers=workers, multiprocessing_context="fork"
        )
        for pixels in loader:
            queue.start_async([pixels.numpy()], len(pixels))
        queue.wait_all()
        return done[0]

    return Case(name, run)


def stages(path: Path, classifiers: Mapping[str, Classifier]) -> list[Case]:
    """Return the stages, on one thread each but "two threads", on the first photos of a tar."""
    wanted = classifiers["corrected"].preprocessing

    def read() -> list[SourceItem]:
        items = plan_sources([str(path)]).units[0].items(Skipped())
        return [item for _, item in zip(range(_STAGE_IMAGES), items, strict=False)]

    items = read()
    batch = [prepare_item(item, wanted) for item in items[:BATCH]]
    arrays = stack_inputs(
        [one.outcome.model_input for one in batch if isinstance(one.outcome, PreparedPhoto)]
    )

    def network(classifier: Classifier, threads: int) -> int:
        classifier.network.use_cores(threads)
        classifier.network.side_by_side(1)
        return sum(len(classifier.network.run(arrays).logits) for _ in range(_STAGE_IMAGES // BATCH))

    return [
        Case("read the tar", lambda: len(read())),
        Case("prepare", lambda: sum(prepare_item(item, wanted) is not None for item in items)),
        *(
            Case(f"network, {name}", partial(network, classifier, 2 if "two threads" in name else 1))
            for name, classifier in classifiers.items()
        ),
    ]


def measured(cases: list[Case], repeats: int) -> list[Timing]:
    """Time the cases in turns."""
    runs: dict[str, list[tuple[float, float]]] = {case.name: [] for case in cases}
    for turn in range(repeats + 1):
        for case in cases:
            start, cpu = time.perf_counter(), _cpu_seconds()
            done = case.run()
            if turn:  # the first one warms up
                runs[case.name].append(((time.perf_counter() - start) / done, (_cpu_seconds() - cpu) / done))
    return [_timing(name, times) for name, times in runs.items()]


def _timing(name: str, times: list[tuple[float, float]]) -> Timing:
    paces = [1 / wall for wall, _ in times]
    cpu = statistics.median(used for _, used in times)
    busy = statistics.median(used / wall for wall, used in times) / usable_cpus()
    numbers = (statistics.median(paces), min(paces), max(paces), 100 * busy, 1000 * cpu)
    return Timing(name, *(round(number, 2) for number in numbers))


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of those that have ended."""
    return sum(os.times()[:4])


def memory_over(path: Path, images: int, classifier: Classifier, workers: int) -> list[dict[str, Any]]:
    """Run the pipeline over a tar and return the resident memory at each tenth of the way."""
    rows: list[dict[str, Any]] = []
    done = 0
    for step in classifier.classify_units(plan_sources([str(path)]).units, batch_size=BATCH, jobs=workers):
        done += len(step.results)
        if done * 10 // images > len(rows):
            rows.append({"images": done, "resident_mb": resident_mb(), "threads": threading.active_count()})
            click.echo(rows[-1])
    return rows


def resident_mb() -> int:
    """Return this process's resident memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 10**6


@click.command()
@click.option("--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--images", default=5000, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--workers", default=usable_cpus(), show_default=True)
@click.option("--model", default="efficientnet_lite0", show_default=True)
@click.option("--runtime", default="auto", show_default=True, help="Of dctafd and of the second alternative.")
@click.option("--memory", is_flag=True, help="Only record the memory over one run.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A JSON file.")
def main(
    photos: Path,
    images: int,
    repeats: int,
    workers: int,
    model: str,
    runtime: str,
    memory: bool,
    output: Path | None,
) -> None:
    """Measure the batch pipeline."""
    corrected = load_classifier(model, runtime=runtime)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.tar"
        write_photos(photos, path, images)
        parts: list[dict[str, Any]] = []
        if memory:
            rows = memory_over(path, images, corrected, workers)
        else:
            rows, parts = compared(path, corrected, model, runtime, workers, repeats)
    if output is not None:
        name = corrected.network.runtime
        write_figures(output, rows, model=model, runtime=name, images=images, workers=workers, stages=parts)


def compared(
    path: Path, corrected: Classifier, model: str, runtime: str, workers: int, repeats: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Time the pipeline and the alternatives, and the stages; return their records."""

    def loaded(afd: str = "auto") -> Classifier:
        """Return a classifier for one case: other shares of the cores would compile it anew in each turn."""
        _LOADED.append(load_classifier(model, afd=afd, runtime=runtime))
        return _LOADED[-1]

    direct = loaded("off")
    eager = load_classifier(model, afd="off", runtime="torch")
    cases = [
        ours(path, "dctafd, corrected, 1 worker", loaded(), 1),
        ours(path, "dctafd, corrected", corrected, workers),
        ours(path, "dctafd, uncorrected", loaded("off"), workers),
        alternative(path, "Pillow + torchvision, torch eager", pillow_whole, eager, workers),
        alternative(
            path,
            f"torchvision.io + v2, {direct.network.runtime}",
            torchvision_v2,
            direct,
            workers,
        ),
    ]
    if direct.network.runtime == "openvino":
        cases.append(asynchronous(path, "torchvision.io + v2, AsyncInferQueue", direct, workers))
    rows = measured(cases, repeats)
    alone = {"corrected": loaded(), "uncorrected": loaded("off"), "corrected, two threads": loaded()}
    parts = measured(stages(path, alone), repeats)
    for timing in (*rows, *parts):
        click.echo(
            f"{timing.case:36} {timing.images_per_second:8.1f} images/s "
            f"({timing.low:.1f}..{timing.high:.1f})  cores busy {timing.busy:3.0f} %, "
            f"{timing.cpu_ms:.2f} CPU ms an image"
        )
    return [asdict(row) for row in rows], [asdict(part) for part in parts]


if __name__ == "__main__":
    main()
