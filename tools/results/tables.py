"""Markdown tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dctafd.analysis.published import published_top1
from tools.results.records import PROTOCOLS, Record, Results

_LEAST_LOSS = 3.0  # points that JPEG must take before a share of them says anything
_SUMMARY_QUALITIES = (7, 10, 15, 18, 25)
_PAPER_CLEAN = 76.13  # torchvision's IMAGENET1K_V1; the paper's Table V has no row for clean photos
_PAPER_PHOTOS = 50_000


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def interval(row: Mapping[str, Any], gain: str, low: str, high: str) -> str:
    """Return a gain in points with its 95 % interval, where that was measured."""
    text = f"{row[gain]:+.1f}"
    return text if row.get(low) is None else f"{text} ({row[low]:+.1f}..{row[high]:+.1f})"


def _gain(row: Mapping[str, Any]) -> str:
    return interval(row, "top1_gain", "top1_gain_low", "top1_gain_high")


def _regained(row: Mapping[str, Any], clean: Mapping[str, Any] | None) -> str:
    if clean is None or row.get("regained") is None:
        return ""
    return f"{row['regained']:.0f} %" if clean["top1"] - row["direct_top1"] >= _LEAST_LOSS else ""


def evaluation_table(record: Record) -> str:
    """Return a classifier's top-1 without and with its module, a row for each compression."""
    clean = record.get("clean")
    kinds = {"repeated": "times", "stored": "folder"}
    key = kinds.get(record["protocol"], "quality")
    rows = []
    if clean is not None:
        rows.append(["clean", f"{clean['top1']:.1f}", f"{clean['afd_top1']:.1f}", _gain(clean), ""])
    means = record.get("means", []) if key == "folder" else []
    for row in [*record["rows"], *means]:
        name = row.get(key)
        first = "mean" if name is None else name
        direct, corrected = f"{row['direct_top1']:.1f}", f"{row['afd_top1']:.1f}"
        rows.append([first, direct, corrected, _gain(row), _regained(row, clean)])
    header = [key, "without the module", "with it", "gain in points (95 %)", "regained of what JPEG took"]
    return table(header, rows)


def summary_table(results: Results) -> str:
    """Return what each module regains under protocol `single`, beside the paper's network."""
    rows = []
    for module, protocols in results.evaluations.items():
        if (record := protocols.get("single")) is None:
            continue
        by_quality = {row["quality"]: row for row in record["rows"]}
        cells = [f"{by_quality[q]['regained']:.0f}" if q in by_quality else "" for q in _SUMMARY_QUALITIES]
        high = f"{by_quality[90]['top1_gain']:+.1f}" if 90 in by_quality else ""
        clean = f"{record['clean']['top1_gain']:+.1f}"
        rows.append([f"`{module}`", f"{record['images']:,}", *cells, high, clean])
    paper = published_top1("resnet50").by_quality
    shares = [f"{_paper_share(*paper[quality]):.0f}" for quality in _SUMMARY_QUALITIES]
    rows.append(["the paper's ResNet-50", f"{_PAPER_PHOTOS:,}", *shares, "", ""])
    qualities = [f"q{quality}" for quality in _SUMMARY_QUALITIES]
    return table(["module", "photos", *qualities, "points at q90", "points on clean photos"], rows)


def _paper_share(direct: float, corrected: float) -> float:
    return 100 * (corrected - direct) / (_PAPER_CLEAN - direct)


def paper_table() -> str:
    """Return the paper's Table V; what JPEG took is counted from the checkpoint's published accuracy."""
    paper = sorted(published_top1("resnet50").by_quality.items())
    rows = [
        [q, f"{a:.1f}", f"{b:.1f}", f"{b - a:+.1f}", f"{_paper_share(a, b):.0f} %"] for q, (a, b) in paper
    ]
    header = ["quality", "without the module", "with it", "gain in points", "regained of what JPEG took"]
    return table(header, rows)


def _change(row: Mapping[str, Any]) -> str:
    return interval(row, "change", "low", "high")


def harm_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one module's rows of do_no_harm.json."""
    cells = [
        (
            row["condition"],
            "yes" if row["needs_nothing"] else "",
            f"{row['without']:.1f}",
            f"{row['corrected']:.1f}",
            _change(row),
            f"{row['drift']:.3f}",
        )
        for row in rows
    ]
    header = ("stored", "needs nothing", "without the module", "with it", "change in points (95 %)", "drift")
    return table(header, cells)


def harm_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the change in points by every module, a row for each condition; intervals are in the cards."""
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    modules = list(dict.fromkeys(row["module"] for row in rows))
    changes = {(row["module"], row["condition"]): f"{row['change']:+.1f}" for row in rows}
    photos = {row["module"]: row["photos"] for row in rows}
    cells = [
        [f"`{module}` ({photos[module]})", *(changes.get((module, name), "") for name in conditions)]
        for module in modules
    ]
    return table(["module (photos)", *(name.replace("quality ", "q") for name in conditions)], cells)


def distance_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how the gain falls with the distance from the network that the module was trained for."""
    cells = [
        (
            f"`{row['model']}`",
            row["change"],
            f"{100 * row['distance']:.2f} %",
            f"{row['without']:.1f}",
            f"{row['corrected']:.1f}",
            interval(row, "gain", "low", "high"),
        )
        for row in rows
    ]
    header = ("network", "changed", "distance", "agrees without", "with the module", "gain in points (95 %)")
    return table(header, cells)


