"""How a model is trained: one frozen value that checks itself, a kind for each task."""

from dataclasses import dataclass
from typing import ClassVar

from recexplain.errors import OptionError, is_whole

#: The whole numbers of a recipe, and the least that each may be.
WHOLE = {
    "epochs": 1,
    "batch_size": 1,
    "warmup_steps": 0,
    "negatives": 1,
    "validate_every": 1,
    "validation_users": 1,
    "patience": 1,
}
OPTIONAL = ("negatives", "validation_users")  # may be None too


@dataclass(frozen=True)
class Recipe:
    """The choices of one training run, whatever the task.

    Of a history longer than the window an epoch takes `windows` windows for each full window that it holds.
    """

    masked: ClassVar[bool]  # whether the task needs a model with a mask
    name: ClassVar[str]  # of the part of the configuration

    epochs: int = 60
    batch_size: int = 32  # windows
    lr: float = 2e-3  # the highest rate, after the warm-up; it falls to 0 along a cosine
    warmup_steps: int = 200
    weight_decay: float = 0.0
    windows: float = 1.0
    negatives: int | None = None  # sampled softmax against so many random items, for large catalogues; None: all items
    validate_every: int = 5  # epochs
    validation_users: int | None = 2000  # a fixed sample of them; None: all
    patience: int = 6  # validations without a better NDCG@10 before training stops

    def __post_init__(self) -> None:
        for name, least in WHOLE.items():
            value = getattr(self, name)
            if not is_whole(value, least) and not (value is None and name in OPTIONAL):
                raise OptionError(f"recipe.{name} must be a whole number of {least} or more, not {value!r}")
        for name in ("lr", "windows"):
            if not getattr(self, name) > 0:
                raise OptionError(f"recipe.{name} must be above 0, not {getattr(self, name)}")
        if self.weight_decay < 0:
            raise OptionError(f"recipe.weight_decay must be 0 or more, not {self.weight_decay}")

    def is_causal_at(self, epoch: int) -> bool:
        """Whether an epoch, from 0, asks at every place for the item behind it, and lets nothing look ahead."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cloze(Recipe):
    """Fill masked items in (BERT4Rec, section 3.6).

    Inference masks only the place behind the newest item; `last_share` of the windows trains exactly that, on windows
    that end anywhere in the history. A first share of the epochs looks at older items only and says at every place
    which item comes next: many more answers a window, and the bidirectional epochs start from there (UniLM trains one
    Transformer both ways too, Dong et al. 2019, arXiv 1905.03197).
    """

    masked: ClassVar[bool] = True
    name: ClassVar[str] = "cloze"

    epochs: int = 40
    causal_share: float = 0.3  # of the epochs
    mask_ratio: float = 0.3  # share of items masked in an ordinary window
    first_last_share: float = 0.1  # share of windows in which only the last item is masked, in the first such epoch
    last_share: float = 0.9  # and in the last one; in between it grows evenly

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.causal_share < 1:
            raise OptionError(f"recipe.causal_share must be from 0 to below 1, not {self.causal_share}")
        if not 0 < self.mask_ratio < 1:
            raise OptionError(f"recipe.mask_ratio must be between 0 and 1, not {self.mask_ratio}")
        for name in ("first_last_share", "last_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"recipe.{name} must be from 0 to 1, not {getattr(self, name)}")

    @property
    def causal_epochs(self) -> int:
        """How many epochs are causal: the first ones."""
        return int(self.causal_share * self.epochs)

    def is_causal_at(self, epoch: int) -> bool:
        """Whether an epoch, from 0, asks at every place for the item behind it, and lets nothing look ahead."""
        return epoch < self.causal_epochs

    def last_share_at(self, epoch: int) -> float:
        """Return the share of windows with only the last item masked, in an epoch, from 0, that is not causal."""
        done = (epoch - self.causal_epochs) / max(1, self.epochs - self.causal_epochs - 1)
        return self.first_last_share + (self.last_share - self.first_last_share) * done


@dataclass(frozen=True)
class NextItem(Recipe):
    """Say at every place which item comes next (SASRec, section III)."""

    masked: ClassVar[bool] = False
    name: ClassVar[str] = "next_item"

    def is_causal_at(self, epoch: int) -> bool:  # noqa: ARG002
        """Whether an epoch asks at every place for the item behind it: always."""
        return True
