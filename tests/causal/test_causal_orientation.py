"""Each orientation rule has a graph on which it fires and a near twin on which it does not.

Graphs are written as edges: `0o->1` has a circle at 0 and an arrow at 1, `0<->1`, `0---1`, `0--o1` likewise.
"""

import re
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np
import pytest

from recexplain.causal.orientation import (
    ARROW_RULES,
    SELECTION_RULES,
    TAIL_RULES,
    TAIL_RULES_REFERENCE,
    Rule,
    close,
    close_at_once,
    r0,
    r1,
    r2,
    r3,
    r4,
    r4_every,
    r5,
    r6,
    r7,
    r8,
    r9,
    r10,
    r10_reference,
    uncovered_path,
)
from recexplain.causal.pag import ARROW, CIRCLE, MARKS, TAIL, Pag

Sepsets = dict[tuple[int, int], tuple[int, ...]]

SIGNS = {"<": ARROW, ">": ARROW, "o": CIRCLE, "-": TAIL}
LEFT = {ARROW: "<", CIRCLE: "o", TAIL: "-"}
RIGHT = {ARROW: ">", CIRCLE: "o", TAIL: "-"}


def graph(text: str, sepsets: Sepsets | None = None) -> Pag:
    edges = [re.fullmatch(r"(\d)([<o-])-([>o-])(\d)", edge) for edge in text.split()]
    n = 1 + max(int(v) for edge in edges if edge for v in edge.group(1, 4))
    pag = Pag(n)
    for (x, y), given in (sepsets or {}).items():
        pag.separate(x, y, given)
    for edge in edges:
        assert edge, f"not an edge in {text}"
        one, at_one, at_other, other = edge.groups()
        pag.connect(int(one), int(other), SIGNS[at_one], SIGNS[at_other])
    return pag


def written(pag: Pag) -> str:
    return " ".join(
        f"{x}{LEFT[pag.mark(y, x)]}-{RIGHT[pag.mark(x, y)]}{y}" for x in pag.nodes for y in pag.neighbours(x) if x < y
    )


FIRES: list[tuple[Rule, str, Sepsets, str]] = [
    (r0, "0o-o1 1o-o2", {(0, 2): ()}, "0o->1 1<-o2"),
    (r1, "0o->1 1o-o2", {}, "0o->1 1-->2"),
    (r1, "0<->1 1o->2", {}, "0<->1 1-->2"),
    (r2, "0o->1 0o-o2 1-->2", {}, "0o->1 0o->2 1-->2"),
    (r2, "0-->1 0o-o2 1o->2", {}, "0-->1 0o->2 1o->2"),
    (r3, "0o->1 0o-o3 1<-o2 1o-o3 2o-o3", {}, "0o->1 0o-o3 1<-o2 1<-o3 2o-o3"),
    (r4, "0o->1 1<-o2 1-->3 2o->3", {(0, 3): (1, 2)}, "0o->1 1<-o2 1-->3 2-->3"),
    (r4, "0o->1 1<-o2 1-->3 2o->3", {(0, 3): (1,)}, "0o->1 1<->2 1-->3 2<->3"),
    (r4, "0o->4 1<->4 1<-o2 1-->3 2o-o3 3<--4", {(0, 3): (1, 2, 4)}, "0o->4 1<-o2 1-->3 1<->4 2-->3 3<--4"),
    (r4_every, "0o->1 1<-o2 1-->3 2o->3", {(0, 3): (1, 2)}, "0o->1 1<-o2 1-->3 2-->3"),
    (r5, "0o-o1 0o-o3 1o-o2 2o-o3", {}, "0---1 0---3 1---2 2---3"),
    (r5, "0o-o1 0o-o4 1o-o2 2o-o3 3o-o4", {}, "0---1 0---4 1---2 2---3 3---4"),
    (r6, "0---1 0o-o2 1o-o2", {}, "0---1 0--o2 1--o2"),
    (r7, "0--o1 1o-o2", {}, "0--o1 1--o2"),
    (r8, "0-->1 0o->2 1-->2", {}, "0-->1 0-->2 1-->2"),
    (r8, "0--o1 0o->2 1-->2", {}, "0--o1 0-->2 1-->2"),
    (r9, "0o-o1 0o->3 1o-o2 2o->3", {}, "0o-o1 0-->3 1o-o2 2-->3"),
    (r10, "0o-o1 0o-o2 0o->3 1-->3 2-->3", {}, "0o-o1 0o-o2 0-->3 1-->3 2-->3"),
    (r10, "0o-o2 0o->3 0o-o4 1-->3 1<-o4 2-->3", {}, "0o-o2 0-->3 0o-o4 1-->3 1<-o4 2-->3"),
    (r10_reference, "0o-o2 0o->3 0o-o4 1-->3 1<->4 2-->3", {}, "0o-o2 0-->3 0o-o4 1-->3 1<->4 2-->3"),
]

