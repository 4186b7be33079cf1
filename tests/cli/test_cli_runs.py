"""What a run leaves behind: help, folders, finishing, stopping and going on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

from recexplain.checkpoint import Checkpoint, build_model, save_checkpoint
from recexplain.evaluation import cli
from recexplain.evaluation import explain as explain_entry
from recexplain.evaluation.config import record
from recexplain.explainers import EXPLAINERS, driver
from recexplain.explainers.driver import Case
from recexplain.interactions import Interactions
from recexplain.schema import read_explanations
from recexplain.sequences import load_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

RESULTS = ("explanations.parquet", "explanations.jsonl")
N_USERS = 18  # more than are packed into one batch


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint over ids that hold a comma, Unicode and what some take for the end of a line."""
    folder = tmp_path_factory.mktemp("own")
    ids = ["Žluť", "a, b", "line\u2028end", "next\x85line", "007", "ß", "日本語", "x", "y", "z"]
    rows = [f'u{user}é,"{ids[(user * 3 + step * step) % 10]}",{step}' for user in range(N_USERS) for step in range(7)]
    (folder / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    source = Interactions(str(folder / "ratings.csv"), min_item_ratings=1)
    data = load_dataset(source)
    assert set(data.vocabulary.ids) == set(ids)
    model = {"name": "BERT4Rec", "n_items": 10, "max_length": 6, "dim": 8, "layers": 1, "heads": 2}
    torch.manual_seed(1)
    weights = build_model(model).state_dict()
    path = folder / "own.ckpt"
    save_checkpoint(Checkpoint(model, weights, data.vocabulary, record(source), data.data_hash), path)
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def whole(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everyone, in one go."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert explain(own, str(out)) == 0
    return out


def explain(own: Path, out: str, *more: str) -> int:
    return cli.main(["explain", f"checkpoint={own}", f"out={out}", "pages=0", *more])


def results(folder: str | Path) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in RESULTS}


def contents(folder: str | Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("entry", cli.ENTRIES)
def test_help_shows_every_option(entry: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([entry, "--help"]) == 0
    shown = capsys.readouterr()
    assert f"recexplain {entry}" in shown.out
    options = OmegaConf.load(str(files("recexplain.conf") / f"{entry}.yaml"))
    for name in options:
        if name not in ("defaults", "hydra"):
            assert f"{name}:" in shown.out, name
    assert shown.err == ""
    assert not any(Path().iterdir())


def test_help_version_and_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(f"recexplain {entry}" in usage for entry in cli.ENTRIES)
    assert cli.main([]) == 2
    assert capsys.readouterr().out == usage
    for words in (["--version"], ["-V"], ["train", "--version"]):
        assert cli.main(words) == 0
        assert capsys.readouterr().out.startswith("recexplain 0.")


def test_a_run_writes_its_folder_only_and_prints_it_last(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(own, "out", "limit=3") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "out"
    assert printed.err == ""
    assert [path.name for path in Path().iterdir()] == ["out"]
    found = read_explanations("out/explanations.parquet")
    assert [explanation.user for explanation in found] == ["u0é", "u1é", "u2é"]
    assert read_explanations("out/explanations.jsonl") == found
    assert not list(Path("out").glob(".*"))
    assert not Path("out/journal.jsonl").exists()


def test_without_out_the_folder_is_named_by_entry_and_time(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", f"checkpoint={own}", "limit=1", "pages=0"]) == 0
    out = Path(capsys.readouterr().out.splitlines()[-1])
    assert out.parent == Path("outputs/explain")
    assert (out / "explanations.parquet").is_file()
    assert [str(path) for path in Path("outputs").iterdir()] == ["outputs/explain"]


def test_options_may_stand_before_and_behind_flags(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", f"checkpoint={own}", "--cfg", "job", "k=3"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert (shown.k, shown.checkpoint) == (3, str(own))


@pytest.mark.parametrize("name", ["2024", "Žofie's", "výsledky/é", "a b"])
def test_a_folder_of_any_name(name: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quoted = "'" + name.replace("'", "\\'") + "'" if "'" in name else name
    assert explain(own, quoted, "limit=1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == name
    assert (Path(name) / "index.html").is_file()


def test_rows_are_in_the_order_of_the_users_whatever_order_was_asked_for(own: Path) -> None:
    assert explain(own, "out", "users=['u7é','u2é','u11é']") == 0
    assert [explanation.user for explanation in read_explanations("out/explanations.jsonl")] == ["u11é", "u2é", "u7é"]
    assert explain(own, "other", "users=['u2é','u11é','u7é']") == 0
    assert results("out") == results("other")
    seconds = pq.read_table("out/timings.parquet")
    assert seconds["user"].to_pylist() == ["u11é", "u2é", "u7é"]


def test_neither_the_batch_nor_the_packing_of_people_changes_a_byte(
    own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "PEOPLE", 3)
    monkeypatch.setattr(driver, "ROWS", 5)
    assert explain(own, "out") == 0
    assert results("out") == results(whole)


def test_the_number_of_threads_changes_no_byte(own: Path) -> None:
    assert explain(own, "one", "limit=2") == 0
    torch.set_num_threads(2)
    try:
        assert explain(own, "two", "limit=2") == 0
    finally:
        torch.set_num_threads(1)
    assert results("one") == results("two")


def test_a_run_goes_on_with_the_same_model_from_another_place(own: Path, tmp_path: Path) -> None:
    assert explain(own, "out", "limit=2") == 0
    (tmp_path / "moved.ckpt").write_bytes(own.read_bytes())
    assert explain(tmp_path / "moved.ckpt", "out", "limit=2") == 0


def test_damaged_timings_of_a_finished_run_are_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(own, "out", "limit=2") == 0
    Path("out/timings.parquet").write_bytes(b"PAR1")
    assert explain(own, "out", "limit=2") == 2
    assert "timings.parquet is damaged; choose another folder with out=" in capsys.readouterr().err


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_explainer_explains(name: str, own: Path) -> None:
    assert explain(own, "out", "limit=2", f"explainer={name}") == 0
    rows = read_explanations("out/explanations.parquet")
    assert [row.explainer for row in rows] == [name] * 2
    # An attribution may find no evidence at all in a model that has learnt next to nothing, and says so.
    assert all(row.status != "error" or "the same score, 0: no positive evidence" in str(row.error) for row in rows)


def test_the_options_reach_the_people(own: Path) -> None:
    words = ["change=list", "tau=0.25", "k=4", "removal=mask", "locked=[x]", "min_age=1", "costs={y:2}", "limit=5"]
    assert explain(own, "out", *words) == 0
    for row in read_explanations("out/explanations.parquet"):
        assert (row.change, row.tau, row.k, row.removal, row.status == "error") == ("list", 0.25, 4, "mask", False)
        seen = range(row.n_unseen, len(row.history))
        assert row.locked == tuple(p for p in seen if row.history[p] == "x" or p == len(row.history) - 1)
        assert row.costs == tuple(2.0 if item == "y" else 1.0 for item in row.history)


def test_a_finished_run_is_left_as_it_is(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(own, "out", "limit=3") == 0
    before, first = contents("out"), capsys.readouterr().out
    assert explain(own, "out", "limit=3") == 0
    again = capsys.readouterr().out
    assert contents("out") == before
    assert "finished already" in again
    assert again.splitlines()[-5:] == first.splitlines()[-5:]


def test_the_same_run_twice_writes_the_same_bytes(own: Path, whole: Path) -> None:
    assert explain(own, "again") == 0
    assert results("again") == results(whole)
    assert len(read_explanations("again/explanations.parquet")) == N_USERS


def stopped_after(n_people: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = explain_entry.explain_cases

    def cases(*arguments: Any) -> Iterator[Case]:
        for number, case in enumerate(real(*arguments)):
            if number == n_people:
                raise KeyboardInterrupt
            yield case

    monkeypatch.setattr(explain_entry, "explain_cases", cases)


@pytest.mark.parametrize("n_people", [0, 17])
def test_a_stopped_run_keeps_whole_people_and_goes_on(
    n_people: int, own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stopped_after(n_people, patch)
        assert explain(own, "out") == 130
    said = capsys.readouterr().err
    assert said == "\nrecexplain: stopped; the same command with out=out goes on from here\n"
    lines = Path("out/journal.jsonl").read_text(encoding="utf-8").split("\n")[:-1] if n_people else []
    assert [json.loads(line)["explanation"]["user"] for line in lines] == [f"u{user}é" for user in range(n_people)]
    assert not Path("out/explanations.parquet").exists()
    explained = counted(monkeypatch)
    assert explain(own, "out") == 0
    assert explained == [f"u{user}é" for user in range(n_people, N_USERS)]  # no one twice
    assert results("out") == results(whole)
    assert not Path("out/journal.jsonl").exists()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the users who are explained from here on."""
    users: list[str] = []
    real = explain_entry.explain_cases

    def cases(recommender: Any, people: Iterable[Any], *more: Any) -> Iterator[Case]:
        people = list(people)
        users.extend(person.user for person in people)
        return real(recommender, people, *more)

    monkeypatch.setattr(explain_entry, "explain_cases", cases)
    return users


def test_a_journal_cut_anywhere_gives_the_same_files(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the middle of a character, where a power cut may fall."""
    options = ["limit=3", "max_evaluations=20", "pages=0"]
    assert explain(own, "whole", *options) == 0
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        assert explain(own, "out", *options) == 130
    journal = Path("out/journal.jsonl").read_bytes()
    second = journal.index(b"\n") + 1
    inside_a_character = journal.index("é".encode(), second) + 1
    for end in (1, second - 1, second, inside_a_character, len(journal) - 1):
        for name in (*RESULTS, "timings.parquet", "index.html"):
            (Path("out") / name).unlink(missing_ok=True)
        Path("out/journal.jsonl").write_bytes(journal[:end])
        assert explain(own, "out", *options) == 0
        assert results("out") == results("whole"), end


def test_a_sweep_puts_each_run_into_its_own_folder(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"checkpoint={own}", "users='u1é','u2é'", "pages=0"]
    assert cli.main(["explain", *words, "-m", "out=out"]) == 0
    printed = capsys.readouterr()
    assert [line for line in printed.out.splitlines() if line.startswith("out")] == ["out/0", "out/1"]
    assert printed.err == ""
    users = [read_explanations(f"out/{run}/explanations.parquet")[0].user for run in (0, 1)]
    assert users == ["u1é", "u2é"]


def test_a_sweep_goes_on_after_a_run_that_is_refused(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"checkpoint={own}", "users=nobody,'u2é'", "pages=0", "out=out"]
    assert cli.main(["explain", "-m", *words]) == 2
    assert capsys.readouterr().err == "recexplain: user 'nobody' is not one of the 18 users of the data\n"
    assert read_explanations("out/1/explanations.parquet")[0].user == "u2é"


def test_a_sweep_side_by_side_tells_of_the_run_that_is_refused(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"checkpoint={own}", "users=nobody,'u2é'", "pages=0", "out=out", "hydra/launcher=joblib"]
    assert cli.main(["explain", "-m", *words, "hydra.launcher.n_jobs=2"]) == 2
    assert "recexplain: user 'nobody' is not one of the 18 users of the data\n" in capsys.readouterr().err
    assert read_explanations("out/1/explanations.parquet")[0].user == "u2é"


def test_training_goes_on_showing_a_finished_run_but_not_on_other_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "ratings.csv"
    rows = [f"u{user},i{(user + step) % 9},{step}" for user in range(8) for step in range(6)]
    path.write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    small = ["model.dim=8", "model.layers=1", "recipe.epochs=1", "data.min_item_ratings=1"]
    words = ["train", "data=interactions", f"data.path={path}", "out=out", *small]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "out"
    assert printed.err == ""
    before = contents("out")
    assert cli.main(words) == 0
    assert "finished already" in capsys.readouterr().out
    assert contents("out") == before
    path.write_text(path.read_text().replace("u1,i2,1", "u1,i3,1"))
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith("recexplain: out holds a run of `train` with another data_hash (")
    assert contents("out") == before


@pytest.mark.skipif(os.name != "posix", reason="signals of this kind exist on POSIX systems only")
def test_ctrl_c_in_a_process_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    words = ["explain", f"checkpoint={checkpoint}", "limit=200", "pages=0", "out=out", "max_evaluations=300"]
    process = subprocess.Popen(
        [sys.executable, "-m", "recexplain", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  a job in the background ignores it
    )
    journal = tmp_path / "out" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while not journal.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said == "\nrecexplain: stopped; the same command with out=out goes on from here\n"
    lines = journal.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert 1 <= len(lines) < 200
    assert all(json.loads(line)["explanation"]["status"] != "error" for line in lines)
