"""What a group of people comes to: whole counts, so that neither the order of the rows nor their number shows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import fsum, log2, sqrt
from typing import Any

from recexplain.explanation import HIGH_NULL_RATE, STATUSES

K = 10  # of NDCG and hit rate
Z = 1.959964  # of a 95 % interval


@dataclass(eq=False)
class Group:
    """Counts of some people's rows; two groups add up to the group of both."""

    statuses: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)  # of what was found
    null_rates: Counter[float] = field(default_factory=Counter)  # of what was found, to four places
    n_weak: int = 0
    ranks: Counter[int] = field(default_factory=Counter)  # of newest items, as far as they were ranked

    @property
    def n_people(self) -> int:
        """How many people were counted."""
        return self.statuses.total()

    @property
    def n_found(self) -> int:
        """How many of them have an explanation."""
        return self.sizes.total()

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one person; `row` has the status, the positions and the null rate."""
        self.statuses[row["status"]] += 1
        if row["positions"]:
            self.sizes[len(row["positions"])] += 1
            self.null_rates[round(row["null_rate"], 4)] += 1
            self.n_weak += row["null_rate"] > HIGH_NULL_RATE

    def __add__(self, other: "Group") -> "Group":
        return Group(
            self.statuses + other.statuses,
            self.sizes + other.sizes,
            self.null_rates + other.null_rates,
            self.n_weak + other.n_weak,
            self.ranks + other.ranks,
        )

    @property
    def gains(self) -> Counter[float]:
        """What each ranked newest item adds to NDCG@K: 1 / log2(rank + 1), below the top K nothing."""
        found = Counter[float]()
        for rank, n in self.ranks.items():
            found[1 / log2(rank + 1) if rank <= K else 0.0] += n
        return found


@dataclass(frozen=True)
class Spread:
    """Mean and sample variance of counted numbers; in whatever order they were counted, the same to the last digit."""

    n: int
    mean: float  # nan where n is 0
    variance: float  # nan below two numbers


def spread(counts: Mapping[Any, int]) -> Spread:
    """Return what counted numbers come to.

    >>> spread({1: 2, 4: 1})
    Spread(n=3, mean=2.0, variance=3.0)
    """
    n = sum(counts.values())
    mean = fsum(value * times for value, times in counts.items()) / n if n else float("nan")
    squares = fsum(times * (value - mean) ** 2 for value, times in counts.items())
    return Spread(n, mean, squares / (n - 1) if n > 1 else float("nan"))


def mean_of(counts: Mapping[Any, int]) -> dict[str, Any]:
    """Return the mean of counted numbers of 0 or more with its 95 % interval (normal); None where there is none.

    >>> mean_of({1: 50, 3: 50})
    {'n': 100, 'mean': 2.0, 'low': 1.803, 'high': 2.197}
    """
    of = spread(counts)
    if not of.n:
        return {"n": 0, "mean": None, "low": None, "high": None}
    if of.n == 1:
        return {"n": 1, "mean": round(of.mean, 6), "low": None, "high": None}
    half = Z * sqrt(of.variance / of.n)
    low, high = max(0.0, of.mean - half), of.mean + half
    return {"n": of.n, "mean": round(of.mean, 6), "low": round(low, 4), "high": round(high, 4)}


def share(n: int, of: int) -> dict[str, Any]:
    """Return a count, its share and the share's 95 % interval (Wilson 1927); None where there is nothing to share.

    >>> share(1, 4)
    {'n': 1, 'of': 4, 'share': 0.25, 'low': 0.0456, 'high': 0.6994}
    """
    if not of:
        return {"n": n, "of": of, "share": None, "low": None, "high": None}
    p = n / of
    middle, half = p + Z * Z / (2 * of), Z * sqrt(p * (1 - p) / of + Z * Z / (4 * of * of))
    low, high = ((middle + side * half) / (1 + Z * Z / of) for side in (-1, 1))
    return {"n": n, "of": of, "share": round(p, 6), "low": round(max(0.0, low), 4), "high": round(min(1.0, high), 4)}


def median(counts: Mapping[int, int]) -> int | None:
    """Return the lower median of counted numbers."""
    left = (sum(counts.values()) + 1) // 2
    for value, times in sorted(counts.items()):
        left -= times
        if left <= 0:
            return value
    return None


def ratio(n: float, of: float) -> float | None:
    """Return a quotient as a report has it; None where nothing is divided by."""
    return round(n / of, 6) if of else None


def figures(group: Group) -> dict[str, Any]:
    """Return what a group of people came to."""
    return {
        "people": group.n_people,
        "statuses": {status: share(group.statuses[status], group.n_people) for status in STATUSES},
        "explained": share(group.n_found, group.n_people),
        "optimal_of_explained": share(group.statuses["optimal"], group.n_found),
        "weak_of_explained": share(group.n_weak, group.n_found),
        "size": mean_of(group.sizes),
        "null_rate": mean_of(group.null_rates),
        "ndcg": mean_of(group.gains),
    }
