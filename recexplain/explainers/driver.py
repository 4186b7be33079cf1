"""Runs an explainer for many people: their candidates are verified together, each person's result stands alone."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import networkx as nx
import numpy as np

from recexplain.counterfactual import Candidate, Options, Question, ask, checked_scores, verdicts
from recexplain.errors import OptionError, RecExplainError
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender, id_of, number_of, top_items
from recexplain.search import Result, Search, null_sets

PEOPLE = 16  # whose candidates are packed into one batch
ROWS = 1024  # histories scored in one batch at most


class Explainer(Protocol):
    """Finds a removal: graphs first, where it has any, then a search over candidates."""

    @property
    def name(self) -> str:
        """What explanations say in the field `explainer`."""
        ...

    def graphs(self, recommender: Recommender, question: Question) -> tuple[nx.DiGraph, ...]:
        """Return the causal graphs to search, none for an explainer without."""
        ...

    def search(self, question: Question, graphs: Sequence[nx.DiGraph]) -> Search:
        """Return the search, not begun."""
        ...

    def head_of(self, candidate: Candidate, question: Question, graphs: Sequence[nx.DiGraph]) -> int:
        """Return which of the graphs gave a candidate."""
        ...


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


@dataclass(frozen=True)
class Timing:
    """Seconds that one person's explanation took; 0 for a person who cannot be explained."""

    graph_s: float  # the recommendations, attention and causal graphs
    search_s: float  # candidates and their verification; of a shared batch the person's share
    total_s: float  # both, and then the list afterwards and the null rate


@dataclass(frozen=True, eq=False)
class Case:
    """An explanation, and what is not stored with it: the graphs it came from, and the time it took."""

    explanation: Explanation
    timing: Timing
    graphs: tuple[nx.DiGraph, ...] = ()
    head: int = 0  # the graph that gave the explanation; without one the first


@dataclass(eq=False)
class _Running:
    """One person's search under way."""

    person: Person
    question: Question
    graphs: tuple[nx.DiGraph, ...]
    search: Search
    graph_s: float
    search_s: float = 0.0
    evaluations: int = 0
    asked: Sequence[Candidate] = ()  # the level that the search waits for
    answers: list[bool] = field(default_factory=list)  # so far, of `asked`
    result: Result | None = None  # what the search came to,
    error: RecExplainError | None = None  # or why it could not go on


def explain_case(recommender: Recommender, person: Person, explainer: Explainer, options: Options) -> Case:
    """Return the case of one person; the error of a person who cannot be explained is raised."""
    running = _started(recommender, person, explainer, options)
    _run(recommender, [running], options)
    return _finished(recommender, running, explainer)


def explain_cases(
    recommender: Recommender, people: Iterable[Person], explainer: Explainer, options: Options
) -> Iterator[Case]:
    """Yield one case a person, in input order; a person who cannot be explained gets the status `error`."""
    waiting = iter(people)
    while packed := list(islice(waiting, PEOPLE)):
        begun: list[_Running | RecExplainError] = []
        for person in packed:
            try:
                begun.append(_started(recommender, person, explainer, options))
            except RecExplainError as error:
                begun.append(error)
        _run(recommender, [one for one in begun if isinstance(one, _Running)], options)
        for person, one in zip(packed, begun, strict=True):
            try:
                case = _finished(recommender, one, explainer)
            except RecExplainError as error:
                case = _failed(recommender, person, explainer, options, error)
            yield case


def _started(recommender: Recommender, person: Person, explainer: Explainer, options: Options) -> _Running:
    """Return a person's search, at its first level."""
    began = time.perf_counter()
    history = np.array([number_of(recommender, item) for item in person.history], dtype=np.int64)
    target = None if person.target is None else number_of(recommender, person.target)
    question = ask(recommender, history, options, target)
    graphs = explainer.graphs(recommender, question)
    running = _Running(person, question, graphs, explainer.search(question, graphs), time.perf_counter() - began)
    _advance(running, first=True)
    return running


