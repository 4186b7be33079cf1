"""Graphs of many people and heads, on as many processes as pay."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult, Pool
from time import perf_counter

import networkx as nx
import numpy as np

from recexplain.causal.icd import IcdOptions, Learnt, learnt
from recexplain.errors import OptionError

PAYING_SECONDS = 3.0  # of work left at which others are started: importing the package takes each 0.3 s of CPU
CHUNK_SECONDS = 0.1  # of work handed over at once, towards the end less
YIELDING = 19  # the niceness of the others: they take cores that nothing else needs, and no time from this process


def learn_pags(
    correlations: Sequence[np.ndarray],
    n_samples: int,
    alpha: float = 0.01,
    *,
    workers: int | None = None,
    order: str = "position",
    strict: bool = True,
    selection: bool = True,
    tails: bool = True,
) -> list[nx.DiGraph]:
    """Return the graph of each correlation, in their order: what `learn_pag` gives for each of them.

    This process works from the front, up to `workers` - 1 others from the back (default: one process a usable core).
    They are started only once the time of the graphs so far says that what is left pays, so that a small batch is
    a plain loop; they then wait for the next batch, until this process ends. Each gets work as it asks for it, yields
    to whatever else runs, and is never waited for: where all cores are busy this process does nearly all. They are
    spawned: a script that calls this must do so under `if __name__ == "__main__"`.
    """
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be 1 or more, or None for one a usable core, not {workers}")
    options = IcdOptions(alpha, order, strict, selection, tails)
    n_others = (_usable_cores() if workers is None else workers) - 1
    task, start, graphs = _Task(n_samples, options), perf_counter(), list[nx.DiGraph]()
    for correlation in correlations:
        graphs += _graphs(task([correlation]))
        seconds = (perf_counter() - start) / len(graphs)
        if n_others and seconds * (len(correlations) - len(graphs)) > PAYING_SECONDS:
            chunk = max(1, int(CHUNK_SECONDS / seconds))
            return graphs + _shared(correlations[len(graphs) :], task, chunk, n_others)
    return graphs


@dataclass(frozen=True)
class _Task:
    """What is done to each correlation; it can be sent to another process."""

    n_samples: int
    options: IcdOptions

    def __call__(self, correlations: Sequence[np.ndarray]) -> list[Learnt]:
        return [learnt(correlation, self.n_samples, self.options) for correlation in correlations]


def _graphs(many: list[Learnt]) -> list[nx.DiGraph]:
    return [one.to_networkx() for one in many]


def _shared(correlations: Sequence[np.ndarray], task: _Task, chunk: int, n_others: int) -> list[nx.DiGraph]:
    """Return the graphs; this process takes chunks from the front, the others have two each in hand from the back.

    Whatever has not come back by the time that nothing else is left is computed here, so that no process is waited for
    that is still starting, or has died.
    """
    front, back = 0, len(correlations)
    graphs: dict[int, list[nx.DiGraph]] = {}  # by where the chunk starts
    given: dict[int, tuple[int, AsyncResult[list[Learnt]]]] = {}  # likewise: where it ends, and what comes back

    def receive() -> None:
        for start in [start for start, (_, result) in given.items() if result.ready()]:
            graphs[start] = _graphs(given.pop(start)[1].get())

    def compute(start: int, end: int) -> None:
        graphs[start] = _graphs(task(correlations[start:end]))

    pool = _others(os.getpid(), n_others)
    while front < back:
        receive()
        chunk = max(1, min(chunk, (back - front) // (3 * (n_others + 1))))
        while len(given) < 2 * n_others and front < back:
            start = max(front, back - chunk)
            given[start] = back, pool.apply_async(task, (correlations[start:back],))
            back = start
        if front < back:
            end = min(front + chunk, back)
            compute(front, end)
            front = end
    while given:
        receive()
        for start in sorted(given)[:1]:  # the one given last, as the others have begun elsewhere
            compute(start, given.pop(start)[0])
    return [graph for start in sorted(graphs) for graph in graphs[start]]


@cache
def _others(_: int, n_others: int) -> Pool:
    """Return the other processes of this one, whose number is the first argument; they end with it."""
    return get_context("spawn").Pool(n_others, _yield_to_others)


def _yield_to_others() -> None:
    if hasattr(os, "nice"):
        os.nice(YIELDING)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
