"""Many graphs: in their order and as one by one, whoever computes them."""

import os
from collections.abc import Sequence
from multiprocessing import get_context
from typing import Any, Self

import networkx as nx
import numpy as np
import pytest

from recexplain.causal import batch
from recexplain.causal.batch import learn_pags
from recexplain.causal.correlation import correlation
from recexplain.causal.icd import IcdOptions, learn_pag
from recexplain.errors import OptionError


def attention_like(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    n = int(draw.integers(0, 12))
    weights = np.exp(draw.normal(size=(n, 4)) @ draw.normal(size=(4, n)))
    return correlation(weights / weights.sum(axis=1, keepdims=True))


MANY = [attention_like(seed) for seed in range(23)]


def same(some: Sequence[nx.DiGraph], others: Sequence[nx.DiGraph]) -> bool:
    def whole(graph: nx.DiGraph) -> tuple[object, ...]:
        return list(graph.nodes), dict(graph.edges), graph.graph

    return [whole(graph) for graph in some] == [whole(graph) for graph in others]


class Result:
    def __init__(self, value: Any) -> None:
        self.value = value

    def ready(self) -> bool:
        return self.value is not None

    def get(self) -> Any:
        return self.value


class Here:
    """A pool whose tasks are done when they are handed over; from some hand-over on nothing comes back any more."""

    def __init__(self, dies_at: float) -> None:
        self.dies_at, self.sizes, self.n_others = dies_at, list[int](), 0

    def of(self, process: int, n_others: int) -> Self:
        assert process == os.getpid()
        self.n_others = n_others
        return self

    def apply_async(self, task: Any, arguments: tuple[Any]) -> Result:
        self.sizes.append(len(arguments[0]))
        return Result(task(*arguments) if len(self.sizes) <= self.dies_at else None)


def put_here(monkeypatch: pytest.MonkeyPatch, dies_at: float = np.inf) -> Here:
    pool = Here(dies_at)
    monkeypatch.setattr(batch, "_others", pool.of)
    return pool


@pytest.fixture
def shared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PAYING_SECONDS", 0.0)
    monkeypatch.setattr(batch, "CHUNK_SECONDS", 0.0)  # one graph a chunk


def test_a_small_batch_is_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_others", None)  # not to be called
    for options in ({}, {"order": "independent"}, {"strict": False, "selection": False, "tails": False}):
        expected = [learn_pag(matrix, 64, 0.05, **options) for matrix in MANY]
        assert same(learn_pags(MANY, 64, 0.05, **options), expected)
    assert learn_pags([], 64) == []


@pytest.mark.usefixtures("shared_at_once")
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("n_graphs", [2, 3, 23])
def test_what_is_shared_comes_back_in_order(monkeypatch: pytest.MonkeyPatch, workers: int, n_graphs: int) -> None:
    pool = put_here(monkeypatch)
    some = MANY[-n_graphs:]
    assert same(learn_pags(some, 64, workers=workers), [learn_pag(matrix, 64) for matrix in some])
    assert pool.n_others == workers - 1
    assert pool.sizes[0] == 1
    assert len(pool.sizes) < n_graphs  # this process does its part


@pytest.mark.usefixtures("shared_at_once")
@pytest.mark.parametrize("dies_at", [0, 1, 5])
def test_what_does_not_come_back_is_computed_here(monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
    pool = put_here(monkeypatch, dies_at)
    assert same(learn_pags(MANY, 64, workers=2), [learn_pag(matrix, 64) for matrix in MANY])
    assert len(pool.sizes) == dies_at + 2  # no more than two chunks are in the hands of another process


@pytest.mark.slow
@pytest.mark.usefixtures("shared_at_once")
def test_another_process_gives_the_same() -> None:
    with get_context("spawn").Pool(1) as pool:
        task = batch._Task(64, IcdOptions(order="independent"))
        found = pool.apply_async(task, (MANY,)).get(timeout=120)
    assert same(batch._graphs(found), [learn_pag(matrix, 64, order="independent") for matrix in MANY])
    for _ in range(2):
        assert same(learn_pags(MANY, 64, workers=2), [learn_pag(matrix, 64) for matrix in MANY])
    assert batch._others.cache_info().currsize == 1  # the second batch found the process at work


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
def test_other_processes_yield(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()
    monkeypatch.setattr(os, "nice", asked.append)
    batch._yield_to_others()
    assert asked == [19]


def test_towards_the_end_less_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = put_here(monkeypatch)
    monkeypatch.setattr(batch, "PAYING_SECONDS", 0.0)
    monkeypatch.setattr(batch, "CHUNK_SECONDS", 1e9)  # all of it at once, if it were for this alone
    assert same(learn_pags(MANY, 64, workers=2), [learn_pag(matrix, 64) for matrix in MANY])
    assert pool.sizes == sorted(pool.sizes, reverse=True)
    assert (pool.sizes[0], pool.sizes[-1]) == (3, 1)  # of 22: a third of a half


@pytest.mark.usefixtures("shared_at_once")
def test_an_error_is_the_same_wherever_it_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = np.array([[1.0, 0.5], [0.4, 1.0]])
    put_here(monkeypatch, 0)
    with pytest.raises(OptionError, match="must be symmetric"):
        learn_pags([*MANY, bad], 64, workers=2)


def test_one_worker_is_a_loop_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PAYING_SECONDS", 0.0)
    monkeypatch.setattr(batch, "_others", None)
    assert same(learn_pags(MANY[:5], 64, workers=1), [learn_pag(matrix, 64) for matrix in MANY[:5]])


def test_by_default_every_usable_core_works(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = put_here(monkeypatch)
    monkeypatch.setattr(batch, "PAYING_SECONDS", 0.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    learn_pags(MANY, 64)
    assert pool.n_others == 2


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_are_at_least_one(workers: int) -> None:
    with pytest.raises(OptionError, match=f"workers must be 1 or more, or None for one a usable core, not {workers}"):
        learn_pags(MANY, 64, workers=workers)


def test_options_are_checked_even_of_an_empty_batch() -> None:
    with pytest.raises(OptionError, match="alpha must be between 0 and 1"):
        learn_pags([], 64, 2.0)
