"""What stands on a model card, and what the learning curve shows."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from recexplain.checkpoint import Checkpoint
from recexplain.evaluation.config import record
from recexplain.interactions import MovieLens1M
from recexplain.training.card import model_card
from recexplain.training.curve import curve_png
from recexplain.vocabulary import Vocabulary

FIGURES = {"ndcg10": 0.1234, "hr10": 0.2345, "mrr": 0.0987}
CARD = Checkpoint(
    model={"name": "BERT4Rec"},
    weights={},
    vocabulary=Vocabulary(("1",)),
    source=record(MovieLens1M("ml-1m")),
    data_hash="the data",
    metrics={
        "test": {"BERT4Rec": FIGURES, "popularity": {**FIGURES, "ndcg10": 0.0180}},
        "validation": FIGURES,
        **dict.fromkeys(("epochs", "seconds", "cpu_seconds", "best_epoch", "n_users", "n_items"), 1),
    },
    config={"model": {}, "recipe": {}, "trainer": {}, "data": {}, "seed": 7, "limit": None},
)


def test_the_card_sets_published_figures_beside_ours_on_the_same_data() -> None:
    card = model_card(CARD)
    assert "| BERT4Rec | 0.1234 | 0.2345 | 0.0987 |" in card
    assert "| *published:* BERT4Rec (Klenitskiy and Vasilev, RecSys 2023) | 0.1537 | 0.2843 | |" in card
    assert "seed: 7" in card
    assert "licensed by GroupLens" in card


@pytest.mark.parametrize(
    "other",
    [
        {"source": record(MovieLens1M("ml-1m", min_item_ratings=10))},
        {"config": {**CARD.config, "limit": 100}},
        {"source": {"name": "MovieLens100K", "min_item_ratings": 5}},
    ],
    ids=["other items", "fewer people", "other data"],
)
def test_published_figures_on_other_data_are_left_out(other: dict[str, object]) -> None:
    assert "published" not in model_card(dataclasses.replace(CARD, **other))


def test_a_curve_grows_with_its_epochs() -> None:
    rows = [{"epoch": epoch, "loss": 7 / epoch} for epoch in range(1, 5)]
    start = curve_png(rows)  # before the first validation
    rows[-1] |= {"val_ndcg10": 0.1, "val_hr10": 0.2}
    pictures = [np.asarray(Image.open(BytesIO(content))) for content in (start, curve_png(rows))]
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()
