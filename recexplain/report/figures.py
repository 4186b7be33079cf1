"""The pictures of a scoreboard: perturbation curves, sizes of the sets, cost against quality; SVG without any font."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from recexplain.report.board import Board, Row

WIDTH = 7.4  # inches
CURVES = 8  # explainers whose curves are drawn, the best ones, besides the baselines
BASELINES = ("random", "recency", "popularity")
MANY = 12  # explainers: with more, those that crowd together are drawn apart
NEAR = 1.3  # times the smallest size, and no more, is a crowd
SIZES = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, None))  # bins of the set sizes; None: no end
SHADES = ("#0b3c5d", "#1d6a96", "#3f97c0", "#7fbcd6", "#b5d8e4", "#dcebef")
FAILURES = {"none_up_to": "#e9b384", "budget": "#d9d9d9", "error": "#a23b3b"}
NAMED = {"none_up_to": "none found", "budget": "budget spent", "error": "error"}
INK, MUTED, FAINT = "#1b1d21", "#5d6168", "#e3e5e8"
COLOURS = ("#0063a0", "#c04a00", "#17663a", "#8a3b9c", "#b8860b", "#00818a", "#b3195b", "#5a4fcf")
GREYS = {"random": ("#8b9097", ":"), "recency": ("#5d6168", "--"), "popularity": ("#8b9097", "-.")}


def curves_svg(board: Board) -> bytes:
    """Return the mean probability of the explained item as its history shrinks, removed and kept side by side."""
    rows = curves_drawn(board.rows)
    figure, (left, right) = _figure([3.6], 2)
    for row in rows:
        colour, style = _look(row, rows)
        shares = [100 * share for share in board.shares]
        left.plot(shares, row.removed, color=colour, linestyle=style, linewidth=1.6, label=row.label)
        right.plot(shares, row.kept, color=colour, linestyle=style, linewidth=1.6)
    left.set_title("most explaining items removed: lower is better", loc="left", fontsize=9, color=INK)
    right.set_title("these items alone: higher is better", loc="left", fontsize=9, color=INK)
    left.set_ylabel("probability of the explained item", fontsize=8.5, color=MUTED)
    for axes, what in ((left, "removed"), (right, "kept")):
        axes.set_xlabel(f"% of the items {what}", fontsize=8.5, color=MUTED)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=FAINT, linewidth=0.7)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    return svg_bytes(figure)


def curves_drawn(rows: Sequence[Row]) -> list[Row]:
    """Return the explainers whose curves are drawn: the best by DEL-P, and the baselines, in the order of the rows."""
    ranked = sorted((row for row in rows if row.removed and row.label not in BASELINES), key=_mean_removed)
    chosen = {row.label for row in ranked[:CURVES]} | set(BASELINES)
    return [row for row in rows if row.removed and row.label in chosen]


def sizes_svg(board: Board) -> bytes:
    """Return how large the sets are, a bar an explainer: shares of its people, those without a set included."""
    rows = [row for row in board.rows if row.not_run is None]
    figure, (axes,) = _figure([1.1 + 0.26 * len(rows)], 1)
    ends = [0.0] * len(rows)
    parts = [(_size_name(low, high), shade) for (low, high), shade in zip(SIZES, SHADES, strict=True)]
    shares = [size_shares(row) for row in rows]
    for number, (name, colour) in enumerate([*parts, *((NAMED[status], FAILURES[status]) for status in FAILURES)]):
        widths = [100 * share[number] for share in shares]
        if any(widths):
            axes.barh(range(len(rows)), widths, left=ends, height=0.72, color=colour, label=name)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first row on top
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the people", fontsize=8.5, color=MUTED)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    return svg_bytes(figure)


def size_shares(row: Row) -> list[float]:
    """Return the shares of a row's people in each bin of `SIZES`, then without a set by each kind of failure."""
    statuses = dict(row.statuses)
    binned = [sum(n for size, n in row.sizes if low <= size and (high is None or size <= high)) for low, high in SIZES]
    return [count / row.n_people for count in (*binned, *(statuses.get(status, 0) for status in FAILURES))]


