"""The picture of one person's causal graph: a row an item, a vertical line an edge, a mark at both its ends.

Rows are in time order with the recommendation last. No two edges share a place, so every mark can be read.
All lengths are points (1/72 inch), y grows downwards.
"""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from PIL import Image

DPI = 130
SMALL = 90  # dpi of a picture among many: rows fall on whole pixels, so it takes a third of the bytes
ROW, COLUMN, GAP = 16.0, 11.0, 18.0  # from row to row, from edge to edge, between history and recommendation
TOP, MARGIN, LEGEND = 44.0, 14.0, 80.0
TAGS, TITLE, NUMBER = 80.0, 230.0, 31.0  # widths left of the edges; TITLE is the most a title may take
SMALLEST = 570.0  # width: the legend must fit
MARK_LENGTH = {"tail": 0.0, "arrow": 7.0, "circle": 5.6}

INK, MUTED, FAINT = "#1b1d21", "#767a80", "#d9dce0"
REMOVED, TARGET = "#c04a00", "#0063a0"
REMOVED_BAND, TARGET_BAND = "#fbe8dc", "#deecf6"
ROLES = {  # colour and width of an edge, the strongest first
    "removed and target": (REMOVED, 2.4),
    "target": (TARGET, 1.5),
    "removed": (REMOVED, 1.5),
    "rest": ("#8b9097", 1.0),
    "apart": ("#c3c7cc", 0.9),  # not connected to the target
}


@dataclass(frozen=True)
class End:
    """One end of an edge: its mark reaches from the row (`tip`) to where the line begins (`neck`)."""

    node: int
    mark: str  # tail, arrow or circle
    tip: float
    neck: float


@dataclass(frozen=True)
class Edge:
    """One edge as it is drawn: a vertical line from an older item down to a newer one."""

    upper: End
    lower: End
    column: int  # 0 is next to the titles
    role: str  # one of ROLES


def graph_png(
    graph: nx.DiGraph, titles: Sequence[str], removed: Collection[int], *, n_unseen: int = 0, dpi: int = DPI
) -> bytes:
    """Return a PNG of a PAG over nodes 0..m, the last of which is the target; equal input gives equal bytes.

    `titles` has one title a node; `removed` are nodes; rows are numbered from `n_unseen` + 1, as on the page.
    """
    _check(graph, titles, removed)
    edges = drawn_edges(graph, removed)
    names = [shortened(title) for title in titles]
    left = MARGIN + TAGS + max(_width(name) for name in names) + NUMBER
    columns = 1 + max((edge.column for edge in edges), default=-1)
    width = max(SMALLEST, left + COLUMN * (columns + 1) + MARGIN, left + 250)
    height = row_y(len(titles) - 1, len(titles)) + ROW / 2 + LEGEND
    figure, axes = _sheet(width, height, dpi)
    _draw_bands(axes, len(titles), removed, width)
    _draw_time(axes, len(titles), bool(edges), left)
    _draw_rows(axes, names, removed, _last_columns(edges), left)
    _draw_names(axes, names, _styles(graph, removed), left, n_unseen)
    _draw_edges(axes, edges, left)
    _draw_legend(axes, height - LEGEND)
    return _png(figure)


@dataclass(frozen=True)
class Look:
    """How a piece of text looks."""

    colour: str = INK
    size: float = 8.5
    bold: bool = False
    ends_here: bool = False  # at the place given, instead of starting there


def _check(graph: nx.DiGraph, titles: Sequence[str], removed: Collection[int]) -> None:
    n = len(titles)
    if n == 0 or set(graph) != set(range(n)):
        raise ValueError(f"a graph with {n} titles must have the nodes 0..{n - 1}, not {sorted(graph)[:60]}")
    if not set(removed) <= set(range(n - 1)):
        raise ValueError(f"removed must be nodes before the target {n - 1}, not {sorted(removed)}")
    for x, y, mark in graph.edges(data="mark"):
        if mark not in MARK_LENGTH:
            raise ValueError(f"the mark of arc ({x}, {y}) must be one of {', '.join(MARK_LENGTH)}, not {mark!r}")
        if not graph.has_edge(y, x):
            raise ValueError(f"arc ({x}, {y}) stands without arc ({y}, {x}); an adjacency has both")


