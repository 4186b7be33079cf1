"""What an explanation is: one frozen value, the same in Python, JSON and Parquet."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from math import isfinite, isnan
from types import UnionType
from typing import Any, Self, get_args, get_origin

from recexplain.errors import DataError

SCHEMA_VERSION = 2
READ_VERSIONS = (1, 2)  # a field that version 1 did not have gets its default

HIGH_NULL_RATE = 0.2  # above it an explanation says little, and says so

STATUSES = ("optimal", "irreducible", "found", "none_up_to", "budget", "error")

#: Fields that hold lists.
LISTS = frozenset(
    (
        "history",
        "positions",
        "items",
        "before",
        "after",
        "holds_under",
        "alternatives",
        "criticality",
        "locked",
        "costs",
    )
)

_KINDS = {
    str: ("a text", "texts"),
    int: ("a whole number of 0 or more", "whole numbers of 0 or more"),
    float: ("a number", "numbers"),
}
_LONE = re.compile("[\ud800-\udfff]")  # half of a character, which no file can hold

#: Fields that files of version 1 do not have.
SINCE_2 = frozenset(
    (
        "n_graphs",
        "holds_under",
        "alternatives",
        "n_minimal",
        "criticality",
        "wanted_category",
        "locked",
        "costs",
        "digest",
    )
)


@dataclass(frozen=True)
class Explanation:
    """The verified removal that changes one person's recommendation, or why there is none.

    All ids are strings. Where nothing was found, `positions`, `items` and `after` are empty and `replacement` is None.
    """

    user: str | None
    history: tuple[str, ...]  # whole, oldest first
    n_unseen: int  # the oldest items, which the model did not see
    target: str  # the recommended item that is explained
    target_rank: int  # its place in the recommendations, from 1
    k: int
    change: str  # top1, leaves, list or enters
    removal: str  # delete, pad, mask or backfill
    explainer: str
    status: str  # one of STATUSES
    positions: tuple[int, ...] = ()  # 0-based into `history`, ascending
    items: tuple[str, ...] = ()  # what stands there
    replacement: str | None = None  # the first item afterwards
    before: tuple[str, ...] = ()  # top k of the history as it is
    after: tuple[str, ...] = ()  # top k without `positions`
    proven_size: int = 0  # all sets up to this size were tested without success
    evaluations: int = 0  # edited histories scored
    n_graphs: int = 0  # causal graphs that decided the order; 0: the explainer had none
    null_rate: float | None = None  # share of random sets of the same size that change the answer too
    holds_under: tuple[str, ...] = ()  # other removals under which `positions` also change the answer
    alternatives: tuple[tuple[int, ...], ...] = ()  # other sets that cost as much and change the answer too
    n_minimal: int | None = None  # how many sets that cost as much change it; None: not all of them were tested
    criticality: tuple[float, ...] = ()  # of each position: the share of the minimal sets that hold it; see n_minimal
    tau: float | None = None  # list: the share of the top k that must be new
    wanted: str | None = None  # enters: the item that must come into the top k,
    wanted_category: str | None = None  # or the category of which an item must
    locked: tuple[int, ...] = ()  # positions that the model saw and that might not be removed
    costs: tuple[float, ...] = ()  # what each position costs to remove; empty: each 1
    seed: int = 0
    model_hash: str = ""
    data_hash: str = ""
    version: str = ""
    error: str | None = None
    digest: str = ""  # `fingerprint` when it was written, or read from a file of version 1
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise DataError(f"status must be one of {', '.join(STATUSES)}, not {self.status!r}")

    @property
    def is_found(self) -> bool:
        """Whether a removal that changes the answer was found and verified."""
        return bool(self.positions)

    def sentence(self, title_of: Callable[[str], str] = str) -> str:
        """Return the explanation as one sentence; titles stand between asterisks.

        >>> Explanation(None, ("1", "2"), 0, "9", 1, 10, "top1", "delete", "cleann", "found",
        ...     positions=(1,), items=("2",), replacement="7").sentence()
        'Recommended because you watched *2*; without it, it would have been *7*.'
        """
        if self.status == "error":
            return f"No explanation could be computed: {self.error}"
        if not self.is_found:
            return self._none_found(title_of)
        times = Counter(self.items)  # an item may stand in a history more than once
        items = _listed([f"*{title_of(item)}*" + (f" ({n} times)" if n > 1 else "") for item, n in times.items()])
        without = "without it," if len(self.items) == 1 else "without them"
        weak = (
            f" But {self.null_rate:.0%} of random sets of that size do as well: this says little."
            if self.is_weak
            else ""
        )
        return self._because(items, without, title_of) + weak

    @property
    def is_weak(self) -> bool:
        """Whether so many random sets change the answer too that this one says little."""
        return self.null_rate is not None and self.null_rate > HIGH_NULL_RATE

    def _because(self, items: str, without: str, title_of: Callable[[str], str]) -> str:
        if self.change == "leaves":
            target = f"*{title_of(self.target)}*"
            return f"{target} is in your top {self.k} because you watched {items}; {without} it would not be."
        if self.change == "list":
            n_new = len(set(self.after) - set(self.before))
            return f"Your top {self.k} is what it is because you watched {items}; {without} {n_new} of it would be new."
        if self.change == "enters":
            there, would = f"There is no {self.wanted_category}", "there would"
            if self.wanted is not None:
                there, would = f"*{title_of(self.wanted)}* is not", "it would"
            return f"{there} in your top {self.k} because you watched {items}; {without} {would} be."
        replacement = "nothing" if self.replacement is None else f"*{title_of(self.replacement)}*"
        return f"Recommended because you watched {items}; {without} it would have been {replacement}."

    def _none_found(self, title_of: Callable[[str], str]) -> str:
        target = f"*{title_of(self.target)}*"
        wanted = f"any {self.wanted_category}" if self.wanted is None else f"*{title_of(self.wanted)}*"
        change = {
            "top1": f"changes the recommendation of {target}",
            "leaves": f"takes {target} out of your top {self.k}",
            "list": f"makes enough of your top {self.k} new",
            "enters": f"brings {wanted} into your top {self.k}",
        }[self.change]
        if self.status == "budget":
            return f"No removal was found that {change} before the budget ran out."
        if self.proven_size:
            items = "one item" if self.proven_size == 1 else f"up to {self.proven_size} items"
            return f"No removal of {items} {change}."
        if self.evaluations:
            return f"No removal that was tested {change}."
        return f"No removal was tested: nothing that you watched is linked to {target}."

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the sentence, and how sure it is; ids stand for titles."""
        what = [
            f"change {self.change}",
            f"removal {self.removal}",
            f"explainer {self.explainer}",
            f"status {self.status}",
        ]
        tested = f"{self.evaluations:,} evaluations; all sets of up to {self.proven_size} were tested"
        if self.null_rate is not None:
            tested += f"; {self.null_rate:.0%} of random sets of that size do as well"
        sentence = escape(self.sentence()).replace("\n", "<br>")
        return f"<p>{sentence}</p><p><small>{escape(', '.join(what))}; {escape(tested)}.</small></p>"

    def fingerprint(self) -> str:
        """Return the sha256 of all other fields than `digest`: another where one of them was changed."""
        row = {name: value for name, value in self.to_dict().items() if name not in ("digest", "schema_version")}
        return hashlib.sha256(json.dumps(row, sort_keys=True, allow_nan=False).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the plain fields, tuples as lists: one row of `explanations.parquet`."""
        return {f.name: _as_list(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """Return the explanation of a row; `DataError` names a missing field or another schema version.

        A row may have been through pandas, which makes arrays of lists, NaN of nulls, and fractions of the numbers
        beside them.
        """
        if not isinstance(row, Mapping):
            raise DataError(f"an explanation is a table of named fields, not {row!r}")
        version = row.get("schema_version")
        if version not in READ_VERSIONS:
            raise DataError(f"explanations have schema_version {_either(READ_VERSIONS)} here, not {version}")
        names = [f.name for f in fields(cls) if version == SCHEMA_VERSION or f.name not in SINCE_2]
        missing = [name for name in names if name not in row]
        if missing:
            raise DataError(f"an explanation has no field {', '.join(missing)}")
        values = {name: _plain(row[name]) for name in names}
        if isinstance(values.get("n_minimal"), float):  # the one column of whole numbers in which some are missing
            values["n_minimal"] = int(values["n_minimal"])
        for name in LISTS & values.keys():
            if not isinstance(values[name], list | tuple):
                raise DataError(f"the field {name} of an explanation must be a list, not {values[name]!r}")
            values[name] = _as_tuple(values[name])
        for f in fields(cls):
            if f.name in values and not _fits(values[f.name], f.type):
                said = f"{_named(f.type)}, not {str(values[f.name])[:60]!r}"
                raise DataError(f"the field {f.name} of an explanation must be {said}")
        found = cls(**values | {"schema_version": SCHEMA_VERSION})
        return replace(found, digest=found.fingerprint()) if version == 1 else found

    def to_json(self) -> str:
        """Return one line of `explanations.jsonl`."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the explanation written by `to_json`."""
        return cls.from_dict(json.loads(line))


def _fits(value: object, kind: Any) -> bool:
    """Whether a value is of the kind that a field is declared as; numbers are finite, whole ones not negative."""
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    if kind is str:
        return isinstance(value, str) and (value.isascii() or not _LONE.search(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return value is None


def _named(kind: Any, *, are_many: bool = False) -> str:
    """Return in words what `_fits` asks for."""
    if isinstance(kind, UnionType):
        return " or ".join(_named(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return ("lists of " if are_many else "a list of ") + _named(get_args(kind)[0], are_many=True)
    one, many = _KINDS.get(kind, ("null", "nulls"))
    return many if are_many else one


def _plain(value: Any) -> Any:
    """Return a value without NumPy and NaN; inside a list nothing is missing."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and isnan(value) else value


def _as_list(value: Any) -> Any:
    return [_as_list(one) for one in value] if isinstance(value, tuple) else value


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(one) for one in value) if isinstance(value, list | tuple) else value


def _either(values: Sequence[object]) -> str:
    return " or ".join(map(str, values))


def _listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: A; A and B; A, B and C."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
