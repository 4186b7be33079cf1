"""The graph of marks: what it stores, what it answers, and the way to networkx and back."""

from itertools import combinations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recexplain.causal.pag import ARROW, CIRCLE, MARKS, TAIL, Draft, Pag, bit_set, members
from recexplain.errors import OptionError


def masked(*nodes: int) -> int:
    return sum(1 << v for v in nodes)


@st.composite
def pags(draw: st.DrawFn) -> Pag:
    n = draw(st.integers(0, 7))
    pag = Pag.complete(n)
    for x, y in combinations(range(n), 2):
        kind = draw(st.integers(0, 2))
        if kind == 0:
            rest = [v for v in range(n) if v not in (x, y)]
            pag.separate(x, y, tuple(draw(st.lists(st.sampled_from(rest), unique=True)) if rest else ()))
        elif kind == 1:
            pag.set_mark(x, y, draw(st.sampled_from(MARKS)))
            pag.set_mark(y, x, draw(st.sampled_from(MARKS)))
    return pag


def same(one: Pag, other: Pag) -> bool:
    a, b = one.to_networkx(), other.to_networkx()
    return dict(a.nodes) == dict(b.nodes) and dict(a.edges) == dict(b.edges) and a.graph == b.graph


def test_members_ascend() -> None:
    assert list(members(masked(200, 3, 0, 64))) == [0, 3, 64, 200]
    assert list(members(0)) == []


def test_a_bit_set_and_its_members_are_the_same_nodes() -> None:
    assert bit_set([200, 3, 0, 64, 3]) == masked(200, 3, 0, 64)
    assert bit_set([]) == 0


def test_a_complete_graph_knows_nothing_yet() -> None:
    pag = Pag.complete(3)
    assert [pag.neighbours(v) for v in pag.nodes] == [(1, 2), (0, 2), (0, 1)]
    assert {pag.mark(x, y) for x in range(3) for y in range(3) if x != y} == {CIRCLE}


def test_the_mark_is_at_the_second_node() -> None:
    pag = Pag(2)
    pag.connect(0, 1, TAIL, ARROW)  # 0 -> 1
    assert (pag.mark(0, 1), pag.mark(1, 0)) == (ARROW, TAIL)
    assert pag.parents(1) == pag.possible_parents(1) == masked(0)
    assert pag.children(0) == pag.possible_children(0) == masked(1)
    assert pag.parents(0) == pag.children(1) == pag.possible_parents(0) == pag.possible_children(1) == 0
    assert (pag.here(1, ARROW), pag.there(0, ARROW), pag.here(0, ARROW)) == (masked(0), masked(1), 0)


@pytest.mark.parametrize(
    ("at_u", "at_w", "expected"),
    [
        (CIRCLE, CIRCLE, True),
        (CIRCLE, ARROW, True),
        (TAIL, CIRCLE, True),
        (TAIL, ARROW, True),
        (ARROW, CIRCLE, False),
        (ARROW, ARROW, False),
        (CIRCLE, TAIL, False),
        (TAIL, TAIL, False),
    ],
)
def test_a_possible_parent_has_no_arrow_and_its_child_no_tail(at_u: str, at_w: str, expected: bool) -> None:
    pag = Pag(2)
    pag.connect(0, 1, at_u, at_w)  # type: ignore[arg-type]
    assert bool(pag.possible_parents(1)) is expected
    assert bool(pag.possible_children(0)) is expected


def test_possible_ancestors_follow_the_direction() -> None:
    pag = Pag(5)
    pag.connect(0, 1, TAIL, ARROW)
    pag.connect(1, 2, CIRCLE, ARROW)
    pag.connect(3, 2, ARROW, ARROW)
    assert pag.possible_ancestors(2) == masked(0, 1, 2)
    assert pag.possible_ancestors(0) == masked(0)
    assert pag.possible_ancestors(4) == masked(4)


def test_a_removed_edge_leaves_nothing_but_its_separating_set() -> None:
    pag = Pag.complete(4)
    pag.set_mark(2, 0, ARROW)
    pag.separate(2, 0, (3, 1))
    assert not pag.is_adjacent(0, 2)
    assert not pag.is_adjacent(2, 0)
    assert pag.separating_set(0, 2) == pag.separating_set(2, 0) == (1, 3)
    assert pag.here(0, ARROW) == pag.there(2, ARROW) == 0
    assert pag.separating_set(0, 1) == ()


def test_a_separation_stated_anew_replaces_the_old_one() -> None:
    pag = Pag.complete(4)
    pag.separate(0, 1, (2, 3))
    pag.separate(1, 0, ())
    assert pag.separating_set(0, 1) == ()
    assert pag.to_networkx().graph["sepset"] == {(0, 1): ()}
    pag.connect(0, 1)
    pag.separate(0, 2, (1,))
    assert pag.to_networkx().graph["sepset"] == {(0, 2): (1,)}


