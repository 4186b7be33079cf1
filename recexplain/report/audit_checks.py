"""The sections of an audit that compare: slices, sensitivity, methods; then gates, limits and how to check it all."""

from collections.abc import Mapping, Sequence
from typing import Any

from recexplain.report.board import Board
from recexplain.report.charts import Value, intervals_svg, rows_svg
from recexplain.report.page import counted, number, percent
from recexplain.report.parts import (
    Cell,
    Chart,
    Section,
    Table,
    chart,
    mean_cell,
    people,
    share_cell,
    short,
    table,
    value_words,
)
from recexplain.report.scoreboard import Group, arrow, figure, groups_of

Report = Mapping[str, Any]
Figures = Mapping[str, Any]

DIMENSIONS, GROUPS = 8, 30  # shown at most; report.json has all
RULE = 400  # characters of a sentence
CHARTS = 2  # pictures of a dimension
DRAWN = ("explained", "size", "null_rate", "optimal_of_explained", "weak_of_explained", "ndcg")
TITLES = {
    "explained": "explained",
    "optimal_of_explained": "proven smallest",
    "size": "items removed",
    "null_rate": "random sets that do it too",
    "weak_of_explained": "says little",
    "ndcg": "NDCG@10",
}
IN_PERCENT = ("explained", "optimal_of_explained", "null_rate", "weak_of_explained")


def slices(report: Report) -> Section | None:
    """Whether groups of people fare alike, and which gaps are more than chance."""
    known = report["slices"]
    dimensions = known["dimensions"]
    if not dimensions:
        return None
    flags = [(one, group, flag) for one in dimensions for group in one["groups"] for flag in group["flags"]]
    said = f"{counted(len(flags), 'gap')} flagged." if flags else "No gap is flagged."
    left_out = len(dimensions) - DIMENSIONS
    more = (f"{counted(left_out, 'more slice')} in report.json.",) if left_out > 0 else ()
    hint = "Lines in the pictures are 95 % intervals, the dashed one is everyone; a diamond is a flagged gap."
    return Section(
        "slices",
        "Whether groups of people fare alike",
        (said, *(short(words, RULE) for words in known["rule"]["about"])),
        _users(known["users"]),
        tables=(_flagged(flags),) if flags else (),
        notes=(hint, *more),
        parts=tuple(
            Section(
                f"slice-{place}",
                f"By {short(one['title'])}",
                charts=tuple(_drawn(one, report["outcomes"])),
                tables=(_groups(one),),
            )
            for place, one in enumerate(dimensions[:DIMENSIONS], start=1)
        ),
    )


def sensitivity(report: Report) -> Section | None:
    """Whether explanations stay as they are where they should, and change where they should."""
    known = report["sensitivity"]
    if not known or not known["checks"]:
        return None
    wanted = {"high": "should stay", "low": "should differ"}
    rows, values = [], []
    for one in known["checks"]:
        overlap = one["jaccard"]
        rows.append(
            [
                Cell(one["title"], f"{wanted[one['wanted']]}. {one['about']}"),
                mean_cell(overlap),
                Cell(value_words(one["by_chance"])),
                share_cell(one["same"]),
                share_cell(one["found_before"]),
                share_cell(one["found_again"]),
                Cell(number(one["people"])),
            ]
        )
        is_low = one["wanted"] == "low"
        values.append(Value(one["title"], overlap["mean"], overlap["low"], overlap["high"], is_low))
    heads = ("change", "overlap of the sets", "by chance", "same set", "found before", "found again", "people")
    tables = [table(heads, rows)]
    more = [
        [
            Cell(one["title"], extra["about"]),
            share_cell(extra["share"]) if "share" in extra else mean_cell(extra["mean"]),
        ]
        for one in known["checks"]
        for extra in one["more"]
    ]
    if more:
        tables.append(table(("besides", "share"), more))
    picture = chart(
        "How far two explanations of a person agree",
        intervals_svg(values, below="overlap (Jaccard), 1: the same set"),
        "A dot a change: the mean overlap of a person's sets before and after it, with its interval.",
        table(heads[:2], [row[:2] for row in rows]),
    )
    words = (f"Explained again: {known['drawn']}.",)
    about = "Overlap: items in both sets over items in either, over the people with a set both times. "
    about += "Blue dots should lie high, orange diamonds low."
    return Section("sensitivity", "How stable they are", words, charts=(picture,), tables=tuple(tables), notes=(about,))


def comparison(report: Report) -> Section | None:
    """How the audit's explainer does beside others and beside the baselines, on the same people."""
    known = report["comparison"]
    if not known:
        return None
    board = Board.from_dict(known["board"])
    groups = groups_of(board)
    seconds = report["run"].get("comparison_seconds") or {}
    tables = [_metrics(group, seconds if group.name == "cost" else {}) for group in groups]
    charts = tuple(filter(None, (_bars(board, name) for name in ("size_all", "evaluations"))))
    not_run = [f"{row.label} could not be run: {short(row.not_run)}" for row in board.rows if row.not_run is not None]
    words = (f"Measured on {known['drawn']}.", *not_run)
    about = (
        "↑ higher is better, ↓ lower is better. Bold: the best; ~: not told apart from it by the paired interval. "
        f"Small: 95 % intervals over people, from {number(board.n_resamples)} resamples."
    )
    return Section("comparison", "Beside other methods", words, charts=charts, tables=tuple(tables), notes=(about,))


