"""The explainer of docs/extending.md, run as the document says: saved, and named by its path."""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from contracts import ExplainerContract
from toys import Attentive, random_votes

from recexplain.checkpoint import read_checkpoint, save_checkpoint
from recexplain.evaluation import cli
from recexplain.evaluation import evaluate as evaluate_entry
from recexplain.explainers.driver import Explainer
from recexplain.recommender import Recommender
from recexplain.schema import read_explanations

TEXT = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
CODE = re.search(r"Save this as `mine.py`:\n\n```python\n(.*?)```", TEXT, re.DOTALL)[1]  # type: ignore[index]
COMMANDS = re.findall(r"^\.venv/bin/python -m recexplain (.*)$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `mine.py` and a tiny model as the demo's checkpoint, its weights disturbed: the history matters."""
    folder, draw = tmp_path_factory.mktemp("extending"), np.random.default_rng(0)
    (folder / "mine.py").write_text(CODE, encoding="utf-8")
    rows = [f"u{user},{item},{time}" for user in range(24) for time, item in enumerate(draw.permutation(20)[:8])]
    (folder / "ratings.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    words = ["data=interactions", f"data.path={folder / 'ratings.csv'}", "data.min_item_ratings=1"]
    small = ["model.dim=8", "model.layers=1", "model.max_length=6", "recipe.epochs=1", "recipe.validate_every=1"]
    assert cli.main(["train", *words, *small, f"out={folder / 'outputs' / 'demo'}"]) == 0
    checkpoint, noise = (
        read_checkpoint(folder / "outputs" / "demo" / "checkpoint.ckpt"),
        torch.Generator().manual_seed(1),
    )
    weights = {name: w + 0.7 * torch.randn(w.shape, generator=noise) for name, w in checkpoint.weights.items()}
    weights["item_bias"].zero_()
    save_checkpoint(replace(checkpoint, weights=weights), folder / "outputs" / "demo" / "checkpoint.ckpt")
    return folder


@pytest.fixture(autouse=True)
def here(demo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(demo)
    monkeypatch.syspath_prepend(str(demo))
    monkeypatch.setattr(evaluate_entry, "board_page", lambda *_: "page")  # drawing it takes long
    yield
    sys.modules.pop("mine", None)


def test_the_code_is_under_thirty_lines() -> None:
    assert len(CODE.splitlines()) < 30


def test_it_explains_on_the_command_line() -> None:
    (words,) = [shlex.split(command) for command in COMMANDS if command.startswith("explain ")]
    assert cli.main([*words, "out=explained", "pages=0"]) == 0
    found = read_explanations("explained/explanations.parquet")
    assert len(found) == 20
    assert {one.explainer for one in found} == {"alone"}
    assert sum(one.is_found for one in found) >= 2
    assert (
        cli.main(["verify", "explanations=explained/explanations.parquet", "checkpoint=outputs/demo/checkpoint.ckpt"])
        == 0
    )


def test_it_is_compared_with_its_options_and_its_own_order() -> None:
    (words,) = [shlex.split(command) for command in COMMANDS if command.startswith("evaluate ")]
    assert cli.main([*words, "out=compared", "checks=2", "resamples=20", "limit=6"]) == 0
    metrics = pd.read_parquet("compared/metrics.parquet").pivot_table(
        index=["explainer", "user"], columns="metric", values="value"
    )
    labels = set(metrics.index.get_level_values(0))
    assert labels == {"causal", "alone", "fading", "random", "recency", "popularity"}
    assert metrics.loc["alone", "randomised_order"].notna().sum() == 2  # of the people who are checked
    assert not np.array_equal(metrics.loc["alone", "del_p"], metrics.loc["fading", "del_p"])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("mine.Missing", "mine.Missing is no explainer: it must be a class with a name and a search"),
        ("mine.dataclass", "mine.dataclass is no explainer"),
        ("nowhere.Alone", "the explainer nowhere.Alone cannot be imported: No module named 'nowhere'"),
        ("Alone", "or the path of a class of your own, not 'Alone'"),
    ],
)
def test_a_path_that_leads_to_no_explainer_is_refused(
    path: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = "checkpoint=outputs/demo/checkpoint.ckpt"
    assert cli.main(["explain", checkpoint, "explainer=recency", f"explainer._target_={path}", "out=refused"]) == 2
    assert words in capsys.readouterr().err
    assert not Path("refused").exists()


def test_its_own_refusal_of_an_option_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["checkpoint=outputs/demo/checkpoint.ckpt", "explainers={a:{_target_:mine.Alone,decay:2}}", "out=refused"]
    assert cli.main(["evaluate", *words]) == 2
    assert "explainers.a: decay must be above 0 and at most 1, not 2" in capsys.readouterr().err


class TestAlone(ExplainerContract):
    """What every explainer must do, the document's does."""

    def explainer(self) -> Explainer:
        space: dict[str, Any] = {"__name__": "mine"}
        exec(compile(CODE, "mine.py", "exec"), space)  # noqa: S102  our own document
        own: Explainer = space["Alone"]()
        return own

    def recommenders(self) -> list[Recommender]:
        return [Attentive(random_votes(np.random.default_rng(1), 9))]
