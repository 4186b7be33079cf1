"""From what a search came to, to an explanation: the lists, the fields, the reason where there is none."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Protocol, runtime_checkable

import numpy as np

from recexplain.counterfactual import Candidate, Options, Question
from recexplain.errors import OptionError, RecExplainError
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender, checked_scores, id_of, n_unseen, number_of, top_items
from recexplain.robustness import Robust, robustness
from recexplain.search import Result


@runtime_checkable
class Identified(Protocol):
    """A recommender that knows the checkpoint it comes from."""

    model_hash: str
    data_hash: str


@dataclass(frozen=True)
class Person:
    """Who is asked about: item numbers are the recommender's, ids the user's own."""

    user: str | None
    history: Sequence[object]  # the user's own item ids, oldest first
    target: object | None = None  # an item id; None: the first recommendation

    def numbers(self, recommender: Recommender) -> np.ndarray:
        """(length,) int64, the history as item numbers; `OptionError` where it is no list of ids."""
        if not _is_list(self.history):
            raise OptionError(f"a history must be a list of item ids, oldest first, not {self.history!r}")
        return np.array([number_of(recommender, item) for item in self.history], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one person's search came to."""

    question: Question
    result: Result
    evaluations: int
    n_graphs: int


def explanation_of(
    recommender: Recommender, explainer: str, person: Person, outcome: Outcome, robust: Robust = robustness
) -> Explanation:
    """Return the explanation of a search that has ended; the recommender must confirm what was found once more."""
    question, result = outcome.question, outcome.result
    candidate = result.candidate or ()
    after = _after(recommender, question, candidate) if candidate else ()
    rate, held = robust(recommender, question, candidate, result.changing) if candidate else (None, ())
    explanation = Explanation(
        **_header(recommender, explainer, person, question.options),
        n_unseen=question.n_unseen,
        target=id_of(recommender, question.target),
        target_rank=question.before.index(question.target) + 1,
        locked=tuple(sorted(question.locked)),
        costs=question.costs,
        status=result.status,
        positions=candidate,
        items=_ids(recommender, question.history[list(candidate)]),
        replacement=id_of(recommender, after[0]) if after else None,
        before=_ids(recommender, question.before),
        after=_ids(recommender, after),
        proven_size=result.proven_size,
        evaluations=outcome.evaluations,
        n_graphs=outcome.n_graphs,
        null_rate=rate,
        holds_under=held,
        alternatives=result.alternatives,
        n_minimal=result.n_minimal,
        criticality=result.criticality,
    )
    return replace(explanation, digest=explanation.fingerprint())


def error_of(
    recommender: Recommender, explainer: str, person: Person, options: Options, error: RecExplainError
) -> Explanation:
    """Return the explanation of a person who cannot be explained."""
    header = _header(recommender, explainer, person, options)
    explanation = Explanation(
        **header,
        n_unseen=n_unseen(recommender, len(header["history"])),
        target="" if person.target is None else str(person.target),
        target_rank=0,
        status="error",
        error=str(error),
    )
    return replace(explanation, digest=explanation.fingerprint())


def _after(recommender: Recommender, question: Question, candidate: Candidate) -> tuple[int, ...]:
    """Return the top k without a found candidate, scored on its own; an error where it does not confirm the answer."""
    scores = checked_scores(recommender, [question.without(candidate)])[0]
    after = tuple(int(item) for item in top_items(scores, question.history, question.options.k))
    if not question.is_changed(after):
        raise OptionError(
            "the recommender scores the same history differently from call to call, so nothing is certain"
        )
    return after


def _ids(recommender: Recommender, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(id_of(recommender, int(number)) for number in numbers)


def _is_list(history: object) -> bool:
    return isinstance(history, Collection) and not isinstance(history, str | bytes | Set | Mapping)


def _header(recommender: Recommender, explainer: str, person: Person, options: Options) -> dict[str, Any]:
    """Return the fields that do not depend on what was found."""
    known = recommender if isinstance(recommender, Identified) else None
    return {
        "user": None if person.user is None else str(person.user),
        "history": tuple(map(str, person.history)) if _is_list(person.history) else (),
        "k": options.k,
        "change": options.change,
        "removal": options.removal,
        "tau": float(options.tau) if options.change == "list" else None,
        "wanted": options.wanted,
        "wanted_category": options.wanted_category,
        "explainer": explainer,
        "seed": options.seed,
        "model_hash": known.model_hash if known else "",
        "data_hash": known.data_hash if known else "",
        "version": version("recexplain"),
    }
