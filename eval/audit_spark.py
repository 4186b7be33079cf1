"""Explains buckets on Spark: a task a bucket, retried by Spark, written by its committer; the rows are the local ones.

Nothing else here imports PySpark, and this file imports it only when it is used. The folder of the audit, the
checkpoint and the parts of the table must be seen under the same path by every machine.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import torch

from recexplain.errors import CheckpointError, DataError, OptionError, RecExplainError, UnknownIdError
from recexplain.evaluation.audit_engines import M
from recexplain.evaluation.audit_histories import Layout, batches_of
from recexplain.evaluation.audit_kernel import Job
from recexplain.evaluation.audit_local import Advance
from recexplain.evaluation.audit_parts import Folders, explain_bucket
from recexplain.evaluation.audit_processes import THREADS
from recexplain.evaluation.audit_staging import PARTS, Census, Selection, buckets_of, fresh_folder, split
from recexplain.schema import SCHEMA

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

T = TypeVar("T")

BUCKET = pa.field("bucket", pa.int32())

#: What a task may say of its input; Spark passes on the name and the sentence.
OURS = {error.__name__: error for error in (CheckpointError, DataError, OptionError, UnknownIdError)}

#: How often the bar is told how far Spark is, seconds.
PAUSE = 0.5

#: Buckets a core that are written together: when a job dies these are lost, and at the end of each wave cores wait.
WAVE = 16


@dataclass(frozen=True)
class SparkEngine:
    """A cluster, or threads of this machine."""

    master: str | None  # None: what spark-submit says
    memory: str | None  # of the driver

    def stage(self, layout: Layout, folder: Path, n_buckets: int) -> None:
        """Read a part a task, and write a file a bucket."""
        session, fresh = self._session(), fresh_folder(folder)
        read = partial(_staged_rows, layout, n_buckets)
        schema = _spark_schema(layout.schema.append(BUCKET))
        rows = _numbers(session, len(layout.parts)).mapInArrow(read, schema)
        try:
            _as_ours(partial(_write, rows.repartition(n_buckets, "bucket"), fresh))
            if not any(fresh.glob("bucket=*")):
                raise DataError("the histories hold no rows; at least one person is needed")
            fresh.rename(folder)
        finally:
            if fresh.exists():
                shutil.rmtree(fresh)

    def map(self, function: Callable[[int], T], buckets: Sequence[int]) -> list[T]:
        """Ask a bucket a task."""
        if not buckets:
            return []
        context = self._session().sparkContext
        return _as_ours(lambda: context.parallelize(list(buckets), len(buckets)).map(function).collect())

    def counts(self, function: Callable[[Sequence[Census]], M], buckets: Sequence[Census]) -> tuple[Iterator[M], int]:
        """Ask some buckets a task, a task a core at a time; tasks add up among themselves, so that few come here."""
        context = self._session().sparkContext
        at_once = context.defaultParallelism
        parts = split(buckets, PARTS * at_once)
        waves = [parts[start : start + at_once] for start in range(0, len(parts), at_once)]

        def counted(wave: Sequence[Sequence[Census]]) -> M:
            return _as_ours(lambda: context.parallelize(wave, len(wave)).map(function).treeReduce(_merged))

        return map(counted, waves), len(waves)

    def explain(
        self, job: Job, folders: Folders, selection: Selection, missing: Sequence[Census], advance: Advance
    ) -> None:
        """Explain a bucket a task; `WAVE` a core are committed together, and replace what their folders held."""
        session = self._session()
        for left in folders.explanations.glob(".spark-staging-*"):  # of a run that was killed
            shutil.rmtree(left)
        size = WAVE * session.sparkContext.defaultParallelism
        for start in range(0, len(missing), size):
            wave = missing[start : start + size]
            _explain_wave(session, job, folders, selection, wave=wave, advance=advance)

    def _session(self) -> "SparkSession":
        """Return the session of this process, started where there is none."""
        try:
            from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415  an extra, and slow to import
            from pyspark.sql import SparkSession  # noqa: PLC0415
        except ImportError:
            raise OptionError("engine=spark needs PySpark: pip install 'recexplain[spark]', and Java 17") from None
        active = SparkSession.getActiveSession()
        if active is not None:
            return active
        builder = SparkSession.builder.appName("recexplain audit").config("spark.ui.showConsoleProgress", "false")
        for name in THREADS:
            builder = builder.config(f"spark.executorEnv.{name}", "1")
        if self.memory is not None:
            builder = builder.config("spark.driver.memory", self.memory)
        if self.master is not None:
            builder = builder.master(self.master)
            if self.master.startswith("local"):
                os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        try:
            session = builder.getOrCreate()
        except PySparkRuntimeError as error:
            raise OptionError(f"Spark does not start; it needs Java 17 or newer ({_first_line(error)})") from None
        session.sparkContext.setLogLevel("ERROR")
        return session


def _explain_wave(
    session: "SparkSession",
    job: Job,
    folders: Folders,
    selection: Selection,
    *,
    wave: Sequence[Census],
    advance: Advance,
) -> None:
    """Explain a bucket a task, and commit them together."""
    n_people, told = sum(one.n_people for one in wave), [0]
    explain = partial(_explained_rows, job, folders, selection, tuple(one.bucket for one in wave))
    rows = _numbers(session, len(wave)).mapInArrow(explain, _spark_schema(SCHEMA.append(BUCKET)))

    def tell(n_tasks: int) -> None:
        n_done = n_people * min(n_tasks, len(wave)) // len(wave)  # buckets are about equally large
        advance(n_done - told[0])
        told[0] = n_done

    _as_ours(partial(_watched, session, partial(_write, rows, folders.explanations), tell))
    tell(len(wave))


def _merged(one: M, other: M) -> M:
    one.merge(other)
    return one


def _spark_schema(schema: pa.Schema) -> "StructType":
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415

    return from_arrow_schema(schema)


def _numbers(session: "SparkSession", n: int) -> "DataFrame":
    """Return the numbers from 0, each in a task of its own."""
    return session.range(0, n, 1, n)


def _staged_rows(layout: Layout, n_buckets: int, numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of parts of a table, with their buckets."""
    for batch in numbers:
        for part in batch["id"].to_pylist():
            for rows in batches_of(layout, part):
                yield rows.append_column(BUCKET, pa.array(buckets_of(rows, n_buckets), BUCKET.type))


