"""A report on a data set's compression: one HTML page that needs no other file."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dctafd import __version__
from dctafd.analysis.dataset_records import COLUMNS, bits_per_pixel, median_quality, size_in, table_rows
from dctafd.analysis.dataset_stats import DatasetStatistics
from dctafd.analysis.folder_statistics import BITS_PER_PIXEL_EDGES, FolderStatistics
from dctafd.analysis.frequency_sums import PLANES, FrequencyStatistics
from dctafd.analysis.plots import COLORS, figure_svg, heat_map, new_figure, quality_bars
from dctafd.analysis.report_template import page_template

_HEAT_MAPS = {
    "zero_rate": ("zero rate", "share", False),
    "mean_magnitude": ("mean magnitude", "DCT units", True),
    "deviation": ("standard deviation", "DCT units", True),
    "laplacian_scale": ("Laplacian scale b", "DCT units", True),
    "entropy": ("entropy", "bits", False),
}


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """An <svg> element, with its alternative text inside, and a caption."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class FigureGroup:
    """A section of figures under one heading."""

    title: str
    text: str
    figures: list[ReportFigure]


def report_html(dataset: DatasetStatistics) -> str:
    """Return the page.

    Raises:
        MissingExtraError: Jinja2 or matplotlib is not installed.
    """
    total = dataset.total
    return page_template("dataset_report.html").render(
        dataset=dataset,
        version=__version__,
        facts=_facts(total),
        columns=[entry.column for entry in COLUMNS],
        rows=table_rows(dataset),
        figure_groups=[*_distributions(total), *_frequencies(total)],
        oddities=total.oddities.most_common(),
        odd=total.odd,
        odd_files=total.odd_files,
        failures=total.failures.most_common(),
        failed=total.failed,
    )


def _facts(total: FolderStatistics) -> list[tuple[str, str]]:
    primary = median_quality(total.primary_qualities)
    found = int(total.primary_qualities[1:].sum())
    return [
        ("files", f"{total.files:,}"),
        ("failures", f"{total.failure_count:,}"),
        ("size", f"{size_in(1e6, total.bytes)} MB"),
        ("pixels", f"{size_in(1e6, total.pixels)} MP"),
        ("bits per pixel", f"{bits_per_pixel(total) or 0:.2f}"),
        ("median table quality", str(median_quality(total.qualities) or "-")),
        ("compressed before", f"{found:,} files"),
        ("median primary quality", str(primary or "-")),
        ("different tables", f"{len(total.tables):,}"),
        ("odd files", f"{total.odd_files:,}"),
    ]


def _distributions(total: FolderStatistics) -> list[FigureGroup]:
    if not total.readable:
        return []
    none = int(total.primary_qualities[0])
    found = total.readable - none
    figures = [_table_quality_figure(total), _bits_per_pixel_figure(total)]
    if found:
        figures.insert(1, _primary_quality_figure(total))
    text = f"{found:,} files show signs of an earlier, coarser compression; {none:,} show none."
    return [FigureGroup("Distributions", text, figures)]


def _table_quality_figure(total: FolderStatistics) -> ReportFigure:
    exact, approximate = total.exact_qualities, total.approximate_qualities
    with new_figure() as (figure, axes):
        series = [("exactly IJG's tables", exact), ("nearest to IJG's tables", approximate)]
        quality_bars(axes[0, 0], [entry for entry in series if entry[1].any()], "table quality")
        text = (
            f"Histogram of table quality, 1 to 100: median {median_quality(total.qualities)}, "
            f"{exact.sum():,} files with exactly IJG's tables, {approximate.sum():,} with others."
        )
        return ReportFigure(figure_svg(figure, text), "Quality that the quantisation tables tell.")


def _primary_quality_figure(total: FolderStatistics) -> ReportFigure:
    found = int(total.primary_qualities[1:].sum())
    with new_figure() as (figure, axes):
        quality_bars(axes[0, 0], [("earlier compression", total.primary_qualities)], "primary quality")
        text = (
            f"Histogram of primary quality, 1 to 100: {found:,} files were compressed before, "
            f"median {median_quality(total.primary_qualities)}."
        )
        return ReportFigure(figure_svg(figure, text), "Quality of an earlier, coarser compression.")


def _bits_per_pixel_figure(total: FolderStatistics) -> ReportFigure:
    counts = total.bits_per_pixel
    with new_figure() as (figure, axes):
        ax = axes[0, 0]
        widths = np.diff(BITS_PER_PIXEL_EDGES)
        ax.bar(
            BITS_PER_PIXEL_EDGES[:-1],
            counts,
            widths,
            align="edge",
            color=COLORS[0],
            edgecolor="white",
            lw=0.3,
        )
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()  # their labels would be formulas
        ax.set(xlabel="bits per pixel", ylabel="files")
        mean = bits_per_pixel(total) or 0
        text = f"Histogram of bits per pixel on a logarithmic scale; {mean:.2f} over all pixels."
        return ReportFigure(figure_svg(figure, text), "File size over pixels.")


def _frequencies(total: FolderStatistics) -> list[FigureGroup]:
    groups = []
    for plane, name in enumerate(PLANES):
        blocks = int(total.frequencies.blocks[plane])
        if blocks:
            text = (
                "Each square is one of the 64 DCT frequencies, top left the mean of a block (DC), "
                f"over {blocks:,} blocks. Magnitudes, deviations and scales are in the DCT's units: "
                "8 for one gray level of a flat block."
            )
            statistics = total.frequencies.statistics(plane)
            figures = [_heat_map_figure(statistics, field.name, name) for field in fields(statistics)]
            groups.append(FigureGroup(f"{name.capitalize()} frequencies", text, figures))
    return groups


def _heat_map_figure(statistics: FrequencyStatistics, statistic: str, plane: str) -> ReportFigure:
    title, unit, logarithmic = _HEAT_MAPS[statistic]
    values = getattr(statistics, statistic)
    with new_figure(4.2, 4.2) as (figure, axes):
        heat_map(axes[0, 0], values, f"{title} ({unit})", logarithmic=logarithmic)
        text = (
            f"8 by 8 heat map of the {title} of {plane} coefficients, in {unit}: {values[0, 0]:.3g} for DC, "
            f"{values[0, 1]:.3g} and {values[1, 0]:.3g} at the first horizontal and vertical frequency, "
            f"{values[7, 7]:.3g} at the highest; median {np.median(values):.3g}."
        )
        return ReportFigure(figure_svg(figure, text), f"{title.capitalize()} of {plane} coefficients.")
