"""Slices of the people, and which groups differ from everyone else by more than chance and by enough to matter.

The rule stands in the report in words, `RULE`, and in numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import sqrt
from operator import add
from typing import Any

from scipy.stats import fisher_exact
from scipy.stats import t as student

from recexplain.evaluation.audit_groups import Group, Spread, figures, spread

ALPHA = 0.05
LEAST_TESTED = 30  # people of a figure, in the group and outside it
LEAST_SHOWN = 10  # people of a group that is shown alone

#: By how much a figure must differ to be flagged; shares first, then means.
LEAST_GAP = {
    "explained": 0.05,
    "optimal_of_explained": 0.05,
    "weak_of_explained": 0.05,
    "size": 0.25,
    "null_rate": 0.05,
    "ndcg": 0.02,
}

RULE = (
    "A group is flagged for a figure that differs from that of everyone else in the slice by the least gap or more, "
    f"where chance does not explain it: the two-sided p-value, corrected for all groups and figures of the slice by "
    f"Holm's method, is below {ALPHA}.",
    "Shares are compared by Fisher's exact test, means by Welch's t test. A figure of fewer than "
    f"{LEAST_TESTED} people, in the group or outside it, is not tested, and never flagged.",
    f"Groups of fewer than {LEAST_SHOWN} people are not shown alone: they are put together, and the smallest others "
    f"with them until they are {LEAST_SHOWN} people, so that nobody is singled out.",
    "A flag says that a difference is there, not where it comes from.",
)


@dataclass(frozen=True)
class Slice:
    """People by one property: every person is in one group."""

    name: str
    title: str
    groups: Sequence[tuple[str, Group]]  # in the order in which they are shown
    is_user_column: bool = False


@dataclass(frozen=True)
class Gap:
    """A figure of a group against that of everyone else, and how likely chance makes such a difference."""

    figure: str
    group: float
    others: float
    p: float


def rule() -> dict[str, Any]:
    """Return the rule by which gaps are flagged."""
    return {
        "about": list(RULE),
        "alpha": ALPHA,
        "least_people": LEAST_TESTED,
        "least_gap": dict(LEAST_GAP),
        "least_shown": LEAST_SHOWN,
    }


def dimension(one: Slice) -> dict[str, Any]:
    """Return a slice as the report has it: each group's figures, and its flags."""
    shown = put_together(one.groups)
    gaps = [gaps_of(group, _others(shown, place)) for place, (_, _, group) in enumerate(shown)]
    flags = _flagged(gaps)
    groups = [
        {"group": label, "note": note, **figures(group), "flags": flagged}
        for (label, note, group), flagged in zip(shown, flags, strict=True)
    ]
    n_flags = sum(map(len, flags))
    return {
        "name": one.name,
        "title": one.title,
        "is_user_column": one.is_user_column,
        "n_flags": n_flags,
        "groups": groups,
    }


def put_together(groups: Sequence[tuple[str, Group]]) -> list[tuple[str, str, Group]]:
    """Return (label, note, group), small groups as one at the end; a group of nobody is left out."""
    known = [(label, group) for label, group in groups if group.n_people]
    by_size = sorted(known, key=lambda one: (one[1].n_people, one[0]))
    small: list[tuple[str, Group]] = []
    n_people = 0
    for label, group in by_size:
        if group.n_people >= LEAST_SHOWN and not 0 < n_people < LEAST_SHOWN:
            break
        small.append((label, group))
        n_people += group.n_people
    labels = {label for label, _ in small}
    shown = [(label, "", group) for label, group in known if label not in labels]
    if not small:
        return shown
    note = f"{len(small)} groups together, of which some have fewer than {LEAST_SHOWN} people"
    if len(small) == 1:
        note = f"a group of fewer than {LEAST_SHOWN} people"
    return [*shown, ("other groups", note, reduce(add, (group for _, group in small)))]


def gaps_of(group: Group, others: Group) -> list[Gap]:
    """Return every figure for which there are enough people on both sides."""
    shares = {
        "explained": ((group.n_found, group.n_people), (others.n_found, others.n_people)),
        "optimal_of_explained": (
            (group.statuses["optimal"], group.n_found),
            (others.statuses["optimal"], others.n_found),
        ),
        "weak_of_explained": ((group.n_weak, group.n_found), (others.n_weak, others.n_found)),
    }
    means = {
        "size": (spread(group.sizes), spread(others.sizes)),
        "null_rate": (spread(group.null_rates), spread(others.null_rates)),
        "ndcg": (spread(group.gains), spread(others.gains)),
    }
    found = [
        Gap(name, n / of, n_others / of_others, fisher(n, of, n_others, of_others))
        for name, ((n, of), (n_others, of_others)) in shares.items()
        if min(of, of_others) >= LEAST_TESTED
    ]
    return found + [
        Gap(name, one.mean, other.mean, welch(one, other))
        for name, (one, other) in means.items()
        if min(one.n, other.n) >= LEAST_TESTED
    ]


def fisher(n: int, of: int, n_others: int, of_others: int) -> float:
    """Return the two-sided p-value of Fisher's exact test that two shares are the same (Fisher 1935)."""
    return float(fisher_exact([[n, of - n], [n_others, of_others - n_others]]).pvalue)


def welch(one: Spread, other: Spread) -> float:
    """Return the two-sided p-value of Welch's t test that two means are the same (Welch 1947).

    Numbers that do not vary on either side: 1 where they are equal, else 0.
    """
    parts = (one.variance / one.n, other.variance / other.n)
    if not sum(parts):
        return float(one.mean == other.mean)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (one.n - 1) + parts[1] ** 2 / (other.n - 1))
    return float(2 * student.sf(abs(one.mean - other.mean) / sqrt(sum(parts)), freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given.

    >>> [round(p, 6) for p in holm([0.02, 0.01, 0.4])]
    [0.04, 0.03, 0.4]
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = least
    return corrected


def _others(shown: Sequence[tuple[str, str, Group]], place: int) -> Group:
    rest = [group for number, (_, _, group) in enumerate(shown) if number != place]
    return reduce(add, rest, Group())


def _flagged(gaps: Sequence[Sequence[Gap]]) -> list[list[dict[str, Any]]]:
    """Return the flags of each group, from its gaps and those of all others in the slice."""
    waiting = iter(holm([gap.p for of_one in gaps for gap in of_one]))
    return [[flag for gap in of_one if (flag := _flag(gap, next(waiting)))] for of_one in gaps]


def _flag(gap: Gap, p_corrected: float) -> dict[str, Any] | None:
    difference = gap.group - gap.others
    if p_corrected >= ALPHA or abs(difference) < LEAST_GAP[gap.figure]:
        return None
    return {
        "figure": gap.figure,
        "group": round(gap.group, 6),
        "others": round(gap.others, 6),
        "gap": round(difference, 6),
        "p": float(f"{gap.p:.3g}"),
        "p_corrected": float(f"{p_corrected:.3g}"),
    }