def _explained_rows(
    job: Job, folders: Folders, selection: Selection, buckets: Sequence[int], numbers: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield the explanations of buckets; how often Spark has tried the task before decides how."""
    from pyspark import TaskContext  # noqa: PLC0415

    torch.set_num_threads(1)
    context = TaskContext.get()
    n_tries = 0 if context is None else context.attemptNumber()
    for batch in numbers:
        for number in batch["id"].to_pylist():
            for rows in explain_bucket(job, folders, selection, buckets[number], n_tries=n_tries):
                yield rows.append_column(BUCKET, pa.array([buckets[number]] * rows.num_rows, BUCKET.type))


def _write(rows: "DataFrame", folder: Path) -> None:
    """Write rows into the folders of their buckets, which are replaced; other buckets stay as they are."""
    writer = rows.sortWithinPartitions("bucket", "user").write.mode("overwrite")
    writer.option("partitionOverwriteMode", "dynamic").partitionBy("bucket").parquet(str(folder.resolve()))


def _watched(session: "SparkSession", write: Callable[[], None], tell: Callable[[int], None]) -> None:
    """Write, and tell now and then how many tasks have ended; Ctrl-C ends the others."""
    context, group = session.sparkContext, f"recexplain {os.getpid()}"

    def run() -> None:
        context.setJobGroup(group, "recexplain audit", interruptOnCancel=True)
        write()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(run)
        try:
            while not wait([writing], timeout=PAUSE).done:
                tell(_tasks_done(session, group))
        except KeyboardInterrupt:
            context.cancelJobGroup(group)
            raise
        writing.result()


def _tasks_done(session: "SparkSession", group: str) -> int:
    """Return how many tasks have ended in the jobs of a group."""
    tracker = session.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
    stages = [tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
    return sum(stage.numCompletedTasks for stage in stages if stage is not None)


def _as_ours(work: Callable[[], T]) -> T:
    """Return what Spark comes to; our own errors come back from its tasks as they were raised there."""
    from py4j.protocol import Py4JError  # noqa: PLC0415
    from pyspark.errors import PySparkException  # noqa: PLC0415

    try:
        return work()
    except (Py4JError, PySparkException) as error:
        raise _error_of(str(error), _first_line(error)) from None


def _error_of(said: str, first: str) -> RecExplainError:
    """Return the error that a task of ours has raised, or what Spark says of one that could not go on."""
    ours = re.findall(r"^(?:\S*: )?recexplain\.errors\.(\w+): (.+)$", said, re.MULTILINE)
    if ours and ours[-1][0] in OURS:
        return OURS[ours[-1][0]](ours[-1][1])
    causes = re.findall(r"^(?:Caused by: )?[\w.$]+(?:Exception|Error): (.+)$", said, re.MULTILINE)
    why = causes[-1] if causes else first
    return DataError(f"Spark gave up: {why}; finished buckets are kept, and the same command goes on with the rest")


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
