"""From counts to `report.json`: everything that a page of the audit shows, in plain values.

All but the part `run` is the same for the same people, options and model, whatever engine wrote the rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recexplain.evaluation.audit_gaps import Slice, dimension, rule
from recexplain.evaluation.audit_groups import figures, mean_of, median, ratio, share
from recexplain.evaluation.audit_popularity import Shifts, popularity, quotient, recommended_figures
from recexplain.evaluation.audit_tally import WEIGHTS, Tally

FORMAT = "recexplain audit 2"
LEADERS = 50  # items of each kind that are listed
CATEGORIES = 30

LIMITS = (
    "A removal set says what the fitted model does with an edited history, not what a retrained model would do, nor "
    "what would have happened in the world.",
    "`optimal` means that every smaller set was tested; other statuses claim less, and `budget` claims nothing.",
    "Where the null rate is high, a random removal of the same size does as well, and the explanation says little.",
    "Shares speak of the people audited here. For a sample they carry the interval given beside them.",
    "Popularity counts the audited histories, and says nothing of people outside them.",
    "A flagged gap says that a group differs, not why; a gap that is not flagged may be there, where people are few.",
    "The causal graph orders the search, and comes from attention; which items change the answer is decided by the "
    "model alone.",
    "Groups of few people are put together, but cases show single people: whoever may not see these must not get this "
    "report.",
)


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted, and what was measured of the sample."""

    tally: Tally
    shifts: Shifts
    slices: Sequence[Slice]
    newest_item: Mapping[str, Any] | None = None
    sensitivity: Mapping[str, Any] | None = None
    comparison: Mapping[str, Any] | None = None
    seconds: Mapping[str, Sequence[float]] | None = None  # that the compared methods took a person, p50 and p95
    cases: Mapping[str, Any] = field(default_factory=dict)
    users: Mapping[str, Any] | None = None  # which table of people the slices are from


def report_of(counts: Counts, header: Mapping[str, Any], *, k: int) -> dict[str, Any]:
    """Return the content of `report.json`; the header (identity, quality, sample, counts) comes first."""
    tally = counts.tally
    recommended = recommended_figures(
        tally.recommended, tally.taken, tally.vocabulary.n_items, n_lists=tally.n_lists, k=k
    )
    quality = {**header["quality"], "newest_item": counts.newest_item, "recommended": recommended}
    dimensions = [dimension(one) for one in counts.slices]
    return {
        "format": FORMAT,
        **header,
        "quality": quality,
        "rows_hash": tally.rows_hash,
        "outcomes": figures(tally.everyone),
        **_of_sets(tally),
        "items": _items(tally),
        "popularity": {
            "of_items_in_histories": popularity(tally.taken, tally.taken),
            "of_explaining_items": popularity(tally.removed, tally.taken),
            "of_explained_items": popularity(tally.targets, tally.taken),
            "of_replacing_items": popularity(tally.replacements, tally.taken),
            "of_recommended_items": popularity(tally.recommended, tally.taken),
        },
        "replacements": _replacements(tally, counts.shifts, k),
        "categories": _categories(tally),
        "slices": {"rule": rule(), "users": counts.users, "dimensions": dimensions},
        "sensitivity": counts.sensitivity,
        "comparison": counts.comparison,
        "errors": [{"reason": reason, "people": n} for reason, n in most(tally.errors)],
        "cases": counts.cases,
        "limits": list(LIMITS),
    }


