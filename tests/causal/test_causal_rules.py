"""Every graph on which an orientation rule fires has a near twin, different in one place, on which it rests."""

from collections.abc import Iterator
from itertools import combinations

import pytest
from test_causal_orientation import FIRES, Sepsets, graph

from recexplain.causal.orientation import ARROW_RULES, SELECTION_RULES, TAIL_RULES, Rule, r0
from recexplain.causal.pag import MARKS, Pag


def twins(pag: Pag) -> Iterator[Pag]:
    """The graph with one mark, one edge or one member of one separating set changed."""
    for x, y in combinations(pag.nodes, 2):
        twin = pag.copy()
        if pag.is_adjacent(x, y):
            twin.separate(x, y, ())
        else:
            twin.connect(x, y)
        yield twin
        for a, b in ((x, y), (y, x)) if pag.is_adjacent(x, y) else ():
            for mark in set(MARKS) - {pag.mark(a, b)}:
                twin = pag.copy()
                twin.set_mark(a, b, mark)
                yield twin
        for v in pag.nodes if not pag.is_adjacent(x, y) else ():
            twin = pag.copy()
            twin.separate(x, y, tuple({*pag.separating_set(x, y)} ^ {v}))
            yield twin


@pytest.mark.parametrize(("rule", "before", "sepsets", "after"), FIRES)
def test_a_rule_that_fires_has_a_near_twin_on_which_it_rests(
    rule: Rule, before: str, sepsets: Sepsets, after: str
) -> None:
    assert rule(graph(before, sepsets)) is True, after
    assert any(not rule(twin) for twin in twins(graph(before, sepsets)))


def test_every_rule_has_such_a_graph() -> None:
    assert {rule for rule, *_ in FIRES} >= {r0, *ARROW_RULES, *SELECTION_RULES, *TAIL_RULES}
