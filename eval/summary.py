"""What a run of explanations comes to, for the terminal."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from recexplain.explanation import STATUSES, Explanation

SHOWN = 20  # sentences on the terminal at most


def summary_table(explanations: Sequence[Explanation], seconds: np.ndarray) -> Table:
    """Return counts by status, sizes, cost and specificity of a run; `seconds` (people,) in all."""
    first = explanations[0]
    table = Table(title=f"{first.explainer}, change={first.change}, k={first.k}, removal={first.removal}")
    table.add_column("")
    table.add_column("", justify="right")
    n_people, by_status = len(explanations), Counter(explanation.status for explanation in explanations)
    found = [explanation for explanation in explanations if explanation.is_found]
    table.add_row("people", f"{n_people:,}")
    table.add_row("found", f"{len(found):,} ({len(found) / n_people:.0%})")
    for status in STATUSES:
        if by_status[status]:
            table.add_row(f"  status {status}", f"{by_status[status]:,}")
    if found:
        sizes = [len(explanation.positions) for explanation in found]
        rates = [explanation.null_rate for explanation in found if explanation.null_rate is not None]
        table.add_row("items removed, mean of the found", f"{np.mean(sizes):.2f}")
        table.add_row("random sets of that size that do it too, mean", f"{np.mean(rates):.0%}")
        table.add_row("of them so many that it says little (over 20%)", f"{sum(e.is_weak for e in found):,}")
        table.add_row("newest item alone is the set", f"{_share_newest(found):.0%} of the found")
    table.add_row("edited histories scored a person, mean", f"{np.mean([e.evaluations for e in explanations]):,.0f}")
    if seconds.any():  # else nobody could be explained
        table.add_row("people a minute, one process", f"{60 / np.mean(seconds):,.0f}")
    table.add_row("seconds a person, p50 / p95", " / ".join(f"{s:.3f}" for s in np.percentile(seconds, [50, 95])))
    return table


def shown_sentences(explanations: Sequence[Explanation], title_of: Callable[[str], str]) -> list[str]:
    """Return a line a person for the first few, with rich's markup."""
    lines = [
        f"[bold]{escape(str(explanation.user))}[/bold]  {escape(title_of(explanation.target))}: "
        f"{escape(explanation.sentence(title_of))}"
        for explanation in explanations[:SHOWN]
    ]
    more = len(explanations) - SHOWN
    return [*lines, f"… and {more:,} more, in index.html"] if more > 0 else lines


def _share_newest(found: Sequence[Explanation]) -> float:
    return sum(explanation.positions == (len(explanation.history) - 1,) for explanation in found) / len(found)
