"""`recexplain audit engine=spark`: the rows and the report of the local engine, also where tasks and workers fail."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from audit_toys import Broken, added, job, people, report_of, rows_of, untrained, voting, write_csv

import recexplain
from recexplain.errors import DataError
from recexplain.evaluation import audit_spark, cli
from recexplain.evaluation.audit_local import explain_locally
from recexplain.evaluation.audit_parts import Folders
from recexplain.evaluation.audit_spark import SparkEngine, _error_of
from recexplain.evaluation.audit_staging import Census, Selection, census_of, dataset_batches, stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.slow,
    pytest.mark.skipif("RECEXPLAIN_SLOW" not in os.environ, reason="minutes; RECEXPLAIN_SLOW=1 and .ci/run do it"),
]

SHORT = ("sensitivity.people=4", "comparison.people=4", "page=false")
SPARK = ("engine=spark", "spark.master='local[2,4]'")


@pytest.fixture(scope="module", autouse=True)
def session() -> "Iterator[SparkSession]":
    """One session for all tests; its workers import what the tests import."""
    pytest.importorskip("pyspark", reason="PySpark is an extra")
    here = [str(Path(recexplain.__file__).parents[1]), *(str(Path(__file__).parents[i]) for i in (0, 1))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(here))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setattr(audit_spark, "WAVE", 2)  # buckets a core
        session = SparkEngine("local[2,4]", None)._session()
        yield session
        session.stop()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def audit(own: Path, out: Path | str, *more: str) -> int:
    words = [f"checkpoint={own}", "change=leaves", "k=3", "max_evaluations=120", "workers=0", "buckets=3", *SHORT]
    return cli.main(["audit", *words, f"out={out}", *more])


def test_rows_report_and_going_on_are_those_of_the_local_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, histories = untrained(tmp_path / "own", people()), people()
    users = sorted(histories)
    write_csv(Path("parts/a.csv"), {user: histories[user] for user in users[:25]})
    write_csv(Path("parts/b.csv"), {user: histories[user] for user in users[25:]})
    assert audit(own, "local", "histories.path=parts") == 0
    Path("spark/explanations/.spark-staging-1").mkdir(parents=True)  # of a job that was killed
    Path("spark/.staged.1.tmp").mkdir()
    assert audit(own, "spark", "histories.path=parts", *SPARK) == 0
    assert rows_of("spark") == rows_of("local")
    assert report_of("spark") == report_of("local")
    left = {"audit.json", "census.json", "explanations", "report.json", "studies"}
    assert {path.name for path in Path("spark").iterdir()} == left
    assert not any(Path("spark/explanations").glob(".spark*"))
    folders = [path.name for path in Path("spark/explanations").iterdir() if path.is_dir()]
    assert sorted(folders) == ["bucket=0", "bucket=1", "bucket=2"]
    kept = {path: path.read_bytes() for path in Path("spark/explanations").glob("bucket=[02]/*.parquet")}
    (part,) = Path("spark/explanations/bucket=1").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-100])  # half-written
    assert audit(own, "spark", "histories.path=parts", *SPARK) == 0  # the one bucket only
    assert {path: path.read_bytes() for path in kept} == kept
    assert rows_of("spark") == rows_of("local")
    Path("spark/explanations/bucket=2").rename("gone")
    assert audit(own, "spark", "histories.path=parts") == 0  # the other engine goes on
    assert rows_of("spark") == rows_of("local")
    assert audit(own, "more", "histories.path=parts", "buckets=5", *SPARK) == 0  # in two jobs, see `session`
    assert rows_of("more") == rows_of("local")
    assert len(list(Path("more/explanations").glob("bucket=*"))) == 5
    Path("parts/b.csv").write_text("user_id,item_id,timestamp\nx,1\n")
    capsys.readouterr()
    assert audit(own, "broken", "histories.path=parts", *SPARK) == 2
    said = capsys.readouterr().err.splitlines()[-1]  # Spark's own lines come before
    assert said.startswith("recexplain: ")
    assert said.endswith("parts/b.csv, line 2: the row has 2 cells, the columns are user_id, item_id, timestamp")
    assert not Path("broken/staged").exists()
    assert not Path("broken/explanations").exists()


def as_locally(path: Path, *more: str) -> list[dict[str, Any]]:
    """Audit on both engines, and return the rows, which must be the same."""
    assert audit(path, f"{path.stem}-local", *more) == 0
    assert audit(path, f"{path.stem}-spark", *more, *SPARK) == 0
    rows = rows_of(f"{path.stem}-spark")
    assert rows == rows_of(f"{path.stem}-local")
    assert report_of(f"{path.stem}-spark") == report_of(f"{path.stem}-local")
    return rows


def test_checkpoints_of_recbole_are_audited_as_locally(written: Path) -> None:
    rows = as_locally(written / "SASRec.pth")
    assert (len(rows), any(row["n_graphs"] for row in rows)) == (30, True)
    write_csv(Path("people.csv"), {user: ["i3", "i12", "i5", "i25"] for user in ("u1", "u2", "new")})
    ids = ["data=interactions", f"data.path={written / 'tiny' / 'tiny.inter'}"]
    rows = as_locally(written / "FPMC.pth", "histories.path=people.csv", *ids)  # scores for a user, by the ids of data
    errors = {row["user"]: row["error"] for row in rows}
    assert errors == {"u1": None, "u2": None, "new": "user 'new' is not one of the 30 users of its data"}


def test_tasks_add_up_counts_among_themselves(session: "SparkSession", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(session.sparkContext), "defaultParallelism", 9)  # cores
    census = [Census(bucket, bucket + 1, 0, 0, "") for bucket in range(20)]
    counts, n = SparkEngine("local[2,4]", None).counts(added, census)
    waves = list(counts)
    assert n == len(waves) == 3  # nine buckets, nine, two: one a task
    assert [one.n_people for one in waves] == [sum(range(1, 10)), sum(range(10, 19)), 19 + 20]
    assert [len(one.by) for one in waves] == [8, 8, 1]
    assert waves[0].by.count(os.getpid()) == 2  # three of nine came here


@pytest.fixture
def staged(tmp_path: Path) -> tuple[Folders, list[Census], list[dict[str, Any]]]:
    """Three buckets of people, and the rows that they get."""
    own = untrained(tmp_path / "own", people())
    from recexplain.checkpoint import read_checkpoint
    from recexplain.evaluation.config import recorded_source
    from recexplain.sequences import load_dataset

    dataset = load_dataset(recorded_source(read_checkpoint(own).source))
    for name in ("out", "local"):
        Path(name).mkdir()
        stage(dataset_batches(dataset), next(dataset_batches(dataset)).schema, Folders(name).staged, 3)
    explain_locally(job(voting), Folders("local"), Selection(), range(3), n_workers=0, advance=lambda _: None)
    folders = Folders(str(tmp_path / "out"))
    return folders, [census_of(folders.staged, Selection(), bucket) for bucket in range(3)], rows_of("local")


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_what_fails_once_costs_nothing(how: str, staged: Any, tmp_path: Path) -> None:
    folders, census, wanted = staged
    (tmp_path / "marks").mkdir()
    told: list[int] = []
    broken = job(Broken(how, str(tmp_path / "marks"), 1))
    SparkEngine("local[2,4]", None).explain(broken, folders, Selection(), census, told.append)
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert rows_of(folders.out) == wanted
    assert sum(told) == len(wanted)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "an unexpected failure of the program, ZeroDivisionError: division by 'zero'"),
        ("kill", "the process that explained this person ended 2 times (signal 9)"),
    ],
)
def test_what_always_fails_costs_the_people_it_fails_at(how: str, reason: str, staged: Any, tmp_path: Path) -> None:
    folders, census, wanted = staged
    (tmp_path / "marks").mkdir()
    broken = job(Broken(how, str(tmp_path / "marks"), 1000))
    SparkEngine("local[2,4]", None).explain(broken, folders, Selection(), census, lambda _: None)
    for row, good in zip(rows_of(folders.out), wanted, strict=True):
        if row["user"] in ("u3", "u30"):
            assert (row["status"], row["error"], row["history"]) == ("error", reason, good["history"])
        else:
            assert row == good


ON_A_CLUSTER = """
import sys
from audit_toys import Broken, job
from recexplain.evaluation.audit_parts import Folders
from recexplain.evaluation.audit_spark import SparkEngine
from recexplain.evaluation.audit_staging import Selection, census_of
folders = Folders(sys.argv[1])
census = [census_of(folders.staged, Selection(), bucket) for bucket in range(3)]
broken = job(Broken("kill executor", sys.argv[2], 1))
SparkEngine("local-cluster[2,1,1024]", None).explain(broken, folders, Selection(), census, lambda _: None)
"""


def test_an_executor_that_is_killed_costs_nothing(staged: Any, tmp_path: Path) -> None:
    folders, _, wanted = staged
    (tmp_path / "marks").mkdir()
    run = [sys.executable, "-c", ON_A_CLUSTER, folders.out, str(tmp_path / "marks")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Lost executor" in done.stderr
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert rows_of(folders.out) == wanted


def test_a_full_disk_is_named_and_the_rest_goes_on_later(staged: Any, tmp_path: Path) -> None:
    folders, census, wanted = staged
    small = Folders(str(tmp_path / "small"))
    Path(small.out).mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small.out]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes the rights of root")
    try:
        small.staged.symlink_to(folders.staged)
        with pytest.raises(DataError, match=r"^Spark gave up: .*No space left on device; finished buckets are kept"):
            SparkEngine("local[2,4]", None).explain(job(voting), small, Selection(), census, lambda _: None)
        assert rows_of(small.out) == []
        subprocess.run(["mount", "-o", "remount,size=8m", small.out], check=True)
        SparkEngine("local[2,4]", None).explain(job(voting), small, Selection(), census, lambda _: None)
        assert rows_of(small.out) == wanted
        assert not any(small.explanations.glob(".spark*"))
    finally:
        subprocess.run(["umount", "--lazy", small.out], check=True)


def test_sentences_of_tasks_come_back() -> None:
    said = "Job aborted\n  File x\nrecexplain.errors.UnknownIdError: item 'x'\n\n\tat org.apache"
    assert (type(_error_of(said, "")).__name__, str(_error_of(said, ""))) == ("UnknownIdError", "item 'x'")
    other = _error_of("org.apache.spark.SparkException: Job aborted\nCaused by: java.io.IOException: no space", "first")
    assert str(other).startswith("Spark gave up: no space; ")
    assert str(_error_of("nothing", "first line")).startswith("Spark gave up: first line; ")
