"""The cases of an audit: one bounded page a person, with history, lists before and after, and the causal graph."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import networkx as nx
from markupsafe import Markup

from recexplain.explanation import Explanation
from recexplain.report.graph import SMALL
from recexplain.report.page import (
    Entry,
    counted,
    history_of,
    label,
    list_after,
    list_before,
    number,
    percent,
    picture_of,
    picture_text,
    sentence_of,
    tested,
    titles_in,
)
from recexplain.report.parts import LONGEST, NONE, Cell, Table, short, table

LISTED, SEEN, NAMED = 20, 100, 12  # items of a list, of a history and of a sentence that a case shows at most
REASON = 300  # characters

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One person as the report shows them."""

    anchor: str
    user: str
    kinds: tuple[str, ...]  # why this person is shown
    explanation: Explanation
    graph: Mapping[str, Any] | None
    sentence: Markup
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
    seen: tuple[Entry, ...]  # the newest of what the model saw
    n_older: int  # items that it saw besides, and
    n_unseen: int  # that it did not see
    removed: tuple[Entry, ...]
    facts: tuple[tuple[str, str], ...]
    alt: str  # of the picture of its graph


@dataclass(frozen=True)
class Kind:
    """Why people are shown, and who they are."""

    title: str
    about: str
    people: Table


def cases_of(report: Report) -> list[Case]:
    """Return everyone who is shown, once, those of the first kind first."""
    known = report["cases"]
    people = {one["user"]: one for one in known["people"]}
    kinds: dict[str, list[str]] = {}
    for kind in known["kinds"]:
        for user in kind["users"]:
            kinds.setdefault(user, []).append(short(kind["title"]))
    title = title_in(report)
    return [_case(n, people[user], tuple(kinds[user]), title) for n, user in enumerate(kinds, start=1)]


def kinds_of(report: Report, cases: Sequence[Case]) -> list[Kind]:
    """Return the tables of people that lead to the cases; whoever has no case there has no link."""
    shown = {case.explanation.user: case for case in cases}
    title = title_in(report)
    people = {one["user"]: Explanation.from_dict(one["explanation"]) for one in report["cases"]["people"]}
    kinds = []
    for kind in report["cases"]["kinds"]:
        rows = [_row(people[user], shown.get(user), title) for user in kind["users"]]
        heads = ("person", "recommended", "without", "first afterwards", "outcome", "random sets")
        kinds.append(Kind(short(kind["title"]), short(kind["about"]), table(heads, rows)))
    return kinds


def title_in(report: Report) -> Callable[[str], str]:
    """Return what gives the title of an item of a case, cut where it is very long."""
    titles = report["cases"]["titles"]
    return titles_in(lambda item: short(titles.get(item, item)))


def pictures_of(
    cases: Sequence[Case], kinds: Sequence[Sequence[str]], title: Callable[[str], str], most: int
) -> dict[str, str]:
    """Return pictures of graphs in base64 by anchor, as many as `most` bytes hold: the first of each kind first."""
    by_user = {case.explanation.user: case for case in cases}
    in_turn = dict.fromkeys(user for turn in zip_longest(*kinds) for user in turn if user in by_user)
    found: dict[str, str] = {}
    for case in map(by_user.__getitem__, in_turn):
        if case.graph is None:
            continue
        picture = b64encode(picture_of(case.explanation, graph_in(case.graph), title, dpi=SMALL)).decode()
        most -= len(picture)
        if most < 0:
            break
        found[case.anchor] = picture
    return found


def graph_in(known: Mapping[str, Any]) -> nx.DiGraph:
    """Return a graph as `report.json` holds it: edges (x, y, mark at x, mark at y)."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(known["nodes"]))
    for x, y, at_x, at_y in known["edges"]:
        graph.add_edge(x, y, mark=at_y)
        graph.add_edge(y, x, mark=at_x)
    return graph


def _case(place: int, person: Mapping[str, Any], kinds: tuple[str, ...], title: Callable[[str], str]) -> Case:
    e = Explanation.from_dict(person["explanation"])
    history = history_of(e, title)
    seen = history[e.n_unseen :]
    return Case(
        f"case-{place}",
        short(e.user),
        kinds,
        e,
        person["graph"],
        _said(e, title),
        tuple(list_before(e, title)[:LISTED]),
        tuple(list_after(e, title)[:LISTED]),
        tuple(seen[-SEEN:]),
        max(0, len(seen) - SEEN),
        e.n_unseen,
        tuple(entry for entry in history if entry.kind == "removed")[:SEEN],
        tuple(_facts(e)),
        short(picture_text(e, title), 2 * LONGEST),
    )


def _said(e: Explanation, title: Callable[[str], str]) -> Markup:
    """Return the explanation's sentence, or one that does not name all items, where they are many."""
    if len(e.items) <= NAMED:
        return sentence_of(replace(e, error=short(e.error, REASON)) if e.error else e, title)
    said = "Why <em>{}</em>? It takes {} of the history to change this; they are marked below."
    return Markup(said).format(title(e.target), counted(len(e.items), "item"))  # noqa: S704  its values are escaped


def _facts(e: Explanation) -> list[tuple[str, str]]:
    """Return what was tested, in a few lines."""
    facts = [("proof", tested(e)), ("effort", f"{counted(e.evaluations, 'edited history', 'edited histories')} scored")]
    if e.null_rate is not None:
        facts.append(("random sets", f"{percent(e.null_rate)} of the same size change the answer too"))
    if e.is_found:
        facts.append(
            ("other removals", f"holds with {', '.join(e.holds_under)}" if e.holds_under else "holds with no other")
        )
        others = "not all were tested" if e.n_minimal is None else number(e.n_minimal - 1)
        facts.append(("other sets of that size", others))
    if e.error:
        facts.append(("reason", short(e.error, REASON)))
    return facts


def _row(e: Explanation, case: Case | None, title: Callable[[str], str]) -> list[Cell]:
    removed = [title(item) for item in e.items[:3]] + ([f"and {len(e.items) - 3} more"] if len(e.items) > 3 else [])
    return [
        Cell(short(e.user), link=case.anchor if case else ""),
        Cell(title(e.target) or NONE),
        Cell("; ".join(removed) or NONE),
        Cell(title(e.replacement) if e.replacement is not None else NONE),
        Cell(label(e), kind=e.status),
        Cell(NONE if e.null_rate is None else percent(e.null_rate), kind="weak" if e.is_weak else ""),
    ]
