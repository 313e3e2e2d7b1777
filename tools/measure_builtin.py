"""Measure the built-in classifier on the test part of Caltech-101, through the library's own calls.

    python tools/measure_builtin.py                      # a table; --json for one object
    python tools/measure_builtin.py --part validation    # for choices: the test part is for the model card
    python tools/measure_builtin.py --views 4            # what the module regains, with more samples

A photo is "clean" as it is stored (quality 80); the other rows save it again at its size, Pillow's 4:2:0.
JPEG takes so few photos that what is regained of them is uncertain; `--views` counts each photo several
times, mirrored and cut at other places, and gives 95 % intervals (bootstrap over photos).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from builtin_training.split import LabelledPhoto, Part, class_names, labelled_photos

from dctafd.inference.classifier import Classifier, load_classifier
from dctafd.nets.registry import WEIGHTS_DIRECTORY
from dctafd.training.degrade import decode_jpeg, encode_jpeg

CALTECH = Path(__file__).resolve().parents[2] / "shared/images/caltech101"
QUALITIES = (7, 10, 15, 18, 25)
CALIBRATION_BINS = 15


class Answers(NamedTuple):
    """Top predictions for N photos: class index (N,), score (N,), and the true class (N,)."""

    predicted: np.ndarray
    score: np.ndarray
    label: np.ndarray

    @property
    def top1(self) -> float:
        """Percentage of right answers."""
        return 100 * float((self.predicted == self.label).mean())

    @property
    def calibration_error(self) -> float:
        """Expected calibration error in [0, 1]: |accuracy - mean score| averaged over bins of the score."""
        bins = np.minimum((self.score * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        right = self.predicted == self.label
        gaps = (right.astype(float) - self.score, bins)
        return float(np.abs(np.bincount(gaps[1], gaps[0])).sum() / len(self.score))


@click.command()
@click.option("--part", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--limit", type=int, help="Take the first LIMIT photos of every class only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--views", type=click.IntRange(2, 8), help="Measure only what is regained, over so many views.")
def main(part: Part, limit: int | None, as_json: bool, views: int | None) -> None:
    """Print top-1 with and without the AFD-Module, calibration, confusions and the time of one photo."""
    photos = _limited(labelled_photos(CALTECH, part), limit)
    if views is not None:
        rows = measure_views(photos, views)
        click.echo(json.dumps(rows, indent=1) if as_json else views_as_text(rows))
        return
    figures = measure(photos, part)
    click.echo(json.dumps(figures, indent=1) if as_json else as_text(figures))


def measure(photos: Sequence[LabelledPhoto], part: str) -> dict[str, Any]:
    """Return every figure of the model card for these photos."""
    direct = load_classifier("builtin", afd="off")
    corrected = load_classifier("builtin") if _has_afd_weights() else None
    stored = [photo.path.read_bytes() for photo in photos]
    labels = np.array([photo.label for photo in photos])
    clean = answer(direct, stored, labels)
    clean_afd = answer(corrected, stored, labels) if corrected else None
    rows = []
    for quality in QUALITIES:
        saved = [encode_jpeg(decode_jpeg(data), quality) for data in stored]
        plain = answer(direct, saved, labels)
        fixed = answer(corrected, saved, labels) if corrected else None
        rows.append(_row(quality, clean, plain, fixed))
    return {
        "part": part,
        "photos": len(photos),
        "clean_top1": clean.top1,
        "clean_afd_top1": clean_afd.top1 if clean_afd else None,
        "calibration_error": clean.calibration_error,
        "calibration_error_afd": clean_afd.calibration_error if clean_afd else None,
        "rows": rows,
        "confusions": confusions(clean, class_names(CALTECH)),
        "milliseconds_a_photo": latency(corrected or direct, stored[0]),
        "command_seconds": command_seconds(photos[0].path),
        "bytes": {path.name: path.stat().st_size for path in sorted(WEIGHTS_DIRECTORY.glob("builtin*.s*"))},
    }


def measure_views(photos: Sequence[LabelledPhoto], views: int) -> list[dict[str, Any]]:
    """Return, for each quality, what JPEG takes and the module regains of all views of all photos."""
    direct, corrected = load_classifier("builtin", afd="off"), load_classifier("builtin")
    labels = np.repeat([photo.label for photo in photos], views)
    right = {
        quality: [
            (answers.predicted == labels).reshape(len(photos), views).mean(1)
            for answers in (answer(direct, saved, labels), answer(corrected, saved, labels))
        ]
        for quality, saved in view_files(photos, views).items()
    }
    clean = right[None][0]
    rows = []
    for quality, (plain, fixed) in right.items():
        row = {"quality": quality, "direct_top1": 100 * plain.mean(), "afd_top1": 100 * fixed.mean()}
        if quality is not None:
            low, high = _gain_interval(plain, fixed)
            lost = 100 * float((clean - plain).mean())
            row |= {
                "lost": lost,
                "gain": row["afd_top1"] - row["direct_top1"],
                "gain_low": low,
                "gain_high": high,
            }
            row["regained"] = 100 * row["gain"] / lost if lost > 0 else None
        rows.append({**row, "views": len(labels)})
    return rows


def view_files(photos: Sequence[LabelledPhoto], views: int) -> dict[int | None, list[bytes]]:
    """Return JPEG files of so many views of each photo, by quality; None holds the clean ones."""
    pixels = [view for photo in photos for view in _views(decode_jpeg(photo.path.read_bytes()), views)]
    clean: dict[int | None, list[bytes]] = {None: [encode_jpeg(view, 95, "4:4:4") for view in pixels]}
    return clean | {quality: [encode_jpeg(view, quality) for view in pixels] for quality in QUALITIES}


def _views(photo: np.ndarray, count: int) -> list[np.ndarray]:
    """Return views of a photo: each mirrored one follows the same without; others are cut by some pixels."""
    whole = [photo[top:, left:] for top, left in ((0, 0), (6, 0), (0, 10), (10, 6))]
    return [view for part in whole for view in (part, np.ascontiguousarray(part[:, ::-1]))][:count]


def _gain_interval(direct: np.ndarray, corrected: np.ndarray, samples: int = 5000) -> tuple[float, float]:
    """Return the 95 % interval of the gain in points, from each photo's share of right views."""
    count = len(direct)
    drawn = np.random.default_rng(0).multinomial(
        count, np.full(count, 1 / count), samples
    )  # (samples, photos)
    low, high = np.percentile(100 * (drawn @ (corrected - direct)) / count, [2.5, 97.5])
    return float(low), float(high)


