"""Markdown tables of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from dctafd.analysis.protocols import PROTOCOLS
from dctafd.analysis.published import published_top1
from tools.results.records import Record, Results

Row = Mapping[str, Any]
#: What a table shows of each row, by heading: a format of the row's values, or a function of the row.
Columns = Mapping[str, str | Callable[[Row], str]]

_LEAST_LOSS = 3.0  # points that JPEG must take before a share of them says anything
_SUMMARY_QUALITIES = (7, 10, 15, 18, 25)
_PAPER_CLEAN = 76.13  # torchvision's IMAGENET1K_V1; the paper's Table V has no row for clean photos
_PAPER_PHOTOS = 50_000


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    header = list(header)
    lines: list[Iterable[object]] = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def shown(rows: Iterable[Row], columns: Columns) -> str:
    """Return a table of rows, a column for each heading."""
    cells = (
        [shape.format_map(row) if isinstance(shape, str) else shape(row) for shape in columns.values()]
        for row in rows
    )
    return table(columns, cells)


def _change(row: Row, change: str = "change", low: str = "low", high: str = "high") -> str:
    """Return a change in points with its 95 % interval, where that was measured."""
    text = f"{row[change]:+.1f}"
    return text if row.get(low) is None else f"{text} ({row[low]:+.1f}..{row[high]:+.1f})"


_gain = partial(_change, change="top1_gain", low="top1_gain_low", high="top1_gain_high")


# Evaluations -------------------------------------------------------------------------------------------


def evaluation_table(record: Record) -> str:
    """Return a classifier's top-1 without and with its module, a row for each compression."""
    clean = record.get("clean")
    key = {"repeated": "times", "stored": "folder"}.get(record["protocol"], "quality")

    def first(row: Row) -> str:
        return "clean" if row is clean else str("mean" if row.get(key) is None else row[key])

    def regained(row: Row) -> str:
        if clean is None or row.get("regained") is None:
            return ""
        return f"{row['regained']:.0f} %" if clean["top1"] - row["direct_top1"] >= _LEAST_LOSS else ""

    def without(row: Row) -> str:
        return f"{row['top1' if row is clean else 'direct_top1']:.1f}"

    means = record.get("means", []) if key == "folder" else []
    return shown(
        [*([] if clean is None else [clean]), *record["rows"], *means],
        {
            key: first,
            "without the module": without,
            "with it": "{afd_top1:.1f}",
            "gain in points (95 %)": _gain,
            "regained of what JPEG took": regained,
        },
    )


def in_order(protocols: Mapping[str, Record]) -> list[tuple[str, Record]]:
    """Return a module's evaluations in the order of `PROTOCOLS`."""
    return [(name, protocols[name]) for name in PROTOCOLS if name in protocols]


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


# What else was measured ----------------------------------------------------------------------------------


def _crossed(heads: Sequence[str], cells: Mapping[tuple[Any, str], str]) -> str:
    """Return a table of cells by what begins their row and what heads their column."""
    columns = list(dict.fromkeys(column for _, column in cells))
    names = dict.fromkeys(name for name, _ in cells)
    rows = ([*name, *(cells.get((name, column), "") for column in columns)] for name in names)
    return table([*heads, *columns], rows)


def harm_summary(rows: Sequence[Row]) -> str:
    """Return the change in points by every module under each condition; intervals are in the cards.

    Photos that need nothing come first, and those that need something in a table of their own.
    """
    parts = []
    for quiet in (True, False):
        cells = {
            (
                (f"`{row['module']}` ({row['photos']})",),
                row["condition"].replace("quality ", "q"),
            ): f"{row['change']:+.1f}"
            for row in rows
            if row["needs_nothing"] == quiet
        }
        parts += [_crossed(["module (photos)"], cells)] if cells else []
    return "\n\n".join(parts)


def speed_table(rows: Sequence[Row]) -> str:
    """Return the ratios of tools/benchmarks, a row for each contest and size, a column for each quality."""
    cells = {
        ((row["contest"], f"{row['megapixels']:g}"), f"q{row['quality']}"): f"{row['ratio']:.2f}"
        for row in rows
        if row.get("threads", 1) == 1
    }
    return _crossed(["contest", "megapixels"], cells)


