"""Images per second of `dctafd classify`'s pipeline, whole and by stage, against the obvious alternative.

    python -m tools.benchmarks.benchmark_batch                        # 5,000 photos in a tar, AFD off
    python -m tools.benchmarks.benchmark_batch --model resnet18 --weights resnet18.pth --images 1000
    python -m tools.benchmarks.benchmark_batch --memory 20000         # resident memory over a long run

The alternative is Pillow + torchvision's transforms in a DataLoader over the same tar + the same network in
the same batches. Runs alternate, and each figure is the median of `--repeats`, so that a busy machine
slows both. The alternative's network has all cores, as PyTorch's default is; `--alternative-threads 1`
gives it as many as one batch of the pipeline has with two workers on two cores. The photos are synthetic:
several sizes, qualities, samplings, some progressive.
"""

import io
import json
import statistics
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dctafd.batch.archives import iter_members
from dctafd.batch.sources import plan_sources
from dctafd.cli.options import usable_cpus
from dctafd.cli.output import write_records
from dctafd.config import Limits
from dctafd.inference.classifier import Classifier
from dctafd.inference.loading import load_classifier
from dctafd.inference.prepared import prepare_item
from dctafd.inference.torch_network import TorchNetwork
from dctafd.inputs.source_items import Skipped
from tools.checks.provenance import provenance

SIZES = ((500, 375), (640, 480), (375, 500), (1024, 768))
QUALITIES = (10, 25, 50, 75, 85, 95)
BATCH = 32


def write_photos(path: Path, images: int, different: int = 240) -> None:
    """Write a tar of `images` photos; there are `different` of them, which repeat."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(min(different, images)):
        width, height = SIZES[number % len(SIZES)]
        base = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((width, height), 3)
        pixels = np.asarray(base, np.int16) + rng.normal(0, 6, (height, width, 3)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            buffer,
            "JPEG",
            quality=QUALITIES[number % len(QUALITIES)],
            subsampling=("4:2:0", "4:4:4", "4:2:0", "4:2:2")[number % 4],
            progressive=number % 5 == 0,
        )
        files.append(buffer.getvalue())
    with tarfile.open(path, "w") as archive:
        for number in range(images):
            data = files[number % len(files)]
            header = tarfile.TarInfo(f"{number:06d}.jpg")
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


class TarPhotos(IterableDataset[torch.Tensor]):
    """The photos of a tar through Pillow and torchvision's transforms; workers take turns."""

    def __init__(self, path: Path, classifier: Classifier) -> None:
        from torchvision import transforms

        self.path = path
        wanted = classifier.preprocessing
        self.transform = transforms.Compose(
            [
                transforms.Resize(wanted.resize),
                transforms.CenterCrop(wanted.crop),
                transforms.ToTensor(),
                transforms.Normalize(wanted.mean, wanted.std),
            ]
        )

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        with tarfile.open(self.path) as archive:
            for number, header in enumerate(archive):
                if number % workers == worker:
                    data = archive.extractfile(header)
                    assert data is not None
                    yield self.transform(Image.open(data).convert("RGB"))


@dataclass(frozen=True)
class Case:
    """Something to time: its name, and a function that handles so many images."""

    name: str
    run: Callable[[], int]


def cases(path: Path, classifier: Classifier, workers: int, threads: int) -> list[Case]:
    """Return the whole pipeline and the alternative for a number of workers."""
    network = classifier.network
    assert isinstance(network, TorchNetwork)

    def pipeline() -> int:
        network.use_cores(workers)
        steps = classifier.classify_units(
            plan_sources([str(path)]).units,
            top_k=5,
            batch_size=BATCH,
            jobs=workers,
            limits=Limits(),
        )
        return sum(len(step.results) for step in steps)

    def alternative() -> int:
        torch.set_num_threads(threads)
        loader = DataLoader(TarPhotos(path, classifier), BATCH, num_workers=workers)
        done = 0
        with torch.inference_mode():
            for pixels in loader:
                network.module(pixels.to(network.device)).logits.softmax(1).topk(5)
                done += len(pixels)
        return done

    return [
        Case(f"pipeline, {workers} worker(s)", pipeline),
        Case(f"Pillow + DataLoader, {workers}", alternative),
    ]


