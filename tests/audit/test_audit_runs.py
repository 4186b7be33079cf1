"""`recexplain audit` on this machine: the same rows in every way, stopped and going on, gates, refusals."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from audit_toys import people, report_of, rows_of, untrained, write_csv

from recexplain.evaluation import audit_local, cli
from recexplain.evaluation.audit_run import alone
from recexplain.explanation import Explanation
from recexplain.schema import read_explanations

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = ("sensitivity.people=0", "comparison.people=0", "page=false")  # test_audit_report.py has them


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("own"), people())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def audit(own: Path, out: Path | str, *more: str) -> int:
    words = [f"checkpoint={own}", "change=leaves", "k=3", "max_evaluations=120", "workers=0", "buckets=4", *SHORT]
    return cli.main(["audit", *words, f"out={out}", *more])


@pytest.fixture(scope="module")
def whole(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everyone of the checkpoint's data, in one go."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert audit(own, out) == 0
    return out


def same(out: Path | str, whole: Path) -> None:
    """Rows and report are the same, but for gates and the table that the histories came from."""
    assert rows_of(out) == rows_of(whole)
    reports = [report_of(out), report_of(whole)]
    for report in reports:
        del report["gates"]
        for name in ("table", "histories_hash"):
            report["identity"].pop(name)
    assert reports[0] == reports[1]


def test_everyone_is_explained_as_by_explain(own: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"checkpoint={own}", "change=leaves", "k=3", "max_evaluations=120", "pages=0", "out=explained"]
    assert cli.main(["explain", *words]) == 0
    assert rows_of(whole) == [one.to_dict() for one in read_explanations("explained/explanations.parquet")]
    assert sorted(path.name for path in whole.iterdir()) == ["audit.json", "census.json", "explanations", "report.json"]
    capsys.readouterr()
    assert audit(own, whole) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[1].startswith("40 people in, 40 out: ")  # after the bar
    assert lines[-2].startswith("0 of them in this run")
    assert lines[-1] == str(whole)


def test_the_folder_of_buckets_can_be_verified(own: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"explanations='{whole / 'explanations'}'", f"checkpoint={own}", "out=verified"]
    assert cli.main(["verify", *words]) == 0
    assert "40 explanations, 0 of them with failures" in capsys.readouterr().out


def test_people_of_a_table_are_not_looked_for_in_the_data_of_the_checkpoint(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(Path("others.csv"), {f"new {user}": items[1:] for user, items in list(people().items())[:3]})
    assert audit(own, "others", "histories.path=others.csv") == 0
    words = ["explanations=others/explanations", f"checkpoint={own}"]
    assert cli.main(["verify", *words, "out=verified"]) == 0
    assert "the audit's histories came from a table" in capsys.readouterr().out


def test_processes_buckets_parts_and_their_order_change_nothing(own: Path, whole: Path) -> None:
    histories = people()
    users = sorted(histories, reverse=True)
    write_csv(Path("parts/b/one.csv"), {user: histories[user] for user in users[:9]})
    write_csv(Path("parts/a.csv"), {user: histories[user] for user in users[9:]})
    assert audit(own, "out", "histories.path=parts", "workers=2", "buckets=7") == 0
    same("out", whole)
    assert len(list(Path("out/explanations").iterdir())) == 7
    assert not Path("out/staged").exists()


def test_the_report_says_what_the_rows_say(whole: Path) -> None:
    report, rows = report_of(whole), [Explanation.from_dict(row) for row in rows_of(whole)]
    found = [row for row in rows if row.is_found]
    assert report["counts"]["people_in"] == report["counts"]["people_out"] == len(rows) == 40
    assert report["counts"]["items_in_histories"] == sum(len(row.history) for row in rows)
    outcomes = report["outcomes"]
    assert outcomes["explained"]["n"] == len(found) > 10
    assert {name: one["n"] for name, one in outcomes["statuses"].items() if one["n"]} == {
        status: sum(row.status == status for row in rows) for status in {row.status for row in rows}
    }
    assert sum(int(size) * n for size, n in report["sizes"]["counts"].items()) == sum(len(r.positions) for r in found)
    assert outcomes["size"]["mean"] == pytest.approx(sum(len(r.positions) for r in found) / len(found), abs=1e-6)
    rates = [row.null_rate for row in found if row.null_rate is not None]
    assert report["specificity"]["null_rate_mean"] == pytest.approx(sum(rates) / len(rates), abs=1e-4)
    assert sum(report["specificity"]["null_rate_counts"].values()) == len(found)
    assert report["specificity"]["weak"]["n"] == sum(row.is_weak for row in found)
    newest = sum(len(row.history) - 1 in row.positions for row in found)
    assert report["positions"]["from_newest"]["0"] == newest
    assert report["cross_semantics"]["pad"]["n"] == sum("pad" in row.holds_under for row in found)
    leader = report["items"]["explaining"][0]
    counts = [sum(row.items.count(str(item)) for row in found) for item in range(1, 31)]
    assert leader["people"] == max(counts) == counts[int(leader["item"]) - 1]
    assert leader["title"] == f"Film <{leader['item']}>"
    assert sum(one["people"] for one in report["slices"]["dimensions"][0]["groups"]) == 40
    base = report["categories"]["same_as_explained"]["items_in_histories"]
    together = [int(item) % 2 == int(row.target) % 2 for row in found for item in row.history]
    assert (base["n"], base["of"]) == (sum(together), len(together))
    assert report["identity"]["model_hash"] == rows[0].model_hash
    assert set(report["cases"]["kinds"][1]["users"]) <= {row.user for row in found}


def test_a_sample_does_not_go_by_order(own: Path, whole: Path) -> None:
    histories = people()
    write_csv(Path("ratings.csv"), {user: histories[user] for user in sorted(histories)})
    assert audit(own, "one", "limit=9") == 0
    assert audit(own, "two", "limit=9", "buckets=1", "histories.path=ratings.csv") == 0
    same("one", Path("two"))
    drawn = rows_of("one")
    assert len(drawn) == 9
    assert all(row in rows_of(whole) for row in drawn)
    assert audit(own, "more", "limit=20") == 0
    assert all(row in rows_of("more") for row in drawn)
    assert audit(own, "other", "limit=9", "seed=1") == 0
    assert {row["user"] for row in rows_of("other")} != {row["user"] for row in drawn}


def test_unknown_items_are_an_error_or_left_out(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    histories = {"x": ["1", "new", "2", "3"], "y": ["4", "5", "6"], "z": ["new", "newer"]}
    write_csv(Path("ratings.csv"), histories)
    assert audit(own, "out", "histories.path=ratings.csv") == 0
    assert [row["status"] == "error" for row in rows_of("out")] == [True, False, True]
    assert report_of("out")["errors"] == [
        {"reason": "item '…' is not in the catalogue of 30 items", "people": 2},
    ]
    assert audit(own, "dropped", "histories.path=ratings.csv", "unknown_items=drop") == 0
    assert [row["history"] for row in rows_of("dropped")] == [["1", "2", "3"], ["4", "5", "6"], []]
    assert [row["status"] == "error" for row in rows_of("dropped")] == [False, False, True]
    counts = report_of("dropped")["counts"]
    assert (counts["items_in_histories"], counts["unknown_items_left_out"], counts["people_out"]) == (6, 3, 3)
    lines = capsys.readouterr().out.splitlines()
    assert "  error of 2 people: item '…' is not in the catalogue of 30 items" in lines
    assert any(line.startswith("  error of 1 person: ") for line in lines)


def test_gates_end_a_run_with_status_3(own: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows_of(whole)
    assert audit(own, whole, "gate.explained=0.1", "gate.errors_max=0") == 0
    capsys.readouterr()
    assert audit(own, whole, "gate.explained=1", "gate.size_max=0.5", "gate.errors_max=0") == 3
    printed = capsys.readouterr()
    assert "gate errors_max: 0, at most 0 wanted: ok" in printed.out
    assert "gate size_max: " in printed.out
    assert printed.out.count("FAILED") == 2
    assert printed.out.splitlines()[-1] == str(whole)
    gates = {gate["name"]: gate for gate in report_of(whole)["gates"]}
    assert [gates[name]["is_passed"] for name in ("explained", "size_max", "errors_max")] == [False, False, True]
    assert rows_of(whole) == before
    assert audit(own, whole) == 0


def test_a_gate_on_nothing_is_not_met(own: Path) -> None:
    write_csv(Path("ratings.csv"), {"x": ["1"]})
    assert audit(own, "out", "histories.path=ratings.csv", "gate.null_rate_max=1") == 3
    assert report_of("out")["gates"][0]["measured"] is None


def counted(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[int]:
    """Return a list that fills with the buckets that are explained; after so many Ctrl-C is pressed."""
    buckets: list[int] = []
    real = audit_local.explain_bucket

    def explain(job: Any, folders: Any, selection: Any, bucket: int) -> Iterator[Any]:
        if stop_after is not None and len(buckets) == stop_after:
            raise KeyboardInterrupt
        buckets.append(bucket)
        return real(job, folders, selection, bucket)

    monkeypatch.setattr(audit_local, "explain_bucket", explain)
    return buckets


def test_a_stopped_audit_goes_on_with_what_is_missing(
    own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        assert counted(patch, 2) == []
        assert audit(own, "out") == 130
    assert capsys.readouterr().err == "\nrecexplain: stopped; the same command with out=out goes on from here\n"
    assert not Path("out/report.json").exists()
    explained = counted(monkeypatch)
    assert audit(own, "out") == 0
    assert explained == [2, 3]
    same("out", whole)


def test_what_is_half_written_foreign_or_gone_is_explained_again(
    own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audit(own, "out") == 0
    assert audit(own, "other", "k=2") == 0
    parts = [Path(f"out/explanations/bucket={bucket}/part.parquet") for bucket in range(4)]
    parts[0].write_bytes(parts[0].read_bytes()[:-100])
    (parts[1].parent / ".part.1.tmp").write_bytes(b"half")  # beside a whole one: no harm
    parts[2].write_bytes(Path("other/explanations/bucket=2/part.parquet").read_bytes())
    (parts[3].parent / "part-of-another-engine.parquet").write_bytes(parts[3].read_bytes())  # everyone twice
    explained = counted(monkeypatch)
    assert audit(own, "out") == 0
    assert explained == [0, 2, 3]
    same("out", whole)
    one_less = pq.read_table(parts[1]).slice(1)
    pq.write_table(one_less, parts[1])
    explained.clear()
    assert audit(own, "out") == 0
    assert explained == [1]
    same("out", whole)


@pytest.mark.parametrize("engine", ["local", "spark"])
def test_two_audits_do_not_share_a_folder(engine: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(Path("out")):  # the first one, whatever its engine
        assert audit(own, "out", f"engine={engine}") == 2
        assert "another audit is at work in out; wait, or choose another folder with out=" in capsys.readouterr().err
        assert not any(Path("out").iterdir())
    assert audit(own, "out", "limit=3") == 0


def test_a_disk_that_takes_no_more_is_named_and_leaves_nothing_half_written(
    own: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(Path("ratings.csv"), people())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))  # bytes a file: the notes fit, histories do not
    try:
        assert audit(own, "out", "histories.path=ratings.csv") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    assert said == "recexplain: the histories cannot be sorted into buckets in out: File too large; run again\n"
    assert [path.name for path in Path("out").iterdir()] == ["audit.json"]
    assert audit(own, "out", "histories.path=ratings.csv") == 0
    same("out", whole)


REFUSED = {
    ("engine=other",): "engine must be local or spark, not 'other'",
    ("workers=-1",): "workers must be a whole number of 0 or more, or null, not -1",
    ("buckets=0",): "buckets must be a whole number of 1 or more, not 0",
    ("buckets=null",): "buckets must be a whole number of 1 or more, not None",
    ("limit=0",): "limit must be a whole number of 1 or more, or null, not 0",
    ("history=half",): "history must be full or test, not 'half'",
    ("unknown_items=keep",): "unknown_items must be error or drop, not 'keep'",
    ("gate.explained=2",): "gate.explained must be a share between 0 and 1, or null for none, not 2",
    ("gate.explained=x",): "gate.explained must be a share between 0 and 1",
    ("gate.size_max=-1",): "gate.size_max must be a number of 0 or more",
    ("+gate.other=1",): "gate must be one of explained, optimal, errors_max, budget_max, null_rate_max",
    ("k=0",): "k must be a whole number of 1 or more, not 0",
    ("locked=[nothing]",): "item 'nothing' is not in the catalogue of 30 items",
    ("device=toaster",): "the device 'toaster' cannot be used here",
    ("checkpoint=none.ckpt",): "there is no checkpoint none.ckpt",
    ("histories.path=none",): "there is no file or folder none; histories must be a table or a folder of its parts",
    (
        "histories.path=none",
        "data=ml-100k",
    ): "data and histories.path are both given; one of them says who is explained",
    ("histories.path=none", "histories.user_col=null"): "histories.user_col must be a text, not None",
    ("histories.path=none", "histories.columns=x"): "histories.columns must be a list of names such as",
    ("seed=1",): "holds a run of `audit` with another seed (0 there, 1 here); choose another folder with out=",
    ("buckets=9",): "holds a run of `audit` with another buckets (4 there, 9 here)",
}


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_a_wrong_option_is_refused_and_nothing_is_lost(
    options: tuple[str, ...], own: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert audit(own, whole, *options) == 2
    printed = capsys.readouterr()
    assert REFUSED[options] in printed.err
    assert printed.err.count("\n") == 1
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_another_table_is_not_continued_in_the_same_folder(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(Path("ratings.csv"), {"x": ["1", "2", "3"]})
    assert audit(own, "out", "histories.path=ratings.csv") == 0
    before = rows_of("out")
    write_csv(Path("ratings.csv"), {"x": ["1", "2", "4"]})
    assert audit(own, "out", "histories.path=ratings.csv") == 2
    assert "with another histories_hash (" in capsys.readouterr().err
    assert rows_of("out") == before


def test_damaged_notes_are_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(own, "out", "limit=2") == 0
    Path("out/census.json").write_text(json.dumps({"bound": None}))
    assert audit(own, "out", "limit=2") == 2
    assert "census.json is damaged; choose another folder with out=" in capsys.readouterr().err


def test_every_explainer_audits(own: Path) -> None:
    for name in ("popularity", "causal"):
        assert audit(own, name, f"explainer={name}", "limit=4") == 0
        assert {(row["explainer"], row["status"] == "error") for row in rows_of(name)} == {(name, False)}


def test_a_person_who_gets_lost_is_noticed(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = audit_local.explain_bucket

    def explain(*arguments: Any) -> Iterator[Any]:
        for rows in real(*arguments):
            yield rows.slice(1) if arguments[-1] == 2 else rows

    monkeypatch.setattr(audit_local, "explain_bucket", explain)
    assert audit(own, "out") == 2
    assert "recexplain: bucket 2 holds " in capsys.readouterr().err
    assert not Path("out/report.json").exists()
