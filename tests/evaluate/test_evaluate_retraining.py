"""The retraining check: what is taken out, what is trained, what is counted, and that a stopped check goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recexplain.checkpoint import read_checkpoint, save_checkpoint
from recexplain.errors import CheckpointError, OptionError
from recexplain.evaluation import cli, retraining
from recexplain.evaluation import evaluate as evaluate_entry
from recexplain.evaluation.retraining import NOTHING, Plan, Training, plan_of, result_of, split_without
from recexplain.explanation import Explanation
from recexplain.report.board import Pair, Retrained, Retraining
from recexplain.schema import read_explanations
from recexplain.sequences import Histories

pytestmark = pytest.mark.usefixtures("one_thread")


def found(user: str, *positions: int) -> Explanation:
    status = "found" if positions else "none_up_to"
    return Explanation(user, tuple("abcdef"), 0, "z", 1, 10, "top1", "delete", "toy", status, positions)


def test_a_plan_takes_the_first_people_for_whom_everyone_found_a_set() -> None:
    sets = {
        "one": {"a": found("a"), "b": found("b", 1), "c": found("c", 2), "d": found("d", 2)},
        "two": {"a": found("a", 1), "b": found("b", 3), "c": found("c", 2)},  # not run on d
    }
    plan = plan_of(sets, ["d", "c", "b", "a"], 5, seeds=range(4, 6), group=2)
    assert (plan.users, plan.labels, plan.seeds) == (("c", "b"), ("one", "two"), (4, 5))
    assert plan_of(sets, ["d", "c", "b", "a"], 1, seeds=[0], group=1).users == ("c",)
    with pytest.raises(OptionError, match="no one for whom one and two found a set"):
        plan_of(sets, ["a", "d"], 5, seeds=[0], group=1)


def test_a_plan_trains_with_nothing_out_once_a_seed_and_else_by_label_group_and_seed() -> None:
    plan = Plan(("a", "b", "c"), ("one",), (0, 1), group=2)
    assert plan.trainings == [
        Training(NOTHING, ("a", "b", "c"), 0),
        Training(NOTHING, ("a", "b", "c"), 1),
        Training("one", ("a", "b"), 0),
        Training("one", ("a", "b"), 1),
        Training("one", ("c",), 0),
        Training("one", ("c",), 1),
    ]
    assert len({training.key for training in plan.trainings}) == 6


def test_positions_go_from_training_and_validation_and_nobody_elses_do() -> None:
    histories = Histories.of(["a", "b", "c"], [[1, 2, 3, 4, 5], [6, 7, 8, 9], [3, 4]])
    split = split_without(histories, {"a": [0, 2], "b": [2]})
    assert [history.tolist() for history in split.train] == [[2], [6, 7], [3, 4]]  # of a without 1 and 3, then 4, 5
    assert split.valid.users == ("a",)  # the 8, position 2 of b, was what b is validated on
    assert [history.tolist() for history in split.valid] == [[2, 4]]
    assert [history.tolist() for history in split.test] == [[1, 2, 3, 4, 5], [6, 7, 8, 9]]
    whole = split_without(histories, {})
    assert [history.tolist() for history in whole.train] == [[1, 2, 3], [6, 7], [3, 4]]
    with pytest.raises(OptionError, match="nobody is left to validate on"):
        split_without(histories, {"a": [3], "b": [2]})


def test_shares_by_hand() -> None:
    plan = Plan(("a", "b"), ("one",), (0, 1), group=1)
    outcomes = [[True, False], [False, False], [True], [True], [True], [False]]  # nothing twice, a twice, b twice
    changed = dict(zip((training.key for training in plan.trainings), outcomes, strict=True))
    (row,) = result_of(plan, changed, seed=0).rows
    assert (row.changed, row.anyway, row.difference) == (0.75, 0.25, 0.5)
    assert (row.changed_low, row.changed_high) == (0.5, 1)
    assert (row.difference_low, row.difference_high) == (0.5, 0.5)  # half more for each of the two


def test_pairs_count_people_of_whom_most_seeds_agree() -> None:
    plan = Plan(("a", "b", "c"), ("one", "two"), (0, 1, 2), group=3)
    nothing = [[False] * 3] * 3
    one = [[True, True, False], [True, False, False], [True, True, True]]  # a always, b twice of three, c once
    two = [[False, True, True], [False, False, True], [False, False, False]]  # a never, b once, c twice
    changed = dict(zip((training.key for training in plan.trainings), nothing + one + two, strict=True))
    found = result_of(plan, changed, seed=0)
    assert found.pairs == (Pair("one", "two", 2, 1, 1.0),)
    assert [row.changed for row in found.rows] == pytest.approx([6 / 9, 3 / 9])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, its weights disturbed so that the history matters; its recipe stays what it was trained by."""
    folder, draw = tmp_path_factory.mktemp("trained"), np.random.default_rng(0)
    rows = [
        f"u{user},{(int(start) + step) % 20},{step}"
        for user, start in enumerate(draw.integers(20, size=24))
        for step in range(7)
    ]
    (folder / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    small = ["model.dim=8", "model.layers=1", "model.max_length=5", "recipe.epochs=2", "recipe.warmup_steps=2"]
    words = ["data=interactions", f"data.path={folder / 'ratings.csv'}", "data.min_item_ratings=1", *small]
    assert cli.main(["train", *words, "limit=20", "recipe.validate_every=1", f"out={folder / 'model'}"]) == 0
    checkpoint, noise = read_checkpoint(folder / "model" / "checkpoint.ckpt"), torch.Generator().manual_seed(1)
    weights = {name: w + 0.7 * torch.randn(w.shape, generator=noise) for name, w in checkpoint.weights.items()}
    weights["item_bias"].zero_()
    save_checkpoint(replace(checkpoint, weights=weights), folder / "disturbed.ckpt")
    return folder / "disturbed.ckpt"


def evaluate(trained: Path, out: str, *more: str) -> int:
    words = [
        f"checkpoint={trained}",
        f"out={out}",
        "explainers=[occlusion]",
        "checks=0",
        "resamples=20",
        "users=[u0,u1,u2,u3]",
    ]
    return cli.main(["evaluate", *words, *more])


@pytest.fixture(autouse=True)
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Retraining | None]:
    """What the pages of a test were made of, of the retraining; drawing them takes long."""
    monkeypatch.chdir(tmp_path)
    retrainings: list[Retraining | None] = []
    monkeypatch.setattr(evaluate_entry, "board_page", lambda _, __, given: retrainings.append(given) or "page")
    return retrainings


