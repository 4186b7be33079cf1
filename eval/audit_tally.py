"""Counts of an audit's rows: the same whatever the order of the rows, and no larger for more people.

What is held: a few numbers an item and category of the catalogue and a group of each slice, the cases, and one sample.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from recexplain.evaluation.audit_drawn import Drawn, Sample
from recexplain.evaluation.audit_gaps import Slice
from recexplain.evaluation.audit_groups import Group
from recexplain.evaluation.audit_staging import sample_key
from recexplain.explanation import HIGH_NULL_RATE
from recexplain.vocabulary import Vocabulary

LENGTHS = (0, 2, 10, 20, 50, 100, 200)  # where slices by the length of the history begin
WEIGHTS = 1_000_000  # criticality is added up in whole parts of so many
SUM_BITS = 2048
DRAWN = ("user", "history", "n_unseen", "status", "positions", "target")  # what is held of a person of the sample
KINDS = ("typical", "largest", "unexplained", "unspecific", "error")  # of cases


@dataclass(eq=False)
class Tally:
    """Everything that a report says of the rows of an audit, but for what `Shifts` adds."""

    vocabulary: Vocabulary
    n_cases: int = 5  # people of each kind that are shown
    n_drawn: int = 0  # people of the sample
    everyone: Group = field(default_factory=Group)
    by_group: defaultdict[str, defaultdict[str, Group]] = field(
        default_factory=lambda: defaultdict(_groups)
    )  # slice -> group of it
    sample: Sample = field(init=False)
    cases: Mapping[str, Sample] = field(init=False)
    from_end: Counter[int] = field(default_factory=Counter)  # places of explaining items, 0: the newest
    n_newest_alone: int = 0
    holds: Counter[str] = field(default_factory=Counter)  # other removals under which what was found holds too
    proven: Counter[int] = field(default_factory=Counter)  # proven_size of those for whom nothing was found
    evaluations: Counter[int] = field(default_factory=Counter)  # by their number of binary digits
    n_evaluations: int = 0
    taken: Counter[str] = field(default_factory=Counter)  # items of histories, as far as the model knows them
    recommended: Counter[str] = field(default_factory=Counter)  # items of the lists before any removal
    n_lists: int = 0
    removed: Counter[str] = field(default_factory=Counter)  # explaining items
    targets: Counter[str] = field(default_factory=Counter)  # explained items of what was found,
    replacements: Counter[str] = field(default_factory=Counter)  # what came instead,
    replacement_ranks: Counter[int] = field(default_factory=Counter)  # and its place before; 0: not in the top k
    critical: Counter[str] = field(default_factory=Counter)  # shares of the smallest sets that hold an item, `WEIGHTS`
    critical_people: Counter[str] = field(default_factory=Counter)  # for whom that is above 0
    of_target: Counter[str] = field(default_factory=Counter)  # items that share a category with the target, and all
    errors: Counter[str] = field(default_factory=Counter)  # reasons, what stands in quotes left out
    total: int = 0  # of the digests, each as `SUM_BITS` bits

    def __post_init__(self) -> None:
        self.sample = Sample(self.n_drawn)
        self.cases = {kind: Sample(self.n_cases) for kind in KINDS}

    @cached_property
    def catalogue(self) -> frozenset[str]:
        """The items that the model knows."""
        return frozenset(self.vocabulary.ids)

    def add(self, row: Mapping[str, Any], groups: Mapping[str, str]) -> None:
        """Count one row of explanations; `groups`: column of the table of people -> the group that the person is in."""
        self.total = (self.total + int.from_bytes(_spread(row["digest"]), "big")) % 2**SUM_BITS
        groups = {"history_length": length_label(len(row["history"])), **groups}
        self.everyone.add(row)
        for name, group in groups.items():
            self.by_group[name][group].add(row)
        self.taken.update(item for item in row["history"] if item in self.catalogue)
        if row["before"]:
            self.n_lists += 1
            self.recommended.update(row["before"])
        self.n_evaluations += row["evaluations"]
        self.evaluations[row["evaluations"].bit_length()] += 1
        if row["positions"]:
            self._add_found(row)
        elif row["status"] == "error":
            self.errors[re.sub(r"'[^']*'", "'…'", row["error"])] += 1
        else:
            self.proven[row["proven_size"]] += 1
        self._keep(row, groups)

    def merge(self, other: "Tally") -> None:
        """Count what another has counted; which of the two was first does not show."""
        self.everyone += other.everyone
        for name, groups in other.by_group.items():
            for label, group in groups.items():
                self.by_group[name][label] += group
        for kind, sample in other.cases.items():
            self.cases[kind].merge(sample)
        self.sample.merge(other.sample)
        for name, counts in vars(other).items():
            if isinstance(counts, Counter):
                getattr(self, name).update(counts)
            elif isinstance(counts, int) and name not in ("n_cases", "n_drawn"):
                setattr(self, name, getattr(self, name) + counts)
        self.total %= 2**SUM_BITS

    def __getstate__(self) -> dict[str, Any]:
        """Send counts from process to process without the catalogue, which whoever merges them has."""
        return {name: value for name, value in vars(self).items() if name not in ("vocabulary", "catalogue")}

    @property
    def rows_hash(self) -> str:
        """A hash of all rows together, the same in whatever order and buckets they lie."""
        return hashlib.sha256(self.total.to_bytes(SUM_BITS // 8, "big")).hexdigest()

    def slices(self, columns: Mapping[str, Iterable[str]]) -> list[Slice]:
        """Return the people by the length of their histories, and by each column: the labels of its groups in order."""
        lengths = self.by_group["history_length"]
        found = [Slice("history_length", "items in the history", [(label, lengths[label]) for label in LENGTH_LABELS])]
        for name, labels in columns.items():
            found.append(Slice(name, name, [(label, self.by_group[name][label]) for label in labels], True))
        return found

    def _add_found(self, row: Mapping[str, Any]) -> None:
        newest = len(row["history"]) - 1
        self.from_end.update(newest - position for position in row["positions"])
        self.n_newest_alone += row["positions"] == [newest]
        self.holds.update(row["holds_under"])
        self.removed.update(row["items"])
        self.targets[row["target"]] += 1
        replacing = [] if row["replacement"] is None else [row["replacement"]]
        self.replacements.update(replacing)
        for item in replacing:
            self.replacement_ranks[row["before"].index(item) + 1 if item in row["before"] else 0] += 1
        for item, weight in zip(row["history"], row["criticality"], strict=False):  # none where not all were tested
            if weight:
                self.critical[item] += round(weight * WEIGHTS)
        self.critical_people.update({item for item, w in zip(row["history"], row["criticality"], strict=False) if w})
        own = set(self.vocabulary.categories.get(row["target"], ()))
        if own:
            for use, items in (("removed", row["items"]), ("history", row["history"]), ("replacing", replacing)):
                self._compare_categories(own, use, items)

    def _compare_categories(self, own: set[str], use: str, items: Iterable[str]) -> None:
        known = [self.vocabulary.categories[item] for item in items if item in self.vocabulary.categories]
        self.of_target[use] += len(known)
        self.of_target[f"{use}_same"] += sum(not own.isdisjoint(names) for names in known)

    def _keep(self, row: Mapping[str, Any], groups: Mapping[str, str]) -> None:
        """Keep a person in the sample and among the cases of a kind: by a hash, not by the order of the rows."""
        key = sample_key(row["seed"], row["user"])
        if self.sample.takes(key):
            self.sample.offer(Drawn(key, {name: row[name] for name in DRAWN}, groups))
        for kind, rank in _kinds(row):
            self.cases[kind].offer(Drawn(f"{rank:08x}{key}", row, groups))


def _groups() -> defaultdict[str, Group]:
    return defaultdict(Group)


def length_label(n_items: int) -> str:
    """Return in which group of the slices by length a history is.

    >>> length_label(0), length_label(9), length_label(2_000)
    ('0 to 1', '2 to 9', '200 or more')
    """
    return next(label for label, start in zip(LENGTH_LABELS[::-1], LENGTHS[::-1], strict=True) if n_items >= start)


LENGTH_LABELS = (*(f"{low} to {high - 1}" for low, high in pairwise(LENGTHS)), f"{LENGTHS[-1]} or more")


def _kinds(row: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the kinds of cases that a person is, and the rank in each: the smaller, the sooner shown."""
    if row["status"] == "error":
        return [("error", 0)]
    if not row["positions"]:
        return [("unexplained", 0)]
    kinds = [("typical", 0), ("largest", 16**8 - 1 - len(row["positions"]))]
    if row["null_rate"] > HIGH_NULL_RATE:
        kinds.append(("unspecific", 10_000 - round(row["null_rate"] * 10_000)))
    return kinds


def _spread(digest: str) -> bytes:
    return hashlib.shake_256(digest.encode()).digest(SUM_BITS // 8)
