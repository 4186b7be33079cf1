"""Occlusion: what the target's score loses when one item is taken away. Works with every recommender."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recexplain.errors import OptionError
from recexplain.recommender import Recommender, checked_scores, n_ignored, n_unseen

REMOVALS = ("delete", "pad", "mask")
SCALARS = ("logit", "log_probability", "probability")
ROWS = 1024  # histories scored at once


@dataclass(frozen=True)
class Occlusion:
    """The target's score less its score without the item (Zeiler and Fergus 2014, arXiv 1311.2901), leave-one-out."""

    name: ClassVar[str] = "occlusion"
    target_specific: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    removal: str = "delete"  # delete, pad or mask
    scalar: str = "logit"  # logit (the recommender's score), log_probability or probability

    def __post_init__(self) -> None:
        if self.removal not in REMOVALS:
            raise OptionError(f"removal must be one of {', '.join(REMOVALS)}, not {self.removal!r}")
        if self.scalar not in SCALARS:
            raise OptionError(f"scalar must be one of {', '.join(SCALARS)}, not {self.scalar!r}")

    def drops(self, recommender: Recommender, histories: Sequence[np.ndarray], targets: np.ndarray) -> list[np.ndarray]:
        """Return (length,) float64 a history of item numbers; NaN for what the recommender does not see."""
        if self.removal == "mask" and recommender.mask_item is None:
            name = type(recommender).__name__
            raise OptionError(f"removal=mask needs a recommender with a mask item; {name} has none")
        return [
            self._of_one(recommender, history, int(target)) for history, target in zip(histories, targets, strict=True)
        ]

    def _of_one(self, recommender: Recommender, history: np.ndarray, target: int) -> np.ndarray:
        unseen = n_unseen(recommender, len(history))
        first = unseen - min(unseen, n_ignored(recommender))  # what is ignored stays in front, or the next would be
        handed = history[first:]
        places = unseen - first + np.flatnonzero(history[unseen:])
        edited = [handed, *(self._without(handed, int(place), recommender.mask_item) for place in places)]
        parts = [checked_scores(recommender, edited[start : start + ROWS]) for start in range(0, len(edited), ROWS)]
        values = np.concatenate([self._explained(part.astype(np.float64), target) for part in parts])
        drops = np.full(len(history), np.nan)
        drops[first + places] = values[0] - values[1:]
        return drops

    def _without(self, handed: np.ndarray, place: int, mask_item: int | None) -> np.ndarray:
        if self.removal == "delete":
            return np.delete(handed, place)
        edited = handed.copy()
        edited[place] = 0 if self.removal == "pad" else mask_item
        return edited

    def _explained(self, scores: np.ndarray, target: int) -> np.ndarray:
        """(batch,), from scores (batch, n_items + 1)."""
        if self.scalar == "logit":
            return np.asarray(scores[:, target])
        top = scores.max(1, keepdims=True)
        log_probability: np.ndarray = scores[:, target] - (top[:, 0] + np.log(np.exp(scores - top).sum(1)))
        return log_probability if self.scalar == "log_probability" else np.exp(log_probability)
