"""What docs/recbole.md says is so: every block runs, every cell of the table is tried on RecBole's own checkpoints."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import recexplain
from recexplain.adapters.recbole import RecBoleRecommender, recbole_checkpoint
from recexplain.adapters.recbole_models import MODELS
from recexplain.evaluation.randomised import deepest_randomised
from recexplain.recommender import AttentiveRecommender, Recommender

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = (Path(__file__).parents[2] / "docs" / "recbole.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```py\n(.*?)```", TEXT, re.DOTALL)
HEADER = ["model", "works", "attention", "attributions", "empty places", "user", ""]
ROWS = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in TEXT.splitlines() if line[:2] == "| "]
TOLD = {row[0]: dict(zip(HEADER[1:], row[1:], strict=True)) for row in ROWS if row[0] in MODELS and len(row) == 7}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number: int, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (written / "SASRec.pth", written / "FPMC.pth", *(written / "tiny").iterdir()):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], "docs/recbole.md", "exec"), {"__name__": "document"})  # noqa: S102  our own


def test_the_table_has_all_models_in_their_order() -> None:
    assert HEADER in ROWS
    assert list(TOLD) == list(MODELS)
    assert {cell for told in TOLD.values() for name, cell in told.items() if name} == {"yes", "no"}


#: What is said where a model lacks what an explainer or a removal needs.
LACKS = ("needs a recommender", "does not score the state of one place", "must look into the recommender's Transformer")


def is_taken(recommender: Recommender, explainer: str, removal: str = "delete") -> bool:
    """Whether an explainer explains something with a removal; a sentence says why not."""
    asked = {"change": "list", "k": 4, "tau": 0.25, "max_evaluations": 5}
    history = ["i3", "i12", "i5", "i25", "i20"]
    try:
        recexplain.explain(recommender, history, explainer=explainer, removal=removal, **asked)
    except recexplain.OptionError as error:
        if not any(lack in str(error) for lack in LACKS):
            raise
        return False
    return True


@pytest.mark.parametrize("name", MODELS)
def test_a_row_says_what_is_so(name: str, written: Path) -> None:
    told = TOLD[name]
    if why_not := MODELS[name].why_not:
        assert set(told.values()) == {"no", why_not}
        with pytest.raises(recexplain.CheckpointError, match=why_not):
            recexplain.load(written / f"{name}.pth")
        return
    recommender = recexplain.load(written / f"{name}.pth")
    assert isinstance(recommender, RecBoleRecommender)
    found = {"works": True, "user": recommender.needs_user}
    if recommender.needs_user:
        recommender = recommender.for_user("u1")
    found["attention"] = isinstance(recommender, AttentiveRecommender)
    assert is_taken(recommender, "cleann") == is_taken(recommender, "attention") == found["attention"]
    found["attributions"] = is_taken(recommender, "alti")
    found["empty places"] = is_taken(recommender, "recency", "pad")
    assert {header: cell == "yes" for header, cell in told.items() if header} == found
    assert is_taken(recommender, "causal")


def test_models_without_numbered_layers_are_named(written: Path) -> None:
    usable = [name for name, kind in MODELS.items() if not kind.why_not]
    plain = {n for n in usable if deepest_randomised(recbole_checkpoint(written / f"{n}.pth"), 0) is None}
    assert plain == {"SINE", "SRGNN", "STAMP", *(name for name in usable if MODELS[name].users)}
    assert "(STAMP, SRGNN, SINE and all that score for a user)" in TEXT
    checkpoint = recbole_checkpoint(written / "SASRec.pth")
    deepest = deepest_randomised(checkpoint, 0)
    assert deepest is not None
    assert deepest.model_hash != checkpoint.model_hash
    histories = [np.array([1, 2, 3])]
    assert not np.allclose(deepest.recommender().scores(histories), checkpoint.recommender().scores(histories))


def test_the_oldest_item_is_unseen_where_the_text_says_so(written: Path) -> None:
    ignoring = [
        name
        for name, kind in MODELS.items()
        if not kind.why_not and getattr(recexplain.load(written / f"{name}.pth"), "n_ignored", 0)
    ]
    assert ignoring == ["BERT4Rec"]
    assert "never sees the oldest item" in TOLD["BERT4Rec"][""]