def drawn_edges(graph: nx.DiGraph, removed: Collection[int]) -> tuple[Edge, ...]:
    """Return every edge with ends, column and role: strong roles first, then short edges, then old ones."""
    n, near = len(graph), connected(graph)
    roles = list(ROLES)
    pairs = sorted(
        ((x, y) for x, y in graph.edges if x < y),
        key=lambda pair: (roles.index(_role(pair, n - 1, removed, near)), pair[1] - pair[0], pair),
    )
    return tuple(
        Edge(
            _end(x, graph.edges[y, x]["mark"], row_y(x, n), downwards=True),
            _end(y, graph.edges[x, y]["mark"], row_y(y, n), downwards=False),
            column,
            _role((x, y), n - 1, removed, near),
        )
        for (x, y), column in zip(pairs, packed(pairs), strict=True)
    )


def _end(node: int, mark: str, y: float, *, downwards: bool) -> End:
    length = MARK_LENGTH[mark]
    return End(node, mark, y, y + length if downwards else y - length)


def _role(pair: tuple[int, int], target: int, removed: Collection[int], near: Collection[int]) -> str:
    at_target = target in pair
    at_removed = pair[0] in removed or pair[1] in removed
    if at_target and at_removed:
        return "removed and target"
    if at_target or at_removed:
        return "target" if at_target else "removed"
    return "rest" if pair[0] in near else "apart"


def connected(graph: nx.DiGraph) -> frozenset[int]:
    """Return the nodes that some path of edges joins with the last one, and that one."""
    return frozenset(nx.node_connected_component(graph.to_undirected(), len(graph) - 1))


