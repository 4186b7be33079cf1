"""Iterative causal discovery (ICD): from tests of independence to a partial ancestral graph.

After Rohekar et al., "Iterative causal discovery in the possible presence of latent confounders and selection bias"
(NeurIPS 2021). With estimated independences the order of the tests decides some edges, and there are two of them.

`order="position"` is that of causality-lab (commit 812235d) with all nodes ascending: a removed edge stops counting at
once, for the pairs that come after it, and the first set that separates a pair is kept.

`order="independent"` gives the same graph under every numbering of the nodes. The graph is frozen while sets of one
size are tried, as in PC-stable (Colombo and Maathuis, "Order-independent constraint-based causal structure learning",
JMLR 15, 2014); of the sets that separate a pair the one with the largest p is kept, and decides the colliders (Ramsey,
"Improving accuracy and scalability of the PC algorithm by maximizing p-value", arXiv 1610.00378); possible-d-sep walks
are told apart by their direction (`pds.PdsWalks`); each orientation rule reads the graph as it stood before it, and
where two of its conclusions differ the end gets an arrow, so that an edge oriented both ways becomes `<->`, as in
Colombo and Maathuis. Only sets whose p is equal to the last bit, as with copies of a node, are told apart by number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import networkx as nx
import numpy as np

from recexplain.causal.answers import Answers, CorrelationAnswers
from recexplain.causal.independence import Independence, PartialCorrelation
from recexplain.causal.orientation import (
    ARROW_RULES,
    ARROW_RULES_AT_ONCE,
    SELECTION_RULES,
    TAIL_RULES,
    TAIL_RULES_REFERENCE,
    close,
    close_at_once,
    r0,
)
from recexplain.causal.pag import Pag
from recexplain.causal.skeleton import separate_by_legal_sets, separated_by_neighbours, separated_by_nothing
from recexplain.errors import OptionError

ORDERS = ("position", "independent")


@dataclass(frozen=True)
class IcdOptions:
    """How the tests become a graph."""

    alpha: float = 0.01  # independent if p > alpha
    order: str = "position"  # of pairs and sets, one of `ORDERS`: see the top of this file
    strict: bool = True  # rule R10 as published; False: as in causality-lab, which adds tails
    selection: bool = True  # rules R5 to R7
    tails: bool = True  # rules R8 to R10

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, float) and 0 < self.alpha < 1):
            raise OptionError(f"alpha must be between 0 and 1, not {self.alpha!r}")
        if self.order not in ORDERS:
            raise OptionError(f"order must be one of {', '.join(ORDERS)}, not {self.order!r}")


@dataclass(frozen=True)
class Learnt:
    """A graph, and what it cost."""

    pag: Pag
    n_tests: tuple[int, ...]  # tests asked, by size of the conditioning set

    def to_networkx(self) -> nx.DiGraph:
        """Return the graph with its separating sets and its number of tests; see `discover`."""
        graph = self.pag.to_networkx()
        graph.graph["n_tests"] = list(self.n_tests)
        return graph


def learn_pag(
    correlation: np.ndarray,
    n_samples: int,
    alpha: float = 0.01,
    *,
    order: str = "position",
    strict: bool = True,
    selection: bool = True,
    tails: bool = True,
) -> nx.DiGraph:
    """Return the graph that an (n, n) correlation of n_samples samples implies; see `discover`.

    Nodes whose correlation is 1 are copies: they stay adjacent, and no set of two or more nodes is tried together with
    copies, since that test is undefined. With fewer than n + 1 samples no large set separates anything, so that the
    search may be long.

    >>> graph = learn_pag(np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.6], [0.0, 0.6, 1.0]]), n_samples=64)
    >>> [(x, y, mark) for x, y, mark in graph.edges(data="mark")]
    [(0, 1, 'arrow'), (1, 0, 'circle'), (1, 2, 'circle'), (2, 1, 'arrow')]
    >>> graph.graph["sepset"], graph.graph["n_tests"]
    ({(0, 2): ()}, [3, 2])
    """
    return learnt(correlation, n_samples, IcdOptions(alpha, order, strict, selection, tails)).to_networkx()


def learnt(correlation: np.ndarray, n_samples: int, options: IcdOptions) -> Learnt:
    """Return the graph that a correlation implies; see `learn_pag`."""
    test = PartialCorrelation(correlation, n_samples)
    return _learnt(CorrelationAnswers(test, options.alpha), options, test.copies)


def discover(
    n: int,
    independence: Independence,
    *,
    alpha: float = 0.01,
    order: str = "position",
    strict: bool = True,
    selection: bool = True,
    tails: bool = True,
) -> nx.DiGraph:
    """Return the graph of nodes 0..n-1 under any test `(x, y, z) -> p`, independent where p > alpha.

    Both arcs of every edge have `mark`, the mark at the arc's head. `graph["sepset"]` has the separating set of every
    pair (i, j), i < j, that is not adjacent, `graph["n_tests"]` how many tests were asked by conditioning size.
    """
    options = IcdOptions(alpha, order, strict, selection, tails)
    return _learnt(Answers(_checked(n), independence, alpha), options, (0,) * n).to_networkx()


def iterations(
    n: int,
    independence: Independence,
    options: IcdOptions | None = None,
    *,
    copies: tuple[int, ...] | None = None,
) -> Iterator[Pag]:
    """Yield the graph after conditioning sets of size 0, 1, 2, ...: any of them may be used, the last is the result.

    `copies` are bit sets of nodes, one a node, that no test should hold together with it.
    """
    options = options or IcdOptions()
    answers = Answers(_checked(n), independence, options.alpha)
    return _iterate(answers, options, copies or (0,) * n)


def _iterate(answers: Answers, options: IcdOptions, copies: tuple[int, ...]) -> Iterator[Pag]:
    for size, (pag, is_last) in enumerate(_rounds(answers, options, copies)):
        graph = pag.copy()
        if size == 0:
            _orient_arrows(graph, options)
        if size == 1 or is_last:
            _orient_tails(graph, options)
        yield graph


def _learnt(answers: Answers, options: IcdOptions, copies: tuple[int, ...]) -> Learnt:
    *_, (pag, _) = _rounds(answers, options, copies)
    _orient_tails(pag, options)
    return Learnt(pag, tuple(answers.n_tests))


def _rounds(answers: Answers, options: IcdOptions, copies: tuple[int, ...]) -> Iterator[tuple[Pag, bool]]:
    """Yield the graph of each size, always the same object from size 1 on, and whether it is the last.

    It has the marks that the next size needs: rules R8 to R10 put tails only where an arrow is at the other end, which
    no walk and no possible ancestor depends on, so that they can wait for the end. R5 to R7 come once, after size 1.
    """
    is_frozen = options.order == "independent"
    pag = separated_by_nothing(answers)
    yield pag, False
    pag, found = separated_by_neighbours(pag, answers, is_frozen=is_frozen)
    _orient_arrows(pag, options)
    _orient_selection(pag, options)
    yield pag, False
    size, pairs = 2, pag.edges()
    while found:
        n_removed, tried = separate_by_legal_sets(pag, answers, size, copies, pairs, is_frozen=is_frozen)
        found, is_as_it_was = bool(tried), not n_removed and size > 2
        if found and not is_as_it_was:
            _orient_arrows(pag, options)
        yield pag, not found
        # A set of 4 in a tree that is 4 deep holds one of 3 in a tree that is 3 deep: no node is above itself there.
        pairs = tried if size == 3 and is_as_it_was and not is_frozen else pag.edges()
        size += 1


def _orient_arrows(pag: Pag, options: IcdOptions) -> None:
    pag.forget_marks()
    r0(pag)
    if options.order == "independent":
        close_at_once(pag, ARROW_RULES_AT_ONCE)
    else:
        close(pag, ARROW_RULES)


def _orient_selection(pag: Pag, options: IcdOptions) -> None:
    if options.selection:
        (close_at_once if options.order == "independent" else close)(pag, SELECTION_RULES)


def _orient_tails(pag: Pag, options: IcdOptions) -> None:
    _orient_selection(pag, options)
    if options.tails:
        rules = TAIL_RULES if options.strict else TAIL_RULES_REFERENCE
        (close_at_once if options.order == "independent" else close)(pag, rules)


def _checked(n: int) -> int:
    if n < 0:
        raise OptionError(f"n must be 0 or more, not {n}")
    return n
