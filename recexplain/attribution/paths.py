"""From nothing to the input: what a path that gradients are integrated along scales, and how the encoder is entered."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from recexplain.attribution.trace import Entry
from recexplain.errors import OptionError

PATHS = ("h0", "items")


@dataclass(frozen=True, eq=False)
class Path:
    """A straight way from 0 to its end."""

    end: Tensor  # (batch, places, dim)
    enter: Callable[[Tensor, Tensor], Tensor]  # a point of it, (n, places, dim), and its rows, (n,) -> h^0


def check_path(path: object) -> None:
    """Raise `OptionError` for what is no path."""
    if path not in PATHS:
        raise OptionError(f"path must be one of {', '.join(PATHS)}, not {path!r}")


def path_of(entry: Entry, path: str) -> Path:
    """Return the path: `h0` scales what enters the first layer, `items` the items' vectors alone.

    On the latter positions and the mask stay as they are, and the embedding LayerNorm is applied at each point.
    `OptionError` where the recommender does not show its items' vectors.
    """
    if path == "h0":
        return Path(entry.h0, lambda point, _: point)
    if entry.items is None:
        raise OptionError("path=items needs a recommender that shows the vectors of its items, as ours do; use path=h0")
    return Path(entry.items.vectors, entry.items.enter)
