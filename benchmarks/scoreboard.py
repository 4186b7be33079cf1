"""The Markdown tables of docs/benchmark.md, made of what `recexplain evaluate` has written.

    .venv/bin/python benchmarks/scoreboard.py outputs/ml-100k-500
    .venv/bin/python benchmarks/scoreboard.py outputs/ml-100k-500 --part rest
    .venv/bin/python benchmarks/scoreboard.py outputs/ml-100k-500 --part intervals

Nothing is measured here: the figures are those of `summary.json` and `timings.parquet` in the folder.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from recexplain.evaluation.tables import seconds_of
from recexplain.report.board import Board, Row, Score
from recexplain.report.scoreboard import arrow, figure

#: The columns of each table, metrics by their names in `metrics.parquet`.
PARTS = {
    "main": (
        ("found", "size_all", "smallest", "gap", "fns", "pn_r"),
        ("pos_p", "neg_p", "aupc", "cdcg", "comprehensiveness", "sufficiency", "evaluations"),
    ),
    "rest": (
        ("none", "budget", "error", "optimal", "size_found", "irreducible", "replacement_rank", "pn", "ps"),
        ("del_p", "ins_p", "ndcg_p", "null_rate", "cross_removal"),
        ("stability_seed", "stability_item", "stability_model", "randomised_set", "randomised_order"),
    ),
    "intervals": (
        ("found", "size_all", "gap"),
        ("pos_p", "neg_p", "aupc"),
        ("cdcg", "comprehensiveness", "sufficiency"),
    ),
}


def table(board: Board, names: Sequence[str], seconds: dict[str, tuple[float, float]], *, intervals: bool) -> str:
    """Return a Markdown table of some metrics, a row an explainer; seconds stand behind the evaluations."""
    metrics = [metric for name in names for metric in board.metrics if metric.name == name]
    titles = [f"{metric.title} {arrow(metric)}" for metric in metrics]
    has_cost = "evaluations" in names
    head = ["explainer", *titles, *(["seconds p50", "p95"] if has_cost else [])]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in board.rows:
        if row.not_run is not None:
            lines.append([f"`{row.label}`", "not run", *[""] * (len(head) - 2)])
            continue
        cells = [_cell(row.score(metric.name), intervals=intervals) for metric in metrics]
        if has_cost:
            cells += [f"{one:.3f}" for one in seconds[row.label]]
        lines.append([_label(board, row), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _label(board: Board, row: Row) -> str:
    return f"`{row.label}`" if row.n_people == board.n_people else f"`{row.label}` ({row.n_people} people)"


def _cell(score: Score | None, *, intervals: bool) -> str:
    if score is None or score.value is None:
        return ""
    value = figure(score.value)
    shown = f"**{value}**" if score.is_best else f"~{value}" if score.is_level else value
    if intervals and score.low is not None and score.high is not None:
        return f"{shown} ({figure(score.low)}, {figure(score.high)})"
    return shown


def main() -> None:
    """Print the tables of one part of the scoreboard in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=PARTS, default="main")
    asked = parser.parse_args()
    board = Board.from_dict(json.loads((asked.folder / "summary.json").read_bytes()))
    seconds = seconds_of(asked.folder / "timings.parquet")
    tables = [table(board, names, seconds, intervals=asked.part == "intervals") for names in PARTS[asked.part]]
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
