"""Every case computed with the reference implementation is reproduced exactly: see the README beside the cases.

The folder is `$RECEXPLAIN_REFERENCE/icd`, by default `../shared/reference/icd` beside this repository.
"""

import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from recexplain.causal.correlation import correlation
from recexplain.causal.icd import IcdOptions, discover, iterations, learn_pag
from recexplain.causal.independence import PartialCorrelation, Remembered
from recexplain.causal.orientation import (
    ARROW_RULES,
    SELECTION_RULES,
    TAIL_RULES,
    TAIL_RULES_REFERENCE,
    close,
    r0,
)
from recexplain.causal.pag import Pag
from recexplain.causal.pds import LegalSet, PdsTree, legal_levels, legal_sets, pds_tree

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("RECEXPLAIN_REFERENCE", ROOT / ".." / "shared" / "reference")) / "icd"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference cases in {FOLDER}")

Case = dict[str, Any]


@cache
def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def attention_cases() -> list[Any]:
    return [
        pytest.param(path.name, at, id=f"{path.stem}-N{case['num_samples']}-p{case['p_value_threshold']}")
        for path in sorted(FOLDER.glob("attn_n[0-9]*.json"))
        for at, case in enumerate(read(path.name)["cases"])
    ]


def listed(pattern: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}-{case['id']}")
        for path in sorted(FOLDER.glob(pattern))
        for case in read(path.name)
    ]


each_attention_case = pytest.mark.parametrize(("name", "at"), attention_cases())


@cache
def learnt(name: str, at: int) -> nx.DiGraph:
    whole = read(name)
    case = whole["cases"][at]
    return learn_pag(
        correlation(np.array(whole["attention"])),
        case["num_samples"],
        case["p_value_threshold"],
        strict=False,
    )


def edges(graph: nx.DiGraph | Pag) -> list[list[Any]]:
    if isinstance(graph, Pag):
        graph = graph.to_networkx()
    return [[x, y, graph.edges[y, x]["mark"], graph.edges[x, y]["mark"]] for x, y in sorted(graph.edges) if x < y]


def sepsets(graph: nx.DiGraph) -> dict[str, list[int]]:
    return {f"{x},{y}": list(given) for (x, y), given in graph.graph["sepset"].items()}


def by_name(distances: dict[int, int]) -> dict[str, int]:
    return {str(node): distance for node, distance in distances.items()}


def as_lists(sets: list[LegalSet]) -> list[list[Any]]:
    return [[list(s.nodes), s.distance] for s in sets]


def pag_of(n: int, given: list[list[Any]]) -> Pag:
    pag = Pag(n)
    for x, y, at_x, at_y in given:
        pag.connect(x, y, at_x, at_y)
    return pag


# From attention to a graph


@pytest.mark.parametrize("path", sorted(FOLDER.glob("attn_n[0-9]*.json")), ids=lambda path: path.stem)
def test_correlation_to_its_twelve_digits(path: Path) -> None:
    case = read(path.name)
    np.testing.assert_allclose(
        correlation(np.array(case["attention"])), np.array(case["correlation"]), rtol=0, atol=1e-12
    )


@each_attention_case
def test_edges_separating_sets_and_test_counts(name: str, at: int) -> None:
    case, graph = read(name)["cases"][at], learnt(name, at)
    assert case["status"] == "ok"
    assert edges(graph) == case["edges"]
    assert sepsets(graph) == case["sepsets"]
    assert graph.graph["n_tests"] == case["ci_tests_by_size"]


