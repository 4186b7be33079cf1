"""The page of an audit: what it says, that nothing in it is taken for markup, and that its size has an end."""

import re
from base64 import b64decode
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from audit_reports import EVIL, FOUND, case, changed, group, nobody, report, share
from test_html_pages import EXTERNAL, Page, shown, squeezed

from recexplain.report import audit
from recexplain.report.audit import MOST, audit_page, summary_of
from recexplain.report.audit_cases import LISTED, SEEN, graph_in


@pytest.fixture(scope="module")
def html() -> str:
    return audit_page(report())


def rows_of(html: str, head: str, place: int = 0) -> list[list[str]]:
    """The rows of a table whose first column is called so (of several the one at a place), the heads first."""
    tables: list[list[list[str]]] = []
    for element in Page(html).elements:
        if element.tag == "table":
            tables.append([])
        elif element.tag == "tr":
            tables[-1].append([])
        elif element.tag in ("th", "td"):
            tables[-1][-1].append(squeezed(element.text))
    return [rows for rows in tables if rows[0][0] == head][place]


def test_a_page_loads_nothing_runs_nothing_and_takes_no_text_for_markup(html: str) -> None:
    page = Page(html)
    assert not page.find("script")
    assert "<script>" not in html
    assert "<b>" not in html.replace('<div class="card"><b>', "")
    assert "49" not in shown(html).split()
    assert shown(html).count(EVIL) >= 30
    for element in page.elements:
        for name in EXTERNAL & element.attributes.keys():
            assert element.attributes[name].startswith(("data:", "#")), element
    (policy,) = [e.attributes["content"] for e in page.find("meta") if "http-equiv" in e.attributes]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_every_anchor_leads_to_a_place_of_the_page_and_every_place_is_one(html: str) -> None:
    page = Page(html)
    places = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(set(places)) == len(places)
    links = {e.attributes["href"].removeprefix("#") for e in page.find("a")}
    assert links <= set(places)
    assert {"identity", "quality", "sample", "outcomes", "sizes", "specificity", "items", "shift", "slices"} <= links
    assert {"sensitivity", "comparison", "gates", "cases", "limits", "verify", "case-1", "case-2", "case-3"} <= links


def test_three_sentences_say_it_all() -> None:
    assert summary_of(report()) == (
        "Of the people audited, 8 of 10 (80 %; 95 % interval 25 to 75 %) have a set of their own past items without "
        "which the recommended item would not be in the top 3, and the model itself confirmed each of these answers.",
        "Such a set holds 2.00 items on average; for 6 of 8 (75 %; 95 % interval 25 to 75 %) it is proven that no "
        "smaller one exists; 10 % of random sets of the same size do as well on average, and for nobody is it more "
        "than 20 %.",
        "10 people went in and 10 rows came out, of them 1 that could not be computed; all of this says what the "
        "fitted model does with an edited history, not what a retrained model or the world would do.",
    )
    for n_weak, words in (
        (3, "for 3 people it is more than 20 %, and these explanations say little."),
        (1, "for 1 person it is more than 20 %, and that explanation says little."),
    ):
        assert words in summary_of(changed(report(), "outcomes", weak_of_explained=share(n_weak, 8)))[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"change": "top1"}, "without which another item would come first, and"),
        ({"change": "list", "tau": 0.5}, "without which at least 50 % of the top 3 would be new, and"),
        ({"change": "enters", "wanted": "7"}, "without which 7 would come into the top 3, and"),
        ({"change": "enters", "wanted_category": EVIL}, f"without which {EVIL} would come into the top 3, and"),
    ],
)
def test_the_summary_says_what_was_asked(options: dict[str, Any], words: str) -> None:
    assert words in summary_of(changed(report(), "identity", **options))[0]


def test_the_figures_stand_in_their_tables(html: str) -> None:
    ranked = rows_of(html, "on the test items, when it was trained")
    assert ranked == [
        ["on the test items, when it was trained", "NDCG@10", "HR@10", "MRR"],
        [EVIL, "0.2500", "0.5000", "0.1250"],
    ]
    assert rows_of(html, "on the newest item of the audited histories")[1] == [
        "10 people", "0.500 0.000 to 1.00", "50 % 25 to 75 %", "0.250 -0.250 to 0.750",
    ]  # fmt: skip
    funnel = rows_of(html, "step")[1:]
    assert [row[1] for row in funnel] == ["10", "9", "8", "8", "6"]
    outcomes = rows_of(html, "outcome")
    assert [row[:3] for row in outcomes[1:]] == [
        ["optimal", "6", "60 % 25 to 75 %"], ["irreducible", "2", "20 % 25 to 75 %"],
        ["none found", "1", "10 % 25 to 75 %"], ["error", "1", "10 % 25 to 75 %"],
    ]  # fmt: skip
    sizes = audit_page(report() | {"none_found_proven_up_to": {"1": 3, "2": 1}})
    assert rows_of(sizes, "nothing found, all sets tested up to")[1:] == [["1 item", "3"], ["2 items", "1"]]
    assert rows_of(html, "could not be explained, because")[1] == [f"no {EVIL}", "1"]
    assert rows_of(html, "not audited, because")[1] == [f"not drawn {EVIL}", "2"]
    assert rows_of(html, "most critical")[1] == [EVIL, "3", "1.50", "7"]
    assert rows_of(html, "category")[1] == [EVIL, "50 %", "25 %", "\N{EN DASH}", "100 %"]
    assert rows_of(html, "the same set with another removal")[1:] == [
        ["pad", "50 % 25 to 75 %", "the places of the items stay and are not attended to"]
    ]
    assert rows_of(html, "in 10 lists of 3")[1][1] == "50 %"


