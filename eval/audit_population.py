"""How many people a table holds, of whom an audit may draw some."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq


def n_staged(staged: Path, bucket: int) -> int:
    """Return how many people lie in a staged bucket; only their ids are read, a file at a time."""
    users: set[str] = set()
    for path in sorted((staged / f"bucket={bucket}").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=["user"]):
            users.update(pc.unique(batch["user"]).to_pylist())
    return len(users)
