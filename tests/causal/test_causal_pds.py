"""The possible-d-sep tree and the sets that hang together in it."""

from collections.abc import Sequence
from itertools import combinations, islice
from typing import TypeVar

import numpy as np
import pytest

from recexplain.causal.pag import ARROW, CIRCLE, MARKS, Pag
from recexplain.causal.pds import LegalSet, PdsTree, legal_levels, legal_sets, pds_tree
from recexplain.errors import OptionError

T = TypeVar("T")


def pick(draw: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(draw.integers(len(options)))]


def random_graph(draw: np.random.Generator) -> Pag:
    pag = Pag(int(draw.integers(1, 10)))
    for x, y in combinations(pag.nodes, 2):
        if draw.random() < 0.4:
            pag.connect(x, y, pick(draw, (*MARKS, ARROW)), pick(draw, (*MARKS, ARROW)))
    return pag


def by_definition(tree: PdsTree, size: int, nodes: set[int]) -> list[LegalSet]:
    """All subsets whose every node is reached through the subset, by trying each."""
    found = []
    for some in combinations(sorted(nodes & set(tree.distances)), size):
        reached = {0}
        for number in range(1, len(tree.nodes)):
            if tree.parents[number] in reached and tree.nodes[number] in some:
                reached.add(number)
        if {tree.nodes[number] for number in reached} == {tree.root, *some}:
            found.append(LegalSet(sum(tree.distances[v] for v in some), some))
    return sorted(found)


def chain_of_colliders() -> Pag:
    pag = Pag(4)
    pag.connect(0, 1, CIRCLE, ARROW)
    pag.connect(1, 2, ARROW, ARROW)
    pag.connect(2, 3, ARROW, CIRCLE)
    return pag


def test_a_walk_goes_on_through_colliders() -> None:
    tree = pds_tree(chain_of_colliders(), 0)
    assert tree == PdsTree(root=0, nodes=(0, 1, 2, 3), parents=(-1, 0, 1, 2), depths=(0, 1, 2, 3))
    assert tree.distances == {1: 1, 2: 2, 3: 3}
    assert tree.depth == 3


def test_a_walk_ends_at_what_is_no_collider() -> None:
    pag = chain_of_colliders()
    pag.set_mark(1, 2, CIRCLE)
    assert pds_tree(pag, 0).distances == {1: 1, 2: 2}


def test_a_walk_goes_on_round_a_triangle() -> None:
    pag = Pag(3)
    pag.connect(0, 1)
    pag.connect(1, 2)
    assert pds_tree(pag, 0).distances == {1: 1}
    pag.connect(0, 2)
    assert pds_tree(pag, 0).nodes == (0, 1, 2, 2)


def test_an_edge_is_walked_once_in_the_whole_tree() -> None:
    """The graphs of two numberings that differ in what is found: 3 is missed where 1-2 was walked from 1 first."""
    missed, found = Pag(4), Pag(4)
    missed.connect(0, 1)
    missed.connect(0, 2)
    missed.connect(1, 2, ARROW, CIRCLE)
    missed.connect(1, 3, ARROW, CIRCLE)
    found.connect(0, 2)
    found.connect(0, 1)
    found.connect(2, 1, ARROW, CIRCLE)
    found.connect(2, 3, ARROW, CIRCLE)
    assert pds_tree(missed, 0).distances == {1: 1, 2: 1}
    assert pds_tree(found, 0).distances == {1: 1, 2: 1, 3: 3}
    assert pds_tree(missed, 3).nodes == (3, 1, 2, 0)  # and no further: n - 1 edges are enough for any node


@pytest.mark.parametrize(
    ("max_depth", "expected"), [(0, {}), (1, {1: 1}), (2, {1: 1, 2: 2}), (None, {1: 1, 2: 2, 3: 3})]
)
def test_depth_is_limited(max_depth: int | None, expected: dict[int, int]) -> None:
    assert pds_tree(chain_of_colliders(), 0, max_depth).distances == expected


def test_a_lonely_root_has_nothing_around_it() -> None:
    tree = pds_tree(Pag(1), 0)
    assert tree.distances == {}
    assert tree.depth == 0
    assert list(legal_levels(tree)) == []
    assert legal_sets(tree, 1) == []


@pytest.mark.parametrize("as_networkx", [False, True])
def test_the_graph_is_not_changed_and_may_be_of_networkx(as_networkx: bool) -> None:
    pag = chain_of_colliders()
    graph = pag.to_networkx()
    before = dict(graph.edges)
    assert pds_tree(graph if as_networkx else pag, 0).distances == {1: 1, 2: 2, 3: 3}
    assert dict(graph.edges) == dict(pag.to_networkx().edges) == before


@pytest.mark.parametrize(
    ("root", "max_depth", "sentence"),
    [(4, None, "root must be"), (-1, None, "root must be"), (0, -1, "max_depth must be")],
)
def test_what_is_not_in_the_graph_is_refused(root: int, max_depth: int | None, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        pds_tree(Pag(4), root, max_depth)


def test_sets_of_a_chain_are_its_beginnings() -> None:
    levels = list(legal_levels(pds_tree(chain_of_colliders(), 0)))
    assert levels == [[LegalSet(1, (1,))], [LegalSet(3, (1, 2))], [LegalSet(6, (1, 2, 3))]]


def test_near_sets_come_first_then_lexicographic() -> None:
    pag = Pag(5)
    pag.connect(4, 3, CIRCLE, ARROW)
    pag.connect(4, 1)
    pag.connect(4, 2)
    pag.connect(0, 3, CIRCLE, ARROW)
    assert [s.nodes for s in legal_sets(pds_tree(pag, 4), 2)] == [(1, 2), (1, 3), (2, 3), (0, 3)]


def test_levels_are_what_the_definition_says() -> None:
    draw, n_sets = np.random.default_rng(2), 0
    for _ in range(300):
        pag = random_graph(draw)
        tree = pds_tree(pag, int(draw.integers(pag.n)), pick(draw, (None, 1, 2, 3)))
        allowed = int(draw.integers(1 << pag.n) | draw.integers(1 << pag.n))
        nodes = {v for v in pag.nodes if allowed >> v & 1}
        levels = list(legal_levels(tree, allowed=allowed))
        for size in range(1, pag.n + 1):
            expected = by_definition(tree, size, nodes)
            assert (levels[size - 1] if size <= len(levels) else []) == expected
            assert legal_sets(tree, size, allowed=allowed) == expected
            n_sets += len(expected)
    assert n_sets > 500


def test_conflicting_nodes_do_not_stand_together() -> None:
    pag = Pag.complete(5)
    tree = pds_tree(pag, 4)
    conflicts = (0b0010, 0b0001, 0, 0, 0)  # 0 and 1
    free = list(legal_levels(tree))
    kept = [[s for s in level if not {0, 1} <= set(s.nodes)] for level in free]
    assert list(legal_levels(tree, conflicts=conflicts)) == [level for level in kept if level]
    assert [len(level) for level in kept] == [4, 5, 2, 0]


def test_sizes_are_grown_only_when_asked_for() -> None:
    tree = pds_tree(Pag.complete(200), 0)  # more sets than could ever be listed
    assert [len(level) for level in islice(legal_levels(tree), 2)] == [199, 199 * 198 // 2]