def prepare_table(rows: Sequence[Row]) -> str:
    """Return how many times as fast `prepare` is as each alternative, at quality 25 and 75, on one thread."""
    start, ratios = "prepare with history / ", dict[tuple[tuple[str, ...], str], list[str]]()
    for row in rows:
        if row["contest"].startswith(start) and row.get("threads", 1) == 1 and row["quality"] in (25, 75):
            key = (row["contest"].removeprefix(start),), f"{row['megapixels']:g} MP"
            ratios.setdefault(key, []).append(f"{row['ratio']:.2f}")
    return _crossed(["times as fast as"], {key: " / ".join(both) for key, both in ratios.items()})


def scaling_table(rows: Sequence[Row]) -> str:
    """Return photos a second by cores and batches side by side."""
    cells = {
        ((row["cores"], row["taken"], row["best"]), f"{parallel} at a time"): f"{pace:.0f}"
        for row in rows
        for parallel, pace in row["paces"].items()
    }
    return _crossed(["cores", "batches taken", "enough"], cells)


def calibration_table(rows: Sequence[Row]) -> str:
    """Return how far scores are from how often they are right, without and with the fitted temperature."""
    fitted = ", ".join(sorted({f"{row['temperature']:.2f}" for row in rows}))
    return shown(
        rows,
        {
            "model": "`{model}`",
            "photo": lambda row: "as stored" if row["quality"] is None else f"quality {row['quality']}",
            "module": lambda row: "with it" if row["corrected"] else "without",
            "photos": "{photos}",
            "top-1": "{top1:.1f}",
            "mean score at 1": lambda row: f"{100 * row['confidence']:.1f}",
            "error at 1": "{error:.3f}",
            f"mean score at {fitted}": lambda row: f"{100 * row['confidence_then']:.1f}",
            f"error at {fitted}": "{error_then:.3f}",
        },
    )


def _yes(key: str, no: str = "no") -> Callable[[Row], str]:
    return lambda row: "yes" if row[key] else no


_HARM: Columns = {
    "stored": "{condition}",
    "needs nothing": _yes("needs_nothing", no=""),
    "without the module": "{without:.1f}",
    "with it": "{corrected:.1f}",
    "change in points (95 %)": _change,
    "drift": "{drift:.3f}",
}
_DISTANCE: Columns = {
    "network": "`{model}`",
    "changed": "{change}",
    "distance": lambda row: f"{100 * row['distance']:.2f} %",
    "agrees without": "{without:.1f}",
    "with the module": "{corrected:.1f}",
    "gain in points (95 %)": partial(_change, change="gain"),
}
_ORDER: Columns = {
    "module": "`{module}`",
    "photos": "{photos}",
    "rank correlation": "{rank_correlation:.3f}",
    "medians fall with the size": _yes("falls_with_size"),
    "and rise with compression": _yes("rises_with_compression"),
}
_COST: Columns = {
    "module": "`{module}`",
    "runtime": lambda row: row.get("runtime", "torch"),
    "time added": "{median:+.1f} %",
    "quartiles": "{low:.1f} to {high:.1f}",
    "measured with": "batch {batch_size}, {threads} threads, {turns} turns",
}
_HISTORY: Columns = {
    "compressed at": "{name}",
    "to find": "{to_find}",
    "within 1": lambda row: f"{100 * row['right'] / row['photos']:.1f} % ({row['right']} of {row['photos']})",
    "called double": lambda row: f"{100 * row['called_double'] / row['photos']:.1f} %",
    "evidence min / median / max, nats": "{evidence[0]:.0f} / {evidence[1]:.0f} / {evidence[2]:.0f}",
    "CPU ms": "{milliseconds:.2f}",
}
_CORES: Columns = {
    "way": "{case}",
    "images a core-second": lambda row: f"{1000 / row['cpu_ms']:.0f}",
    "core-hours a million": lambda row: f"{row['cpu_ms'] / 3.6:.1f}",
}
_TIMINGS: Columns = {
    "way": "{case}",
    "images/s": "{images_per_second:.0f} ({low:.0f}..{high:.0f})",
    "cores busy": "{busy:.0f} %",
    "CPU ms an image": "{cpu_ms:.1f}",
}

#: How the rows of each kind of file in docs/results/ are shown.
SHOWN: dict[str, Callable[[Sequence[Row]], str]] = {
    "calibration": calibration_table,
    "do_no_harm": partial(shown, columns=_HARM),
    "gain_by_distance": partial(shown, columns=_DISTANCE),
    "drift_order": partial(shown, columns=_ORDER),
    "cost": partial(shown, columns=_COST),
    "history": partial(shown, columns=_HISTORY),
    "speed": speed_table,
    "throughput": partial(shown, columns=_TIMINGS),
    "cores": partial(shown, columns=_CORES),
    "scaling": scaling_table,
}
