"""Images per second of `dctafd classify`'s pipeline, against the obvious alternative.

    python -m tools.benchmarks.benchmark_batch                        # 5,000 photos in a tar, AFD off
    python -m tools.benchmarks.benchmark_batch --model resnet18 --weights resnet18.pth --images 1000

The alternative is Pillow + torchvision's transforms in a DataLoader over the same tar + the same network in
the same batches. Runs alternate, and each figure is the median of `--repeats`, so that a busy machine
slows both. The alternative's network has all cores, as PyTorch's default is; `--alternative-threads 1`
gives it as many as one batch of the pipeline has with two workers on two cores. The photos are synthetic:
several sizes, qualities, samplings, some progressive.
"""

import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torchvision import transforms

from dctafd.batch.sources import plan_sources
from dctafd.cli.options import usable_cpus
from dctafd.config import Limits
from dctafd.inference.classifier import Classifier
from dctafd.inference.loading import load_classifier
from dctafd.inference.torch_network import TorchNetwork
from tests.support.archive_files import add_members
from tests.support.jpeg_files import encode
from tools.provenance import write_figures

SIZES = ((500, 375), (640, 480), (375, 500), (1024, 768))
QUALITIES = (10, 25, 50, 75, 85, 95)
BATCH = 32
Side = Callable[[], int]


def write_photos(path: Path, images: int, different: int = 240) -> None:
    """Write a tar of `images` photos; there are `different` of them, which repeat."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(min(different, images)):
        width, height = SIZES[number % len(SIZES)]
        base = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((width, height), 3)
        pixels = np.asarray(base, np.int16) + rng.normal(0, 6, (height, width, 3)).astype(np.int16)
        files.append(
            encode(
                pixels.clip(0, 255).astype(np.uint8),
                QUALITIES[number % len(QUALITIES)],
                subsampling=("4:2:0", "4:4:4", "4:2:0", "4:2:2")[number % 4],
                progressive=number % 5 == 0,
            )
        )
    with tarfile.open(path, "w") as archive:
        add_members(archive, ((f"{number:06d}.jpg", files[number % len(files)]) for number in range(images)))


class TarPhotos(IterableDataset[torch.Tensor]):
    """The photos of a tar through Pillow and torchvision's transforms; workers take turns."""

    def __init__(self, path: Path, classifier: Classifier) -> None:
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


def sides(path: Path, classifier: Classifier, workers: int, threads: int) -> tuple[Side, Side]:
    """Return what classifies a tar's photos and counts them: the whole pipeline, and the alternative."""
    network = classifier.network
    assert isinstance(network, TorchNetwork)

    def pipeline() -> int:
        network.use_cores(workers)
        units = plan_sources([str(path)]).units
        steps = classifier.classify_units(units, top_k=5, batch_size=BATCH, jobs=workers, limits=Limits())
        return sum(len(step.results) for step in steps)

    def alternative() -> int:
        torch.set_num_threads(threads)
        done = 0
        with torch.inference_mode():
            for pixels in DataLoader(TarPhotos(path, classifier), BATCH, num_workers=workers):
                network.module(pixels.to(network.device)).logits.softmax(1).topk(5)
                done += len(pixels)
        return done

    return pipeline, alternative


def paces(both: tuple[Side, Side], repeats: int) -> tuple[float, float]:
    """Let both sides take turns; return the median images per second of each."""
    found: tuple[list[float], list[float]] = [], []
    for _ in range(repeats):
        for side, runs in zip(both, found, strict=True):
            start = time.perf_counter()
            runs.append(side() / (time.perf_counter() - start))
    ours, theirs = (round(statistics.median(runs), 1) for runs in found)
    return ours, theirs


@click.command()
@click.option("--images", default=5000, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--workers", default="1,2", show_default=True, help="Numbers of workers, comma-separated.")
@click.option("--model", default="efficientnet_lite0", show_default=True)
@click.option("--weights", type=click.Path(exists=True))
@click.option("--afd", default="off", show_default=True, help="The alternative has no correction to compare.")
@click.option("--alternative-threads", default=usable_cpus(), show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A JSON file.")
def main(
    images: int,
    repeats: int,
    workers: str,
    model: str,
    weights: str | None,
    afd: str,
    alternative_threads: int,
    output: Path | None,
) -> None:
    """Measure the batch pipeline."""
    classifier = load_classifier(model, weights, afd, runtime="torch")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.tar"
        write_photos(path, images)
        rows = []
        for count in map(int, workers.split(",")):
            ours, theirs = paces(sides(path, classifier, count, alternative_threads), repeats)
            rows.append({"workers": count, "ours": ours, "theirs": theirs})
            click.echo(f"{count} worker(s): {ours} images/s, {ours / theirs:.2f} times the alternative's")
    if output is not None:
        write_figures(output, rows, model=model, afd=afd, images=images)


if __name__ == "__main__":
    main()