def stages(path: Path, classifier: Classifier, images: int) -> list[Case]:
    """Return the stages, one thread each, on the first `images` photos."""
    items = list(zip(range(images), plan_sources([str(path)]).units[0].items(Skipped()), strict=False))
    batch = [prepare_item(item, classifier.preprocessing) for _, item in items[:BATCH]]
    transform = TarPhotos(path, classifier).transform

    def read() -> int:
        return sum(1 for member in iter_members(str(path)) if member.read())

    def prepare() -> int:
        torch.set_num_threads(1)
        return len([prepare_item(item, classifier.preprocessing) for _, item in items])

    def pillow() -> int:
        torch.set_num_threads(1)
        return sum(
            1
            for _, item in items
            if transform(Image.open(io.BytesIO(item.read())).convert("RGB")) is not None
        )

    def network() -> int:
        torch.set_num_threads(1)
        return sum(len(classifier.predict(batch)) for _ in range(max(1, images // BATCH)))

    return [
        Case("stage: read the tar", read),
        Case("stage: decode and prepare (dctafd)", prepare),
        Case("stage: decode and transform (Pillow)", pillow),
        Case("stage: network", network),
    ]


def measured(work: list[Case], repeats: int) -> list[dict[str, Any]]:
    """Time the cases in turns; return the median images per second and CPU milliseconds per image of each."""
    seconds: dict[str, list[tuple[float, float]]] = {case.name: [] for case in work}
    for _ in range(repeats):
        for case in work:
            wall, cpu = time.perf_counter(), time.process_time()
            done = case.run()
            seconds[case.name].append(
                (done / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / done)
            )
    return [
        {
            "case": name,
            "images/s": round(statistics.median(pace for pace, _ in runs), 1),
            "cpu ms/image (this process)": round(statistics.median(cpu for _, cpu in runs), 2),
        }
        for name, runs in seconds.items()
    ]


def memory_over(path: Path, classifier: Classifier) -> list[dict[str, Any]]:
    """Run the pipeline over a tar and return the resident memory at each tenth of the way."""
    plan = plan_sources([str(path)])
    total = sum(1 for _ in iter_members(str(path)))
    rows: list[dict[str, Any]] = []
    done = 0
    for step in classifier.classify_units(plan.units, batch_size=BATCH, jobs=2):
        done += len(step.results)
        if done * 10 // total > len(rows):
            rows.append({"images": done, "resident MB": resident_mb(), "threads": threading.active_count()})
    return rows


def resident_mb() -> int:
    """Return this process's resident memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 10**6


@click.command()
@click.option("--images", default=5000, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--workers", default="1,2", show_default=True, help="Numbers of workers, comma-separated.")
@click.option("--model", default="efficientnet_lite0", show_default=True)
@click.option("--weights", type=click.Path(exists=True))
@click.option("--afd", default="off", show_default=True, help="The alternative has no correction to compare.")
@click.option("--memory", default=0, help="Only record the memory over a run of so many images.")
@click.option("--stage-images", default=480, show_default=True)
@click.option("--alternative-threads", default=usable_cpus(), show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A JSON file.")
def main(
    images: int,
    repeats: int,
    workers: str,
    model: str,
    weights: str | None,
    afd: str,
    memory: int,
    stage_images: int,
    alternative_threads: int,
    output: Path | None,
) -> None:
    """Measure the batch pipeline."""
    classifier = load_classifier(model, weights, afd)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.tar"
        write_photos(path, memory or images)
        if memory:
            write_records(memory_over(path, classifier), "table")
            return
        work = [
            case
            for count in workers.split(",")
            for case in cases(path, classifier, int(count), alternative_threads)
        ]
        rows = measured(stages(path, classifier, min(stage_images, images)) + work, repeats)
    write_records(rows, "table")
    pace = {row["case"]: row["images/s"] for row in rows}
    found = []
    for count in map(int, workers.split(",")):
        ours, theirs = pace[f"pipeline, {count} worker(s)"], pace[f"Pillow + DataLoader, {count}"]
        found.append({"workers": count, "ours": ours, "theirs": theirs})
        print(f"{count} worker(s): {ours / theirs:.2f} times the alternative's images/s")
    if output is not None:
        settings = {"model": model, "afd": afd, "images": images}
        output.write_text(json.dumps({**provenance(), **settings, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
