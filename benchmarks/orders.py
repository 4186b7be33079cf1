"""How often the two orders of tests give other graphs, and which of them gives the smaller verified sets.

    python benchmarks/orders.py checkpoint=outputs/demo/checkpoint.ckpt people=943 change=top1 n_samples=64

For each person and head the graph under `order="position"` and under `order="independent"`; then what the explainer
`cleann` finds with each of them, on the same people.
"""

import sys
from collections.abc import Sequence

import networkx as nx
import numpy as np
from rich.progress import track
from search import searched

from recexplain.checkpoint import read_checkpoint
from recexplain.counterfactual import Options, ask
from recexplain.errors import RecExplainError
from recexplain.evaluation.config import recorded_source
from recexplain.explainers import Cleann
from recexplain.sequences import load_dataset

ORDERS = ("position", "independent")


def main(words: Sequence[str]) -> None:
    """Print the comparison as Markdown."""
    given = {"change": "top1", "people": "200", "seed": "0", "n_samples": "256"}
    given |= dict(word.split("=", 1) for word in words)
    checkpoint = read_checkpoint(given["checkpoint"])
    recommender, histories = checkpoint.recommender(), load_dataset(recorded_source(checkpoint.source)).histories
    rows = sorted(np.random.default_rng(int(given["seed"])).permutation(len(histories))[: int(given["people"])])
    options = Options(given["change"], max_evaluations=2000)
    pairs, sizes = [], []
    for row in track(rows, "people"):
        history = histories[int(row)].astype(np.int64)
        try:
            question = ask(recommender, history, options)
        except RecExplainError:
            continue
        explainers = [Cleann(order=order, n_samples=int(given["n_samples"])) for order in ORDERS]
        graphs = [explainer.graphs(recommender, question) for explainer in explainers]
        pairs += zip(*graphs, strict=True)
        runs = [
            searched(recommender, history, explainer, options, learnt)
            for explainer, learnt in zip(explainers, graphs, strict=True)
        ]
        sizes.append([run.size or np.inf for run in runs])
    print_table(pairs, np.array(sizes), given["change"])


def print_table(pairs: Sequence[tuple[nx.DiGraph, nx.DiGraph]], sizes: np.ndarray, change: str) -> None:
    """Print shares of graphs and people; `sizes`: (people, orders), infinity where nothing was found."""
    same = np.mean([set(a.edges(data="mark")) == set(b.edges(data="mark")) for a, b in pairs])
    jaccard = [len(set(a.edges) & set(b.edges)) / max(1, len(set(a.edges) | set(b.edges))) for a, b in pairs]
    print(f"{len(sizes)} people, {len(pairs)} graphs, change={change}\n")
    print(f"- the same graph: {same:.1%}; edges in both, of those in either: {np.mean(jaccard):.3f} (mean)")
    position, independent = sizes.T
    for order, column in zip(ORDERS, (position, independent), strict=True):
        is_found = np.isfinite(column)
        mean = f"{column[is_found].mean():.2f}" if is_found.any() else "none"
        print(f"- {order}: found for {is_found.mean():.1%}, mean size of the found {mean}")
    smaller, larger = (independent < position).mean(), (independent > position).mean()
    print(f"- `independent` has the smaller set, or the only one, for {smaller:.1%}, `position` for {larger:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
