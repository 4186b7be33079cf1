"""The Lightning module: loss at the masked positions, validation ranks, optimiser."""

import math
from typing import Any

import lightning as L  # noqa: N812  its usual name
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from recexplain.checkpoint import build_model
from recexplain.evaluation.ranking import held_out_ranks, hit_rate_at, ndcg_at
from recexplain.models.network import NetworkRecommender


class MaskedItemModule(L.LightningModule):
    """Trains a model to fill masked items in (BERT4Rec, section 3.6: the Cloze task), loss at masked positions only."""

    def __init__(
        self,
        model: dict[str, Any],  # name and arguments, as in a checkpoint
        *,
        lr: float = 2e-3,
        warmup_steps: int = 200,
        total_steps: int = 10_000,  # the rate has fallen to 0 there, along a cosine
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(seed)
        self.model = build_model(model)
        self.lr, self.warmup_steps, self.total_steps = lr, warmup_steps, total_steps
        self.weight_decay, self.seed = weight_decay, seed
        self._ranks: list[np.ndarray] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Seed dropout by step, so that a resumed run continues as an uninterrupted one would."""
        torch.manual_seed(self.seed * 1_000_000_007 + self.global_step)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the mean cross-entropy of the masked items against the whole catalogue."""
        items, is_masked = batch
        states = self.model(items.masked_fill(is_masked, self.model.mask_item))
        loss = F.cross_entropy(self.model.logits(states[is_masked]), items[is_masked] - 1)
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(items))
        return loss

    def validation_step(self, histories: list[np.ndarray], _: int) -> None:
        """Rank the newest item of each history against the whole catalogue."""
        recommender = NetworkRecommender(self.model, device=str(self.device))
        self._ranks.append(held_out_ranks(recommender, histories))

    def on_validation_epoch_end(self) -> None:
        """Log NDCG@10 and HR@10 of the validation users."""
        ranks = np.concatenate(self._ranks)
        self._ranks.clear()
        self.log("val_ndcg10", ndcg_at(ranks, 10), prog_bar=True)
        self.log("val_hr10", hit_rate_at(ranks, 10), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a linear warm-up and a cosine down to 0, by step."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, betas=(0.9, 0.98), weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_at(self, step: int) -> float:
        """Share of `lr` at a step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        left = max(1, self.total_steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - self.warmup_steps) / left)))
