"""The page of one person and the index of a run: one HTML text each that loads nothing and runs no script."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import networkx as nx
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recexplain.explanation import HIGH_NULL_RATE, STATUSES, Explanation
from recexplain.report.graph import DPI, graph_png

SHOWN_OTHERS = 10  # other minimal sets and critical items that a page lists at most
SHOWN_UNSEEN = 12  # so many unseen items are listed openly, more of them behind a click

LABELS = {
    "optimal": "optimal",
    "irreducible": "irreducible",
    "found": "found",
    "none_up_to": "none found",
    "budget": "budget",
    "error": "error",
}
MEANINGS = {
    "optimal": "Every smaller set was tested and none of them changes the answer: there is no smaller one.",
    "irreducible": "No item of this set can be spared: with any one of them put back, "
    "the answer stays as it was. Another, smaller set may exist.",
    "found": "The recommender confirmed that this removal changes the answer. "
    "Whether a smaller one would do is not known.",
    "none_up_to": "None of the sets that were tested changes the answer. Larger sets may.",
    "budget": "The budget was spent before a removal was found. One may exist.",
    "error": "This person could not be explained, so nothing is known about this recommendation.",
}
CAUTION = (
    "A removal set says what the fitted model does with an edited input, "
    "not what a retrained model or the world would do."
)
REMOVALS = {
    "delete": "the items are taken out and the rest closes up",
    "pad": "the places of the items stay and are not attended to",
    "mask": "the places of the items hold the mask token",
    "backfill": "the items are taken out and older ones move into the window",
}


@dataclass(frozen=True)
class Entry:
    """One line of a list of items."""

    place: int  # from 1
    title: str
    tag: str = ""  # what is special about it, in a word or two
    kind: str = ""  # how it looks: target, removed, new or plain


@dataclass(frozen=True)
class Person:
    """One row of the index."""

    name: str
    link: str
    explanation: Explanation
    removed: tuple[str, ...]  # titles
    target: str
    replacement: str
    without: Markup  # the sentence where nothing was found


@dataclass(frozen=True)
class Summary:
    """What the rows of an index come to."""

    n_people: int
    n_found: int
    statuses: tuple[tuple[str, int], ...]  # those that occur
    mean_size: float | None  # over found sets
    mean_size_all: float | None  # a failure counts as all items that the model saw
    evaluations: int
    n_weak: int  # found sets whose null rate is high


def picture_of(explanation: Explanation, graph: nx.DiGraph, title_of: Callable[[str], str], *, dpi: int = DPI) -> bytes:
    """Return the PNG of an explanation's graph: nodes are the newest positions and, last, the target."""
    title, history = titles_in(title_of), explanation.history
    first = len(history) - (graph.number_of_nodes() - 1)  # a model may see fewer items beside the target than alone
    titles = [title(item) for item in (*history[first:], explanation.target)]
    removed = [position - first for position in explanation.positions if position >= first]
    return graph_png(graph, titles, removed, n_unseen=first, dpi=dpi)


def user_page(
    explanation: Explanation, title_of: Callable[[str], str], *, picture: bytes | None, note: str = ""
) -> str:
    """Return the page of one person; `note` stands with the picture of the graph, or in its place."""
    title = titles_in(title_of)
    history = history_of(explanation, title)
    return render(
        "user.j2",
        e=explanation,
        sentence=sentence_of(explanation, title),
        target=title(explanation.target),
        before=list_before(explanation, title),
        after=list_after(explanation, title),
        unseen=history[: explanation.n_unseen],
        seen=history[explanation.n_unseen :],
        picture=b64encode(picture).decode() if picture else "",
        picture_text=picture_text(explanation, title),
        note=note,
        change=change_of(explanation, title),
        tested=tested(explanation),
        others=_others(explanation, title),
        critical=_critical(explanation, title),
    )


def index_page(rows: Sequence[tuple[Explanation, str]], title_of: Callable[[str], str], *, heading: str) -> str:
    """Return the index of a run: a summary, and a table of people with the relative links given."""
    title = titles_in(title_of)
    people = [_person(number, *row, title) for number, row in enumerate(rows, start=1)]
    return render("index.j2", heading=heading, people=people, figures=summary([row[0] for row in rows]))


