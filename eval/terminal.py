"""The scoreboard on the terminal: a table a group of metrics, the best in bold, intervals below."""

from collections.abc import Mapping, Sequence
from math import ceil

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recexplain.report.board import Board, Metric, Retraining, Row, Score
from recexplain.report.scoreboard import arrow, figure

CELL = 15  # characters that a column of figures takes: an interval and its borders


def print_board(console: Console, board: Board, seconds: Mapping[str, tuple[float, float]]) -> None:
    """Print every group of metrics, and who could not be run."""
    run = [row for row in board.rows if row.not_run is None]
    longest = max((len(row.label) for row in run), default=0)
    fitting = max(2, (console.width - longest - 4) // CELL)  # columns beside the labels
    for group in dict.fromkeys(metric.group for metric in board.metrics):
        columns = [metric for metric in board.metrics if metric.group == group]
        n_tables = ceil(len(columns) / fitting)
        width = ceil(len(columns) / n_tables)  # as many columns in each, rather than one alone in the last
        for start in range(0, len(columns), width):
            console.print(_table(group, columns[start : start + width], run, seconds if group == "cost" else {}))
    for row in board.rows:
        if row.not_run is not None:
            console.print(f"{escape(row.label)} was not run: {escape(row.not_run)}", highlight=False)
        elif row.reasons:
            reason, count = row.reasons[0]
            console.print(f"{escape(row.label)} failed for {count:,} people: {escape(reason)}", highlight=False)
    console.print(
        f"{board.n_people:,} people. Bold: best; ~: not told apart from the best on the same people; below each figure "
        "its 95 % interval.",
        highlight=False,
    )
    if board.n_explained:
        console.print(
            f"Someone found a set for {board.n_explained:,} of them; for {board.n_proven:,} the smallest found is "
            "proven the smallest there is.",
            highlight=False,
        )


def print_retraining(console: Console, retraining: Retraining) -> None:
    """Print the shares of the retraining check."""
    table = Table(title=f"retraining, people: {retraining.n_people}, seeds: {retraining.n_seeds}")
    for name in ("", "changed without the set", "changed anyway", "difference"):
        table.add_column(name, justify="left" if not name else "right")
    for row in retraining.rows:
        cells = (
            (row.changed, row.changed_low, row.changed_high),
            (row.anyway, row.anyway_low, row.anyway_high),
            (row.difference, row.difference_low, row.difference_high),
        )
        table.add_row(escape(row.label), *(f"{v:.0%} ({low:.0%} to {high:.0%})" for v, low, high in cells))
    console.print(table)
    for pair in retraining.pairs:
        console.print(
            f"{escape(pair.label)} against {escape(pair.other)}: {pair.only_label} people changed for the first only, "
            f"{pair.only_other} for the second only (McNemar's p {pair.p:.2g})",
            highlight=False,
        )


def _table(
    group: str, metrics: Sequence[Metric], rows: Sequence[Row], seconds: Mapping[str, tuple[float, float]]
) -> Table:
    table = Table(title=group)
    table.add_column("", no_wrap=True)
    for metric in metrics:
        table.add_column(f"{metric.title} {arrow(metric)}", justify="right")
    if seconds:
        table.add_column("seconds p50 / p95", justify="right")
    for row in rows:
        cells = [_cell(row.score(metric.name)) for metric in metrics]
        if seconds:
            p50, p95 = seconds[row.label]
            cells.append(f"{p50:.3f} / {p95:.3f}")
        table.add_row(escape(row.label), *cells)
    return table


def _cell(score: Score | None) -> str:
    if score is None or score.value is None:
        return "none"
    value = figure(score.value)
    shown = f"[bold]{value}[/bold]" if score.is_best else f"~{value}" if score.is_level else value
    if score.low is None or score.high is None:
        return shown
    return f"{shown}\n[dim]{_brief(score.low)} {_brief(score.high)}[/dim]"


def _brief(value: float) -> str:
    """Return a figure without the zero before its point."""
    return figure(value).replace("0.", ".", 1) if abs(value) < 1 else figure(value)
