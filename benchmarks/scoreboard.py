"""The Markdown tables of docs/benchmark.md, made of what `recexplain evaluate` has written.

    .venv/bin/python benchmarks/scoreboard.py outputs/all-ml-100k
    .venv/bin/python benchmarks/scoreboard.py outputs/all-ml-100k --part rest
    .venv/bin/python benchmarks/scoreboard.py outputs/all-ml-100k --part intervals
    .venv/bin/python benchmarks/scoreboard.py outputs/all-ml-100k --against recency

No explainer is run here: the figures are those of the folder's `summary.json`, `timings.parquet` and `metrics.parquet`.
`--against` prints how each explainer differs from one of them on the people of both, **+** where the 95 % interval of
the paired difference says that it is better, **-** where it says worse.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from recexplain.evaluation.bootstrap import interval, means, resampled
from recexplain.evaluation.tables import seconds_of
from recexplain.report.board import HIGHER, Board, Metric, Row, Score
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
COMPARED = ("found", "size_all", "smallest", "pos_p", "neg_p", "aupc", "cdcg", "comprehensiveness", "sufficiency")


def board_table(board: Board, metrics: Sequence[Metric], seconds: Mapping[str, tuple[float, float]], part: str) -> str:
    """Return a Markdown table of some metrics, a row an explainer; seconds stand behind the evaluations."""
    has_cost = any(metric.name == "evaluations" for metric in metrics)
    lines = [["explainer", *map(_title, metrics), *(["seconds p50", "p95"] if has_cost else [])]]
    for row in board.rows:
        if row.not_run is not None:
            lines.append([_label(board, row), "not run", *[""] * (len(lines[0]) - 2)])
            continue
        cells = [_cell(row.score(metric.name), intervals=part == "intervals") for metric in metrics]
        lines.append([_label(board, row), *cells, *(f"{one:.3f}" for one in seconds[row.label] if has_cost)])
    return _markdown(lines)


def difference_table(board: Board, metrics: Sequence[Metric], values: pd.DataFrame, base: str) -> str:
    """Return a Markdown table of paired differences to one explainer; `values`: metric, explainer -> people."""
    lines = [["explainer", *map(_title, metrics)]]
    for row in board.rows:
        if row.not_run is None and row.label != base:
            lines.append([_label(board, row), *(_difference(values, metric, row.label, base) for metric in metrics)])
    return _markdown(lines)


def _difference(values: pd.DataFrame, metric: Metric, label: str, base: str) -> str:
    pair = values.loc[metric.name][[label, base]].dropna()
    draws = resampled(len(pair), 1000, seed=0)
    found = interval(means((pair[label] - pair[base]).to_numpy(), draws))
    if found.low <= 0 <= found.high:
        return f"{figure(found.value)}"
    return f"{figure(found.value)} **{'+' if (found.value > 0) == (metric.better == HIGHER) else '-'}**"


def _title(metric: Metric) -> str:
    return f"{metric.title} {arrow(metric)}"


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


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---", *["---:"] * (len(head) - 1)], *rest))


def main() -> None:
    """Print the tables of one part of the scoreboard in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=PARTS, default="main")
    parser.add_argument("--against", help="the label of an explainer that the others are compared with")
    asked = parser.parse_args()
    board = Board.from_dict(json.loads((asked.folder / "summary.json").read_bytes()))
    known = {metric.name: metric for metric in board.metrics}
    if asked.against is not None:
        long = pd.read_parquet(asked.folder / "metrics.parquet")
        values = long.pivot_table(index=["metric", "user"], columns="explainer", values="value", dropna=False)
        print(difference_table(board, [known[name] for name in COMPARED], values, asked.against))
        return
    seconds = seconds_of(asked.folder / "timings.parquet")
    groups = [[known[name] for name in names if name in known] for names in PARTS[asked.part]]
    print("\n\n".join(board_table(board, metrics, seconds, asked.part) for metrics in groups))


if __name__ == "__main__":
    main()
