"""The public functions: one person, or many."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat, zip_longest
from typing import Any

from recexplain.counterfactual import Options
from recexplain.errors import OptionError
from recexplain.explainers import explainer_of
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import Explainer, explain_case, explain_cases
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender


def explain(
    recommender: Recommender,
    history: Sequence[object],
    *,
    user: str | None = None,
    target: object | None = None,
    change: str = "top1",
    k: int = 10,
    tau: float = 0.5,
    wanted: object | None = None,
    wanted_category: str | None = None,
    removal: str = "delete",
    locked: Iterable[object] = (),
    min_age: int = 0,
    costs: Mapping[Any, float] | None = None,
    explainer: str | Explainer = "causal",
    max_evaluations: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
) -> Explanation:
    """Return why this is recommended after a history: the smallest removal of past items that changes it, verified.

    `history` holds the user's own item ids, oldest first; without a `target` the first recommendation is explained.
    `change`: `top1`, the first item must become another; `leaves`, the target, any of the top `k`, must leave the top
    `k`; `list`, at least the share `tau` of the top `k` must be new; `enters`, the item `wanted`, or one of the
    category, must come into the top `k`. `removal`: `delete`, `pad`, `mask` or `backfill`.

    Items of `locked` and the newest `min_age` places of the history are never removed. With `costs`, item id -> a
    number above 0 (of any other item 1), the cheapest removal is sought, not the smallest. An explainer is a name or
    an instance with options, such as `Causal(alpha=0.05)`. What a budget in seconds finds depends on the machine.

    `OptionError` for an option or a history that cannot be explained, `UnknownIdError` for an unknown item.
    """
    options = options_of(
        change=change,
        k=k,
        tau=tau,
        wanted=wanted,
        wanted_category=wanted_category,
        removal=removal,
        locked=locked,
        min_age=min_age,
        costs=costs,
        max_evaluations=max_evaluations,
        max_seconds=max_seconds,
        seed=seed,
    )
    return explain_case(recommender, Person(user, history, target), explainer_of(explainer), options).explanation


def explain_many(
    recommender: Recommender,
    histories: Iterable[Sequence[object]],
    *,
    users: Iterable[str] | None = None,
    target: object | None = None,
    change: str = "top1",
    k: int = 10,
    tau: float = 0.5,
    wanted: object | None = None,
    wanted_category: str | None = None,
    removal: str = "delete",
    locked: Iterable[object] = (),
    min_age: int = 0,
    costs: Mapping[Any, float] | None = None,
    explainer: str | Explainer = "causal",
    max_evaluations: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
) -> Iterator[Explanation]:
    """Yield one explanation a history, in input order; several people are asked about at once.

    Options as for `explain`, for each person alike. A person who cannot be explained gets an explanation with the
    status `error` and the reason: nobody is lost.
    """
    options = options_of(
        change=change,
        k=k,
        tau=tau,
        wanted=wanted,
        wanted_category=wanted_category,
        removal=removal,
        locked=locked,
        min_age=min_age,
        costs=costs,
        max_evaluations=max_evaluations,
        max_seconds=max_seconds,
        seed=seed,
    )
    people = (Person(user, history, target) for user, history in _named(users, histories))
    return (case.explanation for case in explain_cases(recommender, people, explainer_of(explainer), options))


def options_of(
    *,
    wanted: object | None = None,
    locked: Iterable[object] = (),
    costs: Mapping[Any, float] | None = None,
    **plain: object,
) -> Options:
    """Return the checked options, item ids as text; those that are not named here are taken as they are."""
    if isinstance(locked, str | bytes) or not isinstance(locked, Iterable):
        raise OptionError(f"locked must be a list of item ids, not {locked!r}")
    if costs is not None and not isinstance(costs, Mapping):
        raise OptionError(f"costs must be a table of item ids and numbers, not {costs!r}")
    return Options(
        wanted=None if wanted is None else str(wanted),
        locked=tuple(map(str, locked)),
        costs=tuple((str(item), cost) for item, cost in (costs or {}).items()),
        **plain,  # type: ignore[arg-type]  # checked by Options itself
    )


def _named(
    users: Iterable[str] | None, histories: Iterable[Sequence[object]]
) -> Iterator[tuple[str | None, Sequence[object]]]:
    """Yield each history with its user; `OptionError` where there are more of one than of the other."""
    if users is None:
        yield from zip(repeat(None), histories, strict=False)
        return
    missing: Any = object()
    for user, history in zip_longest(users, histories, fillvalue=missing):
        if user is None or user is missing or history is missing:
            raise OptionError("users and histories must be equally many, and no user None")
        yield user, history
