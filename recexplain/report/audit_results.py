"""The sections of an audit about what was audited and what it came to; a section is None where nothing is known."""

from collections.abc import Mapping
from typing import Any

from recexplain.explanation import HIGH_NULL_RATE, STATUSES
from recexplain.report.charts import Value, columns_svg, rows_svg
from recexplain.report.page import LABELS, MEANINGS, REMOVALS, counted, number, percent
from recexplain.report.parts import (
    NONE,
    Cell,
    Chart,
    Section,
    chart,
    mean_cell,
    people,
    share_cell,
    share_words,
    short,
    table,
    value_words,
)
from recexplain.report.scoreboard import figure

Report = Mapping[str, Any]
Rows = list[list[Cell | str]]

LEADERS = 10  # items of each kind that are listed
BINS = 20  # upright bars at most; the last one holds the rest
FACT = 300  # characters of an option's value

MEASURES = {"ndcg10": "NDCG@10", "hr10": "HR@10", "mrr": "MRR"}


def identity(report: Report) -> Section:
    """Model, data and options, all that decides the rows, and the run that wrote them."""
    known, run = report["identity"], report["run"]
    hashes = [("model hash", known["model_hash"]), ("data hash", known["data_hash"])]
    hashes += [("histories hash", known["histories_hash"]), ("hash of all rows", report["rows_hash"])]
    apart = {"model_hash", "data_hash", "histories_hash", "split", "version"}
    options = [(name.replace("_", " "), _option(value)) for name, value in known.items() if name not in apart]
    version = f"{known['version']}, commit {run['commit']}" if run.get("commit") else str(known["version"])
    machine = (
        f"{run['engine']}, {run['workers']} workers, {run['cores']} cores, Python {run['python']}, {run['machine']}"
    )
    where = [("recexplain", version), ("date", run["date"]), ("engine and machine", machine)]
    return Section(
        "identity",
        "What was audited",
        (f"How the data is split: {known['split']}",) if known.get("split") else (),
        tuple((name, short(value, FACT)) for name, value in (*hashes, *options, *where)),
        notes=("Two audits with the same hash of all rows have the same explanations.",),
    )


def quality(report: Report) -> Section | None:
    """How well the model ranks, and what it recommends: the line of a model card."""
    known = report["quality"]
    trained, newest, recommended = (known.get(name) for name in ("trained", "newest_item", "recommended"))
    tables, words = [], []
    ranked = _ranked((trained or {}).get("test"))
    if ranked:
        heads = ("on the test items, when it was trained", *MEASURES.values())
        rows: list[list[Cell | str]] = [
            [Cell(short(name)), *(Cell(_measure(one, key)) for key in MEASURES)] for name, one in ranked
        ]
        tables.append(table(heads, rows))
    if newest:
        words.append(f"{newest['about']} {newest['drawn'].capitalize()}.")
        k = newest["k"]
        heads = ("on the newest item of the audited histories", f"NDCG@{k}", f"HR@{k}", "MRR")
        row = [Cell(people(newest["people"])), mean_cell(newest["ndcg"]), share_cell(newest["hit_rate"])]
        tables.append(table(heads, [[*row, mean_cell(newest["mrr"])]]))
    if recommended:
        tables.append(_recommended(recommended))
    return Section("quality", "How good the model is", tuple(words), tables=tuple(tables)) if tables else None


def sample(report: Report) -> Section:
    """Whose histories, how they were drawn, and who is missing."""
    known, counts = report["sample"], report["counts"]
    facts = [("drawn", known["drawn"]), ("seed of the draw", known["seed"]), ("history", known["history"])]
    facts += [("unknown items", known["unknown_items"]), ("people in the table", number(known["people_in_table"]))]
    facts += [("people audited", number(known["people"])), ("rows written", number(counts["people_out"]))]
    facts += [("items in their histories", number(counts["items_in_histories"]))]
    if counts["unknown_items_left_out"]:
        facts.append(("unknown items left out", number(counts["unknown_items_left_out"])))
    excluded = [[Cell(short(one["reason"])), Cell(number(one["people"]))] for one in known["excluded"]]
    tables = (table(("not audited, because", "people"), excluded),) if excluded else ()
    return Section("sample", "Whose histories", facts=tuple((n, short(v)) for n, v in facts), tables=tables)


