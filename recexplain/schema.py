"""Explanations in files: Parquet with a fixed schema, JSON lines with the same names."""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recexplain.errors import DataError
from recexplain.explanation import Explanation

ROWS = 500  # read at once
BUFFER = 2**16  # bytes of a column read at once: else as much as a row group has, which others may have written
GROUP = 10_000  # rows of a row group at most: whoever reads a file holds one

_TEXTS, _PLACES, _NUMBERS = pa.list_(pa.string()), pa.list_(pa.int32()), pa.list_(pa.float64())

#: One row of `explanations.parquet`; the JSON lines have the same names.
SCHEMA = pa.schema(
    [
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("user", pa.string()),
        pa.field("history", _TEXTS, nullable=False),
        pa.field("n_unseen", pa.int32(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("target_rank", pa.int32(), nullable=False),
        pa.field("k", pa.int32(), nullable=False),
        pa.field("change", pa.string(), nullable=False),
        pa.field("removal", pa.string(), nullable=False),
        pa.field("tau", pa.float64()),
        pa.field("wanted", pa.string()),
        pa.field("wanted_category", pa.string()),
        pa.field("locked", _PLACES, nullable=False),
        pa.field("costs", _NUMBERS, nullable=False),
        pa.field("explainer", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("positions", _PLACES, nullable=False),
        pa.field("items", _TEXTS, nullable=False),
        pa.field("replacement", pa.string()),
        pa.field("before", _TEXTS, nullable=False),
        pa.field("after", _TEXTS, nullable=False),
        pa.field("proven_size", pa.int32(), nullable=False),
        pa.field("evaluations", pa.int64(), nullable=False),
        pa.field("n_graphs", pa.int32(), nullable=False),
        pa.field("null_rate", pa.float64()),
        pa.field("holds_under", _TEXTS, nullable=False),
        pa.field("alternatives", pa.list_(_PLACES), nullable=False),
        pa.field("n_minimal", pa.int32()),
        pa.field("criticality", _NUMBERS, nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("model_hash", pa.string(), nullable=False),
        pa.field("data_hash", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("digest", pa.string(), nullable=False),
    ]
)


def parquet_bytes(explanations: Iterable[Explanation]) -> bytes:
    """Return the content of an `explanations.parquet`."""
    table = pa.Table.from_pylist([explanation.to_dict() for explanation in explanations], schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=GROUP)
    return buffer.getvalue()


def jsonl_text(explanations: Iterable[Explanation]) -> str:
    """Return the content of an `explanations.jsonl`."""
    return "".join(explanation.to_json() + "\n" for explanation in explanations)


def read_explanations(path: str | Path) -> list[Explanation]:
    """Return the explanations of a Parquet or JSON lines file, or of an audit's folder of buckets.

    `DataError` names what is wrong with it.
    """
    return list(explanations_in(path))


def explanations_in(path: str | Path) -> Iterator[Explanation]:
    """Yield the same one by one: what is held of a file does not go with the number of its rows."""
    path = Path(path)
    files = sorted(path.glob("bucket=*/*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        what = "a file that explain has written, or the folder explanations of an audit"
        raise DataError(
            f"there is no file {path}; explanations= is {what}" if path.is_dir() else f"there is no file {path}"
        )
    try:
        for file in files:
            yield from map(Explanation.from_dict, _rows(file))
    except RecursionError:
        raise DataError(f"{path} holds no explanations of ours: its values lie too deep in one another") from None
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(f"{path} holds no explanations of ours: {str(error).splitlines()[0]}") from None


def _rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path, memory_map=False, buffer_size=BUFFER, pre_buffer=False) as file:
            for batch in file.iter_batches(ROWS):
                yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8", newline="\n") as lines:  # an id may hold what else is taken for a line's end
        yield from (json.loads(line) for line in lines if line != "\n")
