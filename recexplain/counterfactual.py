"""What a removal is, and what it must change."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, fsum, inf, isfinite
from numbers import Real
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from recexplain.errors import OptionError, is_whole
from recexplain.recommender import Recommender, checked_scores, keeps_places, n_ignored, n_unseen, number_of, top_items

Candidate = tuple[int, ...]  # positions of the whole history, ascending

CHANGES = ("top1", "leaves", "list", "enters")
NUMBERS = ("k", "max_evaluations", "max_seconds", "seed", "tau", "min_age")  # options
REMOVALS = ("delete", "pad", "mask", "backfill")
CLOSE = 1e-4  # a gap below this share of the score (1 at least) may turn with the batch: it is decided alone


@runtime_checkable
class Categorised(Protocol):
    """A vocabulary that knows which items belong together."""

    def ids_in(self, category: str) -> Sequence[str]:
        """Return the ids of a category's items; `UnknownIdError` for a category that it does not know."""
        ...


@dataclass(frozen=True)
class Options:
    """What is asked of every person alike; items go by the user's own ids."""

    change: str = "top1"  # top1: another item is first; leaves: the target leaves the top k; list, enters: below
    k: int = 10
    removal: str = "delete"  # delete, pad, mask or backfill: see `Question.without`
    max_evaluations: int | None = None  # a person; None: no limit
    max_seconds: float | None = None  # a person; None: no limit. What was found then depends on the machine
    seed: int = 0
    tau: float = 0.5  # list: at least this share of the top k is new
    wanted: str | None = None  # enters: this item comes into the top k,
    wanted_category: str | None = None  # or any item of this category
    locked: tuple[str, ...] = ()  # items that are never removed
    min_age: int = 0  # the newest so many positions are never removed
    costs: tuple[tuple[str, float], ...] = ()  # what the removal of an item costs; of any other item: 1

    def __post_init__(self) -> None:
        self._take_from_numpy()
        if self.change not in CHANGES:
            raise OptionError(f"change must be one of {', '.join(CHANGES)}, not {self.change!r}")
        if self.removal not in REMOVALS:
            raise OptionError(f"removal must be one of {', '.join(REMOVALS)}, not {self.removal!r}")
        if not is_whole(self.k, 1):
            raise OptionError(f"k must be a whole number of 1 or more, not {self.k!r}")
        for name in ("seed", "min_age"):
            if not is_whole(getattr(self, name), 0):
                raise OptionError(f"{name} must be a whole number of 0 or more, not {getattr(self, name)!r}")
        if not (_is_number(self.tau) and 0 < self.tau <= 1):
            raise OptionError(f"tau must be above 0 and at most 1, not {self.tau!r}")
        self._check_budget()
        self._check_wanted()
        for item, cost in self.costs:
            if not (_is_number(cost) and cost > 0 and isfinite(cost)):
                raise OptionError(f"costs must be numbers above 0; that of item {item!r} is {cost!r}")

    def _take_from_numpy(self) -> None:
        """Make NumPy's numbers Python's, which files can hold."""
        for name in NUMBERS:
            value = getattr(self, name)
            if isinstance(value, np.integer | np.floating):
                object.__setattr__(self, name, value.item())

    def _check_budget(self) -> None:
        if self.max_evaluations is not None and not is_whole(self.max_evaluations, 1):
            allowed = "a whole number of 1 or more, or null for no limit"
            raise OptionError(f"max_evaluations must be {allowed}, not {self.max_evaluations!r}")
        if self.max_seconds is not None and not (_is_number(self.max_seconds) and 0 < self.max_seconds < inf):
            raise OptionError(f"max_seconds must be above 0, or null for no limit, not {self.max_seconds!r}")

    def _check_wanted(self) -> None:
        given = sum(value is not None for value in (self.wanted, self.wanted_category))
        if self.change == "enters" and given != 1:
            raise OptionError("change=enters needs what is wanted: either wanted=<item id> or wanted_category=<name>")
        if self.change != "enters" and given:
            raise OptionError(f"wanted and wanted_category are for change=enters, not for change={self.change}")


