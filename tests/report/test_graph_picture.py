import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import combinations, product

import matplotlib as mpl
import networkx as nx
import numpy as np
import pytest
from PIL import Image

from recexplain.report.graph import (
    DPI,
    REMOVED_BAND,
    ROW,
    TARGET_BAND,
    TITLE,
    Edge,
    End,
    connected,
    drawable,
    drawn_edges,
    graph_png,
    packed,
    row_y,
    shortened,
)

MARKS = ("tail", "arrow", "circle")
PAIRS_OF_MARKS = list(combinations(MARKS, 2))


def pag(n: int, *edges: tuple[int, int, str, str]) -> nx.DiGraph:
    """(x, y, mark at x, mark at y)"""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n))
    for x, y, at_x, at_y in edges:
        graph.add_edge(x, y, mark=at_y)
        graph.add_edge(y, x, mark=at_x)
    return graph


def random_pag(n: int, n_edges: int, seed: int) -> nx.DiGraph:
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(list(combinations(range(n), 2)))[:n_edges].tolist()
    return pag(n, *((x, y, *map(str, rng.choice(MARKS, 2))) for x, y in pairs))


def names(n: int) -> list[str]:
    return [f"Film number {i} ({1930 + i})" for i in range(n)]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def changed_rows(png: bytes, other: bytes) -> np.ndarray:
    """The heights, in points, at which two pictures of one size differ visibly."""
    difference = np.abs(pixels(png) - pixels(other)).max(axis=(1, 2))
    return np.flatnonzero(difference > 60) * 72 / DPI


def row_of_pixels(png: bytes, node: int, n: int) -> np.ndarray:
    top = (row_y(node, n) - ROW / 2 + 1) * DPI / 72
    return pixels(png)[int(top) + 1 : int(top + (ROW - 2) * DPI / 72)]


# Geometry


def test_each_end_has_the_mark_that_stands_there() -> None:
    graph = pag(3, (0, 2, "circle", "arrow"), (1, 2, "arrow", "tail"))
    ends = {(e.upper.node, e.lower.node): (e.upper.mark, e.lower.mark) for e in drawn_edges(graph, ())}
    assert ends == {(0, 2): ("circle", "arrow"), (1, 2): ("arrow", "tail")}


def test_an_edge_is_the_same_whichever_arc_was_added_first() -> None:
    assert drawn_edges(pag(2, (0, 1, "tail", "arrow")), ()) == drawn_edges(pag(2, (1, 0, "arrow", "tail")), ())


def test_a_mark_reaches_from_its_row_towards_the_other_end() -> None:
    (edge,) = drawn_edges(pag(2, (0, 1, "circle", "arrow")), ())
    assert (edge.upper.tip, edge.lower.tip) == (row_y(0, 2), row_y(1, 2))
    assert edge.upper.tip < edge.upper.neck < edge.lower.neck < edge.lower.tip


def test_a_tail_is_the_plain_end_of_the_line() -> None:
    (edge,) = drawn_edges(pag(2, (0, 1, "tail", "tail")), (0,))
    assert edge == Edge(
        End(0, "tail", row_y(0, 2), row_y(0, 2)), End(1, "tail", row_y(1, 2), row_y(1, 2)), 0, "removed and target"
    )


def test_every_adjacency_is_drawn_once_and_edges_in_one_column_share_no_row() -> None:
    for seed in range(20):
        graph = random_pag(25, 60, seed)
        edges = drawn_edges(graph, (3, 9))
        drawn = [(edge.upper.node, edge.lower.node) for edge in edges]
        assert sorted(drawn) == sorted((x, y) for x, y in graph.edges if x < y)
        rows = [(edge.column, row) for edge in edges for row in range(edge.upper.node, edge.lower.node + 1)]
        assert len(rows) == len(set(rows))


def test_columns_are_filled_from_the_left() -> None:
    assert packed([(0, 2), (2, 4), (3, 5), (6, 7)]) == (0, 1, 0, 0)


def test_what_an_edge_touches_decides_its_look_and_the_strong_stand_first() -> None:
    graph = pag(7, *((x, y, "circle", "circle") for x, y in [(4, 5), (1, 2), (0, 1), (1, 6), (0, 6)]))
    roles = {(edge.upper.node, edge.lower.node): edge.role for edge in drawn_edges(graph, (0,))}
    assert roles == {
        (0, 6): "removed and target", (1, 6): "target", (0, 1): "removed", (1, 2): "rest", (4, 5): "apart",
    }  # fmt: skip
    assert list(roles) == [(0, 6), (1, 6), (0, 1), (1, 2), (4, 5)]


