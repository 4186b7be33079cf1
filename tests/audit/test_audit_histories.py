"""Tables of histories: every form gives the same people, and what is wrong is named with its place."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_toys import people, write_csv

from recexplain.errors import DataError, OptionError, RecExplainError
from recexplain.evaluation import audit_histories, audit_run, audit_slices, audit_staging
from recexplain.evaluation.audit_histories import HistoryTable, batches_of, content_hash, layout_of
from recexplain.evaluation.audit_kernel import PEOPLE_SCHEMA, bucket_of
from recexplain.evaluation.audit_run import sample_bound
from recexplain.evaluation.audit_staging import (
    Selection,
    Users,
    census_of,
    people_in,
    sample_key,
    sampled,
    stage,
)


def staged(path: Path, folder: Path, n_buckets: int = 3, **columns: Any) -> Path:
    layout = layout_of(HistoryTable(str(path), **columns))
    rows = (batch for part in range(len(layout.parts)) for batch in batches_of(layout, part))
    stage(rows, layout.schema, folder, n_buckets)
    return folder


def read(folder: Path, n_buckets: int = 3, selection: Selection | None = None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for bucket in range(n_buckets):
        for batch, _ in people_in(folder, bucket, selection or Selection()):
            users = batch["user"].to_pylist()
            assert batch.schema == PEOPLE_SCHEMA
            assert users == sorted(users)
            assert all(bucket_of(user, n_buckets) == bucket for user in users)
            assert not found.keys() & set(users)
            found |= dict(zip(users, batch["history"].to_pylist(), strict=True))
    return found


def long_frame(histories: dict[str, list[str]]) -> pd.DataFrame:
    rows = [(user, item, time) for user, items in histories.items() for time, item in enumerate(items)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


FORMS = (
    "csv", "tsv", "gz", "inter", "double colon", "headerless", "parquet", "numbers", "dates", "texts", "fractions",
    "lists", "folder", "mixed", "file order",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_people(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_histories, "ROWS", 50)  # so that people are spread over batches
    histories = {user.removeprefix("u"): items for user, items in people().items()}
    frame, table, more = long_frame(histories), tmp_path / "table", {}
    newest_first = frame.iloc[::-1]
    table.mkdir()
    if form in ("csv", "gz", "double colon", "headerless"):
        text = newest_first.to_csv(index=False, header=form != "headerless")
        path = table / {"gz": "a.csv.gz", "double colon": "a.dat"}.get(form, "a.csv")
        if form == "double colon":
            text, more = text.replace(",", "::"), {"sep": "::"}
        if form == "headerless":
            more = {"columns": ("user_id", "item_id", "timestamp")}
        content = ("\ufeff" + text + "\n\n").encode()
        path.write_bytes(gzip.compress(content) if form == "gz" else content)
    elif form in ("tsv", "inter"):
        path = table / f"a.{form}"
        names = ["user_id:token", "item_id:token", "timestamp:float"] if form == "inter" else True
        newest_first.to_csv(path, sep="\t", index=False, header=names)
    elif form == "lists":
        path = table / "a.parquet"
        rows = {
            "user_id": [int(user) for user in histories],
            "item_id": [[int(i) for i in h] for h in histories.values()],
        }
        pq.write_table(pa.table(rows), path, row_group_size=7)
    elif form in ("folder", "mixed"):
        path = table
        newest_first.iloc[:70].to_parquet(table / "part-0.parquet")
        newest_first.iloc[70:].to_parquet(table / "part-1.parquet")
        if form == "mixed":
            (table / "part-1.parquet").unlink()
            (table / "bucket=1").mkdir()
            newest_first.iloc[70:].to_csv(table / "bucket=1" / "part-1.csv", index=False)
        (table / "_SUCCESS").touch()
        (table / ".part-0.parquet.crc").write_bytes(b"crc")
    elif form == "file order":
        path, more = table / "a.parquet", {"time_col": None}
        frame.drop(columns="timestamp").to_parquet(path)
    else:
        path = table / "a.parquet"
        times = newest_first["timestamp"]
        dates = pd.Timestamp("2020-01-01") + pd.to_timedelta(times, unit="s")
        kinds = {"dates": dates, "texts": dates.dt.strftime("%Y-%m-%dT%H:%M:%S"), "fractions": times / 7 - 5}
        newest_first = newest_first.assign(timestamp=kinds.get(form, times))
        if form == "numbers":
            newest_first = newest_first.astype({"user_id": "float64", "item_id": "int32"})
        newest_first.to_parquet(path)
    assert read(staged(path, tmp_path / "staged", **more)) == histories


def test_equal_times_keep_the_order_of_files_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_histories, "ROWS", 2)
    table = tmp_path / "table"
    table.mkdir()
    (table / "b.csv").write_text("user_id,item_id,timestamp\nx,d,1\nx,a,0\nx,e,1\nx,f,1\n")
    (table / "a.csv").write_text("user_id,item_id,timestamp\nx,b,1\nx,z,2\nx,c,1\n")
    assert read(staged(table, tmp_path / "staged")) == {"x": list("abcdefz")}


def test_large_times_are_not_rounded(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    base = 2**60
    pq.write_table(
        pa.table({"user_id": ["x"] * 3, "item_id": list("cab"), "timestamp": [base + 2, base, base + 1]}), path
    )
    assert read(staged(path, tmp_path / "staged")) == {"x": list("abc")}


HEAD = "user_id,item_id,timestamp\n"
WRONG = {
    "a cell too few": (
        HEAD + "x,1,0\nx,2\n",
        "line 3: the row has 2 cells, the columns are user_id, item_id, timestamp",
    ),
    "an empty item": (HEAD + "x,,0\n", "line 2, column 'item_id': the cell is empty; every row needs an id"),
    "a blank line": (HEAD + "x,1,0\n\nx,2,1\n", "line 3: the line is blank; only the end of a file may have them"),
    "a wrong time": (
        HEAD + "x,1,0\nx,2,now\n",
        "line 3, column 'timestamp': 'now' is not a number, as the first row has",
    ),
    "a wrong date": (
        HEAD + "x,1,2020-01-01\nx,2,7.5\n",
        "line 3, column 'timestamp': '7.5' is not a date (ISO), as the",
    ),
    "infinite": (HEAD + "x,1,0\nx,2,inf\n", "line 3, column 'timestamp': 'inf' is not a number"),
    "no such column": ("user,item_id,timestamp\nx,1,0\n", "has no column 'user_id'; its columns are user, item_id"),
    "one column": ("user_id;item_id\nx;1\n", "another separator is given as histories.sep="),
    "two of a name": ("user_id,item_id,timestamp,item_id\n", "line 1: the column 'item_id' stands twice"),
    "nothing": ("", "is empty; a header and at least one row are needed"),
    "a header only": (HEAD, "the histories hold no rows; at least one person is needed"),
    "a quotation mark": (HEAD + 'x,"1,0\n', "line 2: unexpected end of data"),
    "another encoding": (b"user_id,item_id,timestamp\nx,\xe9,0\n", "a byte is not utf-8"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_text_is_named(name: str, tmp_path: Path) -> None:
    content, sentence = WRONG[name]
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        staged(path, tmp_path / "staged")
    assert sentence in str(caught.value)
    assert name == "a header only" or str(path) in str(caught.value)
    assert not (tmp_path / "staged").exists()


def test_what_is_wrong_with_parts_is_named(tmp_path: Path) -> None:
    def refused(error: type[RecExplainError] = DataError, **columns: Any) -> str:
        with pytest.raises(error) as caught:
            staged(tmp_path / "table", tmp_path / "staged", **columns)
        return str(caught.value)

    table = tmp_path / "table"
    assert refused().startswith("there is no file or folder ")
    table.mkdir()
    assert "holds no part of a table" in refused()
    (table / "a.csv").write_text(HEAD + "x,1,0\n")
    (table / "b.json").write_text("{}")
    assert "b.json is no part of a table; a name must end in one of .parquet, .csv" in refused()
    (table / "b.json").unlink()
    (table / "b.parquet").write_bytes(b"PAR1 half a file")
    assert "b.parquet is no readable Parquet file: " in refused()
    pq.write_table(pa.table({"user_id": ["y"], "item_id": [["1"]]}), table / "b.parquet")
    assert "b.parquet has lists of items, and " in refused()
    (table / "a.csv").unlink()
    pq.write_table(pa.table({"user_id": ["y", "x", "y"], "item_id": [["1"], None, ["2"]]}), table / "b.parquet")
    with pytest.raises(DataError, match="user 'y' has two rows"):
        read(staged(table, tmp_path / "other"))
    pq.write_table(pa.table({"user_id": ["y"], "item_id": [["1", None]]}), table / "b.parquet")
    assert "b.parquet, row 1, column 'item_id': the list holds an empty cell" in refused()
    (table / "b.parquet").unlink()
    (table / "c.csv.gz").write_bytes(gzip.compress(HEAD.encode() * 100)[:30])
    assert "c.csv.gz is no complete gzip file" in refused()
    (table / "c.csv.gz").unlink()
    write_csv(table / "a.csv", people(3))
    assert "there is no encoding 'none'" in refused(OptionError, encoding="none")
    assert "sep must be one or more characters" in refused(OptionError, sep="")


def test_a_damaged_page_of_a_part_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    long_frame(people(40)).to_parquet(path, compression="gzip")
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet is damaged: "):
        staged(path, tmp_path / "staged")


def test_people_are_chosen_and_cut_alike_in_every_layout(tmp_path: Path) -> None:
    histories = people()
    write_csv(tmp_path / "a.csv", histories)
    few, many = staged(tmp_path / "a.csv", tmp_path / "few", 3), staged(tmp_path / "a.csv", tmp_path / "many", 17)
    assert read(few) == read(many, 17) == histories
    drawn = sorted(histories, key=lambda user: sample_key(5, user))[:10]
    keys = sorted(key for bucket in range(17) for key in sampled(many, 5, 10, bucket))[:10]
    assert keys == [sample_key(5, user) for user in drawn]
    selection = Selection("test", frozenset(map(str, range(1, 20))), 5, keys[-1])
    cut = {u: [item for item in histories[u][:-1] if int(item) < 20] for u in drawn}
    assert read(few, 3, selection) == read(many, 17, selection) == cut
    census = [census_of(few, selection, bucket) for bucket in range(3)]
    assert sum(one.n_people for one in census) == 10
    assert sum(one.n_items for one in census) == sum(map(len, cut.values()))
    assert sum(one.n_dropped for one in census) == sum(len(histories[u]) - 1 - len(cut[u]) for u in drawn)
    assert drawn != sorted(histories, key=lambda user: sample_key(6, user))[:10]


@pytest.mark.parametrize("sizes", [[40], [1, 39], [13, 0, 14, 13], [0, 0, 40], [5] * 8])
def test_a_sample_is_drawn_from_few_keys(sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_run, "SPARE", 1)
    keys = [sample_key(0, str(user)) for user in range(40)]
    starts = [sum(sizes[:bucket]) for bucket in range(len(sizes))]
    buckets = [sorted(keys[start : start + size]) for start, size in zip(starts, sizes, strict=True)]
    asked: list[int] = []

    def smallest(most: int, bucket: int) -> list[str]:
        asked.append(most)
        return buckets[bucket][:most]

    for limit in (1, 2, 3, 7, 20, 39, 40, 60):
        bound = sample_bound(lambda ask, of: [ask(one) for one in of], smallest, limit, range(len(sizes)))
        assert bound == sorted(keys)[:limit][-1]
    assert len(sizes) == 1 or min(asked) == 1


def test_a_person_without_items_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user_id": ["x", "y"], "item_id": pa.array([None, []], pa.list_(pa.string()))}), path)
    assert read(staged(path, tmp_path / "staged")) == {"x": [], "y": []}


def test_hashes_tell_what_differs(tmp_path: Path) -> None:
    def hash_of(users: list[str]) -> str:
        counted = Users()
        counted.add(users)
        assert counted.n == len(users)
        return counted.hash

    assert hash_of(["b", "a"]) == hash_of(["a", "b"])
    assert len({hash_of(users) for users in (["a", "b"], ["ab"], ["a"], ["a", "a", "b"], ["a", "a"], [])}) == 6
    for name, text in {"a": "1", "b": "2", "c": "12"}.items():
        (tmp_path / name).write_text(text)
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert len({content_hash(parts) for parts in ([a, b], [b, a], [c], [a])}) == 4


@pytest.mark.parametrize("form", ["rows", "lists"])
def test_a_large_bucket_is_read_in_parts(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = people(60) | {"nothing": []}
    if form == "lists":
        pq.write_table(
            pa.table({"user_id": list(histories), "item_id": list(histories.values())}), tmp_path / "a.parquet"
        )
    else:
        del histories["nothing"]
        write_csv(tmp_path / "a.csv", histories)
    folder = staged(tmp_path / f"a.{'csv' if form == 'rows' else 'parquet'}", tmp_path / "staged", 2)
    monkeypatch.setattr(audit_slices, "ITEMS", 40)
    selection = Selection("test", frozenset(map(str, range(1, 20))))
    batches = [batch for bucket in range(2) for batch, _ in people_in(folder, bucket, selection)]
    assert len(batches) > 8
    assert max(len(batch["history"].flatten()) for batch in batches) < 80
    wanted = {user: [item for item in history[:-1] if int(item) < 20] for user, history in histories.items()}
    assert read(folder, 2, selection) == wanted
    census = [census_of(folder, selection, bucket) for bucket in range(2)]
    keys = sorted(key for bucket in range(2) for key in sampled(folder, 5, 7, bucket))[:7]
    monkeypatch.setattr(audit_slices, "ITEMS", 10**6)
    assert census == [census_of(folder, selection, bucket) for bucket in range(2)]
    assert keys == sorted(key for bucket in range(2) for key in sampled(folder, 5, 7, bucket))[:7]


def test_rows_wait_to_be_written_and_files_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_histories, "ROWS", 10)
    write_csv(tmp_path / "a.csv", people())
    (whole,) = staged(tmp_path / "a.csv", tmp_path / "few", 1).rglob("*.parquet")
    assert pq.ParquetFile(whole).num_row_groups == 1  # all batches together
    monkeypatch.setattr(audit_staging, "WAITING", 1)
    monkeypatch.setattr(audit_staging, "GROUPS", 3)
    folder = staged(tmp_path / "a.csv", tmp_path / "many", 1)
    groups = [pq.ParquetFile(path).num_row_groups for path in sorted(folder.rglob("*.parquet"))]
    assert len(groups) > 3
    assert max(groups) == 3
    assert read(folder, 1) == people()


def test_staging_is_whole_or_not_there(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", people())
    (tmp_path / ".staged.1.tmp").mkdir()  # of a process that was killed
    staged(tmp_path / "a.csv", tmp_path / "staged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "staged"]
    with pytest.raises(OptionError, match="buckets must be at most 500 here"):
        staged(tmp_path / "a.csv", tmp_path / "other", 501)