def test_a_graph_of_a_skeleton_is_its_own() -> None:
    adjacent, separated = [masked(1), masked(0, 2), masked(1)], {(0, 2): (1,)}
    pag = Pag.of_skeleton(adjacent, separated)
    assert pag.edges() == [(0, 1), (1, 2)]
    assert {pag.mark(x, y) for x, y in ((0, 1), (1, 0), (1, 2), (2, 1))} == {CIRCLE}
    pag.separate(0, 1, ())
    assert (adjacent, separated) == ([masked(1), masked(0, 2), masked(1)], {(0, 2): (1,)})
    assert pag.separating_set(0, 2) == (1,)


def test_a_mark_is_of_an_edge() -> None:
    pag = Pag.complete(3)
    pag.separate(0, 1, ())
    with pytest.raises(KeyError):
        pag.mark(0, 1)


@given(pags())
def test_a_draft_reads_the_graph_and_does_not_write_to_it(pag: Pag) -> None:
    before, draft = pag.to_networkx(), Draft(pag)
    for x, y in pag.edges():
        draft.set_mark(x, y, TAIL)
        draft.set_mark(x, y, ARROW)
        draft.connect(x, y, TAIL, TAIL)
        assert draft.mark(x, y) == pag.mark(x, y)
    assert draft.written == {pair: mark for x, y in pag.edges() for pair, mark in (((x, y), ARROW), ((y, x), TAIL))}
    assert dict(pag.to_networkx().edges) == dict(before.edges)


@given(pags())
def test_every_view_of_a_mark_agrees(pag: Pag) -> None:
    for x in pag.nodes:
        assert pag.adjacent(x) == masked(*pag.neighbours(x))
        for y in pag.nodes:
            for mark in MARKS:
                has = pag.is_adjacent(x, y) and pag.mark(x, y) == mark
                assert bool(pag.here(y, mark) >> x & 1) == bool(pag.there(x, mark) >> y & 1) == has


@given(pags())
def test_there_and_back_through_networkx(pag: Pag) -> None:
    graph = pag.to_networkx()
    assert same(Pag.from_networkx(graph), pag)
    assert list(graph.nodes) == list(range(pag.n))
    for x, y in combinations(range(pag.n), 2):
        assert graph.has_edge(x, y) == graph.has_edge(y, x) == ((x, y) not in graph.graph["sepset"])
        if graph.has_edge(x, y):
            assert graph.edges[x, y]["mark"] == pag.mark(x, y)
            assert graph.edges[y, x]["mark"] == pag.mark(y, x)


@given(pags())
def test_a_copy_is_independent(pag: Pag) -> None:
    before, copy = pag.to_networkx(), pag.copy()
    assert same(copy, pag)
    for x, y in combinations(range(pag.n), 2):
        copy.separate(x, y, (x,))
    copy.forget_marks()
    assert dict(pag.to_networkx().edges) == dict(before.edges)
    assert pag.to_networkx().graph == before.graph


@given(pags())
def test_forgetting_marks_keeps_adjacencies_and_separating_sets(pag: Pag) -> None:
    before = pag.to_networkx()
    pag.forget_marks()
    after = pag.to_networkx()
    assert list(after.edges) == list(before.edges)
    assert after.graph == before.graph
    assert {mark for *_, mark in after.edges(data="mark")} <= {CIRCLE}
    assert all(pag.here(x, CIRCLE) == pag.there(x, CIRCLE) == pag.adjacent(x) for x in pag.nodes)


def test_separating_sets_may_be_missing_in_networkx() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(2))
    assert Pag.from_networkx(graph).separating_set(0, 1) == ()


@pytest.mark.parametrize(
    ("arcs", "sentence"),
    [
        ([(0, 1, "arrow")], r"arc \(0, 1\) alone"),
        ([(0, 1, "arrow"), (1, 0, "dot")], "must have a mark, one of tail, arrow, circle"),
        ([(0, 1, "arrow"), (1, 0, None)], "must have a mark"),
        ([(0, 0, "arrow")], r"arc \(0, 0\) alone"),
        ([(0, 2, "arrow"), (2, 0, "tail")], "nodes of the graph must be 0 to 1"),
    ],
)
def test_what_is_no_such_graph_is_refused(arcs: list[tuple[int, int, str | None]], sentence: str) -> None:
    graph = nx.DiGraph()
    for x, y, mark in arcs:
        graph.add_edge(x, y, **({"mark": mark} if mark else {}))
    with pytest.raises(OptionError, match=sentence):
        Pag.from_networkx(graph)