def views_as_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return what `measure_views` measured as lines for people."""
    lines = [f"{rows[0]['views']} views", "quality  direct  module  gain in points (95 %)  regained (%)"]
    for row in rows:
        quality = "clean" if row["quality"] is None else row["quality"]
        line = f"{quality:>7}  {row['direct_top1']:6.1f}  {row['afd_top1']:6.1f}"
        if row["quality"] is not None:
            gain = f"{row['gain']:+.1f} ({row['gain_low']:+.1f}..{row['gain_high']:+.1f})"
            line += f"  {gain:21}  {'-' if row['regained'] is None else round(row['regained'])}"
        lines.append(line)
    return "\n".join(lines)


def answer(classifier: Classifier, photos: Sequence[bytes], labels: np.ndarray) -> Answers:
    """Classify JPEG files and return the top predictions."""
    results = classifier.classify(photos, top_k=1, jobs=2)
    failures = [result.error for result in results if result.error]
    if failures:
        raise click.ClickException(f"{len(failures)} photos failed: {failures[0]}")
    best = [result.predictions[0] for result in results]
    return Answers(np.array([b.index for b in best]), np.array([b.score for b in best]), labels)


def confusions(answers: Answers, names: Sequence[str], most: int = 10) -> list[dict[str, Any]]:
    """Return the most frequent (true class, answer) pairs that differ, with their counts."""
    wrong = answers.predicted != answers.label
    pairs = Counter(zip(answers.label[wrong].tolist(), answers.predicted[wrong].tolist(), strict=True))
    return [
        {"true": names[true], "answer": names[predicted], "photos": count}
        for (true, predicted), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:most]
    ]


def latency(classifier: Classifier, photo: bytes, repeats: int = 20) -> float:
    """Return the median milliseconds of classifying one photo, from its bytes."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        classifier.classify([photo])
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def command_seconds(photo: Path, repeats: int = 3) -> float:
    """Return the least seconds of `dctafd classify PHOTO` as a new process, its kernels cached."""
    command = [sys.executable, "-m", "dctafd", "classify", str(photo), "--quiet"]
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times)


def as_text(figures: dict[str, Any]) -> str:
    """Return the figures as lines for people."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    lines = [
        f"{figures['photos']} photos, {figures['part']} part",
        f"clean: top-1 {percent(figures['clean_top1'])} %, "
        f"with the module {percent(figures['clean_afd_top1'])} %; expected calibration error "
        f"{figures['calibration_error']:.3f}"
        + (f", {figures['calibration_error_afd']:.3f} with it" if figures["calibration_error_afd"] else ""),
        "quality  direct  module  regained of what JPEG took (%)",
    ]
    lines += [
        f"{row['quality']:7d}  {percent(row['direct_top1']):>6}  {percent(row['afd_top1']):>6}  "
        f"{percent(row['regained'])}"
        for row in figures["rows"]
    ]
    lines += ["confusions (true, answer, photos):"]
    lines += [f"  {c['true']}, {c['answer']}, {c['photos']}" for c in figures["confusions"]]
    lines += [
        f"one photo: {figures['milliseconds_a_photo']:.1f} ms in process, "
        f"{figures['command_seconds']:.2f} s as a command",
        *(f"{name}: {size} bytes" for name, size in figures["bytes"].items()),
    ]
    return "\n".join(lines)


def _row(quality: int, clean: Answers, direct: Answers, corrected: Answers | None) -> dict[str, Any]:
    lost = clean.top1 - direct.top1
    regained = 100 * (corrected.top1 - direct.top1) / lost if corrected and lost > 0 else None
    return {
        "quality": quality,
        "direct_top1": direct.top1,
        "afd_top1": corrected.top1 if corrected else None,
        "regained": regained,
    }


def _has_afd_weights() -> bool:
    return (WEIGHTS_DIRECTORY / "builtin_afd.safetensors").is_file()


def _limited(photos: list[LabelledPhoto], limit: int | None) -> list[LabelledPhoto]:
    seen: Counter[int] = Counter()
    kept = []
    for photo in photos:
        seen[photo.label] += 1
        if limit is None or seen[photo.label] <= limit:
            kept.append(photo)
    return kept


if __name__ == "__main__":
    main()
