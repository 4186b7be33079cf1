"""Explains people one at a time in a process of their own: for a bucket in which somebody ends the process.

Every engine comes here with a bucket that has ended its process more than once. Who ends theirs again gets a row with
the status `error`; the others get the rows that they would have got together.
"""

from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from recexplain.errors import DataError, OptionError, RecExplainError
from recexplain.evaluation.audit_kernel import Job, batch_of, chunks_of, explained, recommender_of
from recexplain.evaluation.audit_processes import GONE, ended, how_it_ended, started
from recexplain.explainers.cases import Person, error_of

TRIES = 2  # of a person
IN_A_ROW = 3  # people who end their process one after the other: it is the machine that has no room then


def explained_apart(job: Job, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield what `explained_batches` does; a person who ends the process `TRIES` times is a row with `error`.

    `DataError` where `IN_A_ROW` people in succession do.
    """
    recommender, n_ended = recommender_of(job.recommender), 0
    with _Aside(job) as aside:
        for chunk in chunks_of(batches):
            rows = []
            for person in chunk:
                row = aside.explained(person)
                n_ended = 0 if row is not None else n_ended + 1
                if n_ended == IN_A_ROW:
                    raise DataError(
                        f"{IN_A_ROW} people in a row ended the process that explained them alone ({aside.how}); "
                        "finished buckets are kept, and the same command goes on with the rest, where there is memory"
                    )
                if row is None:
                    failure = OptionError(f"the process that explained this person ended {TRIES} times ({aside.how})")
                    row = error_of(recommender, job.explainer.name, person, job.options, failure).to_dict()
                rows.append(row)
            yield batch_of(rows)


class _Aside:
    """A process that explains whom it is given, and is replaced where it ends."""

    def __init__(self, job: Job) -> None:
        self.job, self.how = job, ""  # how the last one has ended
        self.process, self.connection = started(_answer, job)

    def __enter__(self) -> "_Aside":
        return self

    def __exit__(self, *_: object) -> None:
        ended(self.process, self.connection)

    def explained(self, person: Person) -> dict[str, Any] | None:
        """Return a person's row, or None where the process has ended `TRIES` times."""
        for _ in range(TRIES):
            try:
                self.connection.send(person)
                said = self.connection.recv()
            except (*GONE, OSError):
                self.process.join()
                self.how = how_it_ended(self.process)
                ended(self.process, self.connection)
                self.process, self.connection = started(_answer, self.job)
                continue
            if isinstance(said, str):
                raise DataError(said)
            row: dict[str, Any] = said
            return row
        return None


def _answer(job: Job, connection: Connection) -> None:
    """Explain one person after another; what stops us is said as a sentence."""
    try:
        recommender = recommender_of(job.recommender)
        while True:
            (explanation,) = explained(recommender, job, [connection.recv()])
            connection.send(explanation.to_dict())
    except GONE:
        raise
    except (RecExplainError, OSError) as error:
        connection.send(str(error))
