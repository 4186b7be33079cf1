"""The report of an audit: one HTML text that loads nothing, runs no script and is never larger than `MOST` bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recexplain.explanation import HIGH_NULL_RATE
from recexplain.report import audit_checks, audit_results
from recexplain.report.audit_cases import Case, cases_of, kinds_of, pictures_of, title_in
from recexplain.report.page import counted, number, percent, render
from recexplain.report.parts import NONE, Section, between, people, share_words, short, value_words
from recexplain.report.scoreboard import figure

MOST = 3_000_000  # bytes
MARKUP = 2500  # bytes at most around a picture, its text for those who cannot see it included

Report = Mapping[str, Any]

RESULTS = (
    audit_results.identity,
    audit_results.quality,
    audit_results.sample,
    audit_results.outcomes,
    audit_results.sizes,
    audit_results.specificity,
    audit_results.leaders,
    audit_results.shift,
    audit_checks.slices,
    audit_checks.sensitivity,
    audit_checks.comparison,
    audit_checks.gates,
)

CONSEQUENCES = {
    "top1": "another item would come first",
    "leaves": "the recommended item would not be in the top {k}",
    "list": "at least {tau} of the top {k} would be new",
    "enters": "{wanted} would come into the top {k}",
}


@dataclass(frozen=True)
class Tile:
    """One figure at the top."""

    value: str
    words: str


def audit_page(report: Report) -> str:
    """Return `report.html` from the content of `report.json`.

    What does not fit `MOST` bytes is left out, and the page says so: pictures of graphs first, then cases, then charts.
    """
    sections = [section for one in RESULTS if (section := one(report)) is not None]
    cases = cases_of(report)
    shown, text = len(cases), _page(report, sections, cases, {})
    while shown and len(text.encode()) > MOST:
        shown //= 2
        text = _page(report, sections, cases[:shown], {})
    if len(text.encode()) > MOST:
        sections = [_without_charts(section) for section in sections]
        text = _page(report, sections, cases[:shown], {})
    room = MOST - len(text.encode())
    kinds = [kind["users"] for kind in report["cases"]["kinds"]]
    pictures = pictures_of(cases[:shown], kinds, title_in(report), room - MARKUP * shown)
    return _page(report, sections, cases[:shown], pictures)


def _without_charts(section: Section) -> Section:
    return replace(section, charts=(), parts=tuple(map(_without_charts, section.parts)))


def _page(report: Report, sections: Sequence[Section], cases: Sequence[Case], pictures: Mapping[str, str]) -> str:
    n_people, n_graphs = len(report["cases"]["people"]), sum(case.graph is not None for case in cases)
    left_out = []
    if len(cases) < n_people:
        left_out.append(
            f"{counted(n_people - len(cases), 'person', 'people')} of the table without a page of their own"
        )
    if len(pictures) < n_graphs:
        left_out.append(counted(n_graphs - len(pictures), "picture of a causal graph", "pictures of causal graphs"))
    return render(
        "audit.j2",
        heading=f"Audit of {short(report['identity']['model'].get('name', 'a recommender'))}",
        n_people=report["outcomes"]["people"],
        summary=summary_of(report),
        tiles=_tiles(report),
        failed_gates=[one["name"] for one in report["gates"] if not one["is_passed"]],
        n_gates=len(report["gates"]),
        sections=sections,
        kinds=kinds_of(report, cases),
        cases=cases,
        pictures=pictures,
        left_out=" and ".join(left_out),
        limits=report["limits"],
        verify=report["verify"],
        rows_hash=report["rows_hash"],
    )


def summary_of(report: Report) -> tuple[str, str, str]:
    """Return three sentences for someone who reads nothing else."""
    return _found(report), _how_sure(report), _whom(report)


def _found(report: Report) -> str:
    asked, known = report["identity"], report["outcomes"]
    wanted = short(asked["wanted"] or asked["wanted_category"] or "a wanted item")
    tau = percent(asked["tau"]) if asked["tau"] is not None else ""
    consequence = CONSEQUENCES[asked["change"]].format(k=asked["k"], tau=tau, wanted=wanted)
    return (
        f"Of the people audited, {share_words(known['explained'])} have a set of their own past items without which "
        f"{consequence}, and the model itself confirmed each of these answers."
    )


def _how_sure(report: Report) -> str:
    known = report["outcomes"]
    if known["size"]["mean"] is None:
        return "No such set was found for anyone, so nothing can be said of what explains these recommendations."
    proven, weak = known["optimal_of_explained"], known["weak_of_explained"]
    limit, says = percent(HIGH_NULL_RATE), "that explanation says" if weak["n"] == 1 else "these explanations say"
    says_little = (
        f"for {people(weak['n'])} it is more than {limit}, and {says} little"
        if weak["n"]
        else f"for nobody is it more than {limit}"
    )
    return (
        f"Such a set holds {figure(known['size']['mean'])} items on average; for {share_words(proven)} it is proven "
        f"that no smaller one exists; {percent(known['null_rate']['mean'])} of random sets of the same size do as well "
        f"on average, and {says_little}."
    )


def _whom(report: Report) -> str:
    counts, statuses = report["counts"], report["outcomes"]["statuses"]
    errors = statuses["error"]["n"]
    failed = f"of them {number(errors)} that could not be computed" if errors else "none of them failed"
    return (
        f"{people(counts['people_in'])} went in and {number(counts['people_out'])} "
        f"{'row' if counts['people_out'] == 1 else 'rows'} came out, {failed}; all of this says what the fitted model "
        f"does with an edited history, not what a retrained model or the world would do."
    )


def _tiles(report: Report) -> list[Tile]:
    known = report["outcomes"]
    found, size, null_rate = known["explained"], known["size"], known["null_rate"]
    share = NONE if found["share"] is None else percent(found["share"])
    sure = between(found["low"], found["high"], in_percent=True)
    return [
        Tile(number(known["people"]), "person audited" if known["people"] == 1 else "people audited"),
        Tile(share, f"explained ({sure})" if sure else "explained"),
        Tile(value_words(size["mean"]), "items removed on average"),
        Tile(value_words(null_rate["mean"], in_percent=True), "of random sets do as well"),
    ]