def outcomes(report: Report) -> Section:
    """From everyone down to a proof, and what became of the others."""
    known = report["outcomes"]
    found, counts = known["explained"], {status: known["statuses"][status] for status in STATUSES}
    n_answered = known["people"] - counts["error"]["n"]
    steps = [
        ("people audited", known["people"]),
        ("could be computed", n_answered),
        ("set found and confirmed", found["n"]),
        ("no item can be spared", counts["optimal"]["n"] + counts["irreducible"]["n"]),
        ("proven smallest", counts["optimal"]["n"]),
    ]
    bars = [Value(name, n, text=f"{number(n)}{_of(n, known['people'])}") for name, n in steps]
    funnel = chart(
        "From everyone to a proof",
        rows_svg(bars),
        f"Bars: of {people(known['people'])}, {number(found['n'])} have a set that was found and confirmed.",
        table(("step", "people"), [[name, Cell(number(n))] for name, n in steps]),
    )
    rows = [
        [Cell(LABELS[status], kind=status), Cell(number(one["n"])), share_cell(one), Cell(MEANINGS[status])]
        for status, one in counts.items()
        if one["n"]
    ]
    tables = [table(("outcome", "people", "share", "what it means"), rows)]
    proven = report["none_found_proven_up_to"]
    if proven:
        heads = ("nothing found, all sets tested up to", "people")
        tables.append(table(heads, [[counted(int(size), "item"), Cell(number(n))] for size, n in proven.items()]))
    if report["errors"]:
        reasons = [[one["reason"], Cell(number(one["people"]))] for one in report["errors"][:LEADERS]]
        tables.append(table(("could not be explained, because", "people"), reasons))
    evaluations = report["evaluations"]
    effort = f"{number(evaluations['total'])} edited histories were scored"
    effort += "." if evaluations["mean"] is None else f", {figure(evaluations['mean'])} a person on average."
    return Section("outcomes", "What came of it", charts=(funnel,), tables=tuple(tables), notes=(effort,))


def sizes(report: Report) -> Section | None:
    """How many items explain, and how far back in the history they stand."""
    known, places = report["sizes"], report["positions"]
    if not known["counts"]:
        return None
    size_words = f"A set holds {figure(known['mean'])} items on average, {known['median']} in the median."
    newest = f"The newest item alone explains {share_words(places['newest_item_alone'])}."
    charts = (
        _histogram("Items in a set", known["counts"], below="items removed", beside="people"),
        _histogram(
            "How far back they stand", places["from_newest"], below="places before the newest item", beside="items"
        ),
    )
    return Section("sizes", "How large the sets are, and where their items stand", (size_words, newest), charts=charts)


def specificity(report: Report) -> Section | None:
    """How often random sets do as well, and under which other removals the sets hold."""
    known, holds = report["specificity"], report["cross_semantics"]
    if known["null_rate_mean"] is None:
        return None
    removal = report["identity"]["removal"]
    words = (
        f"Of random sets of the same size, {percent(known['null_rate_mean'])} change the answer too, on average. "
        f"Where it is more than {percent(HIGH_NULL_RATE)}, an explanation says little: {share_words(known['weak'])}.",
    )
    tenths = {f"{float(low) * 100:g}": n for low, n in known["null_rate_counts"].items()}
    histogram = _histogram(
        "Random sets that do as well", tenths, below="% of random sets, from", beside="people", more=False
    )
    rows = [
        [Cell(name), share_cell(one), Cell(REMOVALS.get(name, ""))]
        for name, one in holds.items()
        if one["share"] is not None
    ]
    note = f"Sets were found with {removal}: {REMOVALS.get(removal, '')}."
    also = (table(("the same set with another removal", "changes the answer too", "what it is"), rows, note=note),)
    return Section(
        "specificity", "Whether anything else would have done", words, (), (histogram,), also if rows else ()
    )


def leaders(report: Report) -> Section | None:
    """Which items explain most, are explained, and come instead."""
    kinds = {
        "explaining": ("explaining most", "people whose set holds it"),
        "critical": ("most critical", "people"),
        "explained": ("explained most", "people"),
        "replacing": ("coming instead most", "people"),
        "recommended": ("recommended most", "lists"),
    }
    tables = []
    for kind, (title, what) in kinds.items():
        items = report["items"].get(kind, [])[:LEADERS]
        if not items:
            continue
        weighed = "weight" in items[0]
        heads = [title, what, *(["weight"] if weighed else []), "in histories"]
        rows = [
            [
                Cell(short(one["title"])),
                Cell(number(one["people"])),
                *([Cell(figure(one["weight"]))] if weighed else []),
                Cell(number(one["in_histories"])),
            ]
            for one in items
        ]
        tables.append(table(heads, rows))
    notes = (
        f"The first {LEADERS} of each kind; report.json has more. In histories: places of all audited histories that "
        "the item fills. Weight: the share of a person's smallest sets that hold the item, summed over people.",
    )
    return Section("items", "Which items", tables=tuple(tables), notes=notes) if tables else None


