"""The value: its fields, its files, its sentence."""

import json
import re
import subprocess
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recexplain import DataError, Explanation
from recexplain.explanation import SCHEMA_VERSION, STATUSES
from recexplain.schema import ROWS, SCHEMA, explanations_in, jsonl_text, parquet_bytes, read_explanations

FOUND = Explanation(
    user="ann", history=("8", "é\u2028\x85", "a,b", "8"), n_unseen=1, target="9", target_rank=1, k=10, change="top1",
    removal="delete", explainer="cleann", status="optimal", positions=(1, 3), items=("é\u2028\x85", "8"),
    replacement="7", before=("9", "7"), after=("7", "'\"\\"), proven_size=1, evaluations=17, null_rate=0.1,
    tau=0.5, wanted="ω", seed=3, model_hash="m", data_hash="d", version="0.1.0", error="line\nbreak", n_graphs=2,
    holds_under=("pad",), alternatives=((1, 2), (2, 3)), n_minimal=3, criticality=(0.0, 2 / 3, 2 / 3, 2 / 3),
    wanted_category="é", locked=(0,), costs=(0.5, 1.0, 1.0, 0.5), digest="x",
)  # fmt: skip
NONE = Explanation(None, (), 0, "", 0, 1, "leaves", "pad", "cleann", "error", error="it broke", digest="y")

#: design.md, section 4: the fields of a row, and their types.
TEXT, COUNT, SHARE = "str", "int", "float or null"
DOCUMENTED = {
    "schema_version": COUNT, "user": "str or null", "history": "list of str", "n_unseen": COUNT, "target": TEXT,
    "target_rank": COUNT, "k": COUNT, "change": TEXT, "removal": TEXT, "tau": SHARE, "wanted": "str or null",
    "explainer": TEXT, "status": TEXT, "positions": "list of int", "items": "list of str", "replacement": "str or null",
    "before": "list of str", "after": "list of str", "proven_size": COUNT, "evaluations": COUNT, "null_rate": SHARE,
    "seed": COUNT, "model_hash": TEXT, "data_hash": TEXT, "version": TEXT, "error": "str or null",
    "wanted_category": "str or null", "locked": "list of int", "costs": "list of float", "n_graphs": COUNT,
    "holds_under": "list of str", "alternatives": "list of list of int", "n_minimal": "int or null",
    "criticality": "list of float", "digest": TEXT,
}  # fmt: skip


def words_of(hint: Any) -> str:
    """A type annotation in the words of the documentation."""
    if isinstance(hint, types.UnionType):
        return f"{words_of(hint.__args__[0])} or null"
    return f"list of {words_of(hint.__args__[0])}" if hasattr(hint, "__args__") else hint.__name__


def words_of_arrow(field: pa.Field) -> str:
    def word(kind: pa.DataType) -> str:
        if pa.types.is_list(kind):
            return f"list of {word(kind.value_type)}"
        return (
            "str"
            if pa.types.is_string(kind)
            else "int"
            if pa.types.is_integer(kind)
            else str(kind).rstrip("64").replace("double", "float")
        )

    return word(field.type) + (" or null" if field.nullable else "")


def test_the_fields_are_the_documented_ones() -> None:
    hints = get_type_hints(Explanation)
    assert {field.name: words_of(hints[field.name]) for field in fields(Explanation)} == DOCUMENTED
    assert {field.name: words_of_arrow(field) for field in SCHEMA} == DOCUMENTED
    assert json.loads(FOUND.to_json()).keys() == DOCUMENTED.keys()
    assert STATUSES == ("optimal", "irreducible", "found", "none_up_to", "budget", "error")


def test_it_is_frozen_and_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        FOUND.k = 3  # type: ignore[misc]
    assert replace(FOUND) == FOUND
    assert hash(replace(FOUND)) == hash(FOUND)
    assert replace(FOUND, positions=(1,)) != FOUND


def both(tmp_path: Path, explanations: list[Explanation]) -> list[Path]:
    (tmp_path / "some.parquet").write_bytes(parquet_bytes(explanations))
    (tmp_path / "some.jsonl").write_text(jsonl_text(explanations), encoding="utf-8")
    return [tmp_path / "some.parquet", tmp_path / "some.jsonl"]


