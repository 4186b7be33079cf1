"""What is wrong with a ratings file is said in one sentence, with the file, the line and the column."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recexplain.errors import DataError, OptionError, RecExplainError
from recexplain.interactions import Frame, Interactions, MovieLens1M
from recexplain.sequences import load_dataset

HEADER = "user_id,item_id,timestamp\n"
NO_TIME = "is no time; allowed are numbers, or ISO dates in every row"


def refused(path: Path, content: str | bytes, **options: Any) -> str:
    """Return the sentence about a file, without the file's name, which it must begin with."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        Interactions(str(path), **options).read()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(str(path))
    return sentence.removeprefix(str(path)).removeprefix(", ").strip()


CSV = {
    "empty": ("", "is empty; a header and at least one row are needed"),
    "blanks only": (" \n\n \n", "is empty; a header and at least one row are needed"),
    "header only": (HEADER, "holds no rows; at least one rating is needed"),
    "header without a line end": (HEADER.strip(), "holds no rows; at least one rating is needed"),
    "blank header": ("\n" + HEADER + "1,2,3\n", "line 1: the line is blank; the names of the columns must stand there"),
    "duplicate header": ("user_id,item_id,item_id\n1,2,3\n", "line 1: the column 'item_id' stands twice"),
    "missing column": (
        "user_id,item,timestamp\n1,2,3\n",
        "has no column 'item_id'; its columns are user_id, item, timestamp",
    ),
    "another separator": (
        "user_id;item_id;timestamp\n1;2;3\n",
        "has no column 'user_id'; its columns are user_id;item_id;timestamp; another separator is given as data.sep=",
    ),
    "bad number": (HEADER + "1,2,3\n1,3,x4\n", f"line 3, column 'timestamp': 'x4' {NO_TIME}"),
    "NaN": (HEADER + "1,2,3\n1,3,nan\n1,4,5\n", f"line 3, column 'timestamp': 'nan' {NO_TIME}"),
    "infinity": (HEADER + "1,2,inf\n", f"line 2, column 'timestamp': 'inf' {NO_TIME}"),
    "no time": (HEADER + "1,2,\n", f"line 2, column 'timestamp': '' {NO_TIME}"),
    "no such day": (HEADER + "1,2,2020-01-31\n1,3,2020-02-30\n", f"line 3, column 'timestamp': '2020-02-30' {NO_TIME}"),
    "a number among dates": (
        HEADER + "1,2,2020-01-31\n1,3,2020-02-01\n1,4,978300760\n",
        f"line 4, column 'timestamp': '978300760' {NO_TIME}",
    ),
    "a date among numbers": (
        HEADER + "1,2,5\n1,3,2020-02-01\n1,4,978300760\n",
        f"line 3, column 'timestamp': '2020-02-01' {NO_TIME}",
    ),
    "empty user": (HEADER + "1,2,3\n,2,3\n", "line 3, column 'user_id': the cell is empty"),
    "blank item": (HEADER + "1,2,3\n1,  ,3\n", "line 3, column 'item_id': the cell is empty"),
    "row too long": (HEADER + "1,2,3\n1,2,3,4\n", "line 3: too many cells; split at ',' the row has 4 cells"),
    "first row too long": (HEADER + "1,2,3,4\n1,2,3\n", "line 2: too many cells"),
    "row too short": (HEADER + "1,2,3\n1,2\n", "line 3, column 'timestamp': the cell is missing"),
    "one row short, one long": (HEADER + "1,2,3,4\n1,2\n", "line 2: too many cells"),
    "blank line inside": (HEADER + "1,2,3\n\n1,3,4\n", "line 3: the line is blank; only the end of a file may have"),
    "spaces inside": (HEADER + "1,2,3\n  \n1,3,4\n", "line 3: the line is blank; only the end of a file may have"),
    "after a quoted line break": (HEADER + '1,"a\nb\nc",3\n1,d,x\n', f"line 5, column 'timestamp': 'x' {NO_TIME}"),
    "after a quoted line break with as many commas as a line": (
        HEADER + '1,"a,\n,b",3\n1,d,x\n',
        f"line 4, column 'timestamp': 'x' {NO_TIME}",
    ),
    "too long after a quoted line break": (HEADER + '1,"a\nb",3\n1,d,4,5\n', "line 4: too many cells"),
    "open quotation": (HEADER + '1,a,3\n1,"b,4\n1,c,5\n', "line 3: a quotation mark is not closed, or stands alone"),
    "wrong encoding": (
        HEADER.encode() + b"1,2,3\n1,caf\xe9,4\n",
        "line 3, byte 6: 0xe9 is not utf-8; save the file as",
    ),
    "UTF-16": ((HEADER + "1,2,3\n").encode("utf-16"), "line 1, byte 1: 0xff is not utf-8"),
    "UTF-16 without its mark": ((HEADER + "1,2,3\n").encode("utf-16-le"), "line 1: there is a NUL character"),
    "NUL inside": (HEADER + "1,a\0b,3\n", "line 2: there is a NUL character"),
}


