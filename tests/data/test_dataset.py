"""From a checked table to histories, numbers and the split."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recexplain.errors import DataError, OptionError, UnknownIdError
from recexplain.interactions import Frame, Interactions
from recexplain.sequences import Dataset, Histories, build_dataset, leave_one_out, load_dataset
from recexplain.vocabulary import Vocabulary


def dataset(histories: dict[str, list[str]], **options: int) -> Dataset:
    rows = [(user, item, time) for user, items in histories.items() for time, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return load_dataset(Frame(frame, **{"min_item_ratings": 1, "min_user_items": 1, **options}))


def as_ids(data: Dataset) -> dict[str, list[str]]:
    ids = data.vocabulary.ids
    return {user: [ids[i - 1] for i in h] for user, h in zip(data.histories.users, data.histories, strict=True)}


def test_equal_times_keep_the_order_of_the_rows() -> None:
    n = 200
    frame = pd.DataFrame(
        {"user_id": "u", "item_id": [f"i{k}" for k in range(n)], "timestamp": [k // 50 for k in range(n)]}
    )
    late_first = pd.concat([frame[100:], frame[:100]])
    expected = [f"i{k}" for k in range(n)]
    assert as_ids(load_dataset(Frame(late_first, min_item_ratings=1)))["u"] == expected


def test_rare_items_are_dropped_once_and_not_again() -> None:
    # c is rare; without it d still has 2 ratings although ann, who has one of them, is left with 1 item
    histories = {"ann": ["c", "d"], "bob": ["d", "a", "b"], "eve": ["a", "b"]}
    data = dataset(histories, min_item_ratings=2)
    assert as_ids(data) == {"ann": ["d"], "bob": ["d", "a", "b"], "eve": ["a", "b"]}
    assert data.vocabulary.ids == ("d", "a", "b")


def test_a_user_without_any_item_left_is_no_user() -> None:
    data = dataset({"ann": ["c"], "bob": ["a", "a"], "eve": ["a"]}, min_item_ratings=2)
    assert data.histories.users == ("bob", "eve")
    with pytest.raises(DataError, match="user 'ann' has 0 items left"):
        dataset({"ann": ["c"], "bob": ["a", "a"], "eve": ["a"]}, min_item_ratings=2, min_user_items=2)


def test_a_user_with_just_enough_items_stays() -> None:
    assert len(dataset({"ann": ["a", "b", "c"]}, min_user_items=3).histories) == 1
    with pytest.raises(DataError, match=r"user 'ann' has 2 items left .* 3 are needed \(1 such users\)"):
        dataset({"ann": ["a", "b"]}, min_user_items=3)


def test_leave_one_out_by_hand() -> None:
    split = leave_one_out(dataset({"ann": ["a", "b", "c", "d"], "bob": ["b", "a"], "eve": ["a", "c", "c"]}).histories)
    assert [list(h) for h in split.train] == [[1, 2], [2, 1], [1]]
    assert split.train.users == ("ann", "bob", "eve")
    assert [list(h) for h in split.valid] == [[1, 2, 3], [1, 3]]
    assert [list(h) for h in split.test] == [[1, 2, 3, 4], [1, 3, 3]]
    assert split.valid.users == split.test.users == ("ann", "eve")
    with pytest.raises(DataError, match="no user has 3 items, which leave-one-out needs"):
        leave_one_out(dataset({"bob": ["b", "a"]}).histories)


def test_limits_below_one_are_refused() -> None:
    ratings = Frame(pd.DataFrame({"user_id": [1], "item_id": [1], "timestamp": [1]})).read()
    with pytest.raises(OptionError, match="must be 1 or more"):
        build_dataset(ratings, min_item_ratings=0)


def test_the_hash_sees_items_users_and_their_order_but_no_titles() -> None:
    histories = {"ann": ["a", "b", "c"], "bob": ["b", "c", "a"]}
    own = dataset(histories).data_hash
    assert own == dataset(histories).data_hash
    others = [
        {"ann": ["a", "b", "c"], "bob": ["b", "a", "c"]},
        {"ann": ["a", "b", "c"], "bob": ["b", "c", "b"]},
        {"ann": ["a", "b", "c"], "bob": ["b", "c"]},
        {"ann": ["a", "b", "c", "b"], "bob": ["c", "a"]},
        {"ann": ["a", "b", "d"], "bob": ["b", "d", "a"]},
        {"ann": ["a", "b", "c"], "eve": ["b", "c", "a"]},
        {"an": ["a", "b", "c"], "nbob": ["b", "c", "a"]},
    ]
    hashes = [dataset(other).data_hash for other in others]
    assert len({own, *hashes}) == 1 + len(others)
    rows = [(user, item, time) for user, items in histories.items() for time, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    titled = load_dataset(Frame(frame, titles={"a": "Alien"}, min_item_ratings=1))
    assert titled.vocabulary.title_of("a") == "Alien"
    assert titled.data_hash == own


def test_histories_behave_as_a_sequence() -> None:
    histories = Histories.of(["u", "v", "w"], [[3, 1], [], [2]])
    assert len(histories) == 3
    assert [list(h) for h in histories] == [[3, 1], [], [2]]
    assert histories.lengths.tolist() == [2, 0, 1]
    assert histories.at_least(1).users == ("u", "w")
    assert [list(h) for h in histories.without_last(1)] == [[3], [], []]
    assert histories.row_of("w") == 2
    with pytest.raises(UnknownIdError, match="user 'x' is not one of the 3 users of the data"):
        histories.row_of("x")
    for row in (-1, 3):
        with pytest.raises(IndexError):
            histories[row]
    assert len(Histories.of([], [])) == 0


def test_the_vocabulary_names_what_it_does_not_know() -> None:
    vocabulary = Vocabulary(("318", "007"), {"007": "Goldfinger"})
    assert [vocabulary.number_of(item) for item in ("007", 318)] == [2, 1]
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary  # noqa: S301  our own
    with pytest.raises(UnknownIdError) as caught:
        vocabulary.number_of(7)
    assert str(caught.value) == "item '7' is not in the catalogue of 2 items"
    assert isinstance(caught.value, KeyError)
    for number in (0, 3):
        with pytest.raises(UnknownIdError, match=f"item number {number} is not one of 1..2"):
            vocabulary.id_of(number)
    with pytest.raises(DataError, match="item id '1' stands twice"):
        Vocabulary(("1", "2", "1"))


# Ids as people have them: no cell may be blank, and text files have no NUL and no half of a surrogate pair. Blanks at
# an end are kept out only because a row of blanks is a blank line.
IDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=6).map(str.strip)
GOOD = IDS.filter(lambda name: name and not name.endswith(".0"))
TABLES = st.dictionaries(GOOD, st.lists(GOOD, min_size=1, max_size=8), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(histories=TABLES, seed=st.integers(0, 2**32 - 1), ending=st.sampled_from(["csv", "parquet", "csv.gz"]))
def test_what_was_written_is_read_back_and_distinct_times_decide_the_order(
    tmp_path_factory: pytest.TempPathFactory, histories: dict[str, list[str]], seed: int, ending: str
) -> None:
    rng = np.random.default_rng(seed)
    rows = [(user, item, time) for user, items in histories.items() for time, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).iloc[rng.permutation(len(rows))]
    path = tmp_path_factory.mktemp("written") / f"r.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    read = load_dataset(Interactions(str(path), min_item_ratings=1, min_user_items=1))
    assert as_ids(read) == histories
    assert read.data_hash == load_dataset(Frame(frame, min_item_ratings=1, min_user_items=1)).data_hash
