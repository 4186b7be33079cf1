"""What an explanation is: one frozen value, the same in Python, JSON and Parquet."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from recexplain.errors import DataError

SCHEMA_VERSION = 1

STATUSES = ("optimal", "irreducible", "found", "none_up_to", "budget", "error")


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
    change: str  # top1 or leaves
    removal: str  # delete or pad
    explainer: str
    status: str  # one of STATUSES
    positions: tuple[int, ...] = ()  # 0-based into `history`, ascending
    items: tuple[str, ...] = ()  # what stands there
    replacement: str | None = None  # the first item afterwards
    before: tuple[str, ...] = ()  # top k of the history as it is
    after: tuple[str, ...] = ()  # top k without `positions`
    proven_size: int = 0  # all sets up to this size were tested without success
    evaluations: int = 0  # edited histories scored
    null_rate: float | None = None  # share of random sets of the same size that change the answer too
    tau: float | None = None
    wanted: str | None = None
    seed: int = 0
    model_hash: str = ""
    data_hash: str = ""
    version: str = ""
    error: str | None = None
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
        if self.change == "leaves":
            target = f"*{title_of(self.target)}*"
            return f"{target} is in your top {self.k} because you watched {items}; {without} it would not be."
        replacement = "nothing" if self.replacement is None else f"*{title_of(self.replacement)}*"
        return f"Recommended because you watched {items}; {without} it would have been {replacement}."

    def _none_found(self, title_of: Callable[[str], str]) -> str:
        target = f"*{title_of(self.target)}*"
        change = f"changes the recommendation of {target}"
        if self.change == "leaves":
            change = f"takes {target} out of your top {self.k}"
        if self.status == "budget":
            return f"No removal was found that {change} before the budget ran out."
        if self.proven_size:
            items = "one item" if self.proven_size == 1 else f"up to {self.proven_size} items"
            return f"No removal of {items} {change}."
        if self.evaluations:
            return f"No removal that was tested {change}."
        return f"No removal was tested: nothing that you watched is linked to {target}."

    def to_dict(self) -> dict[str, Any]:
        """Return the plain fields, tuples as lists: one row of `explanations.parquet`."""
        row = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """Return the explanation of a row; `DataError` names a missing field or another schema version."""
        if not isinstance(row, Mapping):
            raise DataError(f"an explanation is a table of named fields, not {row!r}")
        version = row.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DataError(f"explanations have schema_version {SCHEMA_VERSION} here, not {version}")
        missing = [f.name for f in fields(cls) if f.name not in row]
        if missing:
            raise DataError(f"an explanation has no field {', '.join(missing)}")
        values = {f.name: row[f.name] for f in fields(cls)}
        for name in ("history", "positions", "items", "before", "after"):
            if not isinstance(values[name], list | tuple):
                raise DataError(f"the field {name} of an explanation must be a list, not {values[name]!r}")
            values[name] = tuple(values[name])
        return cls(**values)

    def to_json(self) -> str:
        """Return one line of `explanations.jsonl`."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the explanation written by `to_json`."""
        return cls.from_dict(json.loads(line))


def _listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: A; A and B; A, B and C."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
