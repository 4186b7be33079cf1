"""With exact answers, discovery finds all that can be known of a hidden graph, and nothing that is not so.

What can be known is found by brute force in `causal_oracle`: the marks that all ancestral graphs share which have the
same independences. Not one of the library's rules is used for it.
"""

from collections import Counter, defaultdict
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from causal_oracle import Edges, Hidden, Mixed, edges, questions, random_hidden, subsets

from recexplain.causal.icd import ORDERS, discover
from recexplain.causal.independence import Independence
from recexplain.causal.orientation import ARROW_RULES, SELECTION_RULES, TAIL_RULES, close, r0
from recexplain.causal.pag import ARROW, Pag, members

SEEDS = range(220)
LARGER = range(50, 130)  # among them graphs on which the tenth rule as the reference has it goes wrong

each_order = pytest.mark.parametrize("order", ORDERS)


@cache
def hidden(seed: int) -> Hidden:
    return random_hidden(seed, 5)


@cache
def known(seed: int) -> Edges:
    return hidden(seed).shared_by_all()


def test_the_hidden_graphs_are_of_every_kind() -> None:
    """Otherwise the tests below would hold of little."""
    marks = Counter(mark for seed in SEEDS for *_, mark in known(seed))
    assert min(marks[mark] for mark in ("tail", "arrow", "circle")) > 100
    assert sum(bool(hidden(seed).selection) for seed in SEEDS) > 100
    assert sum((y, x, "arrow") in h.mag for h in map(hidden, SEEDS) for x, y, mark in h.mag if mark == "arrow") > 100
    assert sum((y, x, "tail") in h.mag for h in map(hidden, SEEDS) for x, y, mark in h.mag if mark == "tail") > 100


def test_the_ancestral_graph_has_the_independences_of_the_hidden_one() -> None:
    """The two ways to the truth agree: m-separation in the MAG, d-separation in the DAG given the selection."""
    for seed in SEEDS:
        mag = np.zeros((2, 1, hidden(seed).n, hidden(seed).n), dtype=bool)
        for x, y, mark in hidden(seed).mag:
            mag[0, 0, x, y], mag[1, 0, x, y] = True, mark == "arrow"
        for x, y, z in questions(hidden(seed).n):
            assert Mixed(*mag).are_separated(x, y, z)[0] == hidden(seed)(x, y, z), (seed, x, y, z)


@each_order
def test_all_that_can_be_known_is_found(order: str) -> None:
    for seed in SEEDS:
        found = discover(hidden(seed).n, hidden(seed), order=order)
        assert edges(found) == known(seed), seed


@each_order
def test_every_mark_is_true_of_a_larger_graph(order: str) -> None:
    """Seven observed nodes are too many to list all graphs; but adjacencies and marks must be the hidden graph's."""
    for seed in LARGER:
        truth = random_hidden(seed, 7)
        found = discover(7, truth, order=order)
        assert {frozenset(pair) for pair in found.edges} == {frozenset((x, y)) for x, y, _ in truth.mag}, seed
        assert {edge for edge in edges(found) if edge[2] != "circle"} <= truth.mag, seed
        assert all(truth(x, y, given) for (x, y), given in found.graph["sepset"].items()), seed


@cache
def every_class_of_four_nodes() -> dict[tuple[bool, ...], Edges]:
    """What can be known of each MAG of four nodes, by its answers to all questions."""
    asked, classes = questions(4), {}
    for skeleton in subsets(list(combinations(range(4), 2))):
        mixed = Mixed.ancestral(4, skeleton)
        answers = np.array([mixed.are_separated(*question) for question in asked])
        alike = defaultdict(list)
        for graph, key in enumerate(map(tuple, answers.T.tolist())):
            alike[key].append(graph)
        for key, graphs in alike.items():
            apart = {(x, y) for (x, y, _), separated in zip(asked, key, strict=True) if separated}
            if len(apart) + len(skeleton) == 6:  # maximal: what is not adjacent can be separated
                chosen = np.zeros(len(mixed.into), dtype=bool)
                chosen[graphs] = True
                classes[key] = mixed.where(chosen).shared_marks()
    return classes


def looked_up(n: int, answers: tuple[bool, ...]) -> Independence:
    answer = dict(zip(questions(n), map(float, answers), strict=True))
    return lambda x, y, z=(): answer[x, y, z]


@each_order
def test_every_ancestral_graph_of_four_nodes_is_found(order: str) -> None:
    """Undirected rings, which only selection makes, among them."""
    classes = every_class_of_four_nodes()
    for key, expected in classes.items():
        assert edges(discover(4, looked_up(4, key), order=order)) == expected
    assert len(classes) > 185  # so many there are of DAGs alone (Gillispie and Perlman, 2002)
    ring = {(x, y, "tail") for a in range(4) for x, y in ((a, (a + 1) % 4), ((a + 1) % 4, a))}
    assert ring in classes.values()


# FCI: another algorithm, the same answer


def fci(n: int, truth: Independence) -> Pag:
    """Fast causal inference (Spirtes, Meek and Richardson 1995; rules of Zhang 2008), as the books have it."""
    pag = Pag.complete(n)
    for size in range(n - 1):
        for x, y in combinations(range(n), 2):
            _separate(pag, truth, (x, y), [pag.adjacent(x), pag.adjacent(y)], size)
    r0(pag)
    near = [possible_d_sep(pag, x) for x in pag.nodes]
    for size in range(n - 1):
        for x, y in combinations(range(n), 2):
            _separate(pag, truth, (x, y), [near[x], near[y]], size)
    pag.forget_marks()
    r0(pag)
    for rules in (ARROW_RULES, SELECTION_RULES, TAIL_RULES):
        close(pag, rules)
    return pag


def _separate(pag: Pag, truth: Independence, pair: tuple[int, int], around: list[int], size: int) -> None:
    for nodes in around:
        for given in combinations(members(nodes & ~(1 << pair[0] | 1 << pair[1])), size):
            if pag.is_adjacent(*pair) and truth(*pair, given):
                pag.separate(*pair, given)


def possible_d_sep(pag: Pag, x: int) -> int:
    """All v with a path from x of which every inner node is a collider or in a triangle; walks, over directed edges."""
    seen = {(x, v) for v in pag.neighbours(x)}
    queue = sorted(seen)
    for u, v in queue:
        for w in pag.neighbours(v):
            collider = pag.mark(u, v) == ARROW == pag.mark(w, v)
            if w not in (u, x) and (v, w) not in seen and (collider or pag.is_adjacent(u, w)):
                seen.add((v, w))
                queue.append((v, w))
    return sum(1 << v for v in {v for _, v in seen})


def test_fci_and_icd_agree() -> None:
    for seed in SEEDS:
        truth = hidden(seed)
        assert edges(fci(truth.n, truth).to_networkx()) == edges(discover(truth.n, truth)), seed
    for seed in LARGER:
        truth = random_hidden(seed, 7)
        assert edges(fci(7, truth).to_networkx()) == edges(discover(7, truth)), seed