def most(counts: Counter[str], n: int = LEADERS) -> list[tuple[str, int]]:
    """Return the names counted most often, of equal ones the first by name."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:n]


def _of_sets(tally: Tally) -> dict[str, Any]:
    """Return what the sets are like: how large, where they lie, how specific, under which removals they hold."""
    everyone = tally.everyone
    n_found = everyone.n_found
    return {
        "none_found_proven_up_to": _by_number(tally.proven),
        "sizes": {
            "counts": _by_number(everyone.sizes),
            "mean": mean_of(everyone.sizes)["mean"],
            "median": median(everyone.sizes),
        },
        "positions": {
            "from_newest": _by_number(tally.from_end),
            "median": median(tally.from_end),
            "newest_item_alone": share(tally.n_newest_alone, n_found),
        },
        "specificity": {
            "null_rate_counts": {f"{low / 10:.1f}": n for low, n in _tenths(everyone.null_rates).items()},
            "null_rate_mean": mean_of(everyone.null_rates)["mean"],
            "weak": share(everyone.n_weak, n_found),
        },
        "cross_semantics": {name: share(tally.holds[name], n_found) for name in sorted(tally.holds)},
        "evaluations": {
            "total": tally.n_evaluations,
            "mean": ratio(tally.n_evaluations, everyone.n_people),
            "people_below": {str(2**bits): n for bits, n in sorted(tally.evaluations.items())},
        },
    }


def _items(tally: Tally) -> dict[str, Any]:
    """Return the items that lead in each use."""
    leading = most(tally.critical)
    return {
        "explaining": [_item(item, n, tally) for item, n in most(tally.removed)],
        "explained": [_item(item, n, tally) for item, n in most(tally.targets)],
        "replacing": [_item(item, n, tally) for item, n in most(tally.replacements)],
        "recommended": [_item(item, n, tally) for item, n in most(tally.recommended)],
        "critical": [
            {**_item(item, tally.critical_people[item], tally), "weight": round(weight / WEIGHTS, 4)}
            for item, weight in leading
        ],
    }


def _item(item: str, n: int, tally: Tally) -> dict[str, Any]:
    """Return an item with how many of the audited histories' places it fills."""
    return {"item": item, "title": tally.vocabulary.title_of(item), "people": n, "in_histories": tally.taken[item]}


def _replacements(tally: Tally, shifts: Shifts, k: int) -> dict[str, Any]:
    """Return where what comes instead stood before, and whether it is more popular than what was recommended."""
    ranks = Counter({rank: n for rank, n in tally.replacement_ranks.items() if rank})
    beyond, n_people = tally.replacement_ranks[0], tally.replacement_ranks.total()
    middle = median(Counter({**ranks, k + 1: beyond}))
    explained, replacing = (popularity(counts, tally.taken) for counts in (tally.targets, tally.replacements))
    return {
        "people": n_people,
        "rank": {
            "counts": _by_number(ranks),
            "beyond": beyond,
            "k": k,
            "median": None if middle is None or middle > k else middle,
        },
        "popularity": {
            "explained": explained,
            "replacing": replacing,
            "ratio": quotient(replacing, explained),
            **{f"{how}_popular": share(shifts.shifts[how], n_people) for how in ("more", "less")},
            "equal": share(shifts.shifts["equal"], n_people),
        },
    }


def _categories(tally: Tally) -> dict[str, Any]:
    """Return which categories the items of each use are of, and how many share one with the explained item."""
    uses = {
        "in_histories": tally.taken,
        "explaining": tally.removed,
        "explained": tally.targets,
        "replacing": tally.replacements,
    }
    counts = {use: _by_category(items, tally.vocabulary.categories) for use, items in uses.items()}
    of = tally.of_target
    names = [name for name, _ in most(counts["in_histories"].by_name, CATEGORIES)]
    return {
        "same_as_explained": {
            "explaining_items": share(of["removed_same"], of["removed"]),
            "items_in_histories": share(of["history_same"], of["history"]),
            "replacing_items": share(of["replacing_same"], of["replacing"]),
        },
        "shares": [
            {"category": name, **{use: ratio(one.by_name[name], one.n_items) for use, one in counts.items()}}
            for name in names
        ],
    }


@dataclass(frozen=True, eq=False)
class _Categories:
    """How often items of each category were counted, and how often items that have one."""

    by_name: Counter[str]
    n_items: int


def _by_category(items: Counter[str], categories: Mapping[str, Sequence[str]]) -> _Categories:
    by_name = Counter[str]()
    for item, n in items.items():
        for name in set(categories.get(item, ())):
            by_name[name] += n
    return _Categories(by_name, sum(n for item, n in items.items() if categories.get(item)))


def _by_number(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(number): n for number, n in sorted(counts.items())}


def _tenths(counts: Mapping[float, int]) -> dict[int, int]:
    """Return how many rates begin with each tenth; 1 is of the last."""
    found = dict.fromkeys(range(10), 0)
    for rate, n in counts.items():
        found[min(9, int(rate * 10 + 1e-9))] += n
    return found
