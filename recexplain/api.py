"""The public functions: one person, or many."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat, zip_longest

from recexplain.counterfactual import Options
from recexplain.errors import OptionError
from recexplain.explainers import explainer_of
from recexplain.explainers.driver import Explainer, Person, explain_case, explain_cases
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
    removal: str = "delete",
    explainer: str | Explainer = "cleann",
    max_evaluations: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
) -> Explanation:
    """Return why `target` is recommended after a history: the removal of past items that changes it, verified.

    `history` holds the user's own item ids, oldest first; without a `target` the first recommendation is explained.
    `change`: `top1`, the first item must become another, or `leaves`, the target must leave the top `k`.
    `removal`: `delete` or `pad`. An explainer is a name or an instance with options, such as `Cleann(alpha=0.05)`.

    `OptionError` for an option or a history that cannot be explained, `UnknownIdError` for an unknown item.
    """
    options = Options(change, k, removal, max_evaluations, max_seconds, seed)
    person = Person(user, history, target)
    return explain_case(recommender, person, explainer_of(explainer), options).explanation


def explain_many(
    recommender: Recommender,
    histories: Iterable[Sequence[object]],
    *,
    users: Iterable[str] | None = None,
    target: object | None = None,
    change: str = "top1",
    k: int = 10,
    removal: str = "delete",
    explainer: str | Explainer = "cleann",
    max_evaluations: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
) -> Iterator[Explanation]:
    """Yield one explanation a history, in input order; several people are asked about at once.

    Options as for `explain`, for each person alike. A person who cannot be explained gets an explanation with the
    status `error` and the reason: nobody is lost.
    """
    options = Options(change, k, removal, max_evaluations, max_seconds, seed)
    people = (Person(user, history, target) for user, history in _named(users, histories))
    return (case.explanation for case in explain_cases(recommender, people, explainer_of(explainer), options))


def _named(
    users: Iterable[str] | None, histories: Iterable[Sequence[object]]
) -> Iterator[tuple[str | None, Sequence[object]]]:
    """Yield each history with its user; `OptionError` where there are more of one than of the other."""
    if users is None:
        yield from zip(repeat(None), histories, strict=False)
        return
    for user, history in zip_longest(users, histories):
        if user is None or history is None:
            raise OptionError("users and histories must be equally many, and none of them None")
        yield user, history
