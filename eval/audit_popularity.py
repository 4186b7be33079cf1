"""How often items stand in the audited histories, and what that says of recommendations and of what replaces them."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recexplain.evaluation.audit_gaps import Slice
from recexplain.evaluation.audit_groups import Group, ratio, share

FIFTHS = 5
LONG_TAIL = (
    "Long tail: the items that are less popular than those which make up 80 % of the places of the audited histories; "
    "items taken equally often are on the same side."
)
NO_ITEM = "no item: an error"

#: The columns of rows that `Shifts` reads.
COLUMNS = ("status", "positions", "null_rate", "target", "replacement")


def fifths(taken: Counter[str]) -> dict[int, int]:
    """Return for every number of times that an item was taken in which fifth of all places such items are, 0 the first.

    Items go by how often they were taken, the most popular first; equally popular ones are in one fifth, where the
    first of them begins.

    >>> fifths(Counter({"a": 6, "b": 2, "c": 1, "d": 1}))
    {6: 0, 2: 3, 1: 4}
    """
    total, before, found = taken.total(), 0, {}
    for times, n_items in sorted(Counter(taken.values()).items(), reverse=True):
        found[times] = FIFTHS * before // total
        before += times * n_items
    return found


def gini(counts: Mapping[str, int], n_items: int) -> float | None:
    """Return the Gini index of counts over a catalogue: 0 where all items are counted equally often, near 1 for one.

    Items that were never counted are in it with 0.

    >>> gini({"a": 3, "b": 1}, 4)
    0.625
    """
    ordered, n_zero = sorted(counts.values()), n_items - len(counts)
    weighted = sum((2 * place - n_items - 1) * n for place, n in enumerate(ordered, start=n_zero + 1))
    found: float | None = ratio(weighted, n_items * sum(ordered))
    return found


def popularity(counts: Mapping[str, int], taken: Mapping[str, int]) -> float | None:
    """Return how often items stand in the audited histories, on average over the counted ones."""
    found: float | None = ratio(sum(taken.get(item, 0) * n for item, n in counts.items()), sum(counts.values()))
    return found


def quotient(one: float | None, other: float | None) -> float | None:
    """Return how many times one mean is the other; None where one is not known, or there is nothing to compare with."""
    return None if one is None or other is None else ratio(one, other)


def recommended_figures(
    recommended: Counter[str], taken: Counter[str], n_items: int, *, n_lists: int, k: int
) -> dict[str, Any]:
    """Return what all top-k lists come to beside all histories: coverage, popularity, Gini index, long tail."""
    places = fifths(taken)
    tail = {item for item, times in taken.items() if places[times] == FIFTHS - 1}
    of_lists, of_histories = popularity(recommended, taken), popularity(taken, taken)
    in_lists = sum(n for item, n in recommended.items() if item in tail or item not in taken)
    return {
        "lists": n_lists,
        "k": k,
        "coverage": {"n": len(recommended), "of": n_items, "share": ratio(len(recommended), n_items)},
        "popularity": {
            "recommended": of_lists,
            "consumed": of_histories,
            "ratio": quotient(of_lists, of_histories),
        },
        "gini": {"recommended": gini(recommended, n_items), "consumed": gini(taken, n_items)},
        "long_tail": {
            "about": LONG_TAIL,
            "items": len(tail) + n_items - len(taken),
            "recommended": share(in_lists, recommended.total()),
            "consumed": share(sum(taken[item] for item in tail), taken.total()),
        },
    }


@dataclass(eq=False)
class Shifts:
    """What can be counted only when it is known how popular each item is: a second look at the rows."""

    taken: Counter[str]  # item -> places of the audited histories
    by_fifth: defaultdict[int, Group] = field(default_factory=lambda: defaultdict(Group))  # -1: no item
    shifts: Counter[str] = field(default_factory=Counter)  # more, less, equal

    def __post_init__(self) -> None:
        self._fifths = fifths(self.taken)

    def group_of(self, row: Mapping[str, Any]) -> Group:
        """Return the group of people whose explained item is about as popular."""
        if row["status"] == "error":
            return self.by_fifth[-1]
        return self.by_fifth[self._fifths.get(self.taken[row["target"]], FIFTHS - 1)]

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row."""
        self.group_of(row).add(row)
        if row["positions"] and row["replacement"] is not None:
            before, after = self.taken[row["target"]], self.taken[row["replacement"]]
            self.shifts["more" if after > before else "less" if after < before else "equal"] += 1

    def merge(self, other: "Shifts") -> None:
        """Count what another has counted."""
        for fifth, group in other.by_fifth.items():
            self.by_fifth[fifth] += group
        self.shifts.update(other.shifts)

    def __getstate__(self) -> dict[str, Any]:
        """Send counts from process to process without the popularity of items, which whoever merges them has."""
        return {"by_fifth": self.by_fifth, "shifts": self.shifts}

    @property
    def slice(self) -> Slice:
        """People by the popularity of the item that is explained, the most popular first."""
        groups = [(self._label(number), group) for number, group in sorted(self.by_fifth.items()) if number >= 0]
        if -1 in self.by_fifth:
            groups.append((NO_ITEM, self.by_fifth[-1]))
        return Slice("popularity", "how often the explained item stands in the audited histories", groups)

    def _label(self, number: int) -> str:
        times = [times for times, fifth in self._fifths.items() if fifth == number]
        if number == FIFTHS - 1:
            return f"at most {max(times, default=0)} times"
        low, high = min(times), max(times)
        return f"{low} times" if low == high else f"{low} to {high} times"