def order_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how well the predicted drift orders photos of all sizes and qualities."""
    cells = [
        (
            f"`{row['module']}`",
            row["photos"],
            f"{row['rank_correlation']:.3f}",
            "yes" if row["falls_with_size"] else "no",
            "yes" if row["rises_with_compression"] else "no",
        )
        for row in rows
    ]
    medians = "medians fall with the size", "and rise with compression"
    return table(("module", "photos", "rank correlation", *medians), cells)


def calibration_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how far scores are from how often they are right, without and with the fitted temperature."""
    cells = [
        (
            f"`{row['model']}`",
            "as stored" if row["quality"] is None else f"quality {row['quality']}",
            "with it" if row["corrected"] else "without",
            row["photos"],
            f"{row['top1']:.1f}",
            f"{100 * row['confidence']:.1f}",
            f"{row['error']:.3f}",
            f"{100 * row['confidence_then']:.1f}",
            f"{row['error_then']:.3f}",
        )
        for row in rows
    ]
    fitted = sorted({f"{row['temperature']:.2f}" for row in rows})
    then = [f"{what} at {', '.join(fitted)}" for what in ("mean score", "error")]
    heads = "model", "photo", "module", "photos", "top-1", "mean score at 1", "error at 1", *then
    return table(heads, cells)


def cost_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the time that modules add to their networks."""
    cells = [
        (
            f"`{row['module']}`",
            f"{row['median']:+.1f} %",
            f"{row['low']:.1f} to {row['high']:.1f}",
            f"batch {row['batch_size']}, {row['threads']} threads, {row['turns']} turns",
        )
        for row in rows
    ]
    return table(("module", "time added", "quartiles", "measured with"), cells)


def history_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how often `estimate_history` is right."""
    cells = []
    for row in rows:
        right, called, photos = row["right"], row["called_double"], row["photos"]
        evidence = " / ".join(f"{nats:.0f}" for nats in row["evidence"])
        share = f"{100 * right / photos:.1f} % ({right} of {photos})"
        milliseconds = f"{row['milliseconds']:.2f}"
        double = f"{100 * called / photos:.1f} %"
        cells.append((row["name"], row["to_find"], share, double, evidence, milliseconds))
    header = ("compressed at", "to find", "within 1", "called double")
    return table((*header, "evidence min / median / max, nats", "CPU ms"), cells)


def cores_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what a core does in a second, and how many hours of one a million photos take."""
    cells = [
        (
            row["runtime"],
            "no" if row["afd"] == "off" else "yes",
            f"{row['bytes_per_photo'] / 1000:.0f} kB",
            f"{row['images_per_core_second']:.0f}",
            f"{1e6 / row['images_per_core_second'] / 3600:.1f}",
            f"{row['start_cpu_seconds']:.0f} s",
        )
        for row in rows
    ]
    header = ("runtime", "corrected", "a photo", "images a core-second", "core-hours a million", "to start")
    return table(header, cells)


def speed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the ratios of tools/benchmarks, a row for each contest and size, a column for each quality."""
    alone = [row for row in rows if row.get("threads", 1) == 1]
    qualities = sorted({row["quality"] for row in alone if row.get("quality") is not None})
    ratios = {(row["contest"], row["megapixels"], row["quality"]): f"{row['ratio']:.2f}" for row in alone}
    cells = [
        [
            contest,
            "" if size is None else f"{size:g}",
            *(ratios.get((contest, size, q), "") for q in qualities),
        ]
        for contest, size in dict.fromkeys((row["contest"], row["megapixels"]) for row in alone)
    ]
    return table(["contest", "megapixels", *(f"q{quality}" for quality in qualities)], cells)


def throughput_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the pace of whole runs, a row for each number of workers."""
    cells = [
        (row["workers"], f"{row['ours']:.0f}", f"{row['theirs']:.0f}", f"{row['ours'] / row['theirs']:.2f}")
        for row in rows
    ]
    return table(("workers", "dctafd, images/s", "Pillow + DataLoader + the same network", "ratio"), cells)


def prepare_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how many times as fast `prepare` is as each alternative, at quality 25 and 75, on one thread."""
    start = "prepare with history / "
    chosen = [row for row in rows if row["contest"].startswith(start) and row.get("threads", 1) == 1]
    ratios = {(row["contest"], row["megapixels"], row["quality"]): f"{row['ratio']:.2f}" for row in chosen}
    sizes = sorted({row["megapixels"] for row in chosen})
    cells = [
        [
            contest.removeprefix(start),
            *(
                " / ".join(ratios.get((contest, size, quality), "-") for quality in (25, 75))
                for size in sizes
            ),
        ]
        for contest in dict.fromkeys(row["contest"] for row in chosen)
    ]
    return table(["times as fast as", *(f"{size:g} MP" for size in sizes)], cells)


def in_order(protocols: Mapping[str, Record]) -> list[tuple[str, Record]]:
    """Return a module's evaluations in the order of `PROTOCOLS`."""
    return [(name, protocols[name]) for name in PROTOCOLS if name in protocols]
