"""The Lightning module: what the loss counts, how the rate moves."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  its usual name

from recexplain.checkpoint import build_model
from recexplain.training.module import SequenceModule, sampled_softmax
from recexplain.training.recipe import Cloze

MODEL = {"name": "BERT4Rec", "n_items": 12, "max_length": 6, "dim": 8, "layers": 1, "heads": 2, "dropout": 0.0}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> SequenceModule:
    module = SequenceModule(MODEL, Cloze(causal_share=0.0, lr=1e-2, warmup_steps=10), total_steps=110)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)  # no trainer is attached
    return module


def test_the_loss_is_the_mean_cross_entropy_of_what_is_asked_only(module: SequenceModule) -> None:
    inputs = torch.tensor([[0, 3, 13, 5], [13, 2, 3, 13]])
    targets = torch.tensor([[0, 0, 4, 0], [1, 0, 0, 12]])
    states, _ = module.model.explain(inputs)
    wanted = torch.stack(
        [
            F.cross_entropy(module.model.logits(states[row, place]), targets[row, place] - 1)
            for row, place in [(0, 2), (1, 0), (1, 3)]
        ]
    ).mean()
    assert module.training_step((inputs, targets), 0).item() == pytest.approx(wanted.item(), abs=1e-6)


@pytest.mark.parametrize("causal_share", [0, 0.5])
def test_nothing_looks_ahead_in_a_causal_epoch(causal_share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    module = SequenceModule(MODEL, Cloze(causal_share=causal_share), total_steps=1)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    targets = torch.tensor([[0, 4, 0, 0]])
    losses = [module.training_step((torch.tensor([[2, 3, last, 7]]), targets), 0).item() for last in (5, 6)]
    assert (losses[0] == pytest.approx(losses[1], abs=1e-7)) == bool(causal_share)


@pytest.mark.parametrize("name", ["BERT4Rec", "SASRec"])
def test_sampled_softmax_is_the_full_one_on_average_over_many_negatives(name: str) -> None:
    model = build_model({**MODEL, "name": name})
    torch.manual_seed(0)
    states, wanted = torch.randn(5, 8), torch.tensor([1, 12, 7, 7, 3])
    full = F.cross_entropy(model.logits(states), wanted - 1).item()
    assert sampled_softmax(model, states, wanted, 200_000).item() == pytest.approx(full, abs=0.01)


def test_an_accidental_hit_is_no_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(MODEL)
    states, wanted = torch.randn(2, 8), torch.tensor([4, 9])
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([4, 4, 9]))
    own = model.logits(states).gather(1, wanted[:, None] - 1)[:, 0]
    other = model.logits(states).gather(1, torch.tensor([[8], [3]]))[:, 0] + np.log(12 / 3)  # of 12 items, 3 drawn
    against = torch.stack([other[0], other[1] + np.log(2)])  # 4 was drawn twice
    expected = (torch.logaddexp(own, against) - own).mean().item()
    assert sampled_softmax(model, states, wanted, 3).item() == pytest.approx(expected, abs=1e-5)


def test_the_rate_rises_then_falls_to_nothing(module: SequenceModule) -> None:
    rates = [module._rate_at(step) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert rates[110] == pytest.approx(0.0)
    assert (np.diff(rates[10:]) < 0).all()


def test_one_seed_gives_one_start() -> None:
    first, again, other = (
        SequenceModule(MODEL, Cloze(), total_steps=1, seed=seed).model.state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.item_embedding.weight"], other["encoder.item_embedding.weight"])