def costs_svg(board: Board) -> bytes:
    """Return mean evaluations against mean size over all, a dot an explainer; a line through its smaller budgets.

    Where most of many explainers crowd near the smallest size, these have a picture of their own below.
    """
    rows = [row for row in board.rows if row.not_run is None and _place(row) is not None]
    near = crowd(rows)
    parts = [[row for row in rows if row not in near], near] if near else [rows]
    figure, all_axes = _figure([max(3.4, 0.8 + 0.19 * len(part)) for part in parts], 1)
    for axes, named in zip(all_axes, parts, strict=True):
        _draw_costs(axes, named if named is near else rows, named, rows)
    all_axes[0].set_ylim(bottom=0)
    return svg_bytes(figure)


def crowd(rows: Sequence[Row]) -> list[Row]:
    """Return the explainers within `NEAR` times the smallest size, if there are many and these are the most of them."""
    sizes = {row.label: place[1] for row in rows if (place := _place(row)) is not None}
    near = [row for row in rows if row.label in sizes and sizes[row.label] <= NEAR * min(sizes.values())]
    return near if len(rows) > MANY and len(rows) > len(near) > len(rows) / 2 else []


def _draw_costs(axes: Axes, drawn: Sequence[Row], named: Sequence[Row], rows: Sequence[Row]) -> None:
    """Draw some rows, and write the names of some of these beside them, in the colours that they have among all."""
    places = {row.label: place for row in drawn if (place := _place(row)) is not None}
    for row in drawn:
        colour, _ = _look(row, rows)
        path = [*((budget.evaluations, budget.size_all) for budget in row.budgets), places[row.label]]
        if len(drawn) == len(rows):
            axes.plot(*zip(*path, strict=True), color=colour, linewidth=1, marker=".", markersize=4)
        axes.plot(*places[row.label], color=colour, marker="o", markersize=6)
    axes.set_xscale("log")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(lambda value, _: _tick(value))
    axes.set_xlabel("edited histories scored a person, mean (log scale): lower is better", fontsize=8.5, color=MUTED)
    axes.set_ylabel("size over all, mean: lower is better", fontsize=8.5, color=MUTED)
    axes.grid(color=FAINT, linewidth=0.7)
    by_size = sorted(named, key=lambda row: -places[row.label][1])
    for number, row in enumerate(by_size):  # names in a column of their own, so that none hides another
        colour = _look(row, rows)[0]
        axes.annotate(
            row.label,
            places[row.label],
            xytext=(1.03, 1 - (number + 0.5) / len(by_size)),
            textcoords="axes fraction",
            fontsize=8,
            va="center",
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.3, "linewidth": 0.8},
            annotation_clip=False,
        )


def _tick(value: float) -> str:
    """Return the label of a place on the logarithmic axis: 1, 2, 5, 10, ... as plain numbers, others none."""
    digits = f"{value:,.0f}"
    return digits if digits.strip("0,") in ("1", "2", "5") else ""


def _place(row: Row) -> tuple[float, float] | None:
    cost, size = row.score("evaluations"), row.score("size_all")
    if cost is None or size is None or not cost.value or size.value is None:  # no evaluations have no logarithm
        return None
    return cost.value, size.value


def _mean_removed(row: Row) -> float:
    return sum(row.removed) / len(row.removed)


def _size_name(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} or more"
    return (f"{low} item" if low == 1 else f"{low}") if low == high else f"{low} to {high}"


def _look(row: Row, rows: Sequence[Row]) -> tuple[str, str]:
    """Return colour and line style: greys for the baselines, a colour of its own for each of the others."""
    if row.label in GREYS:
        return GREYS[row.label]
    number = [one.label for one in rows if one.label not in GREYS].index(row.label)
    return COLOURS[number % len(COLOURS)], ("-", (0, (4, 1)))[number // len(COLOURS) % 2]  # type: ignore[return-value]


def _figure(heights: Sequence[float], n_columns: int) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its axes, row by row; heights are in inches, the axes of a row share theirs."""
    figure = Figure(figsize=(WIDTH, sum(heights)), facecolor="white", layout="constrained")
    ratios = {"height_ratios": list(heights)}
    axes = figure.subplots(len(heights), n_columns, squeeze=False, sharey="row", gridspec_kw=ratios).flatten()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color("#aeb2b8")
        one.tick_params(which="both", labelsize=8.5, colors=MUTED, length=3)
    return figure, list(axes)


def svg_bytes(figure: Figure) -> bytes:
    """Return the figure as SVG that names no date and no maker; letters are drawn, so that no font is needed."""
    file = BytesIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "recexplain"}):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()