@pytest.mark.parametrize("name", CSV)
def test_a_wrong_csv_file(name: str, tmp_path: Path) -> None:
    content, sentence = CSV[name]
    assert refused(tmp_path / "ratings.csv", content).startswith(sentence)


@pytest.mark.parametrize("name", [name for name in CSV if isinstance(CSV[name][0], str)])
def test_lines_are_counted_alike_in_a_packed_windows_file(name: str, tmp_path: Path) -> None:
    content, sentence = CSV[name]
    assert isinstance(content, str)
    packed = gzip.compress(content.replace("\n", "\r\n").encode())
    assert refused(tmp_path / "ratings.csv.gz", packed).startswith(sentence)


PLAIN = {"columns": ["user", "item"], "user_col": "user", "item_col": "item", "time_col": None}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1 2\n1\n", "line 2, column 'item': the cell is missing; split at ' ' the row has 1 cells"),
        ("1 2\n1 2 3\n", "line 2: too many cells; split at ' ' the row has 3 cells, the columns are user, item"),
        ("1  2\n", "line 1: too many cells"),
        ("1\t2\n", "line 1, column 'item': the cell is missing"),
        ("1 2\n\n1 2\n", "line 2: the line is blank"),
        ("1 2\n2 \n", "line 2, column 'item': the cell is empty"),
    ],
)
def test_a_wrong_file_of_user_and_item(content: str, sentence: str, tmp_path: Path) -> None:
    assert refused(tmp_path / "ratings.txt", content, **PLAIN).startswith(sentence)


def test_a_cell_is_missing_even_where_no_one_asks_for_its_column(tmp_path: Path) -> None:
    sentence = refused(tmp_path / "r.csv", "user_id,item_id,timestamp,rating\n1,2,3,4\n1,3,4\n")
    assert sentence.startswith("line 3, column 'rating': the cell is missing")


def test_a_wrong_parquet_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "r.parquet", "abc").startswith("is no readable Parquet file: ")
    frame = pd.DataFrame({"user_id": ["u", "v"], "item_id": ["1", None], "timestamp": [1, 2]})
    frame.to_parquet(tmp_path / "r.parquet")
    content = (tmp_path / "r.parquet").read_bytes()
    assert refused(tmp_path / "r.parquet", content).startswith("row 2, column 'item_id': the cell is empty")
    assert refused(tmp_path / "r.parquet", content[:-9]).startswith("is no readable Parquet file: ")


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("timestamp", [1, None, 3], f"row 2, column 'timestamp': 'nan' {NO_TIME}"),
        ("timestamp", pd.array([1, 2, None], dtype="Int64"), f"row 3, column 'timestamp': '<NA>' {NO_TIME}"),
        ("timestamp", pd.to_datetime(["2020-01-01", None, None]), f"row 2, column 'timestamp': 'NaT' {NO_TIME}"),
        ("timestamp", pd.to_datetime([None] * 3, utc=True), f"row 1, column 'timestamp': 'NaT' {NO_TIME}"),
        ("timestamp", pd.to_timedelta(["1s", None, "2s"]), f"row 2, column 'timestamp': 'NaT' {NO_TIME}"),
        ("user_id", [1.0, 2.0, None], "row 3, column 'user_id': the cell is empty"),
        ("user_id", ["a", "", "b"], "row 2, column 'user_id': the cell is empty"),
    ],
)
def test_a_wrong_cell_of_a_frame(column: str, values: Any, sentence: str) -> None:
    frame = pd.DataFrame({"user_id": ["u"] * 3, "item_id": ["i"] * 3, "timestamp": [1, 2, 3]}).assign(
        **{column: values}
    )
    with pytest.raises(DataError) as caught:
        Frame(frame).read()
    assert str(caught.value).startswith("the data frame, " + sentence)


