"""The report of an audit against the library and `recexplain evaluate`, its samples stopped and going on."""

import json
import shutil
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from audit_toys import people, report_of, rows_of, untrained, write_csv

from recexplain.api import explain_many
from recexplain.checkpoint import read_checkpoint
from recexplain.counterfactual import Options
from recexplain.evaluation import audit_engines, audit_run, cli, trials
from recexplain.evaluation.audit_drawn import Sample
from recexplain.evaluation.audit_processes import asked_elsewhere
from recexplain.evaluation.audit_staging import sample_key
from recexplain.evaluation.ranking import held_out_ranks, ndcg_at
from recexplain.explainers import EXPLAINERS
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import explain_case
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender
from recexplain.report.board import Board

pytestmark = pytest.mark.usefixtures("one_thread")

N = 4  # people of the samples
QUESTION = ("change=leaves", "k=3", "max_evaluations=60")
EXTRAS = (f"sensitivity.people={N}", f"comparison.people={N}", "comparison.explainers=[recency,attention]", "cases=2")
USERS = ("users.path=people.csv", "users.columns=[team,age]", "users.crossed=[[team,age]]")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("own"), people())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path)


def write_people(folder: Path) -> None:
    """Everyone but u0, and somebody who is not audited; ages are from 0 to 39."""
    rows = [f"u{n},{'red' if n % 2 else 'blue'},{n}" for n in range(1, 40)]
    (folder / "people.csv").write_text("user_id,team,age\n" + "\n".join([*rows, "stranger,green,99"]) + "\n")


def audit(own: Path, out: Path | str, *more: str) -> int:
    words = [f"checkpoint={own}", *QUESTION, "workers=0", "buckets=4", "page=false", *EXTRAS]
    return cli.main(["audit", *words, f"out={out}", *more])


@pytest.fixture(scope="module")
def whole(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_people(folder)
        assert audit(own, folder / "out", *USERS) == 0
    return folder / "out"


def drawn(rows: list[dict[str, Any]], n: int = N) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: sample_key(0, str(row["user"])))[:n]


def recommender_at(own: Path) -> Recommender:
    return read_checkpoint(own).recommender()


def test_slices_of_user_columns_are_those_of_the_rows(whole: Path) -> None:
    report, rows = report_of(whole), rows_of(whole)
    slices = {one["name"]: one for one in report["slices"]["dimensions"]}
    assert list(slices) == ["history_length", "popularity", "team", "age", "team & age"]
    assert [slices[name]["is_user_column"] for name in slices] == [False, False, True, True, True]
    teams = {group["group"]: group for group in slices["team"]["groups"]}
    red = [row for row in rows if int(row["user"][1:]) % 2]
    assert teams["red"]["people"] == len(red) == 20
    assert teams["red"]["explained"]["n"] == sum(bool(row["positions"]) for row in red)
    assert teams["red"]["ndcg"]["n"] == 20
    assert teams["other groups"]["people"] == 20  # u0 is not in the table, and would be alone
    assert all(sum(group["people"] for group in one["groups"]) == 40 for one in slices.values())
    (age,) = slices["age"]["groups"]  # five bins of eight people
    assert (age["group"], age["note"]) == ("other groups", "6 groups together, of which some have fewer than 10 people")
    about = report["slices"]["users"]
    assert (about["people"], about["columns"], len(about["hash"])) == (40, ["team", "age"], 64)


def test_the_page_is_that_of_the_report(own: Path) -> None:
    assert audit(own, "out", "limit=3", "sensitivity.people=0", "comparison.people=0", "cases=1", "page=true") == 0
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert report_of("out")["rows_hash"] in page
    assert "Film &lt;" in page
    assert "Film <" not in page
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("audit.json", "census.json", "explanations", "report.html", "report.json"),
    ]


def test_the_newest_item_is_ranked_as_by_evaluate(own: Path, whole: Path) -> None:
    report, recommender = report_of(whole), recommender_at(own)
    histories = [Person(row["user"], row["history"]).numbers(recommender) for row in rows_of(whole)]
    ranks = held_out_ranks(recommender, histories)
    quality = report["quality"]["newest_item"]
    assert quality["people"] == 40
    assert quality["ndcg"]["mean"] == pytest.approx(ndcg_at(ranks, 10), abs=1e-6)
    assert quality["mrr"]["mean"] == pytest.approx(sum(1 / rank for rank in ranks) / 40, abs=1e-6)
    assert quality["hit_rate"]["n"] == sum(rank <= 10 for rank in ranks)
    assert report["outcomes"]["ndcg"] == quality["ndcg"]


