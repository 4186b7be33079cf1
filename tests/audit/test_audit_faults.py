"""What goes wrong with machines: complete and once each in the end, or refused with a sentence; nothing is lost."""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from audit_toys import CURSED, Broken, job, people, rows_of, voting

from recexplain.errors import CheckpointError, DataError
from recexplain.evaluation import audit_apart, audit_local, audit_processes
from recexplain.evaluation.audit_apart import explained_apart
from recexplain.evaluation.audit_histories import WIDE, HistoryTable, layout_of
from recexplain.evaluation.audit_kernel import PEOPLE_SCHEMA, FromCheckpoint
from recexplain.evaluation.audit_local import explain_locally
from recexplain.evaluation.audit_parts import Folders, is_finished
from recexplain.evaluation.audit_staging import Census, Selection, bucket_of, census_of, stage

N_BUCKETS = 3
CURSED_BUCKET = bucket_of("u3", N_BUCKETS)
BUCKETS_OF_OTHERS = sorted(set(range(N_BUCKETS)) - {bucket_of(user, N_BUCKETS) for user in ("u3", "u30")})


@pytest.fixture(autouse=True)
def quick_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports once for all processes; `test_audit_runs.py` starts them as users do."""
    multiprocessing.set_forkserver_preload(
        ["audit_toys", "recexplain.evaluation.audit_local", "recexplain.evaluation.audit_apart"]
    )
    monkeypatch.setattr(audit_processes, "START", "forkserver")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders, histories = Folders(str(tmp_path / "out")), people()
    columns = [pa.array(list(histories)), pa.array(list(histories.values()))]
    (tmp_path / "out").mkdir()
    stage([pa.record_batch(columns, WIDE)], WIDE, folders.staged, N_BUCKETS)
    return folders


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("wanted")
    folders, histories = Folders(str(out)), people()
    columns = [pa.array(list(histories)), pa.array(list(histories.values()))]
    stage([pa.record_batch(columns, WIDE)], WIDE, folders.staged, 1)
    explain(folders, voting, n_workers=0, buckets=[0])
    return rows_of(out)


def explain(
    folders: Folders, recommender: Any, *, n_workers: int, buckets: Sequence[int] = range(N_BUCKETS)
) -> list[int]:
    """Explain buckets, and return what the progress bar was told."""
    told: list[int] = []
    explain_locally(job(recommender), folders, Selection(), buckets, n_workers=n_workers, advance=told.append)
    return told


def finished(folders: Folders) -> list[int]:
    census = [census_of(folders.staged, Selection(), bucket) for bucket in range(N_BUCKETS)]
    return [one.bucket for one in census if is_finished(folders, job(), one)]


def test_a_process_killed_once_costs_nothing(folders: Folders, wanted: Any, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    told = explain(folders, Broken("kill", str(marks), 1), n_workers=2)
    assert len(list(marks.iterdir())) == 1
    assert rows_of(folders.out) == wanted
    assert sum(told) == len(wanted)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_who_always_ends_the_process_is_a_row_of_errors(folders: Folders, wanted: Any, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    told = explain(folders, Broken("kill", str(marks), 1000), n_workers=1, buckets=[CURSED_BUCKET])
    culprits = [user for user in ("u3", "u30") if bucket_of(user, N_BUCKETS) == CURSED_BUCKET]
    assert len(list(marks.iterdir())) == 2 + 2 * len(culprits)  # the bucket twice, then each alone
    rows = {row["user"]: row for row in rows_of(folders.out)}
    assert rows.keys() == {row["user"] for row in wanted if bucket_of(row["user"], N_BUCKETS) == CURSED_BUCKET}
    assert sum(told) == len(rows)
    for row in wanted:
        if row["user"] in culprits:
            assert rows[row["user"]]["error"] == "the process that explained this person ended 2 times (signal 9)"
        elif row["user"] in rows:
            assert rows[row["user"]] == row
    assert not multiprocessing.active_children()


def test_people_apart_get_the_rows_that_they_get_together(wanted: Any, tmp_path: Path) -> None:
    histories = {user: history for user, history in people().items() if user in ("u2", "u3", "u4", "u30", "u31")}
    batch = pa.record_batch([pa.array(list(histories)), pa.array(list(histories.values()))], PEOPLE_SCHEMA)
    once = list(explained_apart(job(Broken("kill", str(tmp_path), 1)), [batch.slice(0, 2), batch.slice(2)]))
    assert len(list(tmp_path.iterdir())) == 1
    rows = sorted((row for one in once for row in one.to_pylist()), key=lambda row: str(row["user"]))
    assert rows == [row for row in wanted if row["user"] in histories]


def test_where_everyone_ends_the_process_it_is_no_ones_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_apart, "TRIES", 1)
    users = [f"u{number}" for number in range(5)]
    batch = pa.record_batch([pa.array(users), pa.array([[str(CURSED), "1", "2"]] * 5)], PEOPLE_SCHEMA)
    with pytest.raises(
        DataError, match=r"^3 people in a row ended the process that explained them alone \(signal 9\);"
    ):
        list(explained_apart(job(Broken("kill", str(tmp_path), 1000)), [batch]))
    assert len(list(tmp_path.iterdir())) == 3
    assert not multiprocessing.active_children()


def test_what_stops_a_process_apart_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.record_batch([pa.array(["u1"]), pa.array([["1", "2", "3"]])], PEOPLE_SCHEMA)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        list(explained_apart(job(FromCheckpoint(str(tmp_path / "none"), "cpu", "")), [batch]))
    monkeypatch.setattr(audit_apart, "recommender_of", lambda _: voting())  # here it loads, there it does not
    with pytest.raises(DataError, match="there is no checkpoint"):
        list(explained_apart(job(FromCheckpoint(str(tmp_path / "none"), "cpu", "")), [batch]))
    assert not multiprocessing.active_children()


def test_a_process_that_is_always_killed_is_refused_and_the_rest_goes_on_later(
    folders: Folders, wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_local, "TRIES", 2)  # so that nobody is explained apart
    marks = tmp_path / "marks"
    marks.mkdir()
    sentence = (
        rf"the process that explained bucket {CURSED_BUCKET} has ended 2 times \(signal 9\); finished buckets are"
    )
    with pytest.raises(DataError, match=sentence):
        explain(folders, Broken("kill", str(marks), 1000), n_workers=1, buckets=[*BUCKETS_OF_OTHERS, CURSED_BUCKET])
    assert len(list(marks.iterdir())) == 2
    assert finished(folders) == BUCKETS_OF_OTHERS != []
    explain(folders, voting, n_workers=0, buckets=sorted(set(range(N_BUCKETS)) - {*BUCKETS_OF_OTHERS}))
    assert finished(folders) == list(range(N_BUCKETS))
    assert rows_of(folders.out) == wanted
    left = [path for path in Path(folders.out).rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert left == []


def test_a_full_disk_is_named_and_the_rest_goes_on_later(
    folders: Folders, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recexplain.evaluation.audit_parts.os.getpid", lambda: 5)
    folders.of_bucket(1).mkdir(parents=True)
    (folders.of_bucket(1) / ".part.5.tmp").symlink_to("/dev/full")  # every write there: no space left on the device
    with pytest.raises(DataError, match=r"bucket=1/part\.parquet cannot be finished: No space left on device;"):
        explain(folders, voting, n_workers=0)
    assert finished(folders) == [0]
    assert list(folders.of_bucket(1).iterdir()) == []
    explain(folders, voting, n_workers=0, buckets=[1, 2])
    assert rows_of(folders.out) == wanted


def test_what_stops_a_process_is_said_by_the_first_one(folders: Folders) -> None:
    folders.explanations.mkdir()
    for bucket in range(N_BUCKETS):
        folders.of_bucket(bucket).touch()  # a file where a folder must be
    with pytest.raises(DataError, match=r"part\.parquet cannot be finished: File exists; finished buckets are kept"):
        explain(folders, voting, n_workers=1)
    assert not multiprocessing.active_children()


def test_a_part_that_breaks_off_stops_an_audit_before_it_writes(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"a\.parquet is no readable Parquet file"):
        layout_of(HistoryTable(str(tmp_path)))


def test_finished_is_only_what_has_everyone_once(folders: Folders) -> None:
    explain(folders, voting, n_workers=0)
    census = census_of(folders.staged, Selection(), 0)
    assert is_finished(folders, job(), census)
    for other in (
        Census(0, census.n_people + 1, 0, 0, census.users_hash),
        Census(0, census.n_people, 0, 0, "another"),
        Census(1, census.n_people, 0, 0, census.users_hash),
    ):
        assert not is_finished(folders, job(), other)