def test_a_frame_with_a_column_twice_or_without_rows() -> None:
    frame = pd.DataFrame([["u", "i", 1]], columns=["user_id", "item_id", "timestamp"])
    with pytest.raises(DataError, match="the data frame has the column 'item_id' twice"):
        Frame(pd.concat([frame, frame[["item_id"]]], axis=1)).read()
    with pytest.raises(DataError, match="the data frame holds no rows"):
        Frame(frame[:0]).read()


def test_a_packed_file_that_is_cut_or_changed(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "1,2,3\n" * 400).encode())
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    for content in (whole[:-12], whole[: len(whole) // 2], bytes(changed), b"1,2,3\n"):
        assert refused(tmp_path / "r.csv.gz", content).startswith("is no complete gzip file: ")


def test_a_packed_file_with_a_wrong_byte_in_its_stream(tmp_path: Path) -> None:
    content = bytearray(gzip.compress((HEADER + "1,2,3\n" * 400).encode()))
    content[10] |= 0b110  # a block type that does not exist: zlib's own error
    assert refused(tmp_path / "r.csv.gz", bytes(content)).startswith("is no complete gzip file: ")


def test_no_file_a_folder_and_an_unknown_encoding(tmp_path: Path) -> None:
    for name in ("none.csv", "none.csv.gz", "none.parquet"):
        with pytest.raises(DataError, match=f"^there is no file .*{name}$"):
            Interactions(str(tmp_path / name)).read()
    for name in ("folder.csv", "folder.parquet"):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match=f"{name} is a folder; a file is needed"):
            Interactions(str(tmp_path / name)).read()
    (tmp_path / "r.csv").write_text(HEADER + "1,2,3\n")
    for encoding in ("utf-9", "hex", None):
        with pytest.raises(OptionError, match=r"there is no encoding .*; allowed are Python's, such as utf-8"):
            Interactions(str(tmp_path / "r.csv"), encoding=encoding).read()  # type: ignore[arg-type]


def test_columns_that_a_file_without_header_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns: the column 'a' stands twice"):
        Interactions(str(tmp_path / "r.txt"), columns=["a", "a"])


def test_wrong_titles_name_their_own_file(tmp_path: Path) -> None:
    ratings, titles = tmp_path / "r.csv", tmp_path / "titles.csv"
    ratings.write_text(HEADER + "1,2,3\n")
    titles.write_text("item_id,name\n2,Alien\n")
    with pytest.raises(DataError, match=r"titles\.csv has no column 'title'; its columns are item_id, name"):
        Interactions(str(ratings), titles_path=str(titles)).read()


def test_a_folder_without_movielens(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; it must hold ratings\.dat"):
        MovieLens1M(str(tmp_path / "nowhere")).read()
    with pytest.raises(DataError, match=r"there is no ratings\.dat or ratings\.dat\.gz in the folder"):
        MovieLens1M(str(tmp_path)).read()
    (tmp_path / "ratings.dat").write_text("1::2::5::3\n1::2:5::4\n")
    with pytest.raises(DataError, match=r"ratings\.dat, line 2, column 'timestamp': the cell is missing"):
        MovieLens1M(str(tmp_path)).read()


def test_a_user_with_too_few_items_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rows = ["ann,1,1", "ann,2,2", "ann,3,3", "bob,1,1", "bob,2,2", "eve,1,1"]
    path.write_text("who,item_id,timestamp\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError) as caught:
        load_dataset(Interactions(str(path), "who", min_item_ratings=1))
    assert str(caught.value).startswith(
        f"{path}, line 5, column 'who': user 'bob' has 2 items left after rare items were dropped, 3 are needed "
        "(2 such users)"
    )
    assert len(load_dataset(Interactions(str(path), "who", min_item_ratings=1, min_user_items=1)).histories) == 3


def test_no_item_with_enough_ratings(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(HEADER + "1,2,3\n")
    with pytest.raises(RecExplainError, match=r"no item has 5 ratings or more; .*data\.min_item_ratings=1"):
        load_dataset(Interactions(str(tmp_path / "r.csv")))
