"""The rows of a bucket on disk: written whole or not at all, and known again when an audit goes on."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recexplain.errors import DataError
from recexplain.evaluation.audit_apart import explained_apart
from recexplain.evaluation.audit_kernel import Job, explained_batches
from recexplain.evaluation.audit_staging import Census, Selection, Users, people_in, reason_of
from recexplain.schema import SCHEMA

TOGETHER = 2  # tries of a bucket before its people are explained one by one, each in a process of their own
BATCHES = 16  # of rows are written together: a row group of a few rows takes more room than they


@dataclass(frozen=True)
class Folders:
    """Where an audit keeps its buckets."""

    out: str

    @property
    def staged(self) -> Path:
        """Histories by bucket, dropped at the end."""
        return Path(self.out, "staged")

    @property
    def explanations(self) -> Path:
        """`bucket=<n>/*.parquet`, the evidence."""
        return Path(self.out, "explanations")

    def of_bucket(self, bucket: int) -> Path:
        """Return the folder of a bucket's explanations."""
        return self.explanations / f"bucket={bucket}"


def explain_bucket(
    job: Job, folders: Folders, selection: Selection, bucket: int, *, n_tries: int = 0
) -> Iterator[pa.RecordBatch]:
    """Yield the explanations of a staged bucket, on the tries after `TOGETHER` with its people apart."""
    people = (batch for batch, _ in people_in(folders.staged, bucket, selection))
    yield from (explained_batches if n_tries < TOGETHER else explained_apart)(job, people)


def write_bucket(folder: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[int]:
    """Write a bucket's rows under a temporary name, then rename; yield how many rows each batch has.

    What an earlier run left in the folder, half-written files too, is gone afterwards.
    """
    path = folder / "part.parquet"
    temporary = folder / f".part.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            with pq.ParquetWriter(file, SCHEMA) as writer:
                waiting: list[pa.RecordBatch] = []
                for batch in batches:
                    waiting.append(batch)
                    if len(waiting) == BATCHES:
                        writer.write_table(pa.Table.from_batches(waiting))
                        waiting = []
                    yield batch.num_rows
                if waiting:
                    writer.write_table(pa.Table.from_batches(waiting))
            file.flush()
            os.fsync(file.fileno())
        for left in set(folder.iterdir()) - {temporary}:
            left.unlink()
        temporary.rename(path)
    except OSError as error:
        kept = "finished buckets are kept, and the same command goes on with the rest"
        raise DataError(f"{path} cannot be finished: {reason_of(error)}; {kept}") from None
    finally:
        with suppress(OSError):  # the folder may be the trouble
            temporary.unlink(missing_ok=True)


def parts_of(folders: Folders, bucket: int) -> list[Path]:
    """Return the files of a bucket's explanations; Spark names them otherwise than we do."""
    return sorted(folders.of_bucket(bucket).glob("*.parquet"))


def rows_of(folders: Folders, bucket: int, columns: Sequence[str] | None = None) -> Iterator[list[dict[str, object]]]:
    """Yield the explanations of a bucket as plain rows, some at a time; `DataError` where a file is damaged."""
    for path in parts_of(folders, bucket):
        try:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=1024, columns=columns):
                yield batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}; remove it and run again") from None


def is_finished(folders: Folders, job: Job, census: Census) -> bool:
    """Whether a bucket holds what this audit would write: its people, once each, and its options in every row."""
    wanted = {
        "change": job.options.change,
        "k": job.options.k,
        "removal": job.options.removal,
        "seed": job.options.seed,
        "explainer": job.explainer.name,
    }
    users = Users()
    try:
        for rows in rows_of(folders, census.bucket, ["user", *wanted]):
            if any(row[name] != value for row in rows for name, value in wanted.items()):
                return False
            users.add(str(row["user"]) for row in rows)
    except (DataError, KeyError):
        return False
    return bool(users.n == census.n_people and users.hash == census.users_hash)
