"""The Lightning module: what the loss counts, how the rate moves."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  its usual name

from recexplain.training.module import MaskedItemModule

MODEL = {"name": "BERT4Rec", "n_items": 12, "max_length": 6, "dim": 8, "layers": 1, "heads": 2, "dropout": 0.0}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> MaskedItemModule:
    module = MaskedItemModule(MODEL, lr=1e-2, warmup_steps=10, total_steps=110)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)  # no trainer is attached
    return module


def test_the_loss_is_the_mean_cross_entropy_at_masked_positions_only(module: MaskedItemModule) -> None:
    items = torch.tensor([[0, 3, 4, 5], [1, 2, 3, 12]])
    is_masked = torch.tensor([[False, False, True, False], [True, False, False, True]])
    states = module.model(items.masked_fill(is_masked, 13))
    wanted = torch.stack(
        [
            F.cross_entropy(module.model.logits(states[row, place]), items[row, place] - 1)
            for row, place in [(0, 2), (1, 0), (1, 3)]
        ]
    ).mean()
    assert module.training_step((items, is_masked), 0).item() == pytest.approx(wanted.item(), abs=1e-6)


def test_the_model_never_sees_what_is_under_a_mask(module: MaskedItemModule) -> None:
    is_masked = torch.tensor([[False, True, False]])
    seen = []
    module.model.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    module.training_step((torch.tensor([[1, 2, 3]]), is_masked), 0)
    module.training_step((torch.tensor([[1, 9, 3]]), is_masked), 0)
    assert torch.equal(seen[0], seen[1])


def test_the_rate_rises_then_falls_to_nothing(module: MaskedItemModule) -> None:
    rates = [module._rate_at(step) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert rates[110] == pytest.approx(0.0)
    assert (np.diff(rates[10:]) < 0).all()


def test_one_seed_gives_one_start() -> None:
    first, again, other = (MaskedItemModule(MODEL, seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["item_embedding.weight"], other["item_embedding.weight"])
