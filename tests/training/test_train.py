"""`recexplain train` on small planted data: it learns, stops, resumes, and says how it compares."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer

import recexplain
from recexplain.evaluation import cli
from recexplain.recommender import top_items
from recexplain.training.progress import RunProgress
from recexplain.training.record import RunRecord

N_ITEMS = 12

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Histories in which item i + 1 follows item i: the next item is certain."""
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,timestamp"]
    for user in range(200):
        start = int(rng.integers(N_ITEMS))
        lines += [f"u{user},{(start + step) % N_ITEMS},{step}" for step in range(8)]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def options(ratings: Path, out: Path, *more: str) -> list[str]:
    small = ["model.dim=16", "model.heads=1", "model.max_length=7", "recipe.warmup_steps=5", "recipe.validate_every=1"]
    return ["train", "data=interactions", f"data.path={ratings}", f"out={out}", *small, *more]


BIDIRECTIONAL = ("recipe.causal_share=0", "recipe.first_last_share=0.9")
CERTAIN = (  # enough to learn the rule
    "model.dropout=0",
    "model.dim=32",
    "recipe.epochs=20",
    "recipe.lr=0.005",
    "recipe.warmup_steps=50",
    "recipe.patience=20",
    *BIDIRECTIONAL,
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "checkpoint.ckpt", weights_only=True)["weights"])