@each_attention_case
def test_every_iteration_and_every_test_in_its_order(name: str, at: int) -> None:
    whole = read(name)
    case = whole["cases"][at]
    alpha = case["p_value_threshold"]
    asked: list[tuple[int, int, list[int], float]] = []

    def spy(x: int, y: int, z: tuple[int, ...] = ()) -> float:
        p = test(x, y, z)
        asked.append((x, y, list(z), p))
        return p

    test = PartialCorrelation(correlation(np.array(whole["attention"])), case["num_samples"])
    steps = [edges(pag) for pag in iterations(whole["n"], Remembered(spy), IcdOptions(alpha, strict=False))]
    assert len(steps) - 1 == case["r_reached"]
    assert steps[-1] == case["edges"]
    assert min(abs(p - alpha) / alpha for *_, p in asked) == pytest.approx(case["min_relative_margin"], rel=0.01)
    if "edges_after_iteration" in case:
        assert steps == case["edges_after_iteration"]
        assert [[x, y, z, p > alpha] for x, y, z, p in asked] == [
            [x, y, z, independent] for x, y, z, _, independent in case["ci_trace"]
        ]
        expected = [p for *_, p, _ in case["ci_trace"]]
        np.testing.assert_allclose([p for *_, p in asked], expected, rtol=1e-5, atol=1e-12)


# From the graph to candidates and explanations


@each_attention_case
def test_distances_from_the_target(name: str, at: int) -> None:
    expected, graph = read(name)["cases"][at]["cleann"], learnt(name, at)
    tree = pds_tree(graph, expected["target"])
    assert list(tree.distances) == expected["pds_nodes"]
    assert by_name(tree.distances) == expected["distances"]
    assert tree.depth == expected["tree_depth"]
    for reach, distances in expected["distances_with_max_range"].items():
        assert by_name(pds_tree(graph, expected["target"], int(reach)).distances) == distances


@each_attention_case
def test_candidates_in_the_order_of_trial(name: str, at: int) -> None:
    expected, graph = read(name)["cases"][at]["cleann"], learnt(name, at)
    tree = pds_tree(graph, expected["target"])
    for size, candidates in expected["candidates"].items():
        sets = legal_sets(tree, int(size))
        assert len(sets) == candidates["count"]
        assert as_lists(sets)[: len(candidates["first"])] == candidates["first"]
        written = ";".join(f"{','.join(map(str, s.nodes))}:{s.distance}" for s in sets)
        assert hashlib.sha256(written.encode()).hexdigest() == candidates["sha256"]


def search(tree: PdsTree, tester: Callable[[set[int]], bool], max_size: int, minimal: bool) -> list[LegalSet]:
    """The search of CLEANN: whole sizes, smallest first, up to the first that succeeds or to `max_size`."""
    found: list[LegalSet] = []
    for size, level in enumerate(legal_levels(tree), start=1):
        if size > max_size or (found and minimal):
            break
        found += [candidate for candidate in level if tester(set(candidate.nodes))]
    return found


@each_attention_case
def test_explanations_of_planted_sets(name: str, at: int) -> None:
    expected, graph = read(name)["cases"][at]["cleann"], learnt(name, at)
    tree = pds_tree(graph, expected["target"])
    for planted in expected["explanations"]:
        tried: list[set[int]] = []

        def tester(nodes: set[int], planted: Case = planted, tried: list[set[int]] = tried) -> bool:
            tried.append(nodes)
            return any(set(some) <= nodes for some in planted["planted"])

        found = search(tree, tester, planted["max_set_size"], planted["search_minimal"])
        assert as_lists(found)[:40] == planted["found"]
        assert len(found) == planted["found_count"]
        assert len(tried) == planted["tester_calls"]


@pytest.mark.parametrize("case", listed("attn_node_subsets.json"))
def test_a_graph_over_a_subset_of_the_rows(case: Case) -> None:
    nodes = case["nodes"]
    part = correlation(np.array(case["attention"]))[np.ix_(nodes, nodes)]
    graph = learn_pag(part, case["num_samples"], case["p_value_threshold"], strict=False)
    assert [[nodes[x], nodes[y], *marks] for x, y, *marks in edges(graph)] == case["edges"]
    assert graph.graph["n_tests"] == case["ci_tests_by_size"]
    tree = pds_tree(graph, nodes.index(case["target"]))
    assert [nodes[v] for v in tree.distances] == case["pds_nodes"]
    wanted = set(json.loads(case["tester"].partition("at least one of ")[2]))
    found = search(tree, lambda some: not wanted.isdisjoint(nodes[v] for v in some), case["max_set_size"], minimal=True)
    assert [[[nodes[v] for v in s.nodes], s.distance] for s in found] == case["found"]


# The parts alone