def packed(pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Return a column for every pair of rows, the first that is free; pairs in one column share no row.

    >>> packed([(0, 2), (3, 5), (2, 3)])
    (0, 0, 1)
    """
    taken: list[list[tuple[int, int]]] = []
    found: list[int] = []
    for x, y in pairs:
        free = (i for i, column in enumerate(taken) if all(y < a or b < x for a, b in column))
        place = next(free, len(taken))
        if place == len(taken):
            taken.append([])
        taken[place].append((x, y))
        found.append(place)
    return tuple(found)


def row_y(node: int, n_nodes: int) -> float:
    """Return where the row of a node lies; the last one stands apart."""
    return TOP + ROW * (node + 0.5) + (GAP if node == n_nodes - 1 else 0.0)


def _last_columns(edges: Iterable[Edge]) -> dict[int, int]:
    """Return how far to the right the row of each node that has edges must reach."""
    last: dict[int, int] = {}
    for edge in edges:
        for end in (edge.upper, edge.lower):
            last[end.node] = max(last.get(end.node, 0), edge.column)
    return last


# Text


def drawable(text: str) -> str:
    """Return a text in one line, a box for each character that the font of the picture cannot draw."""
    known = get_font(str(_font_file(bold=False))).get_charmap()
    line = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(c if ord(c) in known and c.isprintable() else "\N{WHITE SQUARE}" for c in line)


def shortened(text: str) -> str:
    """Return a drawable text no wider than TITLE; the middle of a longer one becomes an ellipsis.

    A short last word stays: that is where films carry their year, and parts of a series their number.
    """
    line = drawable(text)
    if len(line) <= 200 and _width(line) <= TITLE:
        return line
    start, end = line[: min(len(line) - 8, 200)], line[-8:].split(" ", 1)[-1]
    while start and _width(f"{start.rstrip()}… {end}") > TITLE:
        start = start[:-1]
    return f"{start.rstrip()}… {end}"


def _font_file(*, bold: bool) -> Path:
    """Return the font that matplotlib carries, so that the picture is the same on every machine."""
    return Path(mpl.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


def _font(size: float = 8.5, *, bold: bool = False) -> FontProperties:
    return FontProperties(fname=str(_font_file(bold=bold)), size=size)


def _width(line: str) -> float:
    """Return how wide a name is at most, drawn bold."""
    width: float = text_to_path.get_text_width_height_descent(line, _font(bold=True), ismath=False)[0]
    return width


# Painting


def _sheet(width: float, height: float, dpi: int) -> tuple[Figure, Axes]:
    """Return an empty figure whose units are points."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=dpi, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def _png(figure: Figure) -> bytes:
    """Return a PNG of 128 colours, a third of the size of one with all, that names no date and no maker."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    file = BytesIO()
    picture.quantize(128, method=Image.Quantize.MAXCOVERAGE).save(file, "PNG")
    return file.getvalue()


def _text(axes: Axes, x: float, y: float, text: str, look: Look) -> None:
    """Write one line from x, or up to x, its middle at y, every character as it stands."""
    axes.text(
        x, y, text, color=look.colour, fontproperties=_font(look.size, bold=look.bold),
        ha="right" if look.ends_here else "left", va="center_baseline", parse_math=False, usetex=False,
    )  # fmt: skip


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, width: float) -> None:
    axes.plot(x, y, color=colour, linewidth=width, linestyle="-", marker="", solid_capstyle="butt")


def _draw_bands(axes: Axes, n: int, removed: Collection[int], width: float) -> None:
    bands = [(node, REMOVED_BAND) for node in sorted(removed)] + [(n - 1, TARGET_BAND)]
    for node, colour in bands:
        low = row_y(node, n) - ROW / 2
        axes.add_patch(Rectangle((MARGIN / 2, low), width - MARGIN, ROW, facecolor=colour, edgecolor="none"))


def _draw_time(axes: Axes, n: int, has_edges: bool, left: float) -> None:
    """Draw the heads of the two columns and the arrow of time beside the history."""
    heading = "Causal graph: a line joins two items" if has_edges else "Causal graph: it has no edges"
    _text(axes, left - NUMBER, TOP - 24, "History, oldest first", Look(bold=True, ends_here=True))
    _text(axes, left + COLUMN, TOP - 24, heading, Look(bold=True))
    if n == 1:
        return
    x, start, stop = MARGIN, row_y(0, n) - 5, row_y(n - 2, n) + 5
    _text(axes, x - 4, start - 8, "oldest", Look(MUTED, 7))
    _line(axes, (x, x), (start, stop - 4), MUTED, 1.0)
    axes.add_collection(PolyCollection([_arrow(x, stop, stop - 5, 2.5)], facecolors=MUTED, edgecolors="none"))
    _text(axes, x - 4, stop + 9, "newest", Look(MUTED, 7))


def _styles(graph: nx.DiGraph, removed: Collection[int]) -> list[str]:
    """Return what each node is: target, removed, near (connected to the target) or apart."""
    near, target = connected(graph), len(graph) - 1
    kinds = dict.fromkeys(removed, "removed") | {target: "target"}
    return [kinds.get(node, "near" if node in near else "apart") for node in range(len(graph))]


def _draw_rows(axes: Axes, names: Sequence[str], removed: Collection[int], last: dict[int, int], left: float) -> None:
    """Draw each row's thin line from its name to the last edge that ends on it."""
    colours = dict.fromkeys(removed, REMOVED) | {len(names) - 1: TARGET}
    for node, column in last.items():
        y, stop = row_y(node, len(names)), _column_x(left, column)
        _line(axes, (left, stop + 2), (y, y), colours.get(node, FAINT), 0.9)


def _draw_names(axes: Axes, names: Sequence[str], styles: Sequence[str], left: float, n_unseen: int) -> None:
    """Write the names up to their numbers, and the sign of what each one is."""
    colours = {"target": TARGET, "removed": REMOVED, "near": INK, "apart": MUTED}
    tags = {"target": "recommended", "removed": "removed"}
    for node, (name, style) in enumerate(zip(names, styles, strict=True)):
        y, marked = row_y(node, len(names)), style in tags
        _text(axes, left - NUMBER, y, name, Look(colours[style], bold=marked, ends_here=True))
        _sign(axes, left, y, style)
        if marked:
            _text(axes, MARGIN + 8, y, tags[style], Look(colours[style], 7.5, bold=True))
        if style != "target":
            _text(axes, left - 7, y, str(n_unseen + node + 1), Look(MUTED, 7, ends_here=True))


def _sign(axes: Axes, x: float, y: float, style: str) -> None:
    """Draw the sign of a node: a diamond for the target, a cross for a removed item, else a dot."""
    if style == "target":
        axes.plot(x, y, "D", color=TARGET, markersize=6)
    elif style == "removed":
        axes.plot(x, y, "s", color=REMOVED, markersize=8)
        axes.plot(x, y, "x", color="white", markersize=4.5, markeredgewidth=1.4)
    else:
        axes.plot(x, y, "o", color=INK if style == "near" else "#b5b9be", markersize=3.4, markeredgewidth=0)


def _column_x(left: float, column: int) -> float:
    return left + COLUMN * (column + 1.5)


def _draw_edges(axes: Axes, edges: Sequence[Edge], left: float) -> None:
    for role in reversed(ROLES):  # the strong ones on top
        placed = [(_column_x(left, edge.column), edge) for edge in edges if edge.role == role]
        _draw_lines(axes, placed, *ROLES[role])


def _draw_lines(axes: Axes, placed: Sequence[tuple[float, Edge]], colour: str, width: float) -> None:
    """Draw edges of one look: the lines, then the arrow heads and circles at their ends."""
    lines = [[(x, edge.upper.neck), (x, edge.lower.neck)] for x, edge in placed]
    ends = [(x, end) for x, edge in placed for end in (edge.upper, edge.lower)]
    heads = [_arrow(x, end.tip, end.neck, 3.2) for x, end in ends if end.mark == "arrow"]
    circles = [(x, (end.tip + end.neck) / 2) for x, end in ends if end.mark == "circle"]
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, capstyle="butt"))
    axes.add_collection(PolyCollection(heads, facecolors=colour, edgecolors="none"))
    edge_width = min(width + 0.1, 1.7)
    for x, y in circles:
        axes.plot(x, y, "o", color="white", markersize=5, markeredgecolor=colour, markeredgewidth=edge_width)


