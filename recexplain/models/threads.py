"""Parts of a batch side by side, a thread each.

torch's own threads share each single operation and wait for one another after it; of a small network most of that time
is lost. Threads of Python do not hinder one another: torch lets go of the interpreter while it computes.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

from recexplain.recommender import one_thread

T = TypeVar("T")


def side_by_side(work: Callable[[T], None], parts: Sequence[T]) -> None:
    """Do the work on each part, on as many at once as torch may use threads; the first error is raised.

    Each part is computed by one thread; a single one in the thread of the caller, by as many as torch may use.
    """
    n_threads = min(torch.get_num_threads(), len(parts))
    if n_threads > 1:
        with one_thread():  # which each thread takes over for good when it first uses torch
            list(_pool(n_threads).map(work, parts))
        return
    for part in parts:
        work(part)


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="recexplain")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of the threads
