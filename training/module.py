"""The Lightning module: loss at the masked positions, validation ranks, optimiser."""

import math
from collections.abc import Mapping
from typing import Any

import lightning as L  # noqa: N812  its usual name
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  its usual name

from recexplain.checkpoint import build_model
from recexplain.evaluation.ranking import held_out_ranks, hit_rate_at, ndcg_at
from recexplain.models.network import Network, NetworkRecommender
from recexplain.training.recipe import Recipe


class SequenceModule(L.LightningModule):
    """Trains a model to name the items that it is asked for, masked ones or the next ones; no other place is scored."""

    def __init__(
        self,
        model: Mapping[str, Any],  # name and arguments, as in a checkpoint
        recipe: Recipe,
        *,
        total_steps: int,  # the rate has fallen to 0 there, along a cosine
        seed: int = 0,
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = build_model(model)
        self.recipe, self.total_steps, self.seed = recipe, total_steps, seed
        self._ranks: list[np.ndarray] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Seed dropout by process and step, so that a resumed run continues as an uninterrupted one would."""
        torch.manual_seed(self.seed * 1_000_000_007 + self.global_rank * 100_000_007 + self.global_step)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the mean cross-entropy of the asked items, against the whole catalogue or a sample of it."""
        items, targets = batch
        is_asked = targets != 0
        causal = self.recipe.is_causal_at(self.current_epoch)
        states, wanted = self.model(items, is_asked, causal=causal), targets[is_asked]
        if self.recipe.negatives is None:
            loss = F.cross_entropy(self.model.logits(states), wanted - 1)
        else:
            loss = sampled_softmax(self.model, states, wanted, self.recipe.negatives)
        self.log("train_loss", loss)  # for a logger, by step
        return loss

    def validation_step(self, histories: list[np.ndarray], _: int) -> None:
        """Rank the newest item of each history against the whole catalogue."""
        recommender = NetworkRecommender(self.model, device=str(self.device))
        self._ranks.append(held_out_ranks(recommender, histories))

    def on_validation_epoch_end(self) -> None:
        """Log NDCG@10 and HR@10 of the validation users."""
        ranks = np.concatenate(self._ranks)
        self._ranks.clear()
        self.log("val_ndcg10", ndcg_at(ranks, 10), sync_dist=True)  # the same in every process
        self.log("val_hr10", hit_rate_at(ranks, 10), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a linear warm-up and a cosine down to 0, by step."""
        rate, decay = self.recipe.lr, self.recipe.weight_decay
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_at(self, step: int) -> float:
        """Share of `lr` at a step."""
        warmup: int = self.recipe.warmup_steps
        if step < warmup:
            return (step + 1) / warmup
        left = max(1, self.total_steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / left)))


def sampled_softmax(model: Network, states: Tensor, wanted: Tensor, n_negatives: int) -> Tensor:
    """Return the mean cross-entropy of the wanted items against themselves and random other ones.

    The negatives, the same for the whole batch, are drawn evenly; each stands for the n_items / n_negatives items that
    were not drawn (Bengio and Senecal 2008, sampled softmax), so that the loss estimates that of the full softmax. A
    negative that is the wanted item itself, an accidental hit, does not count. `states`: (n, dim); `wanted`: (n,).
    """
    negatives = torch.randint(1, model.n_items + 1, (n_negatives,), device=states.device)
    distinct, place = torch.unique(wanted, return_inverse=True)
    logits = model.logits(states, torch.cat([distinct, negatives]))
    own = logits.gather(1, place[:, None])
    against = logits[:, len(distinct) :] + math.log(model.n_items / n_negatives)
    against = against.masked_fill(negatives == wanted[:, None], -torch.inf)
    return F.cross_entropy(torch.cat([own, against], dim=1), torch.zeros_like(wanted))