def test_connected_follows_paths_whatever_their_marks() -> None:
    graph = pag(6, (0, 2, "arrow", "arrow"), (2, 5, "tail", "arrow"), (3, 4, "circle", "circle"))
    assert connected(graph) == {0, 2, 5}


def test_rows_go_down_in_time_and_the_target_stands_apart() -> None:
    heights = np.diff([row_y(node, 5) for node in range(5)])
    assert set(heights[:3]) == {ROW}
    assert heights[3] > ROW


# Pixels


@pytest.mark.parametrize(("at", "marks"), list(product((0, 1), PAIRS_OF_MARKS)))
def test_another_mark_changes_the_picture_at_that_end_only(at: int, marks: tuple[str, str]) -> None:
    n = 5
    pictures = []
    for mark in marks:
        ends = ["tail", "tail"]
        ends[at] = mark
        pictures.append(graph_png(pag(n, (1, 4, ends[0], ends[1])), names(n), ()))
    heights = changed_rows(*pictures)
    assert len(heights) > 2
    y = row_y((1, 4)[at], n)
    inwards = heights - y if at == 0 else y - heights
    assert inwards.min() > -2
    assert inwards.max() < ROW / 2


@pytest.mark.parametrize("at", [0, 1])
def test_an_arrow_head_points_at_its_row(at: int) -> None:
    pointed = pag(2, (0, 1, *(("arrow", "tail") if at == 0 else ("tail", "arrow"))))
    plain = pag(2, (0, 1, "tail", "tail"))
    pictures = [pixels(graph_png(graph, names(2), ())) for graph in (pointed, plain)]
    widths = (np.abs(pictures[0] - pictures[1]).max(axis=2) > 60).sum(axis=1)
    widths = widths[widths > 0] if at == 0 else widths[widths > 0][::-1]  # from the row inwards
    assert widths[0] + 3 < widths[-2]
    assert widths[: len(widths) // 2].sum() < widths[len(widths) // 2 :].sum()


def test_a_circle_is_hollow_and_stands_between_its_row_and_the_line() -> None:
    circle, arrow = (pag(2, (0, 1, "tail", mark)) for mark in ("circle", "arrow"))
    picture = pixels(graph_png(circle, names(2), ()))
    difference = np.abs(picture - pixels(graph_png(arrow, names(2), ()))).max(axis=2) > 60
    (edge,) = drawn_edges(circle, ())
    centre = int((edge.lower.tip + edge.lower.neck) / 2 * DPI / 72)
    x = int(np.median(np.flatnonzero(difference.any(axis=0))))
    assert picture[centre, x].min() > 240
    assert picture[centre, x - 6 : x + 7].min() < 120


def test_the_removed_and_the_target_have_bands_tags_and_signs() -> None:
    n, graph = 4, pag(4, (0, 3, "circle", "arrow"))
    png = graph_png(graph, names(n), (1,))
    for node, band in ((1, REMOVED_BAND), (3, TARGET_BAND)):
        colour = np.array([int(band[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(row_of_pixels(png, node, n) - colour).max(axis=2) < 6).mean() > 0.5
    assert (row_of_pixels(png, 0, n).min(axis=2) > 250).mean() > 0.8
    tag = slice(int(20 * DPI / 72), int(80 * DPI / 72))  # readable without colour too
    dark = [int((row_of_pixels(png, node, n)[:, tag].mean(axis=2) < 150).sum()) for node in range(n)]
    assert dark[0] == dark[2] == 0
    assert min(dark[1], dark[3]) > 50


def test_nodes_without_a_path_to_the_target_are_muted_but_there() -> None:
    n, titles = 3, ["Same name", "Same name", "Target"]
    png = graph_png(pag(n, (1, 2, "circle", "arrow")), titles, ())
    apart, near = (row_of_pixels(png, node, n)[:, int(90 * DPI / 72) :].mean(axis=2).min() for node in (0, 1))
    assert near < 60 < apart < 200


def test_rows_are_numbered_as_in_the_whole_history() -> None:
    graph = pag(3, (0, 2, "circle", "arrow"))
    assert graph_png(graph, names(3), ()) == graph_png(graph, names(3), (), n_unseen=0)
    assert len(changed_rows(graph_png(graph, names(3), ()), graph_png(graph, names(3), (), n_unseen=5)))


# The file


def test_equal_input_gives_equal_bytes_in_any_order_and_thread() -> None:
    edges = [(0, 3, "circle", "arrow"), (1, 3, "tail", "arrow"), (0, 1, "arrow", "arrow")]
    first, second = pag(5, *edges), pag(5, *((y, x, b, a) for x, y, a, b in reversed(edges)))
    png = graph_png(first, names(5), [1, 0])
    assert graph_png(second, tuple(names(5)), {0, 1}) == png
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: graph_png(first, names(5), {0, 1}), range(8))) == {png}


def test_the_settings_of_a_user_change_nothing() -> None:
    graph = pag(3, (0, 2, "circle", "arrow"))
    png = graph_png(graph, names(3), (0,))
    settings = {"font.family": "monospace", "savefig.bbox": "tight", "axes.grid": True, "lines.linestyle": ":"}
    with mpl.rc_context(settings):
        assert graph_png(graph, names(3), (0,)) == png


def test_the_file_names_no_date_and_no_program() -> None:
    image = Image.open(BytesIO(graph_png(pag(2), names(2), ())))
    assert image.format == "PNG"
    assert not image.info.keys() & {"Software", "Creation Time", "date"}


def test_a_full_picture_is_a_small_file() -> None:
    graph = random_pag(51, 90, 1)
    before = json.dumps(nx.to_dict_of_dicts(graph))
    assert len(graph_png(graph, names(51), (3, 30, 47))) < 400_000
    assert json.dumps(nx.to_dict_of_dicts(graph)) == before


@pytest.mark.parametrize("n", [1, 2, 3, 10, 60])
def test_graphs_of_any_size_with_and_without_edges(n: int) -> None:
    heights = []
    for graph in (pag(n), random_pag(n, min(n * (n - 1) // 2, 2 * n), n)):
        image = Image.open(BytesIO(graph_png(graph, names(n), ())))
        heights.append(image.height)
    assert heights[0] == heights[1] > row_y(n - 1, n) * DPI / 72


@pytest.mark.parametrize(
    "title", ["$x^2$ \\frac{", "$\\nonsense$", "千と千尋 🎬", "two\nlines\x00", "\ud800", "", "W" * 5000]
)
def test_titles_may_hold_any_text(title: str) -> None:
    assert graph_png(pag(2, (0, 1, "circle", "circle")), [title, title], (0,))  # a warning would be an error


def test_characters_that_the_font_lacks_become_boxes_and_the_rest_stays() -> None:
    assert drawable("Amélie — $5 & <b>") == "Amélie — $5 & <b>"
    assert drawable("千 A\n\tB\x00") == "□ A B□"
    assert drawable("e\u0301") == "é"


def test_long_titles_keep_their_beginning_and_their_last_word() -> None:
    long = "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1963)"
    short = shortened(long)
    assert short.startswith("Dr. Strangelove or: How")
    assert short.endswith("… (1963)")
    assert shortened("Heat (1995)") == "Heat (1995)"
    assert shortened(short) == short


@pytest.mark.parametrize("title", ["i" * 400, "W" * 400, "□" * 400])
def test_the_room_for_a_title_is_used_but_not_exceeded(title: str) -> None:
    def width(text: str) -> float:
        png = graph_png(random_pag(20, 90, 1), [text, *[""] * 19], ())
        return Image.open(BytesIO(png)).width * 72 / DPI

    assert TITLE - 15 < width(title) - width("") <= TITLE + 1


@pytest.mark.parametrize(
    ("graph", "titles", "removed", "words"),
    [
        (pag(3), names(2), (), "nodes 0..1"),
        (pag(0), [], (), "nodes"),
        (pag(3), names(3), (2,), "before the target 2"),
        (pag(3), names(3), (-1,), "before the target 2"),
        (pag(3, (0, 1, "arrow", "->")), names(3), (), "tail, arrow, circle, not '->'"),
        (nx.DiGraph([(0, 1, {"mark": "arrow"})]), names(2), (), "without arc"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(
    graph: nx.DiGraph, titles: list[str], removed: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        graph_png(graph, titles, removed)