def test_a_histogram_has_every_place_and_puts_the_rest_together(html: str) -> None:
    rows = rows_of(html, "items removed")[1:]
    assert rows[:3] == [["1", "3", "37.5 %"], ["2", "4", "50 %"], ["3", "0", "0 %"]]
    assert rows[-1] == ["21+", "1", "12.5 %"]
    assert len(rows) == 21
    assert [row[:2] for row in rows_of(html, "place before")[1:]] == [["2", "5"], [">3", "3"]]


def test_slices_show_their_intervals_and_mark_what_is_flagged(html: str) -> None:
    assert rows_of(html, "flagged gap")[1] == [f"by {EVIL}: {EVIL}", "explained", "50 %", "90 %", "0.013"]
    assert rows_of(html, f"by {EVIL}")[1:] == [
        [EVIL, "50 % 25 to 75 %"],
        ["-- <b>", "100 % 25 to 75 %"],
    ]  # of the picture
    assert rows_of(html, f"by {EVIL}", -1)[1] == [
        EVIL, "4", "50 % 25 to 75 %", "100 % 25 to 75 %", "2.00 1.50 to 2.50", "10 % -40 to 60 %", "0 % 25 to 75 %",
        "0.500 0.000 to 1.00",
    ]  # fmt: skip
    marked = [e for e in Page(html).elements if "flagged" in e.attributes.get("class", "").split()]
    assert [squeezed(e.text) for e in marked].count("50 % 25 to 75 %") == 2  # in the table, and under the picture
    assert "1 gap flagged." in shown(html)
    assert "table of people x, of 12 people hash of the table users-hash-5" in shown(html)
    none = report(
        slices={
            "rule": {"about": []},
            "users": None,
            "dimensions": [{"title": "age", "groups": [group("x", optimal=1)]}],
        }
    )
    assert "No gap is flagged." in shown(audit_page(none))


def test_sensitivity_and_comparison_stand_beside_chance_and_baselines(html: str) -> None:
    assert rows_of(html, "change", -1)[1] == [
        f"shuffled {EVIL} should differ. {EVIL}", "0.500 0.000 to 1.00", "0.125", "33.3 % 25 to 75 %",
        "100 % 25 to 75 %", "75 % 25 to 75 %", "4",
    ]  # fmt: skip
    assert rows_of(html, "besides")[1] == [f"shuffled {EVIL} {EVIL}", "25 % 25 to 75 %"]
    assert rows_of(html, "size") == [["size", EVIL], [f"size, all ↓ items {EVIL}", "2.00 1.50 to 2.50"]]
    assert rows_of(html, "cost")[2:] == [["seconds p50 ↓", "0.250"], ["seconds p95 ↓", "0.500"]]
    assert f"attention could not be run: no attention {EVIL}" in shown(html)


def test_gates_say_which_failed(html: str) -> None:
    assert rows_of(html, "")[1:] == [
        ["met", "explained", "0.8", "at least 0.75"],
        ["FAILED", "size_max", "2.5", "at most 2"],
    ]
    assert "1 of 2 gates failed" in shown(html)
    unmeasured = report(gates=[{"name": "explained", "bound": 0.5, "measured": None, "is_passed": False}])
    assert rows_of(audit_page(unmeasured), "")[1][2] == "nothing to measure"


def test_a_case_is_shown_once_with_history_lists_and_graph(html: str) -> None:
    page = Page(html)
    articles = [squeezed(e.text) for e in page.find("article")]
    assert [text.split(" Person ")[0] for text in articles] == [
        f"typical {EVIL} · largest sets", "unexplained", "errors",
    ]  # fmt: skip
    for words in (
        f"Removed: {EVIL} (number 3), M*A*S*H (1970) (number 5).",
        "4 items that the model saw; 1 item that it never saw",
        "Heat (1995) explained, drops out", "8 new", "1,234 edited histories scored", "holds with pad",
        "other sets of that size 1", f"Graph of {EVIL}.",
    ):  # fmt: skip
        assert words in articles[0], words
    assert f"reason no {EVIL}" in articles[2]
    pictures = page.find("img", within="div.picture")
    assert len(pictures) == 2
    assert all(b64decode(e.attributes["src"].partition(",")[2]).startswith(b"\x89PNG") for e in pictures)
    assert "Removed items: <script>" in pictures[0].attributes["alt"]


