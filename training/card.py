"""What a training run tells: the table beside counting models, a plain verdict, the model card."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from recexplain.checkpoint import Checkpoint

#: Published figures on MovieLens-1M, NDCG@10 and HR@10: leave-one-out, full ranking, seen items filtered, window 200.
ANCHORS = {
    "BERT4Rec (Klenitskiy and Vasilev, RecSys 2023)": (0.1537, 0.2843),
    "BERT4Rec (Petrov and Macdonald, RecSys 2022; window 100)": (0.1516, 0.2821),
    "SASRec, full softmax (Klenitskiy and Vasilev, RecSys 2023)": (0.1821, 0.3152),
    "SASRec, one negative (Klenitskiy and Vasilev, RecSys 2023)": (0.1341, 0.2500),
}
ANCHORED = {"name": "MovieLens1M", "min_item_ratings": 5}  # the data that they are on


def quality_table(metrics: Mapping[str, Any]) -> Table:
    """Return the test figures of the model and of the counting models, for the terminal."""
    people = f"{metrics['n_users']:,} people, {metrics['n_items']:,} items, seen items filtered"
    table = Table(title=f"Test item ranked against the whole catalogue ({people})")
    table.add_column("recommender")
    for column in ("NDCG@10", "HR@10", "MRR"):
        table.add_column(column, justify="right")
    for name, figures in metrics["test"].items():
        table.add_row(name, *(f"{figures[key]:.4f}" for key in ("ndcg10", "hr10", "mrr")))
    return table


def verdict(metrics: Mapping[str, Any]) -> str:
    """Return, in a sentence, how the model stands against counting."""
    (name, own), *rivals = metrics["test"].items()
    better = [f"{rival} ({figures['ndcg10']:.4f})" for rival, figures in rivals if figures["ndcg10"] >= own["ndcg10"]]
    if not better:
        return f"{name} ranks better than every counting model here (NDCG@10 {own['ndcg10']:.4f})."
    return (
        f"{name} is worse than counting here: NDCG@10 {own['ndcg10']:.4f} against {', '.join(better)}. "
        "Its explanations say what this model does, and a simpler one ranks better."
    )


def model_card(checkpoint: Checkpoint) -> str:
    """Return the card that stands next to a checkpoint, in Markdown."""
    metrics = checkpoint.metrics
    rows = [
        f"| {name} | {figures['ndcg10']:.4f} | {figures['hr10']:.4f} | {figures['mrr']:.4f} |"
        for name, figures in metrics["test"].items()
    ]
    settings = [f"- {group}: {_listed(checkpoint.config[group])}" for group in ("model", "recipe", "trainer", "data")]
    return "\n".join(
        [
            f"# {checkpoint.model['name']}: model card",
            "",
            f"Trained {metrics['epochs']} epochs in {metrics['seconds']} s ({metrics['cpu_seconds']} CPU-seconds); "
            f"kept is epoch {metrics['best_epoch']}, the best on validation (NDCG@10 "
            f"{metrics['validation']['ndcg10']:.4f} over everyone).",
            "",
            f"Leave-one-out split (last item test, the one before validation), {metrics['n_users']:,} people, "
            f"{metrics['n_items']:,} items; the test item is ranked against the whole catalogue, seen items filtered.",
            "",
            "| recommender | NDCG@10 | HR@10 | MRR |",
            "|---|---:|---:|---:|",
            *rows,
            *_anchors(checkpoint),
            "",
            verdict(metrics),
            "",
            *settings,
            f"- seed: {checkpoint.config['seed']}",
            f"- data hash: {checkpoint.data_hash}",
            f"- model hash: {checkpoint.model_hash}",
            "",
            "MovieLens data is licensed by GroupLens for research; a model trained on it inherits that limit.",
            "",
        ]
    )


def _anchors(checkpoint: Checkpoint) -> list[str]:
    """Return rows of published figures, where they are on the same data."""
    is_same = ANCHORED.items() <= dict(checkpoint.source).items() and checkpoint.config.get("limit") is None
    return [f"| *published:* {name} | {ndcg:.4f} | {hr:.4f} | |" for name, (ndcg, hr) in ANCHORS.items() if is_same]


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items() if name != "_target_")