def test_the_check_is_made_stopped_and_gone_on_with(
    trained: Path,
    pages: list[Retraining | None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(trained, "out") == 0
    assert pages == [None]
    told = {one.user: one for one in read_explanations("out/explanations/occlusion.parquet")}
    assert sum(one.is_found for one in told.values()) >= 2
    real, trainings = retraining._trained, []

    def noted(training: Training, *arguments: Any, **more: Any) -> Any:
        if len(trainings) == 2:
            raise KeyboardInterrupt
        trainings.append(training)
        return real(training, *arguments, **more)

    more = ("retrain=2", "seeds=1")
    with monkeypatch.context() as patch:
        patch.setattr(retraining, "_trained", noted)
        assert evaluate(trained, "out", *more) == 130
    assert capsys.readouterr().err == "\nrecexplain: stopped; the same command with out=out goes on from here\n"
    assert Path("out/retraining.jsonl").read_bytes().count(b"\n") == 2
    with monkeypatch.context() as patch:
        patch.setattr(
            retraining, "_trained", lambda training, *a, **m: trainings.append(training) or real(training, *a, **m)
        )
        assert evaluate(trained, "out", *more) == 0
    chosen = tuple(user for user in ("u0", "u1", "u2", "u3") if told[user].is_found)[:2]
    assert trainings == Plan(chosen, ("occlusion",), (1,), 1).trainings  # 0 is the checkpoint's own seed
    printed = capsys.readouterr().out
    assert "training 3 of 3: sets of occlusion taken out, seed 1" in printed
    assert "retraining, people: 2, seeds: 1" in printed
    (row,) = json.loads(Path("out/retraining.json").read_text())["rows"]
    assert row["difference"] == pytest.approx(row["changed"] - row["anyway"])
    assert pages[-1] is not None
    assert pages[-1].rows == (Retrained(**row),)
    assert not list(Path("out/training").iterdir())
    before = Path("out/retraining.json").read_bytes()
    monkeypatch.setattr(retraining, "_trained", None)  # nothing is trained a second time
    assert evaluate(trained, "out", *more) == 0
    assert Path("out/retraining.json").read_bytes() == before


def test_the_new_model_is_trained_without_the_set_and_asked_without_it(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recexplain.training import again

    splits, asked = [], []

    def same(checkpoint: Any, split: Any, *_: Any, **__: Any) -> Any:
        splits.append(split)
        return checkpoint

    real = retraining.checked_scores

    def scores(recommender: Any, histories: Any) -> np.ndarray:
        asked.extend(history.tolist() for history in histories)
        return real(recommender, histories)

    monkeypatch.setattr(again, "trained_again", same)
    monkeypatch.setattr(retraining.shutil, "rmtree", lambda _: None)
    assert evaluate(trained, "out") == 0
    monkeypatch.setattr(retraining, "checked_scores", scores)
    assert evaluate(trained, "out", "retrain=1", "seeds=1") == 0
    one = next(one for one in read_explanations("out/explanations/occlusion.parquet") if one.is_found)
    vocabulary = read_checkpoint(trained).vocabulary
    history = [vocabulary.number_of(item) for item in one.history]
    left = [item for position, item in enumerate(history) if position not in one.positions]
    assert asked == [history[-5:], left[-5:]]
    user = splits[0].train.users.index(one.user)
    assert splits[0].train[user].tolist() == history[:-1]  # the history without the test item, then validation
    assert splits[1].train[user].tolist() == left[: len(history) - 1 - sum(p < len(history) - 1 for p in one.positions)]
    assert len(splits[0].train.users) == 20  # the users that the checkpoint was trained on
    (row,) = json.loads(Path("out/retraining.json").read_text())["rows"]
    assert (row["changed"], row["anyway"]) == (1, 0)  # the same model answers as it did before


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "it records the recipe 'None', which is none of ours"),
        ({"recipe": {"_target_": "os.system"}}, "it records the recipe 'os.system', which is none of ours"),
        ({"recipe": {"_target_": "recexplain.training.recipe.Cloze", "other": 1}}, "its recipe cannot be read: "),
        ({"recipe": {"_target_": "recexplain.training.recipe.Cloze", "epochs": 0}}, "recipe.epochs must be"),
    ],
)
def test_only_our_own_recipes_are_ever_built(trained: Path, config: dict[str, Any], sentence: str) -> None:
    from recexplain.training.again import recorded_recipe

    checkpoint = read_checkpoint(trained)
    assert recorded_recipe(checkpoint).epochs == 2
    with pytest.raises(CheckpointError, match=sentence):
        recorded_recipe(replace(checkpoint, config=config))


def test_labels_to_retrain_for_must_be_there(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert evaluate(trained, "out", "retrain=1", "retrain_explainers=[causal]") == 2
    sentence = "retrain_explainers names 'causal', which is not one of occlusion, random, recency, popularity"
    assert sentence in capsys.readouterr().err
    assert evaluate(trained, "out", "retrain_explainers=[causal]") == 2  # though nothing is trained again
    assert sentence in capsys.readouterr().err
    assert evaluate(trained, "out", "retrain=1", "retrain_explainers=causal") == 2
    assert "retrain_explainers must be a list of labels, not 'causal'" in capsys.readouterr().err
    assert not Path("out").exists()