def summary(explanations: Collection[Explanation]) -> Summary:
    """Return the figures of an index; means are None where there is nothing to average."""
    found = [e for e in explanations if e.is_found]
    counts = Counter(e.status for e in explanations)
    sizes = [len(e.positions) if e.is_found else len(e.history) - e.n_unseen for e in explanations]
    return Summary(
        len(explanations),
        len(found),
        tuple((status, counts[status]) for status in STATUSES if counts[status]),
        sum(len(e.positions) for e in found) / len(found) if found else None,
        sum(sizes) / len(sizes) if sizes else None,
        sum(e.evaluations for e in explanations),
        sum(e.is_weak for e in found),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("recexplain.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        caution=CAUTION,
        labels=LABELS,
        meanings=MEANINGS,
        removals=REMOVALS,
        shown_unseen=SHOWN_UNSEEN,
        high_null_rate=HIGH_NULL_RATE,
    )
    environment.filters.update(number=number, percent=percent, counted=counted, label=label)
    return environment


def render(template: str, **values: object) -> str:
    """Return a filled template; characters that no HTML text may hold become a replacement character."""
    text = _environment().get_template(template).render(values)
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", text)


# Words


def number(value: float) -> str:
    """Return a number for people: thousands apart, means with two decimals.

    >>> number(12345), number(1.5)
    ('12,345', '1.50')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def label(explanation: Explanation) -> str:
    """Return a status in a few plain words."""
    if explanation.status == "none_up_to" and explanation.proven_size:
        return f"none up to {counted(explanation.proven_size, 'item')}"
    return LABELS[explanation.status]


def percent(share: float) -> str:
    """Return a share in percent; a share that is not quite all or nothing does not read as such.

    >>> percent(0.074), percent(0.9996), percent(1.0)
    ('7.4 %', '>99.9 %', '100 %')
    """
    if 0 < share < 0.001:
        return "<0.1 %"
    if 0.999 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def counted(count: int, word: str, plural: str = "") -> str:
    """Return a number with its word: 1 item, 2 items."""
    return f"{number(count)} {word if count == 1 else plural or word + 's'}"


def titles_in(title_of: Callable[[str], str]) -> Callable[[str], str]:
    """Return `title_of` with the id in place of an empty title."""

    @cache
    def title(item: str) -> str:
        return str(title_of(item)).strip() or item  # str: no title may claim to be markup already

    return title


def sentence_of(explanation: Explanation, title: Callable[[str], str]) -> Markup:
    """Return the explanation's sentence, escaped, its titles in <em>.

    Titles go in as tokens first, so that an asterisk of a title (M*A*S*H) is not taken for its end.
    """
    named: dict[str, str] = {}

    def token(item: str) -> str:
        key = f"\0{len(named)}\0"
        named[key] = title(item)
        return key

    pieces = re.split(r"\*(\0\d+\0)\*", explanation.sentence(token))
    return Markup().join(Markup("<em>{}</em>").format(named[p]) if p in named else p for p in pieces)


def change_of(explanation: Explanation, title: Callable[[str], str]) -> str:
    """Return in words what had to become different."""
    k, wanted = explanation.k, title(explanation.wanted) if explanation.wanted else "a wanted item"
    words = {
        "top1": "another item comes first",
        "leaves": f"the explained item is no longer among the top {k}",
        "list": f"at least {percent(explanation.tau or 0.0)} of the top {k} is new",
        "enters": f"{wanted} comes into the top {k}",
    }
    return words.get(explanation.change, "")


def tested(explanation: Explanation) -> str:
    """Return in words which sets were tested without success."""
    size = explanation.proven_size
    if size == 0 and explanation.status == "optimal":
        return "One item is enough, and no set is smaller."
    if size == 0:
        return "No size of set was tested completely."
    sets = "Every single item was" if size == 1 else f"All sets of up to {size} items were"
    return f"{sets} tested without success."


def _others(explanation: Explanation, title: Callable[[str], str]) -> list[str]:
    """Return the other minimal sets in words, the first few."""
    sets = explanation.alternatives[:SHOWN_OTHERS]
    return [", ".join(title(explanation.history[position]) for position in positions) for positions in sets]


def _critical(explanation: Explanation, title: Callable[[str], str]) -> list[Entry]:
    """Return the items that most minimal sets hold, and how many of these in percent.

    Nothing where there is one set, or where each is of one item: then all shares are equal.
    """
    if explanation.n_minimal in (None, 1) or len(explanation.positions) == 1:
        return []
    shares = sorted(((-share, i) for i, share in enumerate(explanation.criticality) if share > 0), key=lambda s: s)
    return [Entry(i + 1, title(explanation.history[i]), percent(-share)) for share, i in shares[:SHOWN_OTHERS]]


def picture_text(explanation: Explanation, title: Callable[[str], str]) -> str:
    """Return what the picture shows, for those who cannot see it."""
    n_seen = len(explanation.history) - explanation.n_unseen
    removed = ", ".join(title(item) for item in explanation.items) or "none"
    return (
        f"Causal graph over {counted(n_seen, 'item')} of the history, oldest first, and the recommendation "
        f"{title(explanation.target)}, with a mark at both ends of each edge. Removed items: {removed}."
    )


# Lists


def list_before(explanation: Explanation, title: Callable[[str], str]) -> list[Entry]:
    """Return the top k as it is, the explained item and those that drop out marked."""
    entries = []
    for place, item in enumerate(explanation.before, start=1):
        gone = explanation.is_found and item not in explanation.after
        words = (["explained"] if item == explanation.target else []) + (["drops out"] if gone else [])
        kind = "target" if item == explanation.target else "gone" if gone else ""
        entries.append(Entry(place, title(item), ", ".join(words), kind))
    return entries


def list_after(explanation: Explanation, title: Callable[[str], str]) -> list[Entry]:
    """Return the top k after the removal: where each item was, and which are new."""
    was = {item: place for place, item in enumerate(explanation.before, start=1)}
    entries = []
    for place, item in enumerate(explanation.after, start=1):
        words = ["explained"] if item == explanation.target else []
        if was.get(item) != place:
            words.append(f"was {was[item]}" if item in was else "new")
        kind = "target" if item == explanation.target else "" if item in was else "new"
        entries.append(Entry(place, title(item), ", ".join(words), kind))
    return entries


def history_of(explanation: Explanation, title: Callable[[str], str]) -> list[Entry]:
    """Return the whole history, the removed positions marked."""
    removed = set(explanation.positions)
    return [
        Entry(i + 1, title(item), *(("removed", "removed") if i in removed else ("", "")))
        for i, item in enumerate(explanation.history)
    ]


def _person(number: int, explanation: Explanation, link: str, title: Callable[[str], str]) -> Person:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or link.startswith("/"):
        raise ValueError(f"a link of the index must be a relative path such as users/1.html, not {link!r}")
    return Person(
        explanation.user if explanation.user is not None else f"person {number}",
        link,
        explanation,
        tuple(title(item) for item in explanation.items),
        title(explanation.target),
        title(explanation.replacement) if explanation.replacement is not None else "",
        sentence_of(explanation, title) if not explanation.is_found else Markup(),
    )