def shift(report: Report) -> Section | None:
    """Where a removal leads: rank, popularity and categories of what comes instead."""
    known, popularity = report["replacements"], report["popularity"]
    if not known["people"]:
        return None
    rank, than = known["rank"], known["popularity"]
    half = f"beyond place {rank['k']}" if rank["median"] is None else f"at place {rank['median']} or better"
    words = (
        f"What comes first after a removal stood {half} before it, for at least half of the people; "
        f"for {people(rank['beyond'])} it was not among the first {rank['k']}.",
        f"It is more popular than the explained item for {share_words(than['more_popular'])}, "
        f"less popular for {share_words(than['less_popular'])}.",
    )
    ranks = {**rank["counts"], f">{rank['k']}": rank["beyond"]}
    charts = [_histogram("Where the replacement stood", ranks, below="place before", beside="people", more=False)]
    charts.append(_popularity(popularity))
    same, shares = report["categories"]["same_as_explained"], report["categories"]["shares"]
    tables = []
    if shares:
        rows = [[Cell(kind.replace("_", " ")), share_cell(one)] for kind, one in same.items()]
        tables.append(table(("in a category of the explained item", "share"), rows))
        kinds = ("in_histories", "explaining", "explained", "replacing")
        parts = [
            [one["category"], *(Cell(value_words(one[kind], in_percent=True)) for kind in kinds)] for one in shares
        ]
        heads = ("category", "in histories", "explaining", "explained", "coming instead")
        tables.append(table(heads, parts, note="An item of several categories counts in each of them."))
    return Section("shift", "Where a removal leads", words, charts=tuple(charts), tables=tuple(tables))


# Pieces


def _option(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_option(one)}" for name, one in value.items()) or NONE
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _ranked(test: object) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the recommenders whose quality a checkpoint records, whatever else stands there."""
    if not isinstance(test, Mapping):
        return []
    return [(name, one) for name, one in test.items() if isinstance(one, Mapping) and MEASURES.keys() & one.keys()]


def _measure(one: Mapping[str, Any], key: str) -> str:
    value = one.get(key)
    return f"{value:.4f}" if isinstance(value, float) else NONE


def _recommended(known: Mapping[str, Any]) -> Any:
    popularity, gini, tail = known["popularity"], known["gini"], known["long_tail"]
    ratio = popularity["ratio"]
    rows: Rows = [
        ["items recommended to anyone", share_cell({"low": None, "high": None, **known["coverage"]}), Cell(NONE)],
        ["mean popularity", value_words(popularity["recommended"]), value_words(popularity["consumed"])],
        ["concentration (Gini; 1: all on one item)", value_words(gini["recommended"]), value_words(gini["consumed"])],
        ["long tail", share_cell(tail["recommended"]), share_cell(tail["consumed"])],
    ]
    times = (
        "" if ratio is None else f"Recommended items are {figure(ratio)} times as popular as those in the histories. "
    )
    heads = (f"in {number(known['lists'])} lists of {known['k']}", "recommended", "in the histories")
    return table(heads, rows, note=f"{times}{tail['about']}")


def _histogram(title: str, counts: Mapping[str, int], *, below: str, beside: str, more: bool = True) -> Chart:
    """Return upright bars over names in order; numbers beyond the last bar are put together, if `more`."""
    if more:
        counts = _binned({int(name): n for name, n in counts.items()})
    total = sum(counts.values()) or 1
    values = [Value(name, n) for name, n in counts.items()]
    most = max(counts, key=lambda name: counts[name])
    rows: Rows = [[name, Cell(number(n)), Cell(percent(n / total))] for name, n in counts.items()]
    alt = f"Bars: {beside} by {below}. Most, {number(counts[most])} of {number(total)}, at {most}."
    return chart(title, columns_svg(values, below=below, beside=beside), alt, table((below, beside, "share"), rows))


def _binned(counts: Mapping[int, int]) -> dict[str, int]:
    """Return every number from the first to the last; what lies beyond `BINS` of them in one.

    >>> _binned({1: 5, 3: 2})
    {'1': 5, '2': 0, '3': 2}
    """
    first, last = min(counts), min(max(counts), min(counts) + BINS - 1)
    binned = {str(place): counts.get(place, 0) for place in range(first, last + 1)}
    beyond = sum(n for place, n in counts.items() if place > last)
    return {**binned, f"{last + 1}+": beyond} if beyond else binned


def _popularity(known: Mapping[str, float | None]) -> Chart:
    names = {name: name.removeprefix("of_").replace("_", " ") for name in known}
    values = [Value(names[name], value, text=value_words(value)) for name, value in known.items()]
    rows: Rows = [[names[name], Cell(value_words(value))] for name, value in known.items()]
    heads = ("mean popularity of", "places of the audited histories")
    return chart(
        "How popular the items are",
        rows_svg(values, below="places of the audited histories, mean"),
        "Bars: mean popularity of the items in the histories, and of those that explain, are explained or replace.",
        table(heads, rows),
    )


def _of(n: int, total: int) -> str:
    return f" ({percent(n / total)})" if total else ""
