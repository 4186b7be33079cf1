"""The page of a scoreboard: what it says, that nothing in it is taken for markup, and its pictures."""

from base64 import b64decode
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from test_html_pages import EXTERNAL, Page, shown

from recexplain.report.board import Board, Budget, Metric, Pair, Retrained, Retraining, Row, Score
from recexplain.report.figures import CURVES, costs_svg, crowd, curves_drawn, curves_svg, size_shares, sizes_svg
from recexplain.report.scoreboard import board_page, groups_of

EVIL = "<script>alert(1)</script> & {{ 7 * 7 }}"

METRICS = (
    Metric("found", "found", "higher", "outcome", "everyone", "share of people"),
    Metric("size_all", "size, all", "lower", "size", "everyone", "items"),
    Metric("gap", "gap", "lower", "size", "found", "items more"),
    Metric("evaluations", "evaluations", "lower", "cost", "explained", "edited histories"),
)


def score(metric: str, value: float | None, **more: object) -> Score:
    base = Score(metric, value, value, value, 10, False, False, 0.5, 0.25, 0.75, 9)
    return replace(base, **more)  # type: ignore[arg-type]


def row(label: str, size: float = 2.0, cost: float | None = 30.0, **more: object) -> Row:
    scores = (
        score("found", 0.5),
        score("size_all", size, low=1.5, high=2.5, is_best=size == 1),
        score("gap", None, low=None, high=None, n=0),
        score("evaluations", cost, is_level=True),
    )
    falling = tuple(1 - 0.05 * step * size for step in range(11))
    base = Row(
        label, "toy", "max_size 3", 10, None, (("optimal", 5), ("none_up_to", 3), ("budget", 2)), (), scores,
        ((1, 3), (4, 1), (12, 1)), falling, falling[::-1],
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def board(*rows: Row, metrics: tuple[Metric, ...] = METRICS) -> Board:
    settings = (("change", "leaves"), ("k", "5"), ("removal", "delete"), ("max_evaluations", "200"))
    return Board(settings, 10, 8, 6, 1000, tuple(step / 10 for step in range(11)), metrics, rows)


ROWS = (
    row("causal", 1.0),
    row(EVIL, reasons=((EVIL, 2),)),
    row("random", 3.0, budgets=(Budget(50, 10.0, 0.4, 5.0),)),
    row("gone", not_run=f"no attention {EVIL}", scores=(), sizes=(), removed=(), kept=(), statuses=(("error", 10),)),
)
SECONDS = {one.label: (0.01, 0.25) for one in ROWS}
RETRAINING = Retraining(
    4,
    3,
    2,
    (Retrained(EVIL, 0.75, 0.5, 1.0, 0.25, 0.0, 0.5, 0.5, 0.125, 0.875),),
    (Pair(EVIL, "other", 3, 1, 0.625),),
)


@pytest.fixture(scope="module")
def html() -> str:
    return board_page(board(*ROWS), SECONDS, RETRAINING)


def test_a_page_loads_nothing_runs_nothing_and_takes_no_label_for_markup(html: str) -> None:
    page = Page(html)
    assert not page.find("script")
    assert "<script>" not in html
    assert "49" not in shown(html).split()
    assert shown(html).count(EVIL) >= 5
    for element in page.elements:
        for name in EXTERNAL & element.attributes.keys():
            assert element.attributes[name].startswith("data:"), element
    (policy,) = [e.attributes["content"] for e in page.find("meta") if "http-equiv" in e.attributes]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_two_explainers_are_compared_after_retraining(html: str) -> None:
    words = "by most of the seeds: 3 people changed for the first only, 1 person for the second only"
    assert f"{words} (McNemar's p 0.625)" in " ".join(shown(html).split())


def test_it_says_what_was_asked_and_who_was_not_run(html: str) -> None:
    text = shown(html)
    for words in (
        "4 explainers on the same 10 people", "the first item is no longer in the top k (change=leaves, k = 5,",
        "200 edited histories a person", "Some explainer found a set for 8 people; for 6 the smallest one found",
        "gone: not run no attention", "2 people", "from 1,000 resamples",
    ):  # fmt: skip
        assert words in text, words


def test_a_cell_has_its_interval_and_tells_the_best_and_what_is_level(html: str) -> None:
    cells = [
        (e.attributes.get("class", ""), e.attributes["data-name"], e.text)
        for e in Page(html).find("td")
        if "data-name" in e.attributes
    ]
    sizes = [(kind, " ".join(text.split())) for kind, name, text in cells if name == "size, all ↓"]
    assert sizes == [("best", "1.00 1.50 to 2.50"), ("", "2.00 1.50 to 2.50"), ("", "3.00 1.50 to 2.50")]
    costs = {(kind, " ".join(text.split())) for kind, name, text in cells if name == "evaluations ↓"}
    assert costs == {("level", "~30.0 30.0 to 30.0")}
    assert {(kind, text.strip()) for kind, name, text in cells if name == "gap ↓"} == {("", "none")}
    assert {text.strip() for _, name, text in cells if name == "seconds p95"} == {"0.250"}
    notes = [e.attributes["title"] for e in Page(html).find("td") if "title" in e.attributes]
    assert "10 people; 0.500 to the best on the 9 people of both (0.250 to 0.750)" in notes


def test_retraining_is_told_with_what_changes_anyway(html: str) -> None:
    text = shown(html)
    assert (
        "The sets of 4 people were taken out of the training data, 2 people at once, and the model trained again"
        in text
    )
    assert f"{EVIL} 0.750 0.500 to 1.00 0.250 0.000 to 0.500 0.500 0.125 to 0.875" in text
    assert "Had the model never seen it" not in shown(board_page(board(*ROWS), SECONDS))


def test_a_run_in_which_nobody_could_be_run_has_a_page_too() -> None:
    text = shown(board_page(board(ROWS[3], metrics=()), SECONDS))
    assert "1 explainers on" in text or "1 explainer on" in text
    assert "gone: not run" in text


def test_the_pictures_are_svg_without_text_links_or_dates(html: str) -> None:
    pictures = [e.attributes["src"] for e in Page(html).find("img")]
    assert len(pictures) == 3
    for picture in pictures:
        head, _, content = picture.partition(",")
        assert head == "data:image/svg+xml;base64"
        svg = b64decode(content)
        root = ElementTree.fromstring(svg)  # noqa: S314  our own
        assert root.tag.endswith("svg")
        assert not [e for e in root.iter() if e.tag.endswith("}text") or e.tag.endswith("}script")]
        assert b"<dc:date>" not in svg
        assert len(svg) < 200_000


def test_equal_boards_have_equal_pictures(html: str) -> None:
    first = [b64decode(e.attributes["src"].partition(",")[2]) for e in Page(html).find("img")]
    assert [draw(board(*ROWS)) for draw in (sizes_svg, costs_svg, curves_svg)] == first
    assert sizes_svg(board(*ROWS[:2])) != first[0]


def test_bars_are_shares_of_the_people_and_sum_to_1() -> None:
    shares = size_shares(ROWS[0])
    assert shares == [0.3, 0, 0, 0.1, 0, 0.1, 0.3, 0.2, 0]  # 1, 2, 3, 4 to 5, 6 to 10, more; none found, budget, error
    assert sum(shares) == pytest.approx(1)


def test_the_best_curves_are_drawn_and_the_baselines_always() -> None:
    many = [row(f"{number}", 1 + number / 100) for number in range(20)]
    drawn = curves_drawn([*many, row("random", 0.1), ROWS[3]])
    assert [one.label for one in drawn] == [*(f"{number}" for number in range(20 - CURVES, 20)), "random"]
    assert "Drawn are the 8 best by DEL-P" in shown(board_page(board(*many), {one.label: (0, 0) for one in many}))


def test_an_explainer_that_scored_nothing_has_no_place_on_a_logarithm() -> None:
    drawn = costs_svg(board(row("a"), row("b", cost=0.0), row("c", cost=None)))
    assert drawn == costs_svg(board(row("a")))


def test_of_many_those_that_crowd_near_the_smallest_size_are_drawn_apart() -> None:
    near = [row(f"near {number}", 2 + number / 100) for number in range(10)]
    far = [row(f"far {number}", 3.0 + number) for number in range(4)]
    assert crowd([*far, *near]) == near
    assert crowd([*far[:2], *near]) == []  # not many
    assert crowd(near + near[:4]) == []  # all of them
    assert crowd([*near[:6], *far, *far]) == []  # fewer than half
    assert len(costs_svg(board(*far, *near))) > len(costs_svg(board(*far[:2], *near)))


def test_groups_keep_the_order_of_the_metrics() -> None:
    groups = groups_of(board(*ROWS))
    assert [(group.name, [metric.name for metric in group.metrics]) for group in groups] == [
        ("outcome", ["found"]),
        ("size", ["size_all", "gap"]),
        ("cost", ["evaluations"]),
    ]
    assert all([one.label for one, _ in group.rows] == ["causal", EVIL, "random"] for group in groups)
