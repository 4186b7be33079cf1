"""Processes of this machine that explain people: how they start, and how their end is seen."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from recexplain.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

START = "spawn"  # a fresh interpreter: threads of PyTorch do not survive a fork

GONE = (EOFError, BrokenPipeError, ConnectionResetError)  # the process at the other end of a pipe has ended


def started(work: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Return a new process that runs `work(*arguments, connection)`, and our end of the connection."""
    context: Any = multiprocessing.get_context(START)
    ours, its = context.Pipe()
    process = context.Process(target=_alone, args=(work, *arguments, its))
    with _one_thread_each():
        process.start()
    its.close()  # so that its end is seen here
    return process, ours


def ended(process: BaseProcess, connection: Connection) -> None:
    """End a process, if it has not ended yet."""
    connection.close()
    process.terminate()
    process.join()


def asked_elsewhere(function: Callable[[T], R], arguments: Sequence[T], n_processes: int) -> Iterator[R]:
    """Yield what a function comes to for each argument, in any order, from so many processes; errors are raised here.

    `DataError` where a process ends by itself.
    """
    context = multiprocessing.get_context(START)
    with _one_thread_each(), ProcessPoolExecutor(n_processes, context, _ignore_interrupts) as pool:
        waiting, asked = list(arguments)[::-1], set[Future[R]]()
        try:
            while waiting or asked:
                while waiting and len(asked) <= n_processes:  # no more answers wait here than processes are at work
                    asked.add(pool.submit(function, waiting.pop()))
                done, asked = wait_for(asked, return_when=FIRST_COMPLETED)
                while done:
                    yield done.pop().result()
        except BrokenProcessPool:
            raise DataError(
                "a process of this audit has ended by itself; the same command goes on from there"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began all this
    torch.set_num_threads(1)


def how_it_ended(process: BaseProcess) -> str:
    """Return in words how a process has ended."""
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _alone(work: Callable[..., None], *arguments: Any) -> None:
    """Run in the new process, until the other end of the connection is gone."""
    _ignore_interrupts()
    try:
        work(*arguments)
    except GONE:
        return


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start now compute with one thread; libraries read this when they are loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
