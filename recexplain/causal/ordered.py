"""Iterative causal discovery where the order is known: no node is an ancestor of an earlier one.

Positions of a history stand in the order of time, so that a later one cannot have caused an earlier one. That settles
the mark at the later end of every edge, and what separates two nodes is found around the later one, among the nodes up
to it: fewer tests, more marks. Rohekar, Nisimov, Gurwicz and Novik, "Iterative causal discovery in the possible
presence of latent confounders and selection bias" (NeurIPS 2021) have the method without an order; that the rules
still find all there is to know with one is shown by Andrews, Spirtes and Cooper, "On the completeness of causal
discovery in the presence of latent confounding with tiered background knowledge" (AISTATS 2020).
"""

from itertools import combinations

import networkx as nx

from recexplain.causal.icd import IcdOptions
from recexplain.causal.independence import Independence, Remembered
from recexplain.causal.orientation import ARROW_RULES, TAIL_RULES, close, r0
from recexplain.causal.pag import ARROW, Pag
from recexplain.causal.pds import PdsTree, legal_sets, pds_tree
from recexplain.errors import OptionError


def discover_ordered(
    n: int, independence: Independence, *, alpha: float = 0.01, copies: tuple[int, ...] | None = None
) -> nx.DiGraph:
    """Return the graph of nodes 0..n-1, earliest first, under any test `(x, y, z) -> p`; the form is `discover`'s.

    Every edge has an arrow at its later end. It is presumed that nothing was selected on: with selection a later node
    may be an ancestor of what was selected, and the arrow would be wrong. `copies` are bit sets of nodes, one a node,
    that no conditioning set is tried together with.

    >>> chain = {(0, 2, (1,)): 1.0}
    >>> graph = discover_ordered(3, lambda x, y, z=(): chain.get((x, y, z), 0.0))
    >>> [(x, y, mark) for x, y, mark in graph.edges(data="mark")]
    [(0, 1, 'arrow'), (1, 0, 'circle'), (1, 2, 'arrow'), (2, 1, 'tail')]
    """
    IcdOptions(alpha)  # checks it
    if n < 0:
        raise OptionError(f"n must be 0 or more, not {n}")
    test, pag = Remembered(independence), Pag.complete(n)
    _orient_arrows(pag)
    size, found = 0, True
    while found:
        found = _separate(pag, test, alpha, _Around(pag, size, copies or (0,) * n))
        _orient_arrows(pag)
        size += 1
    close(pag, TAIL_RULES)
    graph = pag.to_networkx()
    graph.graph["n_tests"] = test.n_tests
    return graph


def _orient_arrows(pag: Pag) -> None:
    pag.forget_marks()
    for x, y in combinations(pag.nodes, 2):
        if pag.is_adjacent(x, y):
            pag.set_mark(x, y, ARROW)
    r0(pag)
    close(pag, ARROW_RULES)


def _separate(pag: Pag, test: Independence, alpha: float, around: "_Around") -> bool:
    """Remove edges, those to the earliest nodes first; whether there was anything to test."""
    found = False
    for y in pag.nodes:
        for x in range(y):
            if not pag.is_adjacent(x, y):
                continue
            for given in around.sets(x, y):
                found = True
                if test(x, y, given) > alpha:
                    pag.separate(x, y, given)
                    around.forget()
                    break
    return found


class _Around:
    """The conditioning sets of one size around the later node of an edge; a tree is kept until told to forget."""

    def __init__(self, pag: Pag, size: int, copies: tuple[int, ...]) -> None:
        self._pag, self._size, self._copies = pag, size, copies
        self._known: tuple[Pag, PdsTree] | None = None

    def forget(self) -> None:
        """Compute everything afresh: the graph has changed."""
        self._known = None

    def sets(self, x: int, y: int) -> list[tuple[int, ...]]:
        """Return the sets of nodes before y that are possible ancestors of x or of y, nearest to y first."""
        if self._size == 0:
            return [()]
        if self._copies[x] >> y & 1:
            return []
        earlier, tree = self._up_to(y)
        excluded = 1 << x | 1 << y | self._copies[x] | self._copies[y]
        allowed = (earlier.possible_ancestors(x) | earlier.possible_ancestors(y)) & ~excluded
        return [legal.nodes for legal in legal_sets(tree, self._size, allowed=allowed, conflicts=self._copies)]

    def _up_to(self, y: int) -> tuple[Pag, PdsTree]:
        """Return the graph of the nodes 0..y alone, and the tree of y in it."""
        if self._known is None or self._known[0].n != y + 1:
            earlier = Pag(y + 1)
            for a, b in combinations(earlier.nodes, 2):
                if self._pag.is_adjacent(a, b):
                    earlier.connect(a, b, self._pag.mark(b, a), self._pag.mark(a, b))
            self._known = earlier, pds_tree(earlier, y, self._size)
        return self._known