def test_files_return_the_same_values(tmp_path: Path) -> None:
    explanations = [replace(one, status=status) for status in STATUSES for one in (FOUND, NONE)]
    for path in both(tmp_path, explanations):
        assert read_explanations(path) == explanations
    for path in both(tmp_path, []):
        assert read_explanations(path) == []


def test_rows_that_went_through_pandas_are_the_same_still(tmp_path: Path) -> None:
    path, _ = both(tmp_path, [FOUND, NONE])
    frame = pd.read_parquet(path)
    assert [Explanation.from_dict(row) for row in frame.to_dict("records")] == [FOUND, NONE]
    for chosen in ([FOUND, NONE], [NONE], [FOUND]):  # a column may be all null
        frame[frame["status"].isin([one.status for one in chosen])].to_parquet(tmp_path / "again.parquet")
        again = read_explanations(tmp_path / "again.parquet")
        assert again == chosen
        assert [one.fingerprint() for one in again] == [one.fingerprint() for one in chosen]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@settings(deadline=None, max_examples=50)
@given(
    st.builds(
        Explanation,
        **{
            name: {
                "str": TEXTS,
                "int": st.integers(0, 2**31 - 1),
                "str or null": st.none() | TEXTS,
                "float or null": st.none() | st.floats(0, 1),
                "list of str": st.lists(TEXTS, max_size=3).map(tuple),
                "list of int": st.lists(st.integers(0, 2**31 - 1), max_size=3).map(tuple),
                "list of float": st.lists(st.floats(0, 9), max_size=3).map(tuple),
                "list of list of int": st.lists(st.lists(st.integers(0, 99), max_size=3).map(tuple), max_size=3).map(
                    tuple
                ),
                "int or null": st.none() | st.integers(0, 2**31 - 1),
            }[words]
            for name, words in DOCUMENTED.items()
            if name not in ("schema_version", "status", "digest")
        },
        digest=st.text("0123456789abcdef", min_size=1),
        status=st.sampled_from(STATUSES),
    )
)
def test_any_value_survives_json_and_parquet(explanation: Explanation) -> None:
    assert Explanation.from_json(explanation.to_json()) == explanation
    assert "\n" not in explanation.to_json()
    table = pq.read_table(pa.BufferReader(parquet_bytes([explanation, explanation])))
    assert [Explanation.from_dict(row) for row in table.to_pylist()] == [explanation, explanation]


def test_the_same_explanations_make_the_same_file() -> None:
    assert parquet_bytes([FOUND, NONE]) == parquet_bytes([FOUND, NONE])
    assert pq.read_table(pa.BufferReader(parquet_bytes([FOUND]))).schema.equals(SCHEMA)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.update(schema_version=3), "schema_version 1 or 2 here, not 3"),
        (lambda row: row.pop("schema_version"), "schema_version 1 or 2 here, not None"),
        (lambda row: row.pop("criticality"), "has no field criticality"),
        (lambda row: row.update(alternatives=3), "the field alternatives of an explanation must be a list, not 3"),
        (lambda row: row.pop("null_rate"), "has no field null_rate"),
        (lambda row: row.update(status="best"), "status must be one of optimal, .*, not 'best'"),
        (lambda row: row.update(items=None), "the field items of an explanation must be a list, not None"),
        (lambda row: row.update(positions="12"), "the field positions of an explanation must be a list, not '12'"),
    ],
)
def test_a_row_that_is_not_ours_is_refused(change: Callable[[dict[str, Any]], Any], words: str, tmp_path: Path) -> None:
    row = FOUND.to_dict()
    change(row)
    with pytest.raises(DataError, match=words):
        Explanation.from_dict(row)
    (tmp_path / "some.jsonl").write_text(json.dumps(row), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "some.parquet")
    for path in (tmp_path / "some.jsonl", tmp_path / "some.parquet"):
        with pytest.raises(DataError, match=f"some.{path.suffix[1:]} holds no explanations of ours: .*{words}"):
            read_explanations(path)


#: A row as version 0.1.0 wrote it, before alternatives and digests.
OLD = (
    '{"user": "ann", "history": ["8", "1", "2"], "n_unseen": 1, "target": "9", "target_rank": 1, "k": 2, '
    '"change": "top1", "removal": "pad", "explainer": "cleann", "status": "optimal", "positions": [2], "items": ["2"], '
    '"replacement": "7", "before": ["9", "7"], "after": ["7", "9"], "proven_size": 0, "evaluations": 2, '
    '"null_rate": 0.5, "tau": null, "wanted": null, "seed": 0, "model_hash": "m", "data_hash": "d", '
    '"version": "0.1.0", "error": null, "schema_version": 1}'
)


