"""Processes of this machine that explain people: how they start, and how their end is seen."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch

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


def how_it_ended(process: BaseProcess) -> str:
    """Return in words how a process has ended."""
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _alone(work: Callable[..., None], *arguments: Any) -> None:
    """Run in the new process, until the other end of the connection is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began all this
    torch.set_num_threads(1)
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