def _run(recommender: Recommender, running: Sequence[_Running], options: Options) -> None:
    """Drive the searches to their ends, in batches that all of them share."""
    while active := [one for one in running if one.result is None and one.error is None]:
        share = max(1, ROWS // len(active))
        _verify(recommender, [(one, _next_asked(one, min(share, _affordable(one, options)))) for one in active])
        for one in active:
            if not _affordable(one, options):
                _advance(one)


def _verify(recommender: Recommender, batch: Sequence[tuple[_Running, Sequence[Candidate]]]) -> None:
    """Note the verdicts of several people's candidates, and book the time by their shares.

    Scores that cannot be used end the search of the person whose they are, not of the others.
    """
    began = time.perf_counter()
    try:
        flat = iter(verdicts(recommender, [(one.question, candidate) for one, part in batch for candidate in part]))
    except RecExplainError as error:
        if len(batch) == 1:
            batch[0][0].error = error
        else:
            for alone in batch:
                _verify(recommender, [alone])
        return
    each = (time.perf_counter() - began) / max(1, sum(len(part) for _, part in batch))
    for one, part in batch:
        one.answers += islice(flat, len(part))
        one.evaluations += len(part)
        one.search_s += each * len(part)


def _affordable(one: _Running, options: Options) -> int:
    """Return how many more candidates of the level may be tested: 0 at its end, and where the budget is spent."""
    if options.max_seconds is not None and one.graph_s + one.search_s >= options.max_seconds:
        return 0
    left = len(one.asked) - len(one.answers)
    return left if options.max_evaluations is None else min(left, options.max_evaluations - one.evaluations)


def _next_asked(one: _Running, n: int) -> Sequence[Candidate]:
    """Return the next n candidates of the level."""
    return one.asked[len(one.answers) : len(one.answers) + n]


def _advance(one: _Running, *, first: bool = False) -> None:
    """Hand a search its verdicts, and take its next level or its result."""
    began = time.perf_counter()
    try:
        one.asked = next(one.search) if first else one.search.send(one.answers)
        one.answers = []
    except StopIteration as stopped:
        one.result = stopped.value
    except RecExplainError as error:
        one.error = error
    one.search_s += time.perf_counter() - began


def _null_rate(recommender: Recommender, one: _Running, size: int) -> float:
    """Return the share of random sets of a size that change the answer too; apart from the budget."""
    sets = null_sets(size, one.question.removable, _rng(one))
    answers = [
        changes
        for start in range(0, len(sets), ROWS)
        for changes in verdicts(recommender, [(one.question, drawn) for drawn in sets[start : start + ROWS]])
    ]
    return sum(answers) / len(answers)


def _rng(one: _Running) -> np.random.Generator:
    """Return randomness that comes from the seed and the user alone."""
    digest = hashlib.sha256(str(one.person.user).encode()).digest()
    return np.random.default_rng([one.question.options.seed, int.from_bytes(digest[:8], "big")])


def _finished(recommender: Recommender, one: _Running | RecExplainError, explainer: Explainer) -> Case:
    """Return the case of a search that has ended; the error of one that could not is raised."""
    if isinstance(one, RecExplainError):
        raise one
    if one.error is not None:
        raise one.error
    assert one.result is not None
    began = time.perf_counter()
    question, candidate = one.question, one.result.candidate or ()
    after = _after(recommender, question, candidate) if candidate else ()
    null_rate = _null_rate(recommender, one, len(candidate)) if candidate else None
    replacement = id_of(recommender, after[0]) if after else None
    explanation = Explanation(
        **_header(recommender, one.person, explainer, question.options),
        n_unseen=question.n_unseen,
        target=id_of(recommender, question.target),
        target_rank=question.before.index(question.target) + 1,
        status=one.result.status,
        positions=candidate,
        items=_ids(recommender, question.history[list(candidate)]),
        replacement=replacement,
        before=_ids(recommender, question.before),
        after=_ids(recommender, after),
        proven_size=one.result.proven_size,
        evaluations=one.evaluations,
        null_rate=null_rate,
    )
    head = explainer.head_of(candidate, question, one.graphs) if candidate else 0
    timing = Timing(one.graph_s, one.search_s, one.graph_s + one.search_s + time.perf_counter() - began)
    return Case(explanation, timing, one.graphs, head)


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


def _failed(
    recommender: Recommender, person: Person, explainer: Explainer, options: Options, error: RecExplainError
) -> Case:
    """Return the case of a person who cannot be explained."""
    target = "" if person.target is None else str(person.target)
    header = _header(recommender, person, explainer, options)
    n_unseen = max(0, len(person.history) - recommender.max_length)
    explanation = Explanation(
        **header, n_unseen=n_unseen, target=target, target_rank=0, status="error", error=str(error)
    )
    return Case(explanation, Timing(0.0, 0.0, 0.0))


def _header(recommender: Recommender, person: Person, explainer: Explainer, options: Options) -> dict[str, Any]:
    """Return the fields that do not depend on what was found."""
    known = recommender if isinstance(recommender, Identified) else None
    return {
        "user": None if person.user is None else str(person.user),
        "history": tuple(map(str, person.history)),
        "k": options.k,
        "change": options.change,
        "removal": options.removal,
        "explainer": explainer.name,
        "seed": options.seed,
        "model_hash": known.model_hash if known else "",
        "data_hash": known.data_hash if known else "",
        "version": version("recexplain"),
    }
