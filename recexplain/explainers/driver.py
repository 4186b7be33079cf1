"""Runs an explainer for many people: their candidates are verified together, each person's result stands alone."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import networkx as nx
import numpy as np

from recexplain.counterfactual import Candidate, Options, Question, ask, checked_scores, verdicts
from recexplain.errors import RecExplainError, UnknownIdError
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender, top_items
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
    """Seconds that one person's explanation took."""

    graph_s: float  # attention and causal graphs
    search_s: float  # candidates and their verification; of a shared batch the person's share
    total_s: float


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
    result: Result | None = None
    null_rate: float | None = None


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
        cases: list[Case | _Running] = []
        for person in packed:
            try:
                cases.append(_started(recommender, person, explainer, options))
            except RecExplainError as error:
                cases.append(_failed(recommender, person, explainer, options, error))
        _run(recommender, [one for one in cases if isinstance(one, _Running)], options)
        for one in cases:
            yield one if isinstance(one, Case) else _finished(recommender, one, explainer)


def _started(recommender: Recommender, person: Person, explainer: Explainer, options: Options) -> _Running:
    """Return a person's search, at its first level."""
    began = time.perf_counter()
    question = ask(recommender, _numbers(recommender, person.history), options, _target(recommender, person))
    graphs = explainer.graphs(recommender, question)
    running = _Running(person, question, graphs, explainer.search(question, graphs), time.perf_counter() - began)
    _advance(running, first=True)
    return running


def _run(recommender: Recommender, running: Sequence[_Running], options: Options) -> None:
    """Drive the searches to their ends, in batches that all of them share."""
    while active := [one for one in running if one.result is None]:
        share = max(1, ROWS // len(active))
        batch = [(one, _affordable(one, options)[:share]) for one in active]
        for one, answers in zip(active, _verified(recommender, batch), strict=True):
            one.answers += answers
            one.evaluations += len(answers)
        for one in active:
            if len(one.answers) == len(one.asked) or not _affordable(one, options):
                _advance(one)
    for one in running:
        if one.result is not None and one.result.candidate is not None:
            one.null_rate = _null_rate(recommender, one)


def _verified(recommender: Recommender, batch: Sequence[tuple[_Running, Sequence[Candidate]]]) -> list[list[bool]]:
    """Return the verdicts of several people's candidates, and book the time by their shares."""
    began = time.perf_counter()
    asked = [(one.question, candidate) for one, candidates in batch for candidate in candidates]
    flat = iter(verdicts(recommender, asked))
    answers = [list(islice(flat, len(candidates))) for _, candidates in batch]
    each = (time.perf_counter() - began) / max(1, len(asked))
    for one, candidates in batch:
        one.search_s += each * len(candidates)
    return answers


def _affordable(one: _Running, options: Options) -> Sequence[Candidate]:
    """Return what is left of the level, as far as the budget goes."""
    if options.max_seconds is not None and one.graph_s + one.search_s >= options.max_seconds:
        return ()
    left = one.asked[len(one.answers) :]
    return left if options.max_evaluations is None else left[: max(0, options.max_evaluations - one.evaluations)]


def _advance(one: _Running, *, first: bool = False) -> None:
    """Hand a search its verdicts, and take its next level or its result."""
    began = time.perf_counter()
    try:
        one.asked = next(one.search) if first else one.search.send(one.answers)
        one.answers = []
    except StopIteration as stopped:
        one.result = stopped.value
    one.search_s += time.perf_counter() - began


def _null_rate(recommender: Recommender, one: _Running) -> float:
    """Return the share of random sets of the same size that change the answer too; apart from the budget."""
    assert one.result is not None
    assert one.result.candidate is not None
    sets = null_sets(len(one.result.candidate), one.question.removable, _rng(one))
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


def _finished(recommender: Recommender, one: _Running, explainer: Explainer) -> Case:
    """Return the case of a search that has ended; the list afterwards is scored on its own."""
    assert one.result is not None
    question, candidate = one.question, one.result.candidate or ()
    after: tuple[int, ...] = ()
    if candidate:
        scores = checked_scores(recommender, [question.without(candidate)])[0]
        after = tuple(int(item) for item in top_items(scores, question.history, question.options.k))
    id_of = _ids(recommender)
    explanation = Explanation(
        **_header(recommender, one.person, explainer, question.options),
        n_unseen=question.n_unseen,
        target=id_of(question.target),
        target_rank=question.before.index(question.target) + 1,
        status=one.result.status,
        positions=candidate,
        items=tuple(id_of(int(question.history[position])) for position in candidate),
        replacement=id_of(after[0]) if after else None,
        before=tuple(map(id_of, question.before)),
        after=tuple(map(id_of, after)),
        proven_size=one.result.proven_size,
        evaluations=one.evaluations,
        null_rate=one.null_rate,
    )
    timing = Timing(one.graph_s, one.search_s, one.graph_s + one.search_s)
    head = explainer.head_of(candidate, question, one.graphs) if candidate else 0
    return Case(explanation, timing, one.graphs, head)


def _failed(
    recommender: Recommender, person: Person, explainer: Explainer, options: Options, error: RecExplainError
) -> Case:
    """Return the case of a person who cannot be explained."""
    target = "" if person.target is None else str(person.target)
    header = _header(recommender, person, explainer, options)
    explanation = Explanation(**header, n_unseen=0, target=target, target_rank=0, status="error", error=str(error))
    return Case(explanation, Timing(0.0, 0.0, 0.0))


def _header(recommender: Recommender, person: Person, explainer: Explainer, options: Options) -> dict[str, Any]:
    """Return the fields that do not depend on what was found."""
    known = recommender if isinstance(recommender, Identified) else None
    return {
        "user": person.user,
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


def _numbers(recommender: Recommender, history: Sequence[object]) -> np.ndarray:
    """Return item numbers of the user's own ids; without a vocabulary the ids are the numbers."""
    return np.array([_number(recommender, item) for item in history], dtype=np.int64)


def _number(recommender: Recommender, item: object) -> int:
    if recommender.vocabulary is not None:
        return recommender.vocabulary.number_of(item)
    text = str(item)
    if not text.isdecimal() or not 1 <= int(text) <= recommender.n_items:
        raise UnknownIdError(f"item {text!r} is not one of the numbers 1 to {recommender.n_items}")
    return int(text)


def _target(recommender: Recommender, person: Person) -> int | None:
    return None if person.target is None else _number(recommender, person.target)


def _ids(recommender: Recommender) -> Callable[[int], str]:
    return str if recommender.vocabulary is None else recommender.vocabulary.id_of
