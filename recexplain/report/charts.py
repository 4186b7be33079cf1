"""The small pictures of an audit: bars, and values with their intervals; SVG without any font.

Each is as wide as a phone, so that a page sets them side by side or one below the other. Names are drawn as they stand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recexplain.report.figures import FAINT, INK, MUTED, svg_bytes
from recexplain.report.graph import drawable

WIDTH, LONGEST, TICKS = 3.6, 24, 11  # inches; characters of a name; names below upright bars
BLUE, ORANGE = "#0063a0", "#c04a00"


@dataclass(frozen=True)
class Value:
    """One bar or dot."""

    name: str
    value: float | None  # None: nobody has one, and none is drawn
    low: float | None = None
    high: float | None = None
    is_marked: bool = False  # drawn in another colour
    text: str = ""  # the value in words, beside a lying bar


def columns_svg(values: Sequence[Value], *, below: str, beside: str) -> bytes:
    """Return upright bars of counts in the order given; of many names every second, third, ... is written."""
    figure, axes = _sheet(2.2)
    axes.bar(range(len(values)), [value.value or 0 for value in values], width=0.82, color=_colours(values))
    step = -(-len(values) // TICKS)
    places = range(0, len(values), step)
    axes.set_xticks(places, [_name(values[place].name) for place in places], parse_math=False)
    axes.set_xlabel(below, fontsize=8.5, color=MUTED, parse_math=False)
    axes.set_ylabel(beside, fontsize=8.5, color=MUTED, parse_math=False)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    return svg_bytes(figure)


def rows_svg(values: Sequence[Value], *, below: str = "") -> bytes:
    """Return lying bars, the first on top, each with its name and its value in words."""
    figure, axes = _sheet(0.35 + 0.25 * len(values) + 0.2 * bool(below))
    axes.barh(range(len(values)), [value.value or 0 for value in values], height=0.7, color=_colours(values))
    most = max((value.value or 0 for value in values), default=0) or 1
    for place, value in enumerate(values):
        end = (value.value or 0) + most * 0.02
        axes.text(end, place, value.text, fontsize=8, va="center_baseline", color=INK, parse_math=False)
    _names(axes, values)
    axes.set_xlim(0, most * 1.3)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(below, fontsize=8.5, color=MUTED, parse_math=False)
    return svg_bytes(figure)


def intervals_svg(
    values: Sequence[Value],
    *,
    below: str,
    everyone: float | None = None,
    written: Callable[[float], str] = "{:g}".format,
) -> bytes:
    """Return a dot a row with its interval, the first on top; a line where `everyone` together stands."""
    figure, axes = _sheet(0.65 + 0.22 * len(values))
    if everyone is not None:
        axes.axvline(everyone, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    for place, (value, colour) in enumerate(zip(values, _colours(values), strict=True)):
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        if value.value is not None:
            axes.plot(value.value, place, marker="D" if value.is_marked else "o", color=colour, markersize=5)
    _names(axes, values)
    axes.set_xlabel(below, fontsize=8.5, color=MUTED, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    return svg_bytes(figure)


def _sheet(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), facecolor="none", layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aeb2b8")
    axes.tick_params(which="both", labelsize=8.5, colors=MUTED, length=3)
    axes.set_axisbelow(True)
    return figure, axes


def _names(axes: Axes, values: Sequence[Value]) -> None:
    axes.set_yticks(range(len(values)), [_name(value.name) for value in values], parse_math=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(values) - 0.4, -0.6)  # the first row on top


def _colours(values: Sequence[Value]) -> list[str]:
    return [ORANGE if value.is_marked else BLUE for value in values]


def _name(text: str) -> str:
    """Return a name in one drawable line, its end cut where it is long."""
    line = drawable(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1].rstrip()}…"
