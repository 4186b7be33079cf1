"""From a recommender's attention to causal graphs, one a head, and how far their items are from the target."""

from collections.abc import Sequence

import networkx as nx
import numpy as np

from recexplain.causal.correlation import correlation
from recexplain.causal.icd import learn_pag
from recexplain.causal.pds import pds_tree
from recexplain.counterfactual import Question
from recexplain.errors import OptionError, is_whole
from recexplain.recommender import AttentiveRecommender


def checked_attention(recommender: AttentiveRecommender, question: Question) -> np.ndarray:
    """Return the attention, (layers, heads, m + 1, m + 1), of the newest m items and the target, last."""
    attention = np.asarray(recommender.attention(question.visible, question.target))
    most = len(question.visible) + 1
    if attention.ndim != 4 or min(attention.shape) < 1 or not 2 <= attention.shape[-1] <= most:
        raise OptionError(
            "the recommender's attention must be of shape (layers, heads, m + 1, m + 1) with m from 1 to "
            f"{most - 1} items here, not {attention.shape}"
        )
    return attention


def head_graphs(
    recommender: AttentiveRecommender, question: Question, *, alpha: float, n_samples: int
) -> tuple[nx.DiGraph, ...]:
    """Return one PAG a head of the deepest layer, over the items that fit beside the target and, last, the target."""
    heads = checked_attention(recommender, question)[-1]
    return tuple(learn_pag(correlation(head), n_samples, alpha) for head in heads)


def first_position(question: Question, graphs: Sequence[nx.DiGraph]) -> int:
    """Return the position in the history that node 0 stands for: a model may see fewer items beside the target."""
    return len(question.history) - (int(graphs[0].number_of_nodes()) - 1)


def distances(question: Question, graph: nx.DiGraph, max_range: int | None = None) -> dict[int, int]:
    """Return how far each position is from the target in its PDS-tree; those out of reach are left out."""
    first, target = first_position(question, [graph]), graph.number_of_nodes() - 1
    return {first + node: far for node, far in pds_tree(graph, target, max_range).distances.items()}


def check_test(alpha: object, n_samples: object) -> None:
    """Raise `OptionError` for options with which no independence can be tested."""
    if not (isinstance(alpha, float) and 0 < alpha < 1):
        raise OptionError(f"alpha must be between 0 and 1, not {alpha!r}")
    if not is_whole(n_samples, 4):
        raise OptionError(
            f"n_samples must be a whole number of 4 or more (Fisher's z test needs them), not {n_samples!r}"
        )
