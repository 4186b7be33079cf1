"""Masked windows: what is cut, what is masked, and that an epoch is a function of seed and epoch."""

import dataclasses
from itertools import islice

import numpy as np
import pytest
import torch

from recexplain.errors import OptionError
from recexplain.sequences import Histories, leave_one_out
from recexplain.training.batches import HistoryData, WindowLoader, Windows
from recexplain.training.recipe import Cloze, NextItem, Recipe

HISTORIES = [np.arange(1, 4), np.arange(10, 40), np.arange(100, 105), np.array([7])]  # ascending: a window is a run
MASK = 999
NO_LAST = Cloze(causal_share=0.0, batch_size=4, first_last_share=0.0)


CLOZE = Cloze(causal_share=0.0, batch_size=4)


def windows(recipe: Recipe = CLOZE, *, length: int = 8, seed: int = 0, histories=HISTORIES) -> Windows:
    mask = MASK if recipe.masked else None
    return Windows(histories, recipe, length=length, mask_item=mask, seed=(seed, 0))


def rows(batches: Windows) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (items, is_masked) of every window, without padding."""
    found = []
    for inputs, targets in batches:
        for row, wanted in zip(inputs.numpy(), targets.numpy(), strict=True):
            assert (wanted[row == 0] == 0).all(), "padding is never asked"
            assert ((wanted != 0) == (row == MASK)).all(), "what is masked is asked, and nothing else"
            found.append((np.where(row == MASK, wanted, row)[row != 0], (row == MASK)[row != 0]))
    return found


def test_a_window_is_a_run_of_the_history_no_longer_than_the_window() -> None:
    for items, _ in rows(windows()):
        assert len(items) <= 8
        assert (np.diff(items) == 1).all()


def test_a_long_history_gives_a_window_for_each_full_one_and_a_short_history_one() -> None:
    starts = [items[0] // 10 for items, _ in rows(windows(NO_LAST))]
    assert starts.count(10) == 1  # 100..104
    assert sum(1 <= start < 4 for start in starts) == round(30 / 8)
    assert len(starts) == len(windows().rows) == 3 + 4


def test_every_window_has_a_masked_item() -> None:
    sparse = Cloze(causal_share=0.0, batch_size=4, mask_ratio=0.001, first_last_share=0.0)
    assert all(masked.any() for _, masked in rows(windows(sparse)))


def test_windows_for_the_last_item_mask_it_alone_and_end_anywhere() -> None:
    found = [
        row
        for seed in range(200)
        for row in rows(windows(Cloze(causal_share=0.0, batch_size=4, first_last_share=1.0), seed=seed))
    ]
    assert all(masked[-1] and masked.sum() == 1 for _, masked in found)
    ends = {int(items[-1]) for items, _ in found if 10 <= items[0] < 40}
    assert ends == set(range(11, 40))  # never the oldest item: nothing stands before it


def test_the_share_of_windows_for_the_last_item_grows_evenly_over_the_epochs() -> None:
    recipe = Cloze(causal_share=0.0, epochs=5, first_last_share=0.1, last_share=0.9)
    assert [round(recipe.last_share_at(epoch), 6) for epoch in range(5)] == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert Cloze(causal_share=0.0, epochs=1).last_share_at(0) == Cloze().first_last_share


def test_ordinary_windows_are_as_full_as_the_history_allows() -> None:
    for items, _ in rows(windows(NO_LAST)):
        assert len(items) == min(8, len(next(h for h in HISTORIES if items[0] in h)))


def test_the_share_of_masked_items_is_the_recipe_s() -> None:
    recipe = Cloze(causal_share=0.0, batch_size=4, mask_ratio=0.3, first_last_share=0.0)
    masked = np.concatenate(
        [m for seed in range(200) for items, m in rows(windows(recipe, seed=seed)) if len(items) == 8]
    )
    assert abs(masked.mean() - 0.3) < 0.02


def test_a_batch_holds_windows_of_like_length() -> None:
    histories = [np.arange(1, n + 1) for n in range(1, 41)]
    recipe = Cloze(causal_share=0.0, batch_size=10, first_last_share=0.0)
    spreads = [
        int((items != 0).sum(1).max() - (items != 0).sum(1).min())
        for items, _ in windows(recipe, length=64, histories=histories)
    ]
    assert max(spreads) == 9  # 40 lengths in 4 batches


def test_seed_and_epoch_decide_an_epoch() -> None:
    first, again, other = rows(windows(seed=1)), rows(windows(seed=1)), rows(windows(seed=2))
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert any(len(a[0]) != len(b[0]) or (a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


def test_an_epoch_has_the_same_number_of_batches_every_time() -> None:
    assert {len(list(windows(seed=seed))) for seed in range(5)} == {len(windows())}


def test_validation_and_test_items_are_never_trained_on() -> None:
    histories = Histories.of(["a", "b"], [np.arange(1, 21), np.arange(31, 41)])
    data = HistoryData(leave_one_out(histories), Cloze(causal_share=0.0, batch_size=2), length=6, mask_item=MASK)
    batches = [batch for epoch in range(50) for batch in data.epoch(epoch)]
    seen = {int(item) for batch in batches for part in batch for item in part.flatten()}
    assert seen - {0, MASK} == {*range(1, 19), *range(31, 39)}


def test_validation_is_on_a_fixed_sample() -> None:
    split = leave_one_out(Histories.of([str(n) for n in range(9)], [np.arange(n, n + 4) for n in range(1, 10)]))
    data = HistoryData(split, Cloze(validation_users=4), length=6, mask_item=MASK)
    once, twice = ([h.tolist() for batch in data.val_dataloader() for h in batch] for _ in range(2))
    assert once == twice
    assert len(once) == 4
    assert all(len(history) == 3 for history in once)  # without the test item


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("lr", 0.0),
        ("warmup_steps", -1),
        ("weight_decay", -0.1),
        ("mask_ratio", 1.0),
        ("last_share", 1.1),
        ("first_last_share", -0.1),
        ("windows", 0.0),
        ("validate_every", 0),
        ("validation_users", 0),
        ("patience", 0),
        ("negatives", 0),
        ("causal_share", 1.0),
    ],
)
def test_a_recipe_refuses_what_cannot_be(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=rf"recipe\.{name} must be"):
        dataclasses.replace(Cloze(), **{name: value})


@pytest.mark.parametrize("recipe", [Cloze(causal_share=0.0), NextItem()])
def test_batches_are_tensors_of_one_shape(recipe: Recipe) -> None:
    for inputs, targets in windows(recipe):
        assert inputs.shape == targets.shape
        assert inputs.dtype == targets.dtype == torch.int64


@pytest.mark.parametrize("recipe", [NextItem(batch_size=2), Cloze(batch_size=2, epochs=4, causal_share=0.25)])
def test_a_causal_window_asks_at_every_place_for_the_item_behind_it(recipe: Recipe) -> None:
    lengths = []
    for inputs, targets in windows(recipe):
        for row, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
            asked = [item for item in wanted if item]
            lengths.append(len(asked))
            before = row[-len(asked) :]
            first = next(history for history in HISTORIES if asked[0] in history)[0]
            assert before == [0 if item == first else item - 1 for item in asked]  # padding stands before the first
            assert not any(row[: -len(asked)])
    assert sorted(lengths) == [1, 3, 5, 8, 8, 8, 8]


def test_the_bidirectional_epochs_follow_the_causal_ones() -> None:
    recipe = Cloze(causal_share=0.4, epochs=5, first_last_share=0.2, last_share=0.8)
    epochs = [Windows(HISTORIES, recipe, length=8, mask_item=MASK, seed=(0, epoch)) for epoch in range(4)]
    assert [any(bool((inputs == MASK).any()) for inputs, _ in epoch) for epoch in epochs] == [False, False, True, True]
    assert [round(recipe.last_share_at(epoch), 6) for epoch in (2, 3, 4)] == [0.2, 0.5, 0.8]


def test_a_full_window_of_a_long_history_is_the_newest_part_or_one_from_anywhere() -> None:
    drawn = [items for seed in range(100) for items, _ in rows(windows(NO_LAST, seed=seed))]
    ends = [int(items[-1]) for items in drawn if 10 <= items[0] < 40]
    assert set(ends) == set(range(17, 40))
    assert 0.4 < np.mean(np.array(ends) == 39) < 0.65


@pytest.mark.parametrize("n_processes", [2, 3, 5])
def test_processes_share_the_batches_of_an_epoch_evenly(n_processes: int) -> None:
    whole = [inputs.tolist() for inputs, _ in windows(NextItem(batch_size=1))]
    shares = []
    for process in range(n_processes):
        part = Windows(
            HISTORIES, NextItem(batch_size=1), length=8, mask_item=None, seed=(0, 0), share=(process, n_processes)
        )
        shares.append([inputs.tolist() for inputs, _ in part])
        assert len(shares[-1]) == len(part) == -(-len(whole) // n_processes)
    given = [batch for share in shares for batch in share]
    assert all(batch in given for batch in whole)


def test_an_epoch_goes_on_where_it_was_stopped() -> None:
    loader = WindowLoader(windows(Cloze(causal_share=0.0, batch_size=1)))
    whole = [inputs.tolist() for inputs, _ in loader]
    assert loader.state_dict() == {"done": 0}  # the epoch has ended
    stopped, resumed = (WindowLoader(windows(Cloze(causal_share=0.0, batch_size=1))) for _ in range(2))
    first = [inputs.tolist() for inputs, _ in islice(stopped, 3)]
    resumed.load_state_dict(stopped.state_dict())
    assert first + [inputs.tolist() for inputs, _ in resumed] == whole