@dataclass(frozen=True, eq=False)
class Question:
    """Why this answer, for this person: a history, its recommendations, and what must become different."""

    history: np.ndarray  # (length,) item numbers, whole
    n_unseen: int  # the oldest items, which the model does not see
    before: tuple[int, ...]  # top k of the history as it is
    target: int  # one of `before`
    options: Options = field(default_factory=Options)
    wanted: frozenset[int] = frozenset()  # items of which one must enter
    locked: frozenset[int] = frozenset()  # visible positions that may not be removed
    costs: tuple[float, ...] = ()  # a number a position of the history; empty: each costs 1
    mask_item: int | None = None  # what the removal `mask` writes
    n_ignored: int = 0  # the newest of the unseen, which the recommender is handed and does not look at
    scale: float = 1.0  # how large the recommender's scores are here: 1 or more
    user: str | None = None  # whose randomness it is

    @property
    def visible(self) -> np.ndarray:
        """The part of the history that the model sees."""
        return self.history[self.n_unseen :]

    @property
    def handed(self) -> np.ndarray:
        """The part of the history that the recommender is handed: what the model sees, behind what it ignores."""
        return self.history[self.n_unseen - self.n_ignored :]

    @cached_property
    def removable(self) -> Candidate:
        """The positions that may be removed: what the model sees, but for what is locked."""
        return tuple(p for p in range(self.n_unseen, len(self.history)) if p not in self.locked)

    @property
    def most(self) -> int:
        """How many positions may be removed together at most: a removal never empties a history."""
        return min(len(self.removable), self.n_before(self.options.removal) - 1)

    def n_before(self, removal: str) -> int:
        """Return how many items a removal takes some of: the model sees that many of them, or could."""
        return len(self.history) - self.n_ignored if removal == "backfill" else len(self.visible)

    def cost(self, candidate: Candidate) -> float:
        """Return what a removal costs; without costs its size."""
        return fsum(self.costs[position] for position in candidate) if self.costs else float(len(candidate))

    def without(self, candidate: Candidate, removal: str | None = None) -> np.ndarray:
        """Return what the model is handed after a removal of up to `most` removable positions.

        `delete`: the rest closes up. `pad`: the places stay, as 0, and are not attended. `mask`: the places hold the
        mask item. `backfill`: the rest closes up, and older items that the model did not see move in.
        """
        removal = removal or self.options.removal
        assert 0 < len(candidate) < self.n_before(removal)
        assert candidate[0] >= self.n_unseen
        if removal == "backfill":
            return np.delete(self.history, candidate)[-len(self.handed) :]
        places = np.asarray(candidate, dtype=np.int64) - self.n_unseen + self.n_ignored
        if removal == "delete":
            return np.delete(self.handed, places)
        assert removal == "pad" or self.mask_item is not None
        edited = self.handed.copy()
        edited[places] = 0 if removal == "pad" else self.mask_item
        return edited

    def without_each(self, candidates: Sequence[Candidate]) -> list[np.ndarray]:
        """Return `without` of each candidate; the deletions of a size are made in one go."""
        if self.options.removal != "delete" or len({len(candidate) for candidate in candidates}) != 1:
            return [self.without(candidate) for candidate in candidates]
        places = self.handed_places(candidates)
        kept = np.ones((len(places), len(self.handed)), dtype=bool)
        np.put_along_axis(kept, places, values=False, axis=1)
        return list(np.broadcast_to(self.handed, kept.shape)[kept].reshape(len(places), -1))

    def handed_places(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return, (candidates, size) int64, where candidates of one size stand in what the model is handed."""
        places = np.sort(np.array(candidates, dtype=np.int64)) - self.n_unseen + self.n_ignored
        assert places.min() >= self.n_ignored
        assert places.shape[1] < len(self.visible)
        return places

    @property
    def place(self) -> int:
        """How many of the first recommendations make up the answer."""
        return 1 if self.options.change == "top1" else self.options.k

    @property
    def n_new(self) -> int:
        """How many of the top k must be new, for a `list` to have changed."""
        return max(1, ceil(round(self.options.tau * self.options.k, 9)))

    def is_changed(self, after: Sequence[int]) -> bool:
        """Whether recommendations, best first, are another answer."""
        if self.options.change == "list":
            return len(set(after[: self.options.k]) - set(self.before)) >= self.n_new
        if self.options.change == "enters":
            return not self.wanted.isdisjoint(after[: self.options.k])
        return self.target not in after[: self.place]

    def gaps(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (batch,) float64, above 0 where the answer has changed, and where that is `CLOSE`, (batch,) bool.

        From scores, (batch, n_items + 1). A gap is the score of what must win for it, less that of what it must beat:
        see `_sides`. Only items outside the whole original history compete; an equal score counts for the smaller item
        number, and then the gap is the smallest positive number, or 0. An item with the score -inf is never
        recommended.
        """
        rival, holder = self._sides(scores)
        none = np.isneginf(rival) & (self.options.change in ("list", "enters") or ~np.isneginf(holder))
        is_open = ~(np.isneginf(rival) | np.isneginf(holder))
        gaps = np.where(none, -np.inf, np.inf)
        np.subtract(rival, holder, out=gaps, where=is_open)
        for row in np.flatnonzero(gaps == 0):
            after = top_items(scores[row], self.history, self.place)
            gaps[row] = np.finfo(np.float64).tiny if self.is_changed(after.tolist()) else 0.0
        return gaps, np.abs(gaps) < CLOSE * np.maximum(1.0, np.abs(holder))

    def _sides(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (batch,) float64 the score that must win, and the one that it must beat.

        `top1`: the best other item against the target. `leaves`: the k-th best other item against the target. `list`,
        with m new items needed: the m-th best item that was not in the list against the (k - m + 1)-th best of those
        that were. `enters`: the best wanted item against the k-th best other item.
        """
        change, k = self.options.change, self.options.k
        held = {"list": list(self.before), "enters": sorted(self.wanted)}.get(change, [self.target])
        others = np.array(scores)
        others[:, 0] = -np.inf
        others[:, self.history] = -np.inf
        apart = others[:, held]
        others[:, held] = -np.inf
        if change == "list":
            return _nth_best(others, self.n_new), _nth_best(apart, k - self.n_new + 1)
        if change == "enters":
            return _nth_best(apart, 1), _nth_best(others, k)
        return _nth_best(others, self.place), _nth_best(apart, 1)

    def rng(self, purpose: str) -> np.random.Generator:
        """Return randomness that comes from the seed and the user alone, another for each purpose."""
        digest = hashlib.sha256(f"{purpose} {self.user}".encode()).digest()
        return np.random.default_rng([self.options.seed, int.from_bytes(digest[:8], "big")])


def ask(
    recommender: Recommender,
    history: np.ndarray,
    options: Options,
    target: int | None = None,
    *,
    user: str | None = None,
) -> Question:
    """Return the question for one history of item numbers; without a target the first recommendation is explained."""
    if len(history) == 0:
        raise OptionError("the history is empty; an explanation needs two items or more")
    unseen, ignored = n_unseen(recommender, len(history)), n_ignored(recommender)
    visible = history[unseen:]
    if (len(history) - ignored if options.removal == "backfill" else len(visible)) < 2:
        raise OptionError(
            f"the recommender sees {len(visible)} item of the history; it must see two, for a removal never empties it"
        )
    if options.removal == "mask" and recommender.mask_item is None:
        raise OptionError(f"removal=mask needs a recommender with a mask item; {type(recommender).__name__} has none")
    if options.removal == "pad" and not keeps_places(recommender):
        raise OptionError("removal=pad needs a recommender that can leave a place empty; this one cannot: use delete")
    scores = checked_scores(recommender, [history[unseen - ignored :]])[0]
    before = tuple(int(item) for item in top_items(scores, history, options.k))
    if not before:
        raise OptionError("nothing can be recommended: every item of the catalogue is in the history, or has no score")
    target = _checked_target(target, before, history, options)
    return Question(
        history,
        unseen,
        before,
        target,
        options,
        wanted=_wanted(recommender, options, history, before),
        locked=_locked(recommender, options, history, unseen),
        costs=_costs(recommender, options, history),
        mask_item=recommender.mask_item,
        n_ignored=ignored,
        scale=max(1.0, abs(float(scores[target]))),
        user=user,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _nth_best(scores: np.ndarray, n: int) -> np.ndarray:
    """(batch,) float64: the n-th largest of each row, -inf where there are fewer."""
    width = scores.shape[1]
    if n > width:
        return np.full(len(scores), -np.inf)
    if n > 1:  # topk is several times as fast as np.partition
        scores = torch.from_numpy(scores).topk(n, sorted=False).values.numpy()
    best: np.ndarray = scores.max(1) if n == 1 else scores.min(1)
    return best.astype(np.float64)


def _checked_target(target: int | None, before: tuple[int, ...], history: np.ndarray, options: Options) -> int:
    if target is None or target == before[0]:
        return before[0]
    if target in history:
        raise OptionError("the target is in the history already, so it is never recommended; give a recommended item")
    if options.change == "top1":
        raise OptionError("change=top1 explains the first recommendation, and the target is not it; use change=leaves")
    if options.change != "leaves":
        raise OptionError(f"change={options.change} is about the whole list, not about one target; leave it out")
    if target not in before:
        raise OptionError(
            f"the target is not among the top {options.k} recommendations; give one of them, or a larger k"
        )
    return target


def _wanted(recommender: Recommender, options: Options, history: np.ndarray, before: Sequence[int]) -> frozenset[int]:
    """Return the items of which one must enter; `OptionError` where none can, or one is there already."""
    if options.wanted is not None:
        what, ids = f"the wanted item {options.wanted!r}", [options.wanted]
    elif options.wanted_category is not None:
        what = f"the wanted category {options.wanted_category!r}"
        if not isinstance(recommender.vocabulary, Categorised):
            raise OptionError("the recommender's vocabulary knows no categories; give wanted=<item id> instead")
        ids = list(recommender.vocabulary.ids_in(options.wanted_category))
    else:
        return frozenset()
    numbers = {number_of(recommender, item) for item in ids}
    if not numbers.isdisjoint(before):
        raise OptionError(f"{what} is in the top {options.k} already, so nothing must change for it")
    numbers -= set(history.tolist())
    if not numbers:
        raise OptionError(f"{what} is in the history already, so it is never recommended")
    return frozenset(numbers)


def _locked(recommender: Recommender, options: Options, history: np.ndarray, unseen: int) -> frozenset[int]:
    """Return the visible positions that may not be removed; `OptionError` where nothing is left."""
    items = {number_of(recommender, item) for item in options.locked}
    too_new = len(history) - options.min_age
    visible = range(unseen, len(history))
    locked = frozenset(p for p in visible if p >= too_new or int(history[p]) in items)
    if len(locked) == len(visible):
        raise OptionError(f"nothing may be removed: all {len(locked)} items that the recommender sees are locked")
    return locked


def _costs(recommender: Recommender, options: Options, history: np.ndarray) -> tuple[float, ...]:
    costs = {number_of(recommender, item): float(cost) for item, cost in options.costs}
    return tuple(costs.get(int(item), 1.0) for item in history) if costs else ()
