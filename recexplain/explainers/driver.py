"""Runs an explainer for many people: their candidates are scored together, each person's result stands alone."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, runtime_checkable

import networkx as nx
import numpy as np

from recexplain.counterfactual import Candidate, Options, Question, ask
from recexplain.errors import RecExplainError
from recexplain.explainers.cases import Outcome, Person, error_of, explanation_of
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender, asked_for, needs_user, number_of
from recexplain.robustness import Robust, robustness
from recexplain.search import Request, Result, Search
from recexplain.verdicts import measured, measured_alone

PEOPLE = 16  # whose candidates are packed into one batch
ROWS = 1024  # histories scored in one batch at most
TIMED = 64  # under a budget in seconds a person's first batch at most, before it is known how long one takes


class Explainer(Protocol):
    """Finds a removal: a search over candidates."""

    @property
    def name(self) -> str:
        """What explanations say in the field `explainer`."""
        ...

    def search(self, recommender: Recommender, question: Question, graphs: Sequence[nx.DiGraph], /) -> Search:
        """Return the search, not begun; it leaves all scoring to whoever drives it."""
        ...


@runtime_checkable
class GraphExplainer(Explainer, Protocol):
    """An explainer that learns causal graphs first."""

    def graphs(self, recommender: Recommender, question: Question, /) -> tuple[nx.DiGraph, ...]:
        """Return the causal graphs that decide the order; none where the recommender shows nothing to learn from."""
        ...

    def head_of(self, candidate: Candidate, question: Question, graphs: Sequence[nx.DiGraph], /) -> int:
        """Return which of the graphs, one at the least, goes with a candidate."""
        ...


@dataclass(frozen=True)
class Timing:
    """Seconds that one person's explanation took; 0 for a person who cannot be explained."""

    graph_s: float  # the recommendations, attention and causal graphs
    search_s: float  # candidates and their verification; of a shared batch the person's share
    total_s: float  # both, and then the list afterwards, the null rate and the other removals


@dataclass(frozen=True, eq=False)
class Case:
    """An explanation, and what is not stored with it: the graphs it came from, and the time it took."""

    explanation: Explanation
    timing: Timing
    graphs: tuple[nx.DiGraph, ...] = ()
    head: int = 0  # the graph that goes with the explanation; without one the first
    question: Question | None = None  # None of a person who could not be explained
    order: tuple[int, ...] = ()  # the positions in the order that the search followed, where it followed one


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
    asked: Sequence[Candidate] = ()  # what the search waits for
    answers: list[float] = field(default_factory=list)  # so far, of `asked`
    result: Result | None = None  # what the search came to,
    error: RecExplainError | None = None  # or why it could not go on


def explain_case(
    recommender: Recommender, person: Person, explainer: Explainer, options: Options, robust: Robust = robustness
) -> Case:
    """Return the case of one person; the error of a person who cannot be explained is raised."""
    recommender = asked_for(recommender, person.user)
    running = _started(recommender, person, explainer, options)
    _run(recommender, [running], options)
    return _finished(recommender, running, explainer, robust)


def explain_cases(
    recommender: Recommender,
    people: Iterable[Person],
    explainer: Explainer,
    options: Options,
    robust: Robust = robustness,
) -> Iterator[Case]:
    """Yield one case a person, in input order; a person who cannot be explained gets the status `error`."""
    if needs_user(recommender):  # nobody shares a batch: each has a recommender of their own
        for person in people:
            try:
                case = explain_case(recommender, person, explainer, options, robust)
            except RecExplainError as error:
                case = _failed(recommender, person, explainer, options, error)
            yield case
        return
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
                case = _finished(recommender, one, explainer, robust)
            except RecExplainError as error:
                case = _failed(recommender, person, explainer, options, error)
            yield case


def _failed(
    recommender: Recommender, person: Person, explainer: Explainer, options: Options, error: RecExplainError
) -> Case:
    return Case(error_of(recommender, explainer.name, person, options, error), Timing(0.0, 0.0, 0.0))


