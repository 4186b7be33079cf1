"""`recexplain audit engine=spark`: the rows and the report of the local engine, also where tasks and workers fail."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from audit_toys import Broken, job, people, report_of, rows_of, untrained, voting, write_csv

import recexplain
from recexplain.errors import DataError
from recexplain.evaluation import cli
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
    assert audit(own, "spark", "histories.path=parts", *SPARK) == 0
    assert rows_of("spark") == rows_of("local")
    assert report_of("spark") == report_of("local")
    folders = [path.name for path in Path("spark/explanations").iterdir() if path.is_dir()]
    assert sorted(folders) == ["bucket=0", "bucket=1", "bucket=2"]
    kept = {path: path.read_bytes() for path in Path("spark/explanations").glob("bucket=[02]/*.parquet")}
    for path in Path("spark/explanations/bucket=1").iterdir():
        path.unlink()
    assert audit(own, "spark", "histories.path=parts", *SPARK) == 0  # the one bucket only
    assert {path: path.read_bytes() for path in kept} == kept
    assert rows_of("spark") == rows_of("local")
    Path("spark/explanations/bucket=2").rename("gone")
    assert audit(own, "spark", "histories.path=parts") == 0  # the other engine goes on
    assert rows_of("spark") == rows_of("local")
    Path("parts/b.csv").write_text("user_id,item_id,timestamp\nx,1\n")
    capsys.readouterr()
    assert audit(own, "broken", "histories.path=parts", *SPARK) == 2
    said = capsys.readouterr().err.splitlines()[-1]  # Spark's own lines come before
    assert said.startswith("recexplain: ")
    assert said.endswith("parts/b.csv, line 2: the row has 2 cells, the columns are user_id, item_id, timestamp")
    assert not Path("broken/staged").exists()
    assert not Path("broken/explanations").exists()


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


def test_what_always_kills_its_worker_is_refused_and_writes_nothing(staged: Any, tmp_path: Path) -> None:
    folders, census, _ = staged
    (tmp_path / "marks").mkdir()
    broken = job(Broken("kill", str(tmp_path / "marks"), 1000))
    with pytest.raises(DataError, match=r"^Spark gave up: .*; finished buckets are kept, and the same command"):
        SparkEngine("local[2,4]", None).explain(broken, folders, Selection(), census, lambda _: None)
    assert len(list((tmp_path / "marks").iterdir())) >= 4
    assert rows_of(folders.out) == []


def test_sentences_of_tasks_come_back() -> None:
    said = "Job aborted\n  File x\nrecexplain.errors.UnknownIdError: item 'x'\n\n\tat org.apache"
    assert (type(_error_of(said, "")).__name__, str(_error_of(said, ""))) == ("UnknownIdError", "item 'x'")
    other = _error_of("org.apache.spark.SparkException: Job aborted\nCaused by: java.io.IOException: no space", "first")
    assert str(other).startswith("Spark gave up: no space; ")
    assert str(_error_of("nothing", "first line")).startswith("Spark gave up: first line; ")
