"""From a recommender's attention to causal graphs, and how far their items are from the target.

Which layer and heads, what counts as covariance, how it is tested: every choice is an option here, shared by the
explainers that learn graphs. What each of them brought stands in docs/causal-graph.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from recexplain.causal.compare import DISCOVERERS, learn_with
from recexplain.causal.correlation import correlation
from recexplain.causal.icd import IcdOptions, learn_pag
from recexplain.causal.pds import PdsTree, PdsWalks, pds_tree, pds_walks
from recexplain.counterfactual import Question
from recexplain.errors import OptionError, is_whole
from recexplain.recommender import AttentiveRecommender, one_thread

POOLED = ("each", "mean", "max", "rollout")
COVARIANCES = ("raw", "centred")
MAX_TESTS = 200_000  # of `fci` and `pc`, a graph: they may ask exponentially many


@dataclass(frozen=True)
class GraphOptions:
    """How one person's attention becomes causal graphs over the items beside the target and, last, the target."""

    alpha: float = 0.01  # a pair is called independent if its p-value is above
    n_samples: int | str = 64  # what the attention counts for in the test; `length`: as many as there are nodes
    heads: int | str = "each"  # a graph for each; one for their mean, max or rollout; or of one head alone
    layer: int = -1  # whose attention: 0 is the first, -1 the deepest; `rollout` goes through all up to it
    covariance: str = "raw"  # raw: A A' as in CLEANN; centred: each row of A less its mean
    order: str = "position"  # of the tests: position or independent, see `learn_pag`
    discoverer: str = "icd"  # icd, ordicd, fci or pc, see `learn_with`

    def __post_init__(self) -> None:
        IcdOptions(self.alpha, self.order)  # checks them
        if self.n_samples != "length" and not is_whole(self.n_samples, 4):
            raise OptionError(
                "n_samples must be a whole number of 4 or more (Fisher's z test needs them), or length, "
                f"not {self.n_samples!r}"
            )
        if self.heads not in POOLED and not is_whole(self.heads, 0):
            raise OptionError(f"heads must be one of {', '.join(POOLED)}, or the number of one, not {self.heads!r}")
        if isinstance(self.layer, bool) or not isinstance(self.layer, int):
            raise OptionError(f"layer must be a whole number, negative from the deepest, not {self.layer!r}")
        if self.covariance not in COVARIANCES:
            raise OptionError(f"covariance must be one of {', '.join(COVARIANCES)}, not {self.covariance!r}")
        if self.discoverer not in DISCOVERERS:
            raise OptionError(f"discoverer must be one of {', '.join(DISCOVERERS)}, not {self.discoverer!r}")
        if self.order != "position" and self.discoverer != "icd":
            raise OptionError(f"order={self.order} is for discoverer=icd, not for {self.discoverer}")

    def learnt(self, recommender: AttentiveRecommender, question: Question) -> tuple[nx.DiGraph, ...]:
        """Return the PAGs, one or one a head."""
        return tuple(self._learnt(matrix) for matrix in self.matrices(checked_attention(recommender, question)))

    def matrices(self, attention: np.ndarray) -> np.ndarray:
        """(graphs, n, n), what graphs are learnt from, of the attention (layers, heads, n, n).

        `rollout` multiplies (mean of the heads + identity) / 2 of each layer up to `layer`, the later on the left
        (Abnar and Zuidema, "Quantifying attention flow in Transformers", ACL 2020, section 3).
        """
        n_layers, n_heads, n, _ = attention.shape
        if not -n_layers <= self.layer < n_layers:
            raise OptionError(f"layer must be from {-n_layers} to {n_layers - 1} with this model, not {self.layer}")
        if self.heads == "rollout":
            flow = np.eye(n)
            for weights in attention[: self.layer % n_layers + 1]:
                flow = (weights.mean(0) + np.eye(n)) / 2 @ flow
            return flow[None]
        heads: np.ndarray = attention[self.layer]
        if isinstance(self.heads, int):
            if self.heads >= n_heads:
                raise OptionError(f"heads must be below {n_heads}, as many as this model has, not {self.heads}")
            return heads[self.heads, None]
        if self.heads == "each":
            return heads
        pooled: np.ndarray = heads.mean(0) if self.heads == "mean" else heads.max(0)
        return pooled[None]

    def distances(self, question: Question, graph: nx.DiGraph) -> dict[int, int]:
        """Return how far each position is from the target in its PDS-tree; those out of reach are left out."""
        first = first_position(question, [graph])
        return {first + node: far for node, far in self.around_target(graph).distances.items()}

    def around_target(self, graph: nx.DiGraph, max_range: int | None = None) -> PdsTree | PdsWalks:
        """Return what lies around the target, the last node, at most so far away."""
        walked = pds_walks if self.order == "independent" else pds_tree
        return walked(graph, graph.number_of_nodes() - 1, max_range)

    def name_of(self, number: int, n_graphs: int) -> str:
        """Return in words what the graph of a number, from 0, was learnt from."""
        layer = {-1: "deepest layer", 0: "first layer"}.get(self.layer, f"layer {self.layer}")
        if self.heads == "rollout":
            return f"attention rolled out to the {layer}"
        if self.heads == "each":
            return f"attention head {number + 1} of {n_graphs}, {layer}"
        if isinstance(self.heads, int):
            return f"attention head {self.heads + 1}, {layer}"
        return f"{self.heads} of the attention heads, {layer}"

    def _learnt(self, matrix: np.ndarray) -> nx.DiGraph:
        n_samples = len(matrix) if isinstance(self.n_samples, str) else self.n_samples
        found = correlation(matrix, centred=self.covariance == "centred")
        if self.discoverer == "icd":
            return learn_pag(found, n_samples, self.alpha, order=self.order)
        return learn_with(self.discoverer, found, n_samples, self.alpha, max_tests=MAX_TESTS)


def checked_attention(recommender: AttentiveRecommender, question: Question) -> np.ndarray:
    """Return the attention, (layers, heads, m + 1, m + 1), of the newest m items and the target: by one thread."""
    with one_thread():
        attention = np.asarray(recommender.attention(question.visible, question.target))
    most = len(question.visible) + 1
    if attention.ndim != 4 or min(attention.shape) < 1 or not 2 <= attention.shape[-1] <= most:
        raise OptionError(
            "the recommender's attention must be of shape (layers, heads, m + 1, m + 1) with m from 1 to "
            f"{most - 1} items here, not {attention.shape}"
        )
    return attention


def first_position(question: Question, graphs: Sequence[nx.DiGraph]) -> int:
    """Return the position in the history that node 0 stands for: a model may see fewer items beside the target."""
    return len(question.history) - (int(graphs[0].number_of_nodes()) - 1)
