"""How `dctafd inspect` prints its records: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dctafd.cli.output import text_output, write_records
from dctafd.plain_text import printable

if TYPE_CHECKING:
    from dctafd.batch.store_writing import OutputUrl

_BARS = " ▁▂▃▄▅▆▇█"
_SHOWN_VALUES = 12


def write_inspections(
    records: Sequence[dict[str, Any]], output_format: str, output: Path | OutputUrl | None
) -> None:
    """Write the records of `inspection_record`, to a file or to stdout."""
    if output_format != "table":
        write_records(records, output_format, output)
        return
    pages = ["".join(f"{printable(line)}\n" for line in _lines(r)) for r in records if not r["error"]]
    with text_output(output) as file:
        file.write("\n".join(pages))


def _lines(record: dict[str, Any]) -> Iterator[str]:
    yield record["source"]
    yield from (f"  {name:<12}{text}" for name, text in _facts(record))
    yield from _table_lines(record)
    steps = record["history"]["primary_steps"]
    if record["history"]["primary_quality"] is not None and steps is not None:
        yield "  steps of the earlier compression, measured (. where they do not show)"
        yield from ("    " + "".join(f"{step or '.':>5}" for step in row) for row in steps)
    yield f"  quantised {record['components'][0]['name']} coefficients, -{_SHOWN_VALUES}..{_SHOWN_VALUES}"
    yield from (_histogram_line(histogram) for histogram in record["histograms"])
    if "drift" in record:
        yield from _drift_lines(record["drift"])


def _facts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "size", f"{record['width']} x {record['height']} pixels, {record['bytes']:,} bytes"
    yield "rate", f"{record['bits_per_pixel']:.2f} bits per pixel"
    scans = f", {record['scans']} scans" if record["scans"] != 1 else ""
    restarts = f", restart every {record['restart_interval']} MCUs" if record["restart_interval"] else ""
    yield "process", f"{record['process']}{scans}{restarts}"
    yield "colour", f"{record['color_space']} {record['subsampling']}"
    if record["exif"] or record["icc_bytes"] is not None:
        icc = (
            f"ICC profile of {record['icc_bytes']:,} bytes"
            if record["icc_bytes"] is not None
            else "no ICC profile"
        )
        turned = f", orientation {record['orientation']}"
        exif = f"EXIF{turned}" if record["exif"] else "no EXIF"
        yield "metadata", f"{exif}; {icc}"
    yield "quality", _quality(record["quality"])
    yield "history", _history(record["history"])
    for warning in record["warnings"]:
        yield "warning", warning
    for tail in record["damage"]:
        place = f"block row {tail['row']}, column {tail['column']}"
        share = f"{tail['share']:.0%} of its blocks"
        yield "damage", f"{tail['component']} has no detail from {place} on: {share}"


def _quality(quality: dict[str, Any]) -> str:
    if quality["exact"]:
        return f"{quality['value']}, exactly IJG's tables"
    each = f"luma {quality['luma_value']}"
    if quality["chroma_value"] is not None:
        each += f", chroma {quality['chroma_value']}"
    return (
        f"about {quality['value']} ({each}); residual {quality['residual']:.2f} steps, "
        f"{quality['relative_residual']:.0%} of them"
    )


def _history(history: dict[str, Any]) -> str:
    if history["primary_quality"] is None:
        return f"no sign of an earlier compression (confidence {history['confidence']:.2f})"
    return (
        f"compressed before at about quality {history['primary_quality']} on the same grid "
        f"(confidence {history['confidence']:.2f}, {history['evidence']:.0f} nats)"
    )


def _table_lines(record: dict[str, Any]) -> Iterator[str]:
    """Yield each different table once, with the names of the components that use it."""
    names: dict[str, list[str]] = {}
    tables = {}
    for component in record["components"]:
        key = str(component["quant_table"])
        tables[key] = component["quant_table"]
        names.setdefault(key, []).append(component["name"])
    for key, table in tables.items():
        yield f"  quantisation table of {', '.join(names[key])}"
        yield from ("    " + "".join(f"{step:>5}" for step in row) for row in table)


def _histogram_line(histogram: dict[str, Any]) -> str:
    """Return a histogram as a row of bars, each on the scale of the highest but zero's."""
    counts = dict(enumerate(histogram["counts"], start=histogram["least_value"]))
    values = range(-_SHOWN_VALUES, _SHOWN_VALUES + 1)
    most = max(counts.get(value, 0) for value in values if value) or 1
    bars = "".join(_BARS[min(8, -(-8 * counts.get(value, 0) // most))] for value in values)
    v, u = histogram["frequency"]
    return f"    ({v}, {u})  step {histogram['step']:>3}  |{bars}|  {histogram['zero_rate']:>4.0%} zero"


def _drift_lines(drift: dict[str, Any]) -> Iterator[str]:
    if drift["mean"] is not None:
        yield f"  drift of the stem's features, as the AFD-Module predicts it: mean {drift['mean']:.3f}"
    for title, key in (("with AFD", "predictions"), ("without AFD", "direct_predictions")):
        if not drift[key]:
            continue
        best = ", ".join(f"{entry['label']} {entry['score']:.1%}" for entry in drift[key])
        yield f"    {title:<12}{best}"
