"""What every engine runs: people in, one row of explanation each out; it knows of no process and no cluster."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import pyarrow as pa

from recexplain.checkpoint import load
from recexplain.counterfactual import Options
from recexplain.errors import CheckpointError, OptionError
from recexplain.explainers.cases import Person, error_of
from recexplain.explainers.driver import PEOPLE, Explainer, explain_cases
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender
from recexplain.schema import SCHEMA

PEOPLE_SCHEMA = pa.schema([pa.field("user", pa.string()), pa.field("history", pa.list_(pa.string()))])

CHUNK = 8 * PEOPLE  # people whose rows are written together


@dataclass(frozen=True)
class FromCheckpoint:
    """How a process comes by the recommender: the same file, and the same model in it, as where the audit began."""

    path: str
    device: str
    model_hash: str
    data: str | None = None  # the `.inter` file behind the ids of a checkpoint of RecBole,
    data_hash: str = ""  # and the hash of its histories

    def __call__(self) -> Recommender:
        """Return the recommender; `CheckpointError` where a file holds something else now."""
        recommender = load(self.path, data=self.data, device=self.device)
        if recommender.model_hash != self.model_hash:
            raise CheckpointError(f"{self.path} was changed while it was audited; start again with another out=")
        if self.data is not None and recommender.data_hash != self.data_hash:
            raise CheckpointError(f"{self.data} was changed while it was audited; start again with another out=")
        return recommender


@dataclass(frozen=True)
class Job:
    """What is asked about every person alike; it can be sent to another process."""

    recommender: Callable[[], Recommender]  # hashable: a process builds its recommender once
    explainer: Explainer
    options: Options


def bucket_of(user: str, n_buckets: int) -> int:
    """Return which of the buckets a person is in: by sha256, so the same in every process and for ever."""
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big") % n_buckets


def explained_batches(job: Job, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the explanations, `schema.SCHEMA`, of the people in batches of `PEOPLE_SCHEMA`: one row each, in order.

    A person who cannot be explained is a row with the status `error` and the reason. So is one at whom the code
    fails in any other way, after a second try on its own; only a machine without memory or disk stops everyone.
    """
    recommender = recommender_of(job.recommender)
    for chunk in chunks_of(batches):
        yield batch_of([explanation.to_dict() for explanation in explained(recommender, job, chunk)])


def chunks_of(batches: Iterable[pa.RecordBatch]) -> Iterator[list[Person]]:
    """Yield the people of batches, `CHUNK` at a time."""
    people = (Person(user, history) for batch in batches for user, history in _rows(batch))
    while chunk := list(islice(people, CHUNK)):
        yield chunk


def batch_of(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Return rows of explanations as they are written."""
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


@lru_cache(maxsize=1)
def recommender_of(load: Callable[[], Recommender]) -> Recommender:
    """Return the recommender, loaded once a process."""
    return load()


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, list[str]]]:
    return zip(batch["user"].to_pylist(), batch["history"].to_pylist(), strict=True)


def explained(recommender: Recommender, job: Job, people: list[Person]) -> list[Explanation]:
    """Return one explanation a person; where the code fails, each is tried once more without the others."""
    try:
        return [case.explanation for case in explain_cases(recommender, people, job.explainer, job.options)]
    except (MemoryError, OSError):  # the machine's trouble, no person's
        raise
    except Exception:  # whatever it is: it may cost one person, never the others
        return [_explained_alone(recommender, job, person) for person in people]


def _explained_alone(recommender: Recommender, job: Job, person: Person) -> Explanation:
    """Return the explanation of a person on a second try, or what that failed of."""
    try:
        (case,) = explain_cases(recommender, [person], job.explainer, job.options)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # this person's row says so
        said = " ".join(str(error).split())[:200]
        failure = OptionError(f"an unexpected failure of the program, {type(error).__name__}: {said}")
        return error_of(recommender, job.explainer.name, person, job.options, failure)
    return case.explanation
