"""`recexplain evaluate` from end to end: its files, the same twice, stopped and gone on with, refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hydra import compose, initialize_config_module

from recexplain.checkpoint import Checkpoint, build_model, save_checkpoint
from recexplain.evaluation import cli, trials
from recexplain.evaluation import evaluate as evaluate_entry
from recexplain.evaluation.columns import METRICS
from recexplain.evaluation.config import record
from recexplain.evaluation.contestants import ALWAYS, STANDARD, contestants
from recexplain.explainers import EXPLAINERS, Causal, Cleann, Popularity
from recexplain.explainers.driver import Case
from recexplain.interactions import Interactions
from recexplain.report.board import Board
from recexplain.schema import read_explanations
from recexplain.sequences import load_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

N_USERS = 8
SAME_TWICE = ("metrics.parquet", "curves.parquet", "summary.json")
EXPLAINERS_ASKED = "explainers=[causal,attention]"
LABELS = ["causal", "attention", "random", "recency", "popularity"]


def untrained(folder: Path, seed: int, **config: Any) -> Path:
    """A checkpoint whose items matter, over the ratings beside it."""
    source = Interactions(str(folder / "ratings.csv"), min_item_ratings=1)
    data = load_dataset(source)
    model = {"name": "BERT4Rec", "n_items": data.vocabulary.n_items, "max_length": 5, "dim": 8, "layers": 1, "heads": 2}
    torch.manual_seed(seed)
    weights = {name: w + 0.4 * torch.randn(w.shape) for name, w in build_model(model).state_dict().items()}
    path = folder / f"{seed}.ckpt"
    save_checkpoint(Checkpoint(model, weights, data.vocabulary, record(source), data.data_hash, config=config), path)
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained checkpoints over users whose ids are not plain."""
    folder, draw = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    rows = [f"u{user}é,i{item},{step}" for user in range(N_USERS) for step, item in enumerate(draw.permutation(15)[:7])]
    (folder / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    untrained(folder, 2)
    return untrained(folder, 1)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate_entry, "board_page", lambda *_: "page")  # `whole` has a real one; drawing takes long


def evaluate(own: Path, out: str | Path, *more: str) -> int:
    words = [f"checkpoint={own}", f"out={out}", "k=3", "resamples=50", "checks=5"]
    asked = [] if any(word.startswith("explainers=") for word in more) else [EXPLAINERS_ASKED]
    return cli.main(["evaluate", *words, *asked, *more])


