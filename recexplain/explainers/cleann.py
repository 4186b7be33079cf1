"""CLEANN, faithful to the paper: candidates are what hangs together around the target in each head's causal graph.

Rohekar, Gurwicz and Nisimov, "Causal Interpretation of Self-Attention in Pre-Trained Transformers", NeurIPS 2023
(arXiv 2310.20307), Algorithm 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import networkx as nx
import numpy as np

from recexplain.causal.correlation import correlation
from recexplain.causal.icd import learn_pag
from recexplain.causal.pds import LegalSet, legal_levels, pds_tree
from recexplain.counterfactual import Candidate, Question
from recexplain.errors import OptionError, is_whole
from recexplain.recommender import AttentiveRecommender, Recommender
from recexplain.search import Search, merged_levels, smallest_first


@dataclass(frozen=True)
class Cleann:
    """Learns a causal graph from the deepest layer's attention, one a head, and tests its sets around the target.

    Every head's graph is searched. The smallest verified set wins; among sets of one size the one with the smallest sum
    of distances to the target, then that of the lower head, then that of the older positions.
    """

    name: ClassVar[str] = "cleann"

    alpha: float = 0.01  # a pair is called independent if its p-value is above
    n_samples: int = 64  # what the attention counts for in the test, as if estimated from so many samples
    max_range: int | None = None  # only nodes this near to the target in the PDS-tree; None: all
    max_size: int | None = 4  # the paper has no limit (None), but the number of sets can explode

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, float) and 0 < self.alpha < 1):
            raise OptionError(f"alpha must be between 0 and 1, not {self.alpha!r}")
        if not is_whole(self.n_samples, 4):
            raise OptionError(
                f"n_samples must be a whole number of 4 or more (Fisher's z test needs them), not {self.n_samples!r}"
            )
        for name in ("max_range", "max_size"):
            value = getattr(self, name)
            if value is not None and not is_whole(value, 1):
                raise OptionError(f"{name} must be a whole number of 1 or more, or null for no limit, not {value!r}")

    def graphs(self, recommender: Recommender, question: Question) -> tuple[nx.DiGraph, ...]:
        """Return one PAG a head over the items that fit beside the target and, as the last node, the target."""
        if not isinstance(recommender, AttentiveRecommender):
            raise OptionError(
                f"the explainer cleann needs a recommender with attention; {type(recommender).__name__} has none"
            )
        attention = np.asarray(recommender.attention(question.visible, question.target))
        most = len(question.visible) + 1
        if attention.ndim != 4 or min(attention.shape) < 1 or not 2 <= attention.shape[-1] <= most:
            raise OptionError(
                "the recommender's attention must be of shape (layers, heads, m + 1, m + 1) with m from 1 to "
                f"{most - 1} items here, not {attention.shape}"
            )
        return tuple(self._graph(head) for head in attention[-1])

    def search(self, question: Question, graphs: Sequence[nx.DiGraph]) -> Search:
        """Return the search over the legal sets around the target in all graphs, smallest sets first."""
        most = len(question.removable) - 1  # a removal never empties a history
        if self.max_size is not None:
            most = min(most, self.max_size)
        levels = merged_levels([self._levels(graph) for graph in graphs], _first_position(question, graphs))
        return smallest_first(islice(levels, most), question.removable)

    def head_of(self, candidate: Candidate, question: Question, graphs: Sequence[nx.DiGraph]) -> int:
        """Return the head whose graph gave a candidate: where its summed distance is smallest, then the lower head."""
        first = _first_position(question, graphs)
        nodes = tuple(position - first for position in candidate)
        found = []
        for head, graph in enumerate(graphs):
            level = next(islice(self._levels(graph), len(nodes) - 1, None), ())
            found += [(legal.distance, head) for legal in level if legal.nodes == nodes]
        return min(found)[1]

    def _graph(self, head: np.ndarray) -> nx.DiGraph:
        return learn_pag(correlation(head), self.n_samples, self.alpha)

    def _levels(self, graph: nx.DiGraph) -> Iterator[Sequence[LegalSet]]:
        return legal_levels(pds_tree(graph, graph.number_of_nodes() - 1, self.max_range))


def _first_position(question: Question, graphs: Sequence[nx.DiGraph]) -> int:
    """Return the position in the history that node 0 stands for: a model may see fewer items beside the target."""
    n_items = int(graphs[0].number_of_nodes()) - 1
    return len(question.history) - n_items