@pytest.mark.parametrize(
    "more",
    [
        ("model=sasrec", "recipe=next_item"),
        ("recipe.causal_share=0.5", "recipe.first_last_share=0.9"),
        ("model=sasrec", "recipe=next_item", "recipe.negatives=8"),
    ],
    ids=["SASRec", "BERT4Rec, causal at first", "sampled softmax"],
)
def test_other_recipes_learn_it_too(more: tuple[str, ...], ratings: Path, tmp_path: Path) -> None:
    shared = [word for word in CERTAIN if word not in ("recipe.epochs=20", *BIDIRECTIONAL)]
    assert cli.main(options(ratings, tmp_path, *shared, "recipe.epochs=12", "recipe.batch_size=8", *more)) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    name = "SASRec" if "model=sasrec" in more else "BERT4Rec"
    assert metrics["test"][name]["ndcg10"] > 0.9
    assert recexplain.load(tmp_path / "checkpoint.ckpt").n_items == N_ITEMS


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("model=sasrec",), "SASRec has no mask: train it with recipe=next_item, not recipe=cloze"),
        (("recipe=next_item",), "BERT4Rec has a mask: train it with recipe=cloze, not recipe=next_item"),
    ],
)
def test_a_recipe_for_another_kind_of_model_is_refused(
    more: tuple[str, ...], sentence: str, ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(options(ratings, tmp_path / "out", *more)) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_rule_that_is_certain_is_learnt(ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(options(ratings, out, *CERTAIN, "recipe.batch_size=8")) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test"]["BERT4Rec"]["ndcg10"] > 0.9
    assert metrics["test"]["popularity"]["ndcg10"] < 0.9
    printed = capsys.readouterr().out
    assert "NDCG@10" in printed
    assert printed.splitlines()[-1] == str(out)
    recommender = recexplain.load(out / "checkpoint.ckpt")
    assert recommender.vocabulary is not None
    history = np.array([recommender.vocabulary.number_of(item) for item in ("3", "4", "5")])
    best = top_items(recommender.scores([history])[0], history, 1)
    assert recommender.vocabulary.id_of(int(best[0])) == "6"
    card = (out / "card.md").read_text()
    assert f"{metrics['test']['BERT4Rec']['ndcg10']:.4f}" in card
    assert recommender.data_hash in card
    assert "published" not in card  # those figures are on MovieLens-1M
    assert (out / "training" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_worse_than_counting_is_called_so(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(options(ratings, tmp_path / "out", "recipe.epochs=1", "recipe.lr=1e-9")) == 0
    assert "is worse than counting" in " ".join(capsys.readouterr().out.split())
    assert "is worse than counting" in (tmp_path / "out" / "card.md").read_text()


def curve(folder: Path) -> list[str]:
    """Return the rows of the run's figures, without what they cost."""
    return [line.rpartition(",")[0] for line in (folder / "training" / "metrics.csv").read_text().splitlines()]


@pytest.mark.parametrize("step", [3, 57, 75], ids=["in the first epoch", "in the third", "at the end of the third"])
def test_ctrl_c_saves_and_the_run_goes_on_as_if_it_had_never_stopped(
    step: int, ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("recipe.epochs=4", "recipe.batch_size=8", "recipe.validate_every=3")  # 25 steps an epoch
    assert cli.main(options(ratings, tmp_path / "whole", *more)) == 0
    ends = RunRecord.on_train_batch_end

    def press_ctrl_c(self: RunRecord, trainer: Trainer, *rest: Any) -> None:
        ends(self, trainer, *rest)
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(RunRecord, "on_train_batch_end", press_ctrl_c)
        assert cli.main(options(ratings, tmp_path / "parts", *more)) == 130
    assert not (tmp_path / "parts" / "checkpoint.ckpt").exists()
    assert torch.load(tmp_path / "parts/training/last.ckpt", weights_only=True)["global_step"] == step + (step == 75)
    assert cli.main(options(ratings, tmp_path / "parts", *more)) == 0
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert curve(tmp_path / "whole") == curve(tmp_path / "parts")
    assert len(curve(tmp_path / "whole")) == 1 + 4


def test_a_run_that_was_killed_goes_on_from_its_last_epoch(
    ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("recipe.epochs=3", "recipe.batch_size=8", "recipe.validate_every=3")
    assert cli.main(options(ratings, tmp_path / "whole", *more)) == 0

    def die(_: RunProgress, trainer: Trainer, *__: Any) -> None:
        if trainer.global_step == 40:
            raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(RunProgress, "on_train_batch_end", die)
        with pytest.raises(MemoryError):
            cli.main(options(ratings, tmp_path / "parts", *more))
    assert cli.main(options(ratings, tmp_path / "parts", *more)) == 0
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert curve(tmp_path / "whole") == curve(tmp_path / "parts")


def test_two_processes_share_an_epoch_and_one_checkpoint(ratings: Path, tmp_path: Path) -> None:
    assert cli.main(options(ratings, tmp_path / "out", *CERTAIN, "recipe.batch_size=4", "trainer.devices=2")) == 0
    steps = [row.split(",")[1] for row in curve(tmp_path / "out")[1:]]
    assert steps == [str(25 * epoch) for epoch in range(1, 21)]  # 50 batches, half of them each
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["test"]["BERT4Rec"]["ndcg10"] > 0.8
    assert metrics["test"]["popularity"]["ndcg10"] < 0.8


def test_bf16_learns_alike_and_keeps_its_weights_in_float32(ratings: Path, tmp_path: Path) -> None:
    losses = []
    for precision in ("32-true", "bf16-mixed"):  # the latter is what trainer=gpu says; a CPU knows it too
        out = tmp_path / precision
        assert cli.main(options(ratings, out, *CERTAIN, "recipe.epochs=8", f"trainer.precision={precision}")) == 0
        assert {tensor.dtype for tensor in weights(out).values()} == {torch.float32}
        losses.append([float(row.split(",")[2]) for row in curve(out)[1:]])
    np.testing.assert_allclose(*losses, rtol=0.05)
    assert losses[0] != losses[1]
    assert losses[1][-1] < losses[1][0] * 0.9


@pytest.mark.parametrize(("share", "epochs"), [(0, 3), (0.2, 9)])  # six causal epochs do not count
def test_training_stops_when_validation_stops_getting_better(
    share: float, epochs: int, ratings: Path, tmp_path: Path
) -> None:
    more = ("recipe.epochs=30", "recipe.lr=1e-9", "recipe.patience=2", f"recipe.causal_share={share}")
    assert cli.main(options(ratings, tmp_path / "out", *more)) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["epochs"] == epochs


def test_seeds_differ_and_repeat(ratings: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert cli.main(options(ratings, tmp_path / name, "recipe.epochs=1", f"seed={seed}")) == 0
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["encoder.item_embedding.weight"], c["encoder.item_embedding.weight"])


def test_a_finished_run_is_only_shown_again(ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(options(ratings, out, "recipe.epochs=1")) == 0
    before = (out / "checkpoint.ckpt").read_bytes()
    assert cli.main(options(ratings, out, "recipe.epochs=1")) == 0
    assert "finished already" in capsys.readouterr().out
    assert (out / "checkpoint.ckpt").read_bytes() == before