def test_a_graph_is_read_with_the_mark_at_the_right_end() -> None:
    graph = graph_in({"nodes": 3, "edges": [[0, 2, "circle", "arrow"]]})
    assert sorted(graph.edges(data="mark")) == [(0, 2, "arrow"), (2, 0, "circle")]
    assert sorted(graph) == [0, 1, 2]


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(nobody(error=10), id="everyone an error"),
        pytest.param(nobody(none_up_to=1), id="one person, nothing found"),
        pytest.param(nobody(), id="nobody"),
    ],
)
def test_what_is_absent_is_left_out(known: dict[str, Any]) -> None:
    html = audit_page(known)
    text = shown(html)
    assert "No such set was found for anyone" in text
    links = {e.attributes["href"] for e in Page(html).find("a")}
    assert links == {"#identity", "#sample", "#outcomes", "#limits", "#verify"}
    assert not re.search(r"\bNone\b(?! of the sets)", text)
    assert "nan" not in text.lower().split()


@pytest.mark.parametrize("name", ["sensitivity", "comparison"])
def test_a_part_that_was_switched_off_has_no_section(name: str) -> None:
    html = audit_page(report(**{name: None}))
    assert f'id="{name}"' not in html
    assert f'href="#{name}"' not in html


def test_the_pictures_are_svg_without_text_links_or_dates(html: str) -> None:
    pictures = [e.attributes["src"] for e in Page(html).find("img", within="figure")]
    drawn = [b64decode(src.partition(",")[2]) for src in pictures if src.startswith("data:image/svg+xml;base64,")]
    assert len(drawn) >= 9
    for svg in drawn:
        root = ElementTree.fromstring(svg)  # noqa: S314  our own
        assert root.tag.endswith("svg")
        assert not [e for e in root.iter() if str(e.tag).endswith(("}text", "}script", "}a", "}image"))]
        assert b"<dc:date>" not in svg
        assert b"<script" not in svg


def test_equal_reports_have_equal_pages(html: str) -> None:
    assert audit_page(report()) == html


def test_what_does_not_fit_is_left_out_pictures_first_and_said(monkeypatch: pytest.MonkeyPatch, html: str) -> None:
    without_pictures = len(html.encode()) - sum(
        len(e.attributes["src"]) for e in Page(html).find("img", within="picture")
    )
    monkeypatch.setattr(audit, "MOST", without_pictures + 5000)
    fewer = audit_page(report())
    assert len(fewer.encode()) <= audit.MOST
    assert not Page(fewer).find("img", within="div.picture")
    assert "Left out, so that this file stays small: 2 pictures of causal graphs." in shown(fewer)
    assert len(Page(fewer).find("article")) == 3
    monkeypatch.setattr(audit, "MOST", without_pictures - 2000)
    fewest = audit_page(report())
    assert len(fewest.encode()) <= audit.MOST
    assert len(Page(fewest).find("article")) == 1
    assert "2 people of the table without a page of their own" in shown(fewest)
    assert len(Page(fewest).find("img")) == len(Page(fewer).find("img"))
    monkeypatch.setattr(audit, "MOST", 100_000)
    bare = audit_page(report())
    assert len(bare.encode()) <= audit.MOST
    assert not Page(bare).find("img")


def test_no_user_base_makes_it_larger_than_its_bound() -> None:
    long = "x<&" * 5000
    history = tuple(f"i{n}" for n in range(3000))
    big = replace(
        FOUND, history=history, n_unseen=100, positions=tuple(range(200, 2900)), items=history[200:2900], k=500,
        before=history[:500], after=history[100:600], alternatives=(), n_minimal=None, user=long,
    )  # fmt: skip
    people = [case(replace(big, user=f"{n}{long}"), edges=0) for n in range(30)]
    groups = [group(f"{n}{long}", optimal=n + 1, error=1) for n in range(100)]
    dimensions = [{"title": f"{n}{long}", "groups": groups} for n in range(12)]
    item = {"item": "1", "title": long, "people": 3, "in_histories": 7}
    known = report(
        cases={
            "kinds": [{"kind": "typical", "title": long, "about": long, "users": [one["user"] for one in people]}],
            "titles": dict.fromkeys(history, long),
            "people": people,
        },
        slices={"rule": {"about": [long]}, "users": None, "dimensions": dimensions},
        items=dict.fromkeys(("explaining", "explained", "replacing", "recommended"), [item] * 50),
        errors=[{"reason": long, "people": 1}] * 50,
    )
    html = audit_page(known)
    assert len(html.encode()) <= MOST
    text = shown(html)
    assert "4 more slices in report.json." in text
    assert "70 more groups in report.json." in text
    assert f"The first {LISTED} of 500." in text
    assert "It takes 2,700 items of the history to change this" in text
    assert f"{SEEN} items, the newest that the model saw; 2,800 older ones besides" in text