RESTS: list[tuple[Rule, str, Sepsets]] = [
    (r0, "0o-o1 1o-o2", {(0, 2): (1,)}),  # 1 separated them
    (r0, "0o-o1 0o-o2 1o-o2", {}),  # all adjacent
    (r1, "0o->1 0o-o2 1o-o2", {}),  # 0 and 2 adjacent
    (r1, "0o-o1 1o-o2", {}),  # no arrow at 1
    (r2, "0o->1 0o-o2 1o->2", {}),  # neither step is a parent's
    (r2, "0<->1 0o-o2 1<->2", {}),
    (r3, "0o->1 0o-o2 0o-o3 1<-o2 1o-o3 2o-o3", {}),  # 0 and 2 adjacent
    (r3, "0o->1 0o-o3 1<-o2 1o-o3 2o->3", {}),  # no circle at 3 from 2
    (r4, "0o->1 0o-o3 1<-o2 1-->3 2o->3", {}),  # 0 and 3 adjacent
    (r4, "0o->1 1<-o2 1o->3 2o->3", {(0, 3): (1, 2)}),  # 1 is no parent of 3
    (r4, "0o->4 1<-o4 1<-o2 1-->3 2o-o3 3<--4", {(0, 3): (1, 2, 4)}),  # 4 is no collider
    (r5, "0o-o1 0o-o2 0o-o3 1o-o2 2o-o3", {}),  # a chord covers the path
    (r5, "0o-o1 0o-o3 1o-o2 2o->3", {}),  # not all are circles
    (r6, "0--o1 0o-o2 1o-o2", {}),  # no tail at 1
    (r7, "0--o1 0o-o2 1o-o2", {}),  # 0 and 2 adjacent
    (r7, "0o-o1 1o-o2", {}),  # no tail at 0
    (r8, "0o->1 0o->2 1-->2", {}),  # no tail at 0
    (r8, "0-->1 0o->2 1o->2", {}),  # 1 is no parent of 2
    (r9, "0o-o1 0o->3 1o-o2 2<->3", {}),  # the last step is against the direction
    (r9, "0o-o1 0o-o2 0o->3 1o-o2 2o->3", {}),  # the path is covered
    (r9, "0o-o1 0o->3 1o-o2 1<->3 2o-o4 3<-o4", {}),  # 1 and 3 are adjacent
    (r10, "0o-o2 0o->3 0o-o4 1<-o2 1-->3 1<-o4", {}),  # both paths end at the same parent
    (r10, "0o-o1 0o-o2 0o->3 1-->3 1o-o2 2-->3", {}),  # the two first nodes are adjacent
    (r10, "0o-o1 0o-o2 0o->3 1-->3 2o->3", {}),  # 2 is no parent of 3
    (r10, "0o-o2 0o->3 0o-o4 1-->3 1<->4 2-->3", {}),  # one path is not potentially directed
    (r10_reference, "0o-o2 0o->3 0<-o4 1-->3 1<->4 2-->3", {}),  # not even its first step
]


@pytest.mark.parametrize(("rule", "before", "sepsets", "after"), FIRES)
def test_the_rule_fires(rule: Rule, before: str, sepsets: Sepsets, after: str) -> None:
    pag = graph(before, sepsets)
    assert rule(pag) is True
    assert written(pag) == after


@pytest.mark.parametrize(("rule", "before", "sepsets"), RESTS)
def test_the_rule_rests(rule: Rule, before: str, sepsets: Sepsets) -> None:
    pag = graph(before, sepsets)
    expected = written(pag)
    assert rule(pag) is False
    assert written(pag) == expected


