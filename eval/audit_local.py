"""Explains buckets on one machine: a process a core, each with a recommender of its own and one thread."""

import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from recexplain.errors import DataError, RecExplainError
from recexplain.evaluation.audit_kernel import Job
from recexplain.evaluation.audit_parts import Folders, explain_bucket, write_bucket
from recexplain.evaluation.audit_processes import GONE, ended, how_it_ended, started
from recexplain.evaluation.audit_staging import Selection

TRIES = 4  # of a bucket whose process ends before it is done; after the first ones its people are explained apart

Advance = Callable[[int], None]  # told how many more people are done; fewer than none where a bucket starts again


@dataclass(eq=False)
class _Worker:
    """A process at work on a bucket."""

    process: BaseProcess
    connection: Connection
    bucket: int = -1  # none
    n_done: int = 0  # of its people


def explain_locally(
    job: Job,
    folders: Folders,
    selection: Selection,
    buckets: Sequence[int],
    *,
    n_workers: int,
    advance: Advance,
) -> None:
    """Write the explanations of buckets, `n_workers` of them at a time; with 0 in this process.

    A process that ends before its bucket is done is replaced and the bucket begun again, on the third try with
    its people apart; `DataError` where one bucket ends `TRIES` processes, or cannot be written. Buckets that are
    finished by then stay.
    """
    if n_workers == 0:
        for bucket in buckets:
            for n in write_bucket(folders.of_bucket(bucket), explain_bucket(job, folders, selection, bucket)):
                advance(n)
        return
    waiting, ends, workers = deque(buckets), Counter[int](), list[_Worker]()
    try:
        while waiting or workers:
            while waiting and len(workers) < n_workers:
                workers.append(_Worker(*started(_work, job, folders, selection)))
                _give(workers[-1], waiting.popleft(), ends)
            ready = wait([worker.connection for worker in workers])
            for worker in [worker for worker in workers if worker.connection in ready]:
                if not _hear(worker, waiting, ends, advance):
                    workers.remove(worker)
                    if worker.bucket >= 0:
                        _count_end(worker, ends)
                        advance(-worker.n_done)
                        waiting.appendleft(worker.bucket)
    finally:
        for worker in workers:
            ended(worker.process, worker.connection)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _give(worker: _Worker, bucket: int, ends: Counter[int]) -> None:
    worker.bucket, worker.n_done = bucket, 0
    with suppress(OSError):  # it has ended: that is seen where it is heard next
        worker.connection.send((bucket, ends[bucket]))


def _hear(worker: _Worker, waiting: deque[int], ends: Counter[int], advance: Advance) -> bool:
    """Take one word of a process and give it a new bucket when it is done; whether it is still there and needed."""
    try:
        said = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        return False
    if isinstance(said, str):
        raise DataError(said)
    if said is not None:
        worker.n_done += said
        advance(said)
        return True
    if waiting:
        _give(worker, waiting.popleft(), ends)
        return True
    worker.bucket = -1
    worker.connection.close()  # it ends by itself
    worker.process.join()
    return False


def _count_end(worker: _Worker, ends: Counter[int]) -> None:
    ends[worker.bucket] += 1
    if ends[worker.bucket] == TRIES:
        raise DataError(
            f"the process that explained bucket {worker.bucket} has ended {TRIES} times "
            f"({how_it_ended(worker.process)}); finished buckets are kept, and the same command goes on with the rest, "
            "with fewer workers= where memory is short"
        )


def _work(job: Job, folders: Folders, selection: Selection, connection: Connection) -> None:
    """Explain one bucket after another as they are given; what stops us is said as a sentence."""
    try:
        while True:
            bucket, n_tries = connection.recv()
            rows = explain_bucket(job, folders, selection, bucket, n_tries=n_tries)
            for n in write_bucket(folders.of_bucket(bucket), rows):
                connection.send(n)
            connection.send(None)
    except GONE:
        raise
    except (RecExplainError, OSError) as error:
        connection.send(str(error))
