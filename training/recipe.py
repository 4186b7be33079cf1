"""How a model is trained: one frozen value that checks itself."""

from dataclasses import dataclass

from recexplain.errors import OptionError


@dataclass(frozen=True)
class Recipe:
    """The choices of one training run.

    Inference masks only the place behind the newest item; `last_share` of the windows trains exactly that. Of a history
    longer than the window an epoch takes `windows` windows for each full window that it holds: the newest one half the
    time, else one from anywhere.
    """

    epochs: int = 60
    batch_size: int = 32  # windows
    lr: float = 2e-3  # the highest rate, after the warm-up; it falls to 0 along a cosine
    warmup_steps: int = 200
    weight_decay: float = 0.0
    mask_ratio: float = 0.3  # share of items masked in an ordinary window
    last_share: float = 0.15  # share of windows in which only the last item is masked
    windows: float = 1.0
    validate_every: int = 5  # epochs
    validation_users: int | None = 2000  # a fixed sample of them; None: all
    patience: int = 6  # validations without a better NDCG@10 before training stops

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise OptionError(f"recipe.{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("lr", "windows"):
            if not getattr(self, name) > 0:
                raise OptionError(f"recipe.{name} must be above 0, not {getattr(self, name)}")
        for name in ("warmup_steps", "weight_decay"):
            if getattr(self, name) < 0:
                raise OptionError(f"recipe.{name} must be 0 or more, not {getattr(self, name)}")
        if not 0 < self.mask_ratio < 1:
            raise OptionError(f"recipe.mask_ratio must be between 0 and 1, not {self.mask_ratio}")
        if not 0 <= self.last_share <= 1:
            raise OptionError(f"recipe.last_share must be from 0 to 1, not {self.last_share}")
        if self.validation_users is not None and self.validation_users < 1:
            raise OptionError(
                f"recipe.validation_users must be 1 or more, or null for all, not {self.validation_users}"
            )