@pytest.mark.parametrize(("rule", "before", "sepsets", "after"), FIRES)
def test_a_rule_comes_to_rest(rule: Rule, before: str, sepsets: Sepsets, after: str) -> None:
    pag = graph(before, sepsets)
    if rule is not r0:  # R0 states its colliders anew each time: it is applied once
        close(pag, [rule])
        assert rule(pag) is False
        assert written(pag) == after


def test_the_groups_hold_every_rule_in_its_order() -> None:
    assert (*ARROW_RULES, *SELECTION_RULES, *TAIL_RULES) == (r1, r2, r3, r4, r5, r6, r7, r8, r9, r10)
    assert (*TAIL_RULES[:2], r10_reference) == TAIL_RULES_REFERENCE


def test_closing_goes_round_until_nothing_changes() -> None:
    pag = graph("0o->3 1o-o2 2o-o3")  # R1 at 3 enables R1 at 2, which a sweep has passed by then
    close(pag, ARROW_RULES)
    assert written(pag) == "0o->3 1<--2 2<--3"


def test_of_contradicting_discriminating_paths_the_first_counts_or_every_one() -> None:
    """<0, 1, 2, 3> says that 2 is no collider, <4, 1, 2, 3> that it is one."""
    before, sepsets = "0o->1 1<-o2 1-->3 1<-o4 2o->3", {(0, 3): (1, 2), (3, 4): (1,)}
    first, every = graph(before, sepsets), graph(before, sepsets)
    close(first, [r4])
    close_at_once(every, [r4_every])
    assert written(first) == "0o->1 1<-o2 1-->3 1<-o4 2-->3"
    assert written(every) == "0o->1 1<->2 1-->3 1<-o4 2<->3"


T = TypeVar("T")


def pick(draw: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(draw.integers(len(options)))]


def random_graph(draw: np.random.Generator) -> Pag:
    pag = Pag(int(draw.integers(3, 10)))
    for x, y in combinations(pag.nodes, 2):
        if draw.random() < 0.35:
            pag.connect(x, y, pick(draw, (ARROW, CIRCLE, CIRCLE)), pick(draw, (*MARKS, CIRCLE)))
    return pag


def plain_search(
    pag: Pag, start: tuple[int, int], goal: int, step: Callable[[Pag, int], int], after: int | None
) -> list[int]:
    """The same path by trying everything."""

    def extend(u: int, v: int, used: set[int | None]) -> list[int]:
        last_fits = after is None or not pag.is_adjacent(v, after)
        if step(pag, v) >> goal & 1 and not pag.is_adjacent(u, goal) and last_fits:
            return [v, goal]
        for w in pag.neighbours(v):
            if w not in used and step(pag, v) >> w & 1 and not pag.is_adjacent(u, w):
                rest = extend(v, w, used | {w})
                if rest:
                    return [v, *rest]
        return []

    return [goal] if start[1] == goal else extend(*start, {*start, goal, after})


def test_the_pruned_path_search_finds_what_a_plain_one_finds() -> None:
    draw, n_found = np.random.default_rng(1), 0
    for _ in range(1500):
        pag = random_graph(draw)
        before, first, goal = draw.permutation(pag.n)[:3].tolist()
        after = pick(draw, [None, *(v for v in pag.nodes if v not in (before, first, goal))])
        if pag.is_adjacent(before, first):
            for step in (Pag.adjacent, Pag.possible_children):
                path = uncovered_path(pag, (before, first), goal, step, after=after)
                assert path == plain_search(pag, (before, first), goal, step, after)
                n_found += bool(path)
    assert n_found > 100


def test_a_path_that_is_not_there_is_not_searched_for_long() -> None:
    """A ladder of 30 diamonds has 2 ** 30 uncovered paths, none of which reaches a node apart."""
    n_diamonds = 30
    pag = Pag(3 * n_diamonds + 3)
    for k in range(n_diamonds):
        top = 3 * k + 1
        for side in (top + 1, top + 2):
            pag.connect(top, side)
            pag.connect(side, top + 3)
    pag.connect(0, 1)
    assert uncovered_path(pag, (0, 1), 3 * n_diamonds + 2, Pag.adjacent) == []
    assert len(uncovered_path(pag, (0, 1), 3 * n_diamonds + 1, Pag.adjacent)) == 2 * n_diamonds + 1