def test_files_of_the_first_version_still_load(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text(OLD + "\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([json.loads(OLD)]), tmp_path / "old.parquet")
    for path in (tmp_path / "old.jsonl", tmp_path / "old.parquet"):
        (old,) = read_explanations(path)
        assert (old.history, old.positions, old.null_rate, old.items) == (("8", "1", "2"), (2,), 0.5, ("2",))
        assert (old.schema_version, old.alternatives, old.n_minimal) == (SCHEMA_VERSION, (), None)
        assert old.digest == old.fingerprint()  # of what was read
        for again in both(tmp_path, [old]):
            assert read_explanations(again) == [old]


OTHER = {"str": "optima", "int": 77, "float": 0.123, "list": [], "NoneType": "now"}


@pytest.mark.parametrize("field", sorted(DOCUMENTED.keys() - {"schema_version", "digest", "status"}))
def test_the_fingerprint_is_another_where_any_field_is(field: str) -> None:
    row = FOUND.to_dict()
    row[field] = OTHER[type(row[field]).__name__]
    assert Explanation.from_dict(row).fingerprint() != FOUND.fingerprint()
    assert replace(FOUND, status="found").fingerprint() != FOUND.fingerprint()
    assert replace(FOUND, digest="y").fingerprint() == FOUND.fingerprint()


@pytest.mark.parametrize("content", [b"PAR1 no", b"\xff\xfe", b"[1]\n", b"{", b'"text"'])
@pytest.mark.parametrize("name", ["some.parquet", "some.jsonl"])
def test_a_file_that_is_not_ours_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} holds no explanations of ours"):
        read_explanations(tmp_path / name)
    with pytest.raises(DataError, match="there is no file"):
        read_explanations(tmp_path / "other.parquet")


def test_a_file_is_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [replace(FOUND, user=f"u{number}") for number in range(2000)]
    held = weakref.WeakSet[Explanation]()
    read = pq.ParquetFile.iter_batches

    def watched(self: pq.ParquetFile, n: int, *more: Any) -> Iterator[pa.RecordBatch]:
        for batch in read(self, n, *more):
            assert batch.num_rows <= n == ROWS
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    for path in both(tmp_path, many):
        for number, one in enumerate(explanations_in(path)):
            held.add(one)
            assert one.user == f"u{number}"
            assert len(held) <= 2
        assert number == 1999


def test_a_large_row_group_is_not_read_whole(tmp_path: Path) -> None:
    draw, path = np.random.default_rng(0), tmp_path / "large.parquet"
    rows = [replace(FOUND, user=draw.bytes(1000).hex()).to_dict() for _ in range(16 * ROWS)]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, row_group_size=len(rows))
    program = (
        "import sys, pyarrow; from recexplain.schema import explanations_in; "
        "print(sum(1 for _ in explanations_in(sys.argv[1])), pyarrow.default_memory_pool().max_memory())"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    n, most = map(int, done.stdout.split())
    assert n == len(rows)
    assert 0 < most < path.stat().st_size * 3 / 4


ODD = {
    "a word for a number": (
        {"k": "ten"},
        "the field k of an explanation must be a whole number of 0 or more, not 'ten'",
    ),
    "a negative number": ({"proven_size": -1}, "proven_size of an explanation must be a whole number of 0 or more"),
    "a truth": ({"evaluations": True}, "evaluations of an explanation must be a whole number"),
    "an endless number": ({"null_rate": float("inf")}, "null_rate of an explanation must be a number or null"),
    "nothing in a list": ({"costs": [1.0, None]}, "costs of an explanation must be a list of numbers"),
    "nothing for a list": ({"alternatives": [None]}, "must be a list of lists of whole numbers of 0 or more"),
    "words for places": ({"positions": ["1"]}, "positions of an explanation must be a list of whole numbers"),
    "a number for a text": ({"model_hash": 7}, "model_hash of an explanation must be a text, not '7'"),
    "half a character": ({"user": "\ud800"}, "user of an explanation must be a text or null"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_value_of_another_kind_is_refused(name: str) -> None:
    change, words = ODD[name]
    with pytest.raises(DataError, match=re.escape(words)):
        Explanation.from_dict(FOUND.to_dict() | change)


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    with pytest.raises(DataError, match="its values lie too deep in one another"):
        read_explanations(tmp_path / "deep.jsonl")
    with pytest.raises(DataError, match="explanations= is a file that explain has written, or the folder"):
        read_explanations(tmp_path)


def test_an_unknown_status_is_no_explanation() -> None:
    with pytest.raises(DataError, match="status must be one of"):
        replace(FOUND, status="")


TITLES = {"1": "Alien", "2": "Brazil", "3": "Duel", "9": "Heat", "7": "Kika"}
ONE = replace(FOUND, items=("1",), positions=(0,))
LEAVES = replace(ONE, change="leaves", k=5)
NOTHING = replace(FOUND, status="none_up_to", items=(), positions=(), after=(), replacement=None)


@pytest.mark.parametrize(
    ("explanation", "sentence"),
    [
        (ONE, "Recommended because you watched *Alien*; without it, it would have been *Kika*."),
        (
            replace(ONE, items=("1", "2")),
            "Recommended because you watched *Alien* and *Brazil*; without them it would have been *Kika*.",
        ),
        (
            replace(ONE, items=("1", "2", "3")),
            "Recommended because you watched *Alien*, *Brazil* and *Duel*; without them it would have been *Kika*.",
        ),
        (
            replace(ONE, items=("1", "2", "1")),
            "Recommended because you watched *Alien* (2 times) and *Brazil*; without them it would have been *Kika*.",
        ),
        (
            replace(ONE, replacement=None),
            "Recommended because you watched *Alien*; without it, it would have been nothing.",
        ),
        (
            replace(ONE, null_rate=0.5),
            "Recommended because you watched *Alien*; without it, it would have been *Kika*. "
            "But 50% of random sets of that size do as well: this says little.",
        ),
        (
            replace(ONE, change="list", before=("9", "7", "3"), after=("7", "2", "1")),
            "Your top 10 is what it is because you watched *Alien*; without it, 2 of it would be new.",
        ),
        (
            replace(ONE, change="enters", wanted="3"),
            "*Duel* is not in your top 10 because you watched *Alien*; without it, it would be.",
        ),
        (
            replace(ONE, change="enters", wanted=None, wanted_category="Drama"),
            "There is no Drama in your top 10 because you watched *Alien*; without it, there would be.",
        ),
        (replace(NOTHING, change="list"), "No removal of one item makes enough of your top 10 new."),
        (replace(NOTHING, change="enters", wanted="3"), "No removal of one item brings *Duel* into your top 10."),
        (LEAVES, "*Heat* is in your top 5 because you watched *Alien*; without it, it would not be."),
        (
            replace(LEAVES, items=("1", "unknown")),
            "*Heat* is in your top 5 because you watched *Alien* and *unknown*; without them it would not be.",
        ),
        (replace(NOTHING, proven_size=1), "No removal of one item changes the recommendation of *Heat*."),
        (replace(NOTHING, proven_size=2), "No removal of up to 2 items changes the recommendation of *Heat*."),
        (replace(NOTHING, proven_size=0), "No removal that was tested changes the recommendation of *Heat*."),
        (
            replace(NOTHING, proven_size=0, evaluations=0),
            "No removal was tested: nothing that you watched is linked to *Heat*.",
        ),
        (replace(NOTHING, change="leaves"), "No removal of one item takes *Heat* out of your top 10."),
        (
            replace(NOTHING, status="budget"),
            "No removal was found that changes the recommendation of *Heat* before the budget ran out.",
        ),
        (
            replace(NOTHING, status="budget", evaluations=0, change="leaves"),
            "No removal was found that takes *Heat* out of your top 10 before the budget ran out.",
        ),
        (NONE, "No explanation could be computed: it broke"),
    ],
)
def test_the_sentence(explanation: Explanation, sentence: str) -> None:
    assert explanation.sentence(lambda item: TITLES.get(item, item)) == sentence


def test_without_titles_the_ids_stand_in_the_sentence() -> None:
    assert ONE.sentence() == "Recommended because you watched *1*; without it, it would have been *7*."
