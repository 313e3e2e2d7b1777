"""A report on a data set's compression: one HTML page that needs no other file."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dctafd import __version__
from dctafd.jpeg.errors import MissingExtraError
from dctafd.research.dataset_records import COLUMNS, bits_per_pixel, median_quality, table_rows
from dctafd.research.dataset_stats import DatasetStatistics
from dctafd.research.folder_statistics import BITS_PER_PIXEL_EDGES, FolderStatistics
from dctafd.research.frequency_sums import PLANES, FrequencyStatistics
from dctafd.research.plots import COLORS, figure_svg, heat_map, new_figure, quality_bars

_HEAT_MAPS = {
    "zero_rate": ("zero rate", "share", False),
    "mean_magnitude": ("mean magnitude", "gray levels x 8", True),
    "deviation": ("standard deviation", "gray levels x 8", True),
    "laplacian_scale": ("Laplacian scale b", "gray levels x 8", True),
    "entropy": ("entropy", "bits", False),
}


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """An <svg> element, with its alternative text inside, and a caption."""

    svg: str
    caption: str


def report_html(dataset: DatasetStatistics) -> str:
    """Return the page.

    Raises:
        MissingExtraError: Jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingExtraError("Jinja2", "report") from error
    environment = Environment(
        loader=PackageLoader("dctafd.research"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    total = dataset.total
    return environment.get_template("dataset_report.html").render(
        dataset=dataset,
        version=__version__,
        facts=_facts(total),
        columns=COLUMNS,
        rows=table_rows(dataset),
        distributions=_distributions(total) if total.readable else [],
        frequency_figures=_frequency_figures(total),
        blocks=f"{total.frequencies.blocks[0]:,} luma and {total.frequencies.blocks[1]:,} chroma blocks",
        oddities=total.oddities.most_common(),
        odd=total.odd,
        odd_total=total.oddities.total(),
        failures=total.failures.most_common(),
        failed=total.failed,
    )


def _facts(total: FolderStatistics) -> list[tuple[str, str]]:
    primary = median_quality(total.primary_qualities)
    found = int(total.primary_qualities[1:].sum())
    return [
        ("files", f"{total.files:,}"),
        ("failures", f"{total.failure_count:,}"),
        ("size", f"{total.bytes / 1e6:,.1f} MB"),
        ("pixels", f"{total.pixels / 1e6:,.1f} MP"),
        ("bits per pixel", f"{bits_per_pixel(total) or 0:.2f}"),
        ("median table quality", str(median_quality(total.qualities) or "-")),
        ("compressed before", f"{found:,} files"),
        ("median primary quality", str(primary or "-")),
        ("different tables", f"{len(total.tables):,}"),
        ("odd files", f"{total.oddities.total():,}"),
    ]


def _distributions(total: FolderStatistics) -> list[ReportFigure]:
    return [_table_quality_figure(total), _primary_quality_figure(total), _bits_per_pixel_figure(total)]


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
    none = int(total.primary_qualities[0])
    with new_figure() as (figure, axes):
        quality_bars(axes[0, 0], [("earlier compression", total.primary_qualities)], "primary quality")
        if not found:
            axes[0, 0].set_ylim(0, 1)
        text = (
            f"Histogram of primary quality, 1 to 100: {found:,} files were compressed before, "
            f"median {median_quality(total.primary_qualities)}; {none:,} show no sign of it."
        )
        caption = f"Quality of an earlier, coarser compression; {none:,} files show no sign of one."
        return ReportFigure(figure_svg(figure, text), caption)


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
        ax.set(xlabel="bits per pixel", ylabel="files")
        mean = bits_per_pixel(total) or 0
        text = f"Histogram of bits per pixel on a logarithmic scale; {mean:.2f} over all pixels."
        return ReportFigure(figure_svg(figure, text), "File size over pixels.")


def _frequency_figures(total: FolderStatistics) -> list[ReportFigure]:
    return [
        _frequency_figure(total.frequencies.statistics(plane), name)
        for plane, name in enumerate(PLANES)
        if total.frequencies.blocks[plane]
    ]


def _frequency_figure(statistics: FrequencyStatistics, plane: str) -> ReportFigure:
    with new_figure(11, 7.4, rows=2, columns=3) as (figure, axes):
        for ax, field in zip(axes.flat, fields(statistics), strict=False):
            title, unit, logarithmic = _HEAT_MAPS[field.name]
            heat_map(ax, getattr(statistics, field.name), title, unit, logarithmic=logarithmic)
        axes.flat[-1].set_axis_off()
        ac = np.ones((8, 8), bool)
        ac[0, 0] = False
        text = (
            f"Five 8 by 8 heat maps of {plane} coefficients. "
            f"Zero rate: {statistics.zero_rate[ac].mean():.0%} of AC coefficients, "
            f"{statistics.zero_rate[7, 7]:.0%} at the highest frequency. "
            f"Mean magnitude: {statistics.mean_magnitude[0, 1]:.1f} at the first horizontal frequency, "
            f"{statistics.mean_magnitude[7, 7]:.2f} at the highest. "
            f"Entropy: {statistics.entropy.sum():.0f} bits a block."
        )
        caption = f"{plane.capitalize()} coefficients, frequency by frequency."
        return ReportFigure(figure_svg(figure, text), caption)
