"""Iterative causal discovery (ICD): from tests of independence to a partial ancestral graph.

After Rohekar et al., "Iterative causal discovery in the possible presence of latent confounders and selection bias"
(NeurIPS 2021), in the order of tests of causality-lab (commit 812235d) with all nodes ascending: with estimated
independences the order decides some edges. A removed edge stops counting at once, for the pairs that come after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from operator import attrgetter

import networkx as nx
import numpy as np

from recexplain.causal.independence import Independence, PartialCorrelation, Remembered
from recexplain.causal.orientation import (
    ARROW_RULES,
    SELECTION_RULES,
    TAIL_RULES,
    TAIL_RULES_REFERENCE,
    close,
    r0,
)
from recexplain.causal.pag import Pag, members
from recexplain.causal.pds import LegalSet, PdsTree, legal_sets, pds_tree
from recexplain.errors import OptionError

ORDERS = ("position",)


@dataclass(frozen=True)
class IcdOptions:
    """How the tests become a graph."""

    alpha: float = 0.01  # independent if p > alpha
    order: str = "position"  # pairs and conditioning sets ascending, by position
    strict: bool = True  # rule R10 as published; False: as in causality-lab, which adds tails
    selection: bool = True  # rules R5 to R7
    tails: bool = True  # rules R8 to R10

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise OptionError(f"alpha must be between 0 and 1, not {self.alpha}")
        if self.order not in ORDERS:
            raise OptionError(f"order must be one of {', '.join(ORDERS)}, not {self.order!r}")


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
    options = IcdOptions(alpha, order, strict, selection, tails)
    independence = PartialCorrelation(correlation, n_samples)
    return _learnt(len(independence.copies), independence, options, independence.copies)


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
    return _learnt(n, independence, IcdOptions(alpha, order, strict, selection, tails), None)


def _learnt(n: int, independence: Independence, options: IcdOptions, copies: tuple[int, ...] | None) -> nx.DiGraph:
    test = Remembered(independence)
    *_, pag = iterations(n, test, options, copies=copies)
    graph = pag.to_networkx()
    graph.graph["n_tests"] = test.n_tests
    return graph


def iterations(
    n: int,
    independence: Independence,
    options: IcdOptions | None = None,
    *,
    copies: tuple[int, ...] | None = None,
) -> Iterator[Pag]:
    """Yield the graph after conditioning sets of size 0, 1, 2, ...: any of them may be used, the last is the result.

    Tests are repeated: wrap them in `Remembered` where they cost. `copies` are bit sets of nodes, one a node, that no
    test should hold together with it.
    """
    if n < 0:
        raise OptionError(f"n must be 0 or more, not {n}")
    return _iterate(Pag.complete(n), independence, options or IcdOptions(), copies or (0,) * n)


def _iterate(pag: Pag, independence: Independence, options: IcdOptions, copies: tuple[int, ...]) -> Iterator[Pag]:
    _separate_by_nothing(pag, independence, options.alpha)
    _orient_arrows(pag)
    yield pag.copy()
    found = _separate_by_neighbours(pag, independence, options.alpha)
    _orient_arrows(pag)
    _orient_tails(pag, options)
    yield pag.copy()
    size = 2
    while found:
        found = _separate_by_legal_sets(pag, independence, options.alpha, _Candidates(pag, size, copies))
        if found:
            _orient_arrows(pag)
        else:
            _orient_tails(pag, options)
        yield pag.copy()
        size += 1


def _orient_arrows(pag: Pag) -> None:
    pag.forget_marks()
    r0(pag)
    close(pag, ARROW_RULES)


def _orient_tails(pag: Pag, options: IcdOptions) -> None:
    if options.selection:
        close(pag, SELECTION_RULES)
    if options.tails:
        close(pag, TAIL_RULES if options.strict else TAIL_RULES_REFERENCE)


def _separate_by_nothing(pag: Pag, independence: Independence, alpha: float) -> None:
    for x, y in combinations(pag.nodes, 2):
        if independence(x, y, ()) > alpha:
            pag.separate(x, y, ())


def _separate_by_neighbours(pag: Pag, independence: Independence, alpha: float) -> bool:
    """Remove edges by one neighbour: those of x first, then those of y alone; whether there was anything to test."""
    found = False
    for x, y in combinations(pag.nodes, 2):
        if not pag.is_adjacent(x, y):
            continue
        of_x, of_y = pag.adjacent(x), pag.adjacent(y)
        for z in chain(members(of_x & ~(1 << y)), members(of_y & ~of_x & ~(1 << x))):
            found = True
            if independence(x, y, (z,)) > alpha:
                pag.separate(x, y, (z,))
                break
    return found


def _separate_by_legal_sets(pag: Pag, independence: Independence, alpha: float, candidates: "_Candidates") -> bool:
    """Remove edges by sets of the candidates' size; whether there was anything to test."""
    found = False
    for x, y in combinations(pag.nodes, 2):
        if not pag.is_adjacent(x, y):
            continue
        for candidate in candidates.of_pair(x, y):
            found = True
            if independence(x, y, candidate.nodes) > alpha:
                pag.separate(x, y, candidate.nodes)
                candidates.forget()
                break
    return found


class _Candidates:
    """The conditioning sets of one size for any edge of a graph; trees and ancestors kept until told to forget."""

    def __init__(self, pag: Pag, size: int, copies: tuple[int, ...]) -> None:
        self._pag, self._size, self._copies = pag, size, copies
        self._trees: dict[int, PdsTree] = {}
        self._ancestors: dict[int, int] = {}

    def forget(self) -> None:
        """Compute everything afresh: the graph has changed."""
        self._trees.clear()
        self._ancestors.clear()

    def of_pair(self, x: int, y: int) -> list[LegalSet]:
        """Return the sets in the order of trial: nearest first, and of the equally near first those around x.

        They are legal around x or around y, and hold possible ancestors of x or y only. A set may stand in it twice.
        """
        if self._copies[x] >> y & 1:
            return []
        excluded = 1 << x | 1 << y | self._copies[x] | self._copies[y]
        allowed = (self._ancestors_of(x) | self._ancestors_of(y)) & ~excluded
        around = [
            legal_sets(self._tree_of(root), self._size, allowed=allowed, conflicts=self._copies) for root in (x, y)
        ]
        return sorted(chain(*around), key=attrgetter("distance"))  # stable

    def _tree_of(self, root: int) -> PdsTree:
        if root not in self._trees:
            self._trees[root] = pds_tree(self._pag, root, self._size)
        return self._trees[root]

    def _ancestors_of(self, x: int) -> int:
        if x not in self._ancestors:
            self._ancestors[x] = self._pag.possible_ancestors(x)
        return self._ancestors[x]