def test_other_methods_are_compared_as_by_evaluate(own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [row["user"] for row in drawn(rows_of(whole))]
    monkeypatch.chdir(own.parent)  # the data are read from where they lie
    words = ["explainers=[causal,recency,attention]", f"users=[{','.join(users)}]", "history=full", "checks=0"]
    assert cli.main(["evaluate", f"checkpoint={own}", *QUESTION, *words, "out=compared"]) == 0
    board = Board.from_dict(report_of(whole)["comparison"]["board"])
    wanted = Board.from_dict(json.loads(Path("compared/summary.json").read_text()))
    assert [row.label for row in board.rows] == ["causal", "recency", "attention", "random", "popularity"]
    assert {row.label: row.scores for row in board.rows} == {row.label: row.scores for row in wanted.rows}
    assert set(board.settings) <= set(wanted.settings)
    run = json.loads((whole / "report.json").read_text())["run"]
    assert set(run["comparison_seconds"]) == {row.label for row in board.rows}


def test_steadiness_is_that_of_explanations_made_again(own: Path, whole: Path) -> None:
    report, recommender = report_of(whole), recommender_at(own)
    checks = {one["name"]: one for one in report["sensitivity"]["checks"]}
    assert list(checks) == ["seed", "item", "weights"]
    assert checks["seed"]["same"]["share"] == checks["seed"]["jaccard"]["mean"] == 1  # this one draws nothing
    before = [Explanation.from_dict(row) for row in drawn(rows_of(whole))]
    asked = {"change": "leaves", "k": 3, "max_evaluations": 60, "explainer": EXPLAINERS["causal"]()}
    shorter = [one.history[:-1] for one in before]
    again = list(explain_many(recommender, shorter, users=[one.user for one in before], **asked))
    both = [(set(a.positions), set(b.positions)) for a, b in zip(before, again, strict=True) if a.items and b.items]
    item = checks["item"]
    assert item["found_both"] == len(both) > 0
    assert item["jaccard"]["mean"] == pytest.approx(sum(len(a & b) / len(a | b) for a, b in both) / len(both), abs=1e-6)
    more = {one["name"]: one["share"] for one in item["more"]}
    assert more["same_target"]["n"] == sum(a.target == b.target for a, b in zip(before, again, strict=True))
    n_holding = 0
    for one, earlier in zip(before, again, strict=True):
        kept = [
            x for place, x in enumerate(one.history[one.n_unseen :], one.n_unseen) if place not in earlier.positions
        ]
        numbers = Person(one.user, kept).numbers(recommender)
        scores = recommender.scores([numbers])[0]
        scores[[0, *Person(one.user, one.history).numbers(recommender)]] = -float("inf")
        first = scores.argsort(kind="stable")[::-1][:3] - 1
        target = read_checkpoint(own).vocabulary.ids.index(one.target)
        n_holding += bool(earlier.positions) and target not in first
    assert (more["holds"]["n"], more["holds"]["of"]) == (n_holding, sum(one.is_found for one in again))


def test_cases_have_titles_and_the_graph_of_explain(own: Path, whole: Path) -> None:
    report, recommender = report_of(whole), recommender_at(own)
    rows = {row["user"]: row for row in rows_of(whole)}
    cases = report["cases"]
    assert [len(kind["users"]) for kind in cases["kinds"]] == [2] * len(cases["kinds"])
    named = {user for kind in cases["kinds"] for user in kind["users"]}
    assert [one["user"] for one in cases["people"]] == sorted(named)
    explainer = EXPLAINERS["causal"]()
    for one in cases["people"]:
        assert one["explanation"] == rows[one["user"]]
        items = {*one["explanation"]["history"], *one["explanation"]["before"]}
        assert items <= {*cases["titles"]}
        person = Person(one["user"], one["explanation"]["history"])
        case = explain_case(recommender, person, explainer, Options("leaves", 3, max_evaluations=60))
        graph = case.graphs[case.head]
        assert one["graph"]["nodes"] == graph.number_of_nodes()
        marks = {(x, y): graph.edges[x, y]["mark"] for x, y in graph.edges}
        again = {(x, y): at_y for x, y, _, at_y in one["graph"]["edges"]}
        assert again | {(y, x): at_x for x, y, at_x, _ in one["graph"]["edges"]} == marks
        assert one["graph"]["first"] == len(person.history) - graph.number_of_nodes() + 1
    assert cases["titles"]["1"] == "Film <1>"


def counted(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """Return a list that fills with whom trials explain; after so many Ctrl-C is pressed."""
    users: list[str] = []
    real = trials.explain_cases

    def explain(recommender: Any, asked: Any, *rest: Any) -> Iterator[Any]:
        if stop_after is not None and len(users) >= stop_after:
            raise KeyboardInterrupt
        users.extend(person.user for person in asked)
        return real(recommender, asked, *rest)

    monkeypatch.setattr(trials, "explain_cases", explain)
    return users


def test_samples_are_not_asked_again_and_a_stopped_one_goes_on(
    own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = counted(monkeypatch)
    before = report_of(whole)
    assert audit(own, whole, *USERS) == 0
    assert users == []
    assert report_of(whole) == before
    with monkeypatch.context() as patch:
        counted(patch, 7)
        assert audit(own, "out", *USERS) == 130
    assert not Path("out/report.json").exists()
    assert not Path("out/users").exists()
    users.clear()
    assert audit(own, "out", *USERS) == 0
    assert 0 < len(users) <= 7 * N
    assert report_of("out") == before
    users.clear()
    larger = (f"sensitivity.people={N + 2}", f"comparison.people={N - 2}")
    assert audit(own, "out", *USERS, *larger) == 0
    assert len(users) == 3 * 2
    report = report_of("out")
    assert (report["sensitivity"]["people"], report["comparison"]["people"]) == (N + 2, N - 2)
    assert report["comparison"]["board"]["n_people"] == N - 2


def test_the_report_does_not_go_by_engine_buckets_or_order(own: Path, whole: Path) -> None:
    histories = people()
    write_csv(Path("parts/b.csv"), {user: histories[user] for user in list(histories)[:9]})
    write_csv(Path("parts/a.csv"), {user: histories[user] for user in list(histories)[9:]})
    lines = Path("people.csv").read_text().splitlines()
    Path("people.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    assert audit(own, "out", "histories.path=parts", "buckets=6", *USERS) == 0
    reports = [report_of("out"), report_of(whole)]
    for report in reports:
        del report["slices"]["users"]["hash"]
        for name in ("table", "histories_hash"):
            del report["identity"][name]
    assert reports[0] == reports[1]


def test_the_report_does_not_go_by_who_counted(own: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(whole, "out")
    asked: list[int] = []

    def elsewhere(function: Any, parts: Any, n_processes: int) -> Any:
        asked.append(n_processes)
        yield from reversed(list(asked_elsewhere(function, parts, n_processes)))

    monkeypatch.setattr(audit_engines, "PAYING", 0)
    monkeypatch.setattr(audit_engines, "asked_elsewhere", elsewhere)
    assert audit(own, "out", *USERS, "workers=2") == 0
    assert asked == [2, 2]  # the rows, and once more when it is known how popular items are
    assert json.dumps(report_of("out")) == json.dumps(report_of(whole))
    kept = Path("out/report.json").read_bytes()
    Path("out/explanations/bucket=1/part.parquet").unlink()
    Path("out/explanations/bucket=0/part.parquet").rename("out/explanations/bucket=1/part.parquet")
    monkeypatch.setattr(audit_run, "_is_finished", lambda *_: True)
    assert audit(own, "out", *USERS, "workers=2") == 2  # what is wrong elsewhere is said here
    assert Path("out/report.json").read_bytes() == kept


def test_what_was_counted_elsewhere_is_let_go_of() -> None:
    held = weakref.WeakSet[Sample]()
    for one in asked_elsewhere(Sample, range(8), 1):
        held.add(one)
        assert len(held) <= 2
        time.sleep(0.05)  # others are finished meanwhile


def test_parts_can_be_left_out_and_histories_cut(own: Path) -> None:
    off = ("quality.people=0", "sensitivity.people=null", "comparison.people=0", "cases=0", "limit=8")
    assert audit(own, "out", *off) == 0
    report = report_of("out")
    assert report["sensitivity"] is report["comparison"] is report["quality"]["newest_item"] is None
    assert report["cases"] == {"kinds": [], "titles": {}, "people": []}
    assert report["outcomes"]["ndcg"]["n"] == 0
    assert (report["sample"]["people_in_table"], report["sample"]["people"]) == (40, 8)
    assert report["sample"]["excluded"] == [{"reason": "not drawn: limit=8", "people": 32}]
    assert not Path("out/studies").exists()
    assert audit(own, "cut", *off[1:], "history=test", "explainer=occlusion") == 0
    assert "the newest item but one" in report_of("cut")["quality"]["newest_item"]["about"]


def test_another_model_and_orders_are_compared(own: Path) -> None:
    small = ("comparison.people=0", "sensitivity.people=4", "limit=8", f"sensitivity.checkpoint={own}")
    assert audit(own, "out", *small, "explainer=occlusion") == 0
    checks = {one["name"]: one for one in report_of("out")["sensitivity"]["checks"]}
    assert checks["model"]["same"]["share"] == 1  # the same model
    (order,) = checks["weights"]["more"]
    assert (order["name"], order["mean"]["n"]) == ("order", 4)
    assert 0 <= order["mean"]["mean"] < 1
