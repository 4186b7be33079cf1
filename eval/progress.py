"""A progress bar for what goes through an entry one by one."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def shown(things: Iterable[T], total: int, doing: str, *, done: int = 0) -> Iterator[T]:
    """Pass things on, with a progress bar."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(doing, total=total, completed=done)
        for thing in things:
            yield thing
            progress.advance(task)