@pytest.fixture(scope="module")
def whole(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everyone, in one go, with all that can be asked for but retraining."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert evaluate(own, out, f"compare={own.with_name('2.ckpt')}", "budgets=[3]") == 0
    return out


def results(folder: str | Path) -> dict[str, bytes]:
    found = {name: (Path(folder) / name).read_bytes() for name in SAME_TWICE}
    return found | {path.name: path.read_bytes() for path in (Path(folder) / "explanations").iterdir()}


def board_in(folder: Path) -> Board:
    return Board.from_dict(json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def test_a_run_leaves_these_files_and_no_journal(whole: Path) -> None:
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    files = {f"explanations/{label}.parquet" for label in LABELS}
    assert names == {*SAME_TWICE, *files, "evaluate.json", "timings.parquet", "report.html"}


def test_the_metrics_are_a_row_an_explainer_a_person_and_a_metric(whole: Path) -> None:
    frame = pq.read_table(whole / "metrics.parquet").to_pandas()
    assert list(frame.columns) == ["explainer", "user", "metric", "value"]
    users, names = [f"u{user}é" for user in range(N_USERS)], [metric.name for metric in METRICS if metric.name != "fns"]
    expected = pd.MultiIndex.from_product([LABELS, names, users])
    assert pd.MultiIndex.from_frame(frame[["explainer", "metric", "user"]]).sort_values().equals(expected.sort_values())
    wide = frame.pivot_table(index=["explainer", "user"], columns="metric", values="value")
    told = {label: read_explanations(whole / "explanations" / f"{label}.parquet") for label in LABELS}
    for label, explanations in told.items():
        for one in explanations:
            row = wide.loc[(label, one.user)]
            assert row["found"] == one.is_found
            assert row["size_all"] == (len(one.positions) or 5)
            assert len(one.history) == 6  # the test item is left out
    smallest = wide.loc[:, "size_found"].groupby("user").min()
    gaps = wide["size_found"] - wide.index.get_level_values("user").map(smallest)
    pd.testing.assert_series_equal(wide["gap"], gaps, check_names=False)


def test_the_summary_holds_the_means_of_the_metrics(whole: Path) -> None:
    means = pq.read_table(whole / "metrics.parquet").to_pandas().groupby(["explainer", "metric"])["value"].mean()
    board = board_in(whole)
    assert [row.label for row in board.rows] == LABELS
    assert {metric.name for metric in board.metrics} >= {
        "found", "fns", "stability_seed", "stability_item", "stability_model", "randomised_set", "randomised_order",
    }  # fmt: skip
    for row in board.rows:
        for score in row.scores:
            if score.metric != "fns" and score.value is not None:
                assert score.value == pytest.approx(means[row.label, score.metric])
                assert score.low is not None
                assert score.low <= score.value + 1e-9
        assert [budget.most for budget in row.budgets] == [3]
        assert row.budgets[0].evaluations <= 3
        assert sum(count for _, count in row.statuses) == N_USERS


def test_what_does_not_hear_the_seed_or_the_model_is_told_by_the_checks(whole: Path) -> None:
    rows = {row.label: row for row in board_in(whole).rows}
    scores = {label: {score.metric: score.value for score in row.scores} for label, row in rows.items()}
    assert scores["causal"]["stability_seed"] == scores["recency"]["stability_seed"] == 1
    assert scores["random"]["stability_seed"] < 1  # type: ignore[operator]
    assert scores["recency"]["randomised_order"] == 1  # it never looked at the model
    assert scores["attention"]["randomised_order"] < 1  # type: ignore[operator]
    assert scores["causal"]["randomised_order"] is None  # no order of its own
    assert scores["causal"]["stability_model"] < 1  # type: ignore[operator]


def test_the_same_run_twice_writes_the_same_bytes(own: Path, whole: Path) -> None:
    assert evaluate(own, "again", f"compare={own.with_name('2.ckpt')}", "budgets=[3]") == 0
    assert results("again") == results(whole)


def test_a_finished_run_is_shown_again_and_left_as_it_is(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("limit=2", "checks=0")
    assert evaluate(own, "out", *words) == 0
    first, before = capsys.readouterr().out, {path: path.read_bytes() for path in Path("out").rglob("*.*")}
    monkeypatch.setattr(trials, "explain_cases", None)  # nobody is explained
    assert evaluate(own, "out", *words) == 0
    again = capsys.readouterr()
    assert "out is measured already" in again.out
    assert again.out.splitlines()[-8:] == first.splitlines()[-8:]
    assert again.out.splitlines()[-1] == "out"
    assert again.err == ""
    assert {path: path.read_bytes() for path in Path("out").rglob("*.*")} == before


def stopping(n_people: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stop after so many explanations; return a list that fills with the users who were explained."""
    real, users = trials.explain_cases, []

    def cases(recommender: Any, people: Any, *more: Any) -> Iterator[Case]:
        for case in real(recommender, people, *more):
            if len(users) == n_people:
                raise KeyboardInterrupt
            users.append(str(case.explanation.user))
            yield case

    monkeypatch.setattr(trials, "explain_cases", cases)
    return users


@pytest.mark.parametrize("n_people", [11, 48])
def test_a_stopped_run_goes_on_where_it_was(
    n_people: int, own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = (f"compare={own.with_name('2.ckpt')}", "budgets=[3]")
    with monkeypatch.context() as patch:
        stopping(n_people, patch)
        assert evaluate(own, "out", *more) == 130
    assert capsys.readouterr().err == "\nrecexplain: stopped; the same command with out=out goes on from here\n"
    assert not Path("out/summary.json").exists()
    lines = [path.read_bytes().count(b"\n") for path in Path("out").rglob("*.jsonl")]
    assert sum(lines) == n_people
    with monkeypatch.context() as patch:
        explained = stopping(10**6, patch)
        assert evaluate(own, "out", *more) == 0
    n_trials = len(LABELS) * (N_USERS + 4 * 5 + N_USERS)  # all; 5 people with each of four checks; a budget
    assert len(explained) == n_trials - n_people
    assert results("out") == results(whole)
    assert not Path("out/journal").exists()


def test_a_journal_cut_anywhere_gives_the_same_files(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(own, "whole", "limit=3", "checks=0") == 0
    with monkeypatch.context() as patch:
        stopping(2, patch)
        assert evaluate(own, "out", "limit=3", "checks=0") == 130
    path = Path("out/journal/main.0.jsonl")
    journal = path.read_bytes()
    second = journal.index(b"\n") + 1
    for end in (second - 1, journal.index("é".encode(), second) + 1):
        Path("out/summary.json").unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(journal[:end])
        assert evaluate(own, "out", "limit=3", "checks=0") == 0
        assert results("out") == results("whole"), end


@pytest.mark.parametrize("line", ['{"a": 1}', "[1]", "{"])
def test_a_damaged_journal_is_named(
    line: str, own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stopping(1, patch)
        assert evaluate(own, "out", "limit=1", "checks=0") == 130
    Path("out/journal/main.0.jsonl").write_text(line + "\n")
    capsys.readouterr()
    assert evaluate(own, "out", "limit=1", "checks=0") == 2
    assert "main.0.jsonl is damaged; choose another folder with out=" in capsys.readouterr().err


def test_a_damaged_summary_or_timings_are_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(own, "out", "limit=1", "checks=0") == 0
    for name, content in (("timings.parquet", b"PAR1"), ("summary.json", b"{}")):
        Path("out", name).write_bytes(content)
        assert evaluate(own, "out", "limit=1", "checks=0") == 2
        assert f"{name} is damaged; choose another folder with out=" in capsys.readouterr().err


def test_verify_confirms_what_was_measured(own: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"explanations={whole / 'explanations' / 'causal.parquet'}", f"checkpoint={own}", "out=v"]
    assert cli.main(["verify", *words]) == 0
    assert f"{N_USERS} explanations, 0 of them with failures" in capsys.readouterr().out


def test_some_people_are_drawn_by_the_seed_and_stand_in_the_order_of_the_data(own: Path) -> None:
    drawn = []
    for seed in range(2):
        assert evaluate(own, f"{seed}", "limit=3", "checks=0", f"seed={seed}") == 0
        users = [one.user for one in read_explanations(f"{seed}/explanations/causal.parquet")]
        assert users == sorted(users, key=lambda user: int(str(user)[1:-1]))
        drawn.append(tuple(users))
    assert len(set(drawn)) > 1
    assert evaluate(own, "out", "users=['u5é','u1é']", "limit=1", "checks=0") == 0
    assert [one.user for one in read_explanations("out/explanations/causal.parquet")] == ["u5é"]


def test_a_slow_explainer_may_be_run_on_fewer_people(own: Path) -> None:
    assert evaluate(own, "out", "limits={causal:2}", "checks=0") == 0
    rows = {row.label: row for row in board_in(Path("out")).rows}
    assert [rows[label].n_people for label in ("causal", "attention")] == [2, N_USERS]
    cell = rows["causal"].score("size_all")
    assert cell is not None
    assert (cell.n, cell.n_pairs) == (2, 2)


def test_an_explainer_that_cannot_run_is_said_to_with_its_reason(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variants = "explainers={none:{_target_:recexplain.explainers.Cleann,layer:3},causal:causal}"
    assert evaluate(own, "out", variants, "limit=2", "checks=1") == 0
    assert board_in(Path("out")).rows[0].not_run == "layer must be from -1 to 0 with this model, not 3"
    printed = " ".join(capsys.readouterr().out.split())
    assert "none was not run: layer must be from -1 to 0 with this model, not 3" in printed


def test_a_missing_extra_is_a_row_that_was_not_run(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from recexplain.causal import compare

    compare._library.cache_clear()
    for name in [name for name in sys.modules if name.startswith("causallearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "causallearn", None)
    variants = "explainers={cleann fci:{_target_:recexplain.explainers.Cleann,discoverer:fci}}"
    assert evaluate(own, "out", variants, "limit=2", "checks=0") == 0
    compare._library.cache_clear()
    reason = board_in(Path("out")).rows[0].not_run
    assert reason is not None
    assert "discoverers" in reason


def test_the_choices_behind_the_graph_are_variants_that_differ_in_one_option() -> None:
    with initialize_config_module("recexplain.conf", version_base="1.3"):
        config = compose("evaluate", ["experiment=graph_choices", "checkpoint=x"])
    found = contestants(config.explainers, {})
    assert isinstance(found.pop("popularity"), Popularity)
    assert found.pop("random") is not found.pop("recency")
    for kind in (Causal, Cleann):
        mine = {label: explainer for label, explainer in found.items() if isinstance(explainer, kind)}
        assert mine.pop(kind.name) == kind()
        changed = set()
        for label, explainer in mine.items():
            different = [name for name, value in vars(explainer).items() if value != vars(kind())[name]]
            assert len(different) == 1, label
            changed.add((different[0], getattr(explainer, different[0])))
        assert len(changed) == len(mine)
        assert {name for name, _ in changed} == {
            "heads", "layer", "alpha", "n_samples", "covariance", "order", "discoverer",
        }  # fmt: skip


def test_names_lists_and_everything_are_understood() -> None:
    assert list(contestants(None, {})) == [*STANDARD, *ALWAYS]
    assert list(contestants("recency", {})) == ["recency", "random", "popularity"]
    assert set(contestants("all", {})) == set(EXPLAINERS)
    popularity = contestants(None, {"a": 3})["popularity"]
    assert isinstance(popularity, Popularity)
    assert popularity.counts == {"a": 3}


REFUSED = {
    "explainers=[causl]": "explainer must be one of causal, cleann,",
    "explainers=[]": "explainers must be names such as explainers=[causal,attention], all, or a mapping",
    "explainers=5": "explainers must be names such as explainers=[causal,attention], all, or a mapping",
    "explainers={a/b:causal}": "a label of explainers is a letter or digit and up to 59 more, or blanks or _.,+()-",
    "explainers={_a:causal}": "a label of explainers is a letter or digit and up to 59 more",
    "explainers={a:{_target_:os.system}}": "explainers.a: os.system is no explainer",
    "explainers={a:{_target_:recexplain.explainers.Causal,alpha:2}}": "explainers.a: alpha must be between 0 and 1",
    "explainers={a:3}": "explainers.a must be a name or a table with _target_ and options, not 3",
    "limits=5": "limits must be a table such as limits={causal:50}, not 5",
    "limits={nobody:5}": "limits names 'nobody', which is not among the explainers: causal, attention, random",
    "limits={causal:0}": "limits must be whole numbers of 1 or more; that of causal is 0",
    "users=[nobody]": "user 'nobody' is not one of the 8 users of the data",
    "users=[]": "users is empty",
    "users=['u1é','u1é']": "users names somebody twice",
    "limit=0": "limit must be a whole number of 1 or more, or null for everyone, not 0",
    "history=half": "history must be full or test, not 'half'",
    "change=other": "change must be one of top1, leaves, list, enters",
    "k=0": "k must be a whole number of 1 or more, not 0",
    "change=enters": "change=enters needs what is wanted",
    "max_evaluations=0": "max_evaluations must be a whole number of 1 or more, or null for no limit, not 0",
    "budgets=5": "budgets must be a list of whole numbers of 1 or more, not 5",
    "budgets=[0]": "budgets must be a list of whole numbers of 1 or more, not [0]",
    "budgets=[3,3]": "budgets names a number twice: [3, 3]",
    "checks=-1": "checks must be a whole number of 0 or more, or null for all, not -1",
    "resamples=0": "resamples must be a whole number of 1 or more, not 0",
    "retrain=-1": "retrain must be a whole number of 0 or more, not -1",
    "retrain=1": "the checkpoint cannot be trained again: it records the recipe 'None', which is none of ours",
    "seeds=0": "seeds must be a whole number of 1 or more, not 0",
    "retrain_group=0": "retrain_group must be a whole number of 1 or more, not 0",
    "seed=-1": "seed must be a whole number of 0 or more, not -1",
    "compare=none.ckpt": "there is no checkpoint none.ckpt",
    "checkpoint=none.ckpt": "there is no checkpoint none.ckpt",
    "device=toaster": "the device 'toaster' cannot be used here",
    "other=1": "Could not override 'other'",
}


@pytest.fixture
def refuse(own: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Return the sentence that a run is refused with; nothing is printed, nothing written."""

    def run(*more: str) -> str:
        assert evaluate(own, "out", *more) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
        return printed.err.removeprefix("recexplain: ")

    return run


@pytest.mark.parametrize("option", REFUSED)
def test_a_wrong_option_is_refused_in_one_sentence(option: str, refuse: Callable[..., str]) -> None:
    assert refuse(option).startswith(REFUSED[option])


def test_a_model_of_other_data_cannot_be_compared(own: Path, tmp_path_factory: Any, refuse: Callable[..., str]) -> None:
    folder = tmp_path_factory.mktemp("other")
    (folder / "ratings.csv").write_text((own.parent / "ratings.csv").read_text(encoding="utf-8").replace("u1", "v1"))
    other = untrained(folder, 3)
    assert refuse(f"compare={other}") == f"{other} was trained on other data than {own}\n"


def test_other_options_do_not_go_into_the_folder_of_a_run(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(own, "out", "limit=1", "checks=0") == 0
    capsys.readouterr()
    assert evaluate(own, "out", "limit=2", "checks=0") == 2
    assert "out holds a run of `evaluate` with another limit (1 there, 2 here)" in capsys.readouterr().err
    assert evaluate(own.with_name("2.ckpt"), "out", "limit=1", "checks=0") == 2
    assert "another model_hash" in capsys.readouterr().err
