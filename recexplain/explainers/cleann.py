"""CLEANN, faithful to the paper: candidates are what hangs together around the target in each head's causal graph.

Rohekar, Gurwicz and Nisimov, "Causal Interpretation of Self-Attention in Pre-Trained Transformers", NeurIPS 2023
(arXiv 2310.20307), Algorithm 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import ClassVar

import networkx as nx

from recexplain.causal.pds import LegalSet, legal_levels
from recexplain.counterfactual import Candidate, Question
from recexplain.errors import OptionError, is_whole
from recexplain.explainers.graphs import GraphOptions, first_position
from recexplain.recommender import AttentiveRecommender, Recommender, without_attention
from recexplain.search import Ledger, Search
from recexplain.steps import levels_until_found, searched


@dataclass(frozen=True)
class Cleann(GraphOptions):
    """Learns a causal graph from the deepest layer's attention, one a head, and tests its sets around the target.

    Every head's graph is searched. The smallest verified set wins; among sets of one size the one with the smallest sum
    of distances to the target, then that of the lower head, then that of the older positions.
    """

    name: ClassVar[str] = "cleann"

    n_samples: int | str = (
        256  # the reference has the model's hidden size, 64 with our recipes: see docs/causal-graph.md
    )
    max_range: int | None = None  # only nodes this near to the target in the PDS-tree; None: all
    max_size: int | None = 4  # the paper has no limit (None), but the number of sets can explode

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_range", "max_size"):
            value = getattr(self, name)
            if value is not None and not is_whole(value, 1):
                raise OptionError(f"{name} must be a whole number of 1 or more, or null for no limit, not {value!r}")

    def graphs(self, recommender: Recommender, question: Question, /) -> tuple[nx.DiGraph, ...]:
        """Return the PAGs over the items that fit beside the target and, as the last node, the target."""
        if not isinstance(recommender, AttentiveRecommender):
            raise without_attention(self.name, recommender)
        return self.learnt(recommender, question)

    def search(self, _: Recommender, question: Question, graphs: Sequence[nx.DiGraph], /) -> Search:
        """Return the search over the legal sets around the target in all graphs, smallest sets first."""
        most = question.most if self.max_size is None else min(question.most, self.max_size)
        first, removable = first_position(question, graphs), set(question.removable)
        levels = (
            [candidate for candidate in level if removable.issuperset(candidate)]
            for level in merged_levels([self._levels(graph) for graph in graphs], first)
        )
        ledger = Ledger(question)
        return searched(ledger, levels_until_found(ledger, islice(levels, most)))

    def head_of(self, candidate: Candidate, question: Question, graphs: Sequence[nx.DiGraph], /) -> int:
        """Return the head whose graph gave a candidate: where its summed distance is smallest, then the lower head."""
        first = first_position(question, graphs)
        nodes = tuple(position - first for position in candidate)
        found = []
        for head, graph in enumerate(graphs):
            level = next(islice(self._levels(graph), len(nodes) - 1, None), ())
            found += [(legal.distance, head) for legal in level if legal.nodes == nodes]
        return min(found)[1]

    def _levels(self, graph: nx.DiGraph) -> Iterator[Sequence[LegalSet]]:
        return legal_levels(self.around_target(graph, self.max_range))


def merged_levels(graphs: Sequence[Iterator[Sequence[LegalSet]]], first: int) -> Iterator[list[Candidate]]:
    """Yield the legal sets of several graphs as candidates, size by size: nearest first, then by graph.

    A set that several graphs give counts once, where it comes first. Node i is position `first + i`.
    """
    for level in zip_longest(*graphs, fillvalue=()):
        ranked = sorted(
            (legal.distance, graph, place, legal.nodes)
            for graph, sets in enumerate(level)
            for place, legal in enumerate(sets)
        )
        yield list(dict.fromkeys(tuple(node + first for node in nodes) for *_, nodes in ranked))
