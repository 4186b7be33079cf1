"""The Parquet files of a run of `recexplain evaluate`: one value a row, so that any tool can pivot them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recexplain.evaluation.journal import damaged
from recexplain.evaluation.perturbation import TENTHS
from recexplain.evaluation.scoreboard import Contest, Values

_WHO = (pa.field("explainer", pa.string(), nullable=False), pa.field("user", pa.string(), nullable=False))
METRICS = pa.schema([*_WHO, pa.field("metric", pa.string(), nullable=False), pa.field("value", pa.float64())])
CURVES = pa.schema(
    [
        *_WHO,
        pa.field("kind", pa.string(), nullable=False),  # removed: without the share; kept: with it alone
        pa.field("share", pa.float64(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
    ]
)
SECONDS = ("graph_s", "search_s")
TIMINGS = pa.schema([*_WHO, *(pa.field(name, pa.float64(), nullable=False) for name in SECONDS)])


def metric_bytes(contests: Sequence[Contest], values: Mapping[str, Values]) -> bytes:
    """Return the content of `metrics.parquet`: explainer, user, metric, value (null where it does not apply)."""
    rows = []
    for contest in contests:
        for name, column in values[contest.label].items():
            for one, value in zip(contest.measured, column, strict=False):
                plain = None if np.isnan(value) else float(value)
                rows.append((contest.label, str(one.explanation.user), name, plain))
    return _bytes(rows, METRICS)


def curve_bytes(contests: Sequence[Contest]) -> bytes:
    """Return the content of `curves.parquet`: the probability of the explained item at each share of the order."""
    rows = [
        (contest.label, str(one.explanation.user), kind, share, probability)
        for contest in contests
        for one in contest.measured
        for kind, curve in (("removed", one.removed), ("kept", one.kept))
        for share, probability in zip(TENTHS, curve, strict=False)  # none of a person who was not explained
    ]
    return _bytes(rows, CURVES)


def timing_bytes(contests: Sequence[Contest]) -> bytes:
    """Return the content of `timings.parquet`: the seconds of each search, which differ from run to run.

    What is measured of a set afterwards is not among them: explainers share it.
    """
    rows = [
        (contest.label, str(one.explanation.user), *(getattr(one.timing, name) for name in SECONDS))
        for contest in contests
        for one in contest.measured
    ]
    return _bytes(rows, TIMINGS)


def seconds_of(path: Path) -> dict[str, tuple[float, float]]:
    """Return p50 and p95 of each explainer's seconds a person; `DataError` where the file is not as it was written."""
    try:
        table = pq.read_table(path).to_pydict()
        labels = np.array(table["explainer"])
        seconds = np.array(table["graph_s"]) + np.array(table["search_s"])
    except (pa.ArrowException, KeyError, OSError):
        raise damaged(path) from None
    return {
        str(label): tuple(np.percentile(seconds[labels == label], [50, 95]).tolist())
        for label in dict.fromkeys(labels.tolist())
    }


def _bytes(rows: Iterable[Sequence[Any]], schema: pa.Schema) -> bytes:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    table = pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
