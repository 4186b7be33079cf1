import re
from base64 import b64decode
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any

import networkx as nx
import pytest
from markupsafe import Markup

from recexplain.explanation import STATUSES, Explanation
from recexplain.report.graph import graph_png
from recexplain.report.page import CAUTION, LABELS, MEANINGS, index_page, picture_of, user_page

TITLES = {
    "1": "Alien (1979)", "2": "<script>alert(1)</script>", "3": 'A "quoted" & <b>', "4": "M*A*S*H (1970)",
    "5": "Heat (1995)", "6": "Brazil (1985)", "7": "Kika (1993)", "8": "{{ 7 * 7 }}", "9": "Ran's (1985)",
}  # fmt: skip
VOID = {"meta", "link", "img", "br"}
BLOCKS = {"dt", "dd", "li", "p", "b", "td", "th", "h1", "h2", "h3", "figure"}
EXTERNAL = {"src", "href", "action", "data", "poster", "srcset", "background", "cite", "formaction", "ping"}


def title_of(item: str) -> str:
    return TITLES.get(item, item)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]  # "tag.class" of each, outermost first
    text: str = ""


class Page(HTMLParser):
    """Every element with the text inside it; an end tag that does not fit is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        parents = tuple(f"{e.tag}.{e.attributes.get('class', '')}" for e in self.open)
        element = Element(tag, {name: value or "" for name, value in attrs}, parents)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop().tag == tag
        if tag in BLOCKS:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def find(self, tag: str, *, within: str = "") -> list[Element]:
        inside = [e for e in self.elements if not within or any(within in parent for parent in e.parents)]
        return [e for e in inside if e.tag == tag]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def shown(html: str) -> str:
    """The text of the body, as a person reads it."""
    return squeezed(Page(html).find("body")[0].text)


FOUND = Explanation(
    user="ann & <b>", history=("9", "1", "2", "3", "4"), n_unseen=1, target="5", target_rank=1, k=3, change="top1",
    removal="delete", explainer="causal", status="optimal", positions=(2, 4), items=("2", "4"), replacement="6",
    before=("5", "6", "7"), after=("6", "8", "7"), proven_size=1, evaluations=1234, null_rate=0.05, seed=17,
    model_hash="model-hash-1", data_hash="data-hash-2", version="9.8.7",
)  # fmt: skip
NOTHING = replace(
    FOUND, status="none_up_to", positions=(), items=(), replacement=None, after=(), proven_size=2, null_rate=None
)
MINIMAL = replace(FOUND, alternatives=((1, 3), (1, 4)), n_minimal=3, criticality=(0, 2 / 3, 1 / 3, 1 / 3, 1 / 3))
CASES = {
    "optimal": FOUND,
    "irreducible": replace(FOUND, status="irreducible"),
    "found": replace(FOUND, status="found"),
    "none_up_to": NOTHING,
    "budget": replace(NOTHING, status="budget", proven_size=0),
    "error": replace(NOTHING, status="error", error="the *window* is <empty>", before=(), proven_size=0),
}
PICTURE = b"\x89PNG\r\n\x1a\n pretend"


def page_of(explanation: Explanation, *, picture: bytes | None = None, note: str = "") -> str:
    return user_page(explanation, title_of, picture=picture, note=note)


def every_page() -> list[Any]:
    pages = [pytest.param(page_of(e, picture=PICTURE, note="a <i>note"), id=status) for status, e in CASES.items()]
    rows = [(e, f"users/{i}.html") for i, e in enumerate(CASES.values())]
    return [
        *pages,
        pytest.param(index_page(rows, title_of, heading="A <run> & more"), id="index"),
        pytest.param(index_page([], title_of, heading="Nobody"), id="empty index"),
        pytest.param(
            page_of(replace(NOTHING, status="error", history=(), n_unseen=0, target="", before=())), id="bare"
        ),
    ]


# Both pages


@pytest.mark.parametrize("html", every_page())
def test_tags_are_balanced_and_no_text_has_become_one(html: str) -> None:
    page = Page(html)
    assert not {e.tag for e in page.elements} & {"script", "run", "empty", "iframe", "object"}
    assert html.startswith("<!DOCTYPE html>")
    assert len(page.find("h1")) == len(page.find("title")) == 1
    assert page.find("title")[0].text.strip()


@pytest.mark.parametrize("html", every_page())
def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    assert not re.search(r"https?:|url\(|@import|<script", html, re.IGNORECASE)
    for element in Page(html).elements:
        for name in EXTERNAL & element.attributes.keys():
            assert re.match(r"data:|users/\d+\.html$", element.attributes[name]), element
        assert not [name for name in element.attributes if name.startswith("on")]
    assert "default-src 'none'" in html


@pytest.mark.parametrize("html", every_page())
def test_nothing_is_left_of_the_template_and_titles_are_not_run_as_one(html: str) -> None:
    assert "{%" not in html
    assert "{{" not in html.replace("{{ 7 * 7 }}", "")
    assert CAUTION in shown(html)


@pytest.mark.parametrize("item", TITLES)
def test_every_title_is_shown_as_it_is_wherever_it_stands(item: str) -> None:
    others = [other for other in TITLES if other != item][:3]
    everywhere = replace(
        FOUND, history=(item, item, *others), positions=(1,), items=(item,), target=item, replacement=item,
        before=(item, *others), after=(item, *others), change="enters", wanted=item, user=item,
    )  # fmt: skip
    page = Page(page_of(everywhere, picture=PICTURE, note=TITLES[item]))
    assert [e.text for e in page.find("bdi")].count(TITLES[item]) >= 5
    assert TITLES[item] in page.find("img")[0].attributes["alt"]
    assert TITLES[item] in page.find("title")[0].text
    index = Page(index_page([(everywhere, "users/1.html")], title_of, heading=TITLES[item]))
    assert [e.text for e in index.find("bdi")].count(TITLES[item]) == 3
    assert index.find("h1")[0].text == TITLES[item]


def test_a_title_may_be_any_string() -> None:
    for odd in ("\ud800", "a\x00b\x1bc", "\uffff", " \n", "\u202eevil"):
        for html in (
            user_page(FOUND, lambda _, odd=odd: odd, picture=None),  # type: ignore[misc]
            index_page([(FOUND, "u.html")], lambda _, odd=odd: odd, heading=odd),  # type: ignore[misc]
        ):
            html.encode("utf-8")
            assert not re.search("[\x00\x1b\uffff]", html)
            Page(html)


def test_an_empty_title_is_replaced_by_the_id_and_none_passes_for_markup() -> None:
    assert "Why 5?" in shown(user_page(FOUND, lambda _: " ", picture=None))
    assert "<u>" not in user_page(FOUND, lambda _: Markup("<u>x</u>"), picture=None)


# The page of one person


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_is_said_in_plain_words(status: str) -> None:
    html = page_of(CASES[status])
    assert shown(html).count(MEANINGS[status]) == 2  # below the sentence, and under what was tested
    chip = next(e for e in Page(html).find("span") if e.attributes["class"] == f"chip {status}")
    assert chip.text == ("none up to 2 items" if status == "none_up_to" else LABELS[status])
    others = [other for other in STATUSES if other != status]
    assert not any(MEANINGS[other] in shown(html) for other in others)


def test_the_sentence_leads_and_its_titles_are_emphasised_whatever_asterisks_they_hold() -> None:
    page = Page(page_of(FOUND))
    assert page.find("h1")[0].text == FOUND.sentence(title_of).replace("*", "").replace("MASH", "M*A*S*H")
    assert [e.text for e in page.find("em", within="h1")] == [TITLES["2"], TITLES["4"], TITLES["6"]]


@pytest.mark.parametrize("status", ["none_up_to", "budget"])
def test_without_a_removal_there_is_one_list_and_nothing_is_marked_removed(status: str) -> None:
    html = page_of(CASES[status])
    assert "There is no second list" in shown(html)
    assert [h.text for h in Page(html).find("h3")] == ["As it is"]
    assert not [e for e in Page(html).find("li") if e.attributes.get("class") == "is-removed"]
    assert not re.search("Removed items|drops out|random sets of the same size", shown(html))


def test_an_error_is_shown_with_its_reason_and_no_lists() -> None:
    html = page_of(CASES["error"])
    assert "The reason: the *window* is <empty>" in shown(html)
    assert "recommendation number" not in shown(page_of(replace(CASES["error"], target_rank=0)))
    assert Page(html).find("h3") == []
    assert Page(html).find("em", within="h1") == []


def entries(html: str, within: str) -> list[tuple[str, str, str]]:
    """(place, look, words) of each entry of the lists inside an element."""
    found = Page(html).find("li", within=within)
    return [(e.attributes["value"], e.attributes.get("class", ""), squeezed(e.text)) for e in found]


def test_the_lists_mark_what_is_explained_what_drops_out_and_what_is_new() -> None:
    assert entries(page_of(FOUND), "div.card") == [
        ("1", "is-target", "Heat (1995) explained, drops out"),
        ("2", "", "Brazil (1985)"),
        ("3", "", "Kika (1993)"),
        ("1", "", "Brazil (1985) was 2"),
        ("2", "is-new", "{{ 7 * 7 }} new"),
        ("3", "", "Kika (1993)"),
    ]


def test_an_explained_item_that_stays_is_marked_in_both_lists() -> None:
    stays = replace(FOUND, change="list", tau=0.5, before=("5", "6"), after=("7", "5"))
    assert entries(page_of(stays), "div.card") == [
        ("1", "is-target", "Heat (1995) explained"),
        ("2", "is-gone", "Brazil (1985) drops out"),
        ("1", "is-new", "Kika (1993) new"),
        ("2", "is-target", "Heat (1995) explained, was 1"),
    ]
    assert "outside this list" not in shown(page_of(stays))
    assert "stands at place 40, outside" in shown(page_of(replace(FOUND, target_rank=40, target="1")))


def test_the_history_runs_from_the_oldest_with_unseen_and_removed_items_marked() -> None:
    html = page_of(FOUND)
    assert entries(html, "details") == [("1", "", "Ran's (1985)")]
    assert "The model never saw these 1 older item" in shown(html)
    assert entries(html, "ol.history")[1:] == [
        ("2", "", "Alien (1979)"),
        ("3", "is-removed", "<script>alert(1)</script> removed"),
        ("4", "", 'A "quoted" & <b>'),
        ("5", "is-removed", "M*A*S*H (1970) removed"),
    ]
    strip = [e.attributes.get("class", "") for e in Page(html).find("i", within="div.strip")]
    assert strip == ["u", "", "x", "", "x", "t"]


def test_a_history_that_was_seen_whole_says_nothing_of_unseen_items() -> None:
    html = page_of(replace(FOUND, n_unseen=0))
    assert "never saw" not in html
    assert Page(html).find("details") == []
    assert "u" not in [e.attributes.get("class") for e in Page(html).find("i")]


def test_many_unseen_items_stay_behind_a_click() -> None:
    long = replace(NOTHING, history=tuple(map(str, range(100))), n_unseen=90)
    assert "open" not in Page(page_of(long)).find("details")[0].attributes
    assert "open" in Page(page_of(FOUND)).find("details")[0].attributes


def test_a_high_null_rate_is_warned_about_and_its_limit_is_not() -> None:
    warning = "Warning: this explanation says little"
    assert warning not in shown(page_of(replace(FOUND, null_rate=0.2)))
    assert "20 % of random sets of the same size" in shown(page_of(replace(FOUND, null_rate=0.2)))
    weak = replace(FOUND, null_rate=0.45)
    assert weak.is_weak
    assert not replace(FOUND, null_rate=0.2).is_weak
    assert f"{warning}. 45 % of random sets" in shown(page_of(weak))
    assert "Random sets not measured" in shown(page_of(replace(FOUND, null_rate=None)))


@pytest.mark.parametrize(
    ("explanation", "words"),
    [
        (replace(FOUND, proven_size=0), "One item is enough"),
        (replace(NOTHING, proven_size=0), "No size of set was tested completely"),
        (replace(NOTHING, proven_size=1), "Every single item was tested without success"),
        (replace(NOTHING, proven_size=3), "All sets of up to 3 items were tested without success"),
        (replace(NOTHING, evaluations=1), "1 edited history scored"),
        (FOUND, "1,234 edited histories scored"),
        (FOUND, "top1: another item comes first"),
        (replace(FOUND, change="leaves"), "leaves: the explained item is no longer among the top 3"),
        (replace(FOUND, change="list", tau=0.25), "list: at least 25 % of the top 3 is new"),
        (replace(FOUND, change="enters", wanted="4"), "enters: M*A*S*H (1970) comes into the top 3"),
        (FOUND, "delete: the items are taken out and the rest closes up"),
        (replace(FOUND, removal="pad"), "pad: the places of the items stay"),
        (replace(FOUND, removal="mask"), "mask: the places of the items hold the mask token"),
        (replace(FOUND, removal="backfill"), "backfill: the items are taken out and older ones move"),
        (FOUND, "Explainer causal Length of the list (k) 3 Seed 17 Explained item 5"),
        (FOUND, "Removed items 2, 4, at positions 2, 4 of the files, which count from 0"),
        (FOUND, "Model hash model-hash-1 Data hash data-hash-2 recexplain 9.8.7, schema version 2"),
        (replace(FOUND, model_hash=""), "Model hash not recorded"),
        (FOUND, "Person ann & <b> · recommendation number 1"),
        (replace(FOUND, user=None), "One person"),
        (FOUND, "Other removals with no other kind of removal does the same set change the answer"),
        (replace(FOUND, holds_under=("pad", "mask")), "the same set also changes the answer with pad, mask"),
        (FOUND, "Other sets of that size not all were tested"),
        (replace(FOUND, n_minimal=1), "Other sets of that size none: this is the only one"),
        (
            MINIMAL,
            'Other sets of that size 2 others do it too Alien (1979), A "quoted" & <b> Alien (1979), M*A*S*H (1970)',
        ),
        (
            MINIMAL,
            "Most critical items share of all such sets that hold it: Alien (1979): 66.7 % <script>alert(1)",
        ),
        (replace(MINIMAL, n_minimal=None, criticality=()), "not all were tested; some that do it too: Alien (1979)"),
        (replace(MINIMAL, alternatives=((1, 2),) * 11, n_minimal=12), "and more, in the files"),
        (replace(FOUND, costs=(1.0, 2.0, 1.0, 1.0, 1.0)), "Costs each item has its own cost of removal here"),
        (replace(FOUND, locked=(2, 3)), "Locked 2 items that the model saw might not be removed"),
        (replace(FOUND, change="enters", wanted_category="Drama"), "Wanted category Drama"),
    ],
)
def test_what_was_tested_and_with_which_options_is_said(explanation: Explanation, words: str) -> None:
    assert words in shown(page_of(explanation))


def test_critical_items_are_listed_where_shares_can_differ() -> None:
    assert "Most critical items" not in shown(page_of(replace(MINIMAL, n_minimal=1)))
    assert "Most critical items" not in shown(page_of(replace(MINIMAL, positions=(2,), items=("2",))))


def test_the_picture_is_part_of_the_page_and_described() -> None:
    image = Page(page_of(FOUND, picture=PICTURE, note="one head")).find("img")[0]
    start, data = image.attributes["src"].split(",")
    assert start == "data:image/png;base64"
    assert b64decode(data) == PICTURE
    assert "4 items" in image.attributes["alt"]
    assert "Heat (1995)" in image.attributes["alt"]
    assert "Removed items: <script>alert(1)</script>, M*A*S*H (1970)." in image.attributes["alt"]


def test_without_a_picture_the_note_stands_alone_and_without_both_there_is_no_section() -> None:
    noted, bare = page_of(FOUND, note="No <graph> here."), page_of(FOUND)
    assert Page(noted).find("img") == Page(bare).find("img") == []
    assert "The causal graph over the history No <graph> here." in shown(noted)
    assert "causal graph over" not in shown(bare)


def test_the_picture_of_an_explanation_has_the_seen_items_and_the_target_as_nodes() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(5))
    titles = [TITLES[item] for item in ("1", "2", "3", "4", "5")]
    assert picture_of(FOUND, graph, title_of) == graph_png(graph, titles, (1, 3), n_unseen=1)
    older = replace(FOUND, removal="backfill", positions=(0, 2), items=("9", "2"))
    assert picture_of(older, graph, title_of) == graph_png(graph, titles, (1,), n_unseen=1)