def nested(tree: PdsTree, number: int = 0) -> list[Any]:
    below = [nested(tree, child) for child, parent in enumerate(tree.parents) if parent == number]
    return [tree.nodes[number], below]


@pytest.mark.parametrize("case", listed("pds_cases.json"))
def test_trees_of_given_graphs(case: Case) -> None:
    pag = pag_of(case["n"], case["edges"])
    for rooted in case["roots"]:
        for depth, expected in rooted["by_max_depth"].items():
            tree = pds_tree(pag, rooted["root"], None if depth == "none" else int(depth))
            assert list(tree.distances) == expected["nodes"]
            assert by_name(tree.distances) == expected["distances"]
            assert nested(tree) == expected["tree"]
            for size, sets in expected.get("legal_sets", {}).items():
                assert as_lists(legal_sets(tree, int(size))) == sets


@pytest.mark.parametrize("case", listed("orientation_cases.json"))
def test_orientation_of_given_skeletons(case: Case) -> None:
    pag = Pag.complete(case["n"])
    for pair, given in case["sepsets"].items():
        x, y = map(int, pair.split(","))
        pag.separate(x, y, tuple(given))
    assert [[x, y] for x, y, *_ in edges(pag)] == case["skeleton"]
    r0(pag)
    assert edges(pag) == case["after_colliders"]
    close(pag, ARROW_RULES)
    assert edges(pag) == case["after_R1_R4"]
    close(pag, SELECTION_RULES)
    assert edges(pag) == case["after_R5_R7"]
    strict = pag.copy()
    close(pag, TAIL_RULES_REFERENCE)
    assert edges(pag) == case["after_R8_R10"]
    close(strict, TAIL_RULES)
    assert edges(strict) == case.get("after_R8_R10_strict", case["after_R8_R10"])


@pytest.mark.parametrize("case", listed("ci_test_cases.json"))
def test_p_values(case: Case) -> None:
    matrix = np.array(case["correlation"])
    for x, y, given, n_samples, p in case["queries"]:
        ours = PartialCorrelation(matrix, n_samples)(x, y, tuple(given))
        if p is None:
            assert ours == 0
        else:
            assert ours == pytest.approx(p, rel=1e-6, abs=1e-14)  # the reference computes 1 - cdf


# Exact answers from known graphs


def d_separation(case: Case) -> Callable[..., float]:
    """The exact test: 1 where x and y are d-separated given z and the selection nodes, else 0.

    By the moral graph of the ancestors (Lauritzen et al. 1990).
    """
    parents: dict[int, set[int]] = {}
    for parent, child in case["dag_edges"]:
        parents.setdefault(child, set()).add(parent)
        parents.setdefault(parent, set())

    def independence(x: int, y: int, z: tuple[int, ...] = ()) -> float:
        given = {*z, *case["selection"]}
        relevant, stack = set[int](), [x, y, *given]
        while stack:
            node = stack.pop()
            if node not in relevant:
                relevant.add(node)
                stack.extend(parents.get(node, ()))
        beside: dict[int, set[int]] = {node: set() for node in relevant}
        for node in relevant:
            family = {node, *parents.get(node, ())}
            for member in family:
                beside[member] |= family
        reached, stack = set(given), [x]
        while stack:
            node = stack.pop()
            if node not in reached:
                reached.add(node)
                stack.extend(beside[node])
        return 0.0 if y in reached else 1.0

    return independence


@pytest.mark.parametrize("case", listed("oracle_dags_*.json"))
def test_known_graphs_with_latent_and_selection_nodes(case: Case) -> None:
    independence = d_separation(case)
    graph = discover(case["n_observed"], independence, strict=False)
    assert edges(graph) == case["icd"]["edges"]
    assert sepsets(graph) == case["icd"]["sepsets"]
    assert graph.graph["n_tests"] == case["icd"]["ci_tests_by_size"]
    assert edges(discover(case["n_observed"], independence)) == case["invariant_edges"]
    if "icd_without_R5_R7" in case:
        plain = discover(case["n_observed"], independence, strict=False, selection=False)
        assert edges(plain) == case["icd_without_R5_R7"]["edges"]