def gates(report: Report) -> Section | None:
    """Demands of the pipeline, and whether they were met."""
    if not report["gates"]:
        return None
    rows = [
        [
            Cell("met" if one["is_passed"] else "FAILED", kind="new" if one["is_passed"] else "removed"),
            Cell(one["name"]),
            Cell("nothing to measure" if one["measured"] is None else f"{one['measured']:g}"),
            Cell(f"{'at most' if one['name'].endswith('_max') else 'at least'} {one['bound']:g}"),
        ]
        for one in report["gates"]
    ]
    return Section("gates", "Gates", tables=(table(("", "gate", "measured", "wanted"), rows),))


# Pieces


def _users(known: Figures | None) -> tuple[tuple[str, str], ...]:
    """Return which table of people the slices are from, where there is one."""
    if known is None:
        return ()
    columns = f"{', '.join(map(str, known['columns']))}, of {people(known['people'])}"
    return (("table of people", short(columns)), ("hash of the table", str(known["hash"])))


def _drawn(dimension: Figures, everyone: Figures) -> list[Chart]:
    """Return pictures of the figures that tell most: the flagged ones, then those in which groups differ at all."""
    groups = dimension["groups"][:GROUPS]
    flagged = {flag["figure"] for group in groups for flag in group["flags"]}
    differ = [name for name in DRAWN if len({_value(group[name]) for group in groups} - {None}) > 1]
    chosen = sorted(differ, key=lambda name: (name not in flagged, DRAWN.index(name)))[:CHARTS]
    return [_dots(dimension["title"], groups, name, everyone) for name in chosen]


def _dots(title: str, groups: Sequence[Figures], name: str, everyone: Figures) -> Chart:
    values = [
        Value(
            short(group["group"]), _value(group[name]), group[name]["low"], group[name]["high"],
            any(flag["figure"] == name for flag in group["flags"]),
        )
        for group in groups
    ]  # fmt: skip
    whole = _value(everyone[name])
    written = (lambda value: f"{100 * value:.3g} %") if name in IN_PERCENT else "{:.3g}".format
    return chart(
        TITLES[name].capitalize() if name != "ndcg" else TITLES[name],
        intervals_svg(values, below=TITLES[name], everyone=whole, written=written),
        f"A dot for each of {counted(len(values), 'group')} with its interval, and a line for everyone.",
        table((title, TITLES[name]), [[group["group"], _cell(group, name)] for group in groups]),
    )


def _groups(dimension: Figures) -> Table:
    groups = dimension["groups"]
    rows = [
        [
            Cell(short(group["group"]), short(group["note"])),
            Cell(number(group["people"])),
            *(_cell(group, name) for name in TITLES),
        ]
        for group in groups[:GROUPS]
    ]
    left_out = len(groups) - GROUPS
    note = f"{counted(left_out, 'more group')} in report.json." if left_out > 0 else ""
    return table((dimension["title"], "people", *TITLES.values()), rows, note=note)


def _cell(group: Figures, name: str) -> Cell:
    kind = "flagged" if any(flag["figure"] == name for flag in group["flags"]) else ""
    known = group[name]
    return (
        share_cell(known, kind=kind) if "share" in known else mean_cell(known, in_percent=name in IN_PERCENT, kind=kind)
    )


def _value(known: Figures) -> float | None:
    value: float | None = known["share"] if "share" in known else known["mean"]
    return value


def _flagged(flags: Sequence[tuple[Figures, Figures, Figures]]) -> Table:
    def written(name: str, value: float) -> str:
        return percent(value) if name in IN_PERCENT else figure(value)

    rows = [
        [
            Cell(f"{short(dimension['title'])}: {short(group['group'])}", kind="flagged"),
            Cell(TITLES[flag["figure"]]),
            Cell(written(flag["figure"], flag["group"])),
            Cell(written(flag["figure"], flag["others"])),
            Cell(f"{flag['p_corrected']:.2g}"),
        ]
        for dimension, group, flag in flags[:GROUPS]
    ]
    left_out = len(flags) - GROUPS
    note = f"{counted(left_out, 'more gap')} in report.json." if left_out > 0 else ""
    return table(("flagged gap", "figure", "this group", "everyone else", "corrected p"), rows, note=note)


def _metrics(group: Group, seconds: Mapping[str, Sequence[float]]) -> Table:
    """Return a table with a row a metric and a column an explainer."""
    labels = [row.label for row, _ in group.rows]
    rows = []
    for place, metric in enumerate(group.metrics):
        cells = [cells[place] for _, cells in group.rows]
        rows.append(
            [
                Cell(f"{metric.title} {arrow(metric)}", metric.about),
                *(
                    Cell(f"{'~' if cell.kind == 'level' else ''}{cell.value}", cell.interval, cell.kind)
                    for cell in cells
                ),
            ]
        )
    for place, name in enumerate(("seconds p50 ↓", "seconds p95 ↓")):
        if seconds:
            rows.append([Cell(name), *(Cell(f"{seconds[one][place]:.3f}" if one in seconds else "") for one in labels)])
    return table((group.name, *labels), rows)


def _bars(board: Board, name: str) -> Chart | None:
    """Return a bar an explainer of one metric."""
    metric = next((metric for metric in board.metrics if metric.name == name), None)
    scored = [(row.label, row.score(name)) for row in board.rows if row.not_run is None]
    values = [Value(label, one.value, text=figure(one.value)) for label, one in scored if one and one.value is not None]
    if metric is None or not values:
        return None
    return chart(
        f"{metric.title} {arrow(metric)}".capitalize(),
        rows_svg(values),
        f"A bar for each of {counted(len(values), 'explainer')}: {metric.about}.",
        table(("explainer", metric.title), [[value.name, Cell(value.text)] for value in values]),
    )