def _arrow(x: float, tip: float, neck: float, half: float) -> list[tuple[float, float]]:
    return [(x, tip), (x - half, neck), (x + half, neck)]


def _draw_legend(axes: Axes, top: float) -> None:
    """Explain the marks and the signs below the rows."""
    marks = {
        "arrow": "arrow head: this item is no cause of the other",
        "tail": "plain end: this item is a cause of the other (or of what was selected)",
        "circle": "circle: the graph does not say which of the two",
    }
    signs = {
        "target": "the recommendation",
        "removed": "removed item",
        "apart": "grey: not connected with the recommendation",
    }
    rows = [top + 24 + 17 * line for line in range(3)]
    for y, (mark, text) in zip(rows, marks.items(), strict=True):
        _line(axes, (MARGIN + 2, MARGIN + 14), (y, y), FAINT, 0.9)
        upper, lower = _end(0, mark, y, downwards=True), _end(1, "tail", y + 12, downwards=False)
        _draw_lines(axes, [(MARGIN + 8, Edge(upper, lower, 0, "rest"))], INK, 1.1)
        _text(axes, MARGIN + 22, y + 5, text, Look(size=7.5))
    for y, (style, text) in zip(rows, signs.items(), strict=True):
        _sign(axes, 352, y + 5, style)
        _text(axes, 362, y + 5, text, Look(size=7.5))