def _started(recommender: Recommender, person: Person, explainer: Explainer, options: Options) -> _Running:
    """Return a person's search, at its first request."""
    began = time.perf_counter()
    target = None if person.target is None else number_of(recommender, person.target)
    question = ask(recommender, person.numbers(recommender), options, target, user=person.user)
    graphs = explainer.graphs(recommender, question) if isinstance(explainer, GraphExplainer) else ()
    search = explainer.search(recommender, question, graphs)
    running = _Running(person, question, graphs, search, time.perf_counter() - began)
    _advance(recommender, running, first=True)
    return running


def _run(recommender: Recommender, running: Sequence[_Running], options: Options) -> None:
    """Drive the searches to their ends, in batches that all of them share."""
    while active := [one for one in running if one.result is None and one.error is None]:
        share = max(1, ROWS // len(active))
        _measure(recommender, [(one, _next_asked(one, min(share, _affordable(one, options)))) for one in active])
        for one in active:
            if not _affordable(one, options):
                _advance(recommender, one)


def _measure(recommender: Recommender, batch: Sequence[tuple[_Running, Sequence[Candidate]]]) -> None:
    """Note the gaps of several people's candidates, and book the time by their shares.

    Scores that cannot be used end the search of the person whose they are, not of the others.
    """
    began = time.perf_counter()
    try:
        gaps = measured(recommender, [(one.question, candidate) for one, part in batch for candidate in part])
    except RecExplainError as error:
        if len(batch) == 1:
            batch[0][0].error = error
        else:
            for alone in batch:
                _measure(recommender, [alone])
        return
    each = (time.perf_counter() - began) / max(1, len(gaps))
    start = 0
    for one, part in batch:
        one.answers += gaps[start : start + len(part)].tolist()
        one.evaluations += len(part)
        one.search_s += each * len(part)
        start += len(part)


def _affordable(one: _Running, options: Options) -> int:
    """Return how many more of the requested candidates may be tested: 0 at their end, and where the budget is spent.

    Of a budget in seconds as many as fit, by what one took so far, but a few more for the sake of the batch.
    """
    left = len(one.asked) - len(one.answers)
    if options.max_evaluations is not None:
        left = min(left, options.max_evaluations - one.evaluations)
    if options.max_seconds is None:
        return left
    seconds = options.max_seconds - one.graph_s - one.search_s
    if seconds <= 0:
        return 0
    fit = int(seconds * one.evaluations / one.search_s) if one.evaluations else 0
    return min(left, max(TIMED, fit))


def _next_asked(one: _Running, n: int) -> Sequence[Candidate]:
    """Return the next n of the requested candidates."""
    return one.asked[len(one.answers) : len(one.answers) + n]


def _advance(recommender: Recommender, one: _Running, *, first: bool = False) -> None:
    """Hand a search its gaps, and take its next request or its result; what is scored again is so at once."""
    began = time.perf_counter()
    try:
        request = next(one.search) if first else one.search.send(one.answers)
        while request.again:
            request = one.search.send(_again(recommender, one, request))
        one.asked, one.answers = request.candidates, []
    except StopIteration as stopped:
        one.result = stopped.value
    except RecExplainError as error:
        one.error = error
    one.search_s += time.perf_counter() - began


def _again(recommender: Recommender, one: _Running, request: Request) -> list[float]:
    gaps: np.ndarray = measured_alone(recommender, [(one.question, candidate) for candidate in request.candidates])
    found: list[float] = gaps.tolist()
    return found


def _finished(
    recommender: Recommender, one: _Running | RecExplainError, explainer: Explainer, robust: Robust = robustness
) -> Case:
    """Return the case of a search that has ended; the error of one that could not is raised."""
    if isinstance(one, RecExplainError):
        raise one
    if one.error is not None:
        raise one.error
    assert one.result is not None
    began = time.perf_counter()
    outcome = Outcome(one.question, one.result, one.evaluations, len(one.graphs))
    explanation = explanation_of(recommender, explainer.name, one.person, outcome, robust)
    head = 0
    if isinstance(explainer, GraphExplainer) and one.graphs and one.result.candidate:
        head = explainer.head_of(one.result.candidate, one.question, one.graphs)
    timing = Timing(one.graph_s, one.search_s, one.graph_s + one.search_s + time.perf_counter() - began)
    return Case(explanation, timing, one.graphs, head, one.question, one.result.order)
