"""Whether explanations in a file are true, found out again with nothing of the library but the recommender's scores.

    python tests/test_independent_verification.py explanations.parquet checkpoint.ckpt

prints what does not hold, and ends with status 1 if anything does not. Nothing here may come from
`recexplain.counterfactual`, `search` or `explainers`.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import recexplain
from recexplain.checkpoint import Checkpoint, build_model, save_checkpoint
from recexplain.schema import parquet_bytes
from recexplain.vocabulary import Vocabulary

FOUND = ("optimal", "irreducible", "found")
NOT_FOUND = ("none_up_to", "budget")
MOST = 3000  # sets of a size that are tried again; of larger sizes so many, evenly spread


def verify_file(explanations_path: str | Path, checkpoint_path: str | Path) -> list[str]:
    """What does not hold, a line each: row, user, and the reason. Empty: all of it holds."""
    recommender = recexplain.load(checkpoint_path)
    return [
        f"row {number}, user {row['user']}: {reason}"
        for number, row in enumerate(pq.ParquetFile(explanations_path).read().to_pylist())
        for reason in Row(recommender, row).failures()
    ]


class Row:
    """One row, and the recommender that it speaks of."""

    def __init__(self, recommender: Any, row: dict[str, Any]) -> None:
        self.recommender, self.row = recommender, row
        self.vocabulary = recommender.vocabulary
        self.unseen = max(0, len(row["history"]) - recommender.max_length)
        visible = range(self.unseen, len(row["history"]))
        self.seen = [position for position in visible if position not in row["locked"]]
        n_left = len(row["history"]) if row["removal"] == "backfill" else len(visible)
        self.most = min(len(self.seen), n_left - 1)  # a removal never empties a history

    def failures(self) -> Iterator[str]:
        row = self.row
        if row["model_hash"] != self.recommender.model_hash:
            yield "it is about another model"
        if row["status"] == "error":
            if not row["error"] or row["positions"] or row["before"] or row["after"]:
                yield "an error has a reason, and nothing else"
            return
        if row["error"] is not None:
            yield "it has the reason of an error"
        yield from self._about_the_question()
        if row["status"] in FOUND:
            yield from self._about_what_was_found()
        elif row["status"] not in NOT_FOUND:
            yield f"there is no status {row['status']}"
        elif row["positions"] or row["items"] or row["after"] or row["replacement"] or row["null_rate"] is not None:
            yield "nothing was found, and yet there is a removal"
        yield from self._about_smaller_sets()

    def _about_the_question(self) -> Iterator[str]:
        row = self.row
        if row["n_unseen"] != self.unseen:
            yield f"the model does not see {self.unseen} items, not {row['n_unseen']}"
        before = self._top(())
        if row["before"] != before:
            yield f"before should be {before}"
        if row["target"] not in before or row["target_rank"] != before.index(row["target"]) + 1:
            yield "the target does not stand where target_rank says"
        if row["change"] == "top1" and row["target_rank"] != 1:
            yield "top1 is about the first item"

    def _about_what_was_found(self) -> Iterator[str]:
        row, positions = self.row, self.row["positions"]
        if (
            not positions
            or positions != sorted(set(positions))
            or not set(positions) <= set(self.seen)
            or len(positions) > self.most
        ):
            yield "positions must be some that the model sees, ascending, and not all"
            return
        if row["items"] != [row["history"][position] for position in positions]:
            yield "items are not those at the positions"
        after = self._top(positions)
        if row["after"] != after:
            yield f"after should be {after}"
        if row["replacement"] != (after[0] if after else None):
            yield "the replacement is not the first item afterwards"
        if not self._changes(positions):
            yield "the removal does not change the answer"
        if comb(len(self.seen), len(positions)) <= 1000:
            answers = [self._changes(some) for some in combinations(self.seen, len(positions))]
            if row["null_rate"] != sum(answers) / len(answers):
                yield f"null_rate should be {sum(answers) / len(answers)}"
        elif not 0 <= row["null_rate"] <= 1:
            yield "null_rate must be a share"

    def _about_smaller_sets(self) -> Iterator[str]:
        row, n_removed = self.row, len(self.row["positions"])
        if row["proven_size"] > (n_removed - 1 if n_removed else self.most):
            yield "proven_size is as large as what was found, or more than can be removed"
        if row["status"] == "optimal" and row["proven_size"] != n_removed - 1:
            yield "optimal says that all smaller sets were tested, proven_size does not"
        if row["evaluations"] < sum(comb(len(self.seen), size) for size in range(1, row["proven_size"] + 1)):
            yield "fewer evaluations than sets that were proven"
        for size in range(1, row["proven_size"] + 1):
            step = -(-comb(len(self.seen), size) // MOST)
            for number, some in enumerate(combinations(self.seen, size)):
                if number % step == 0 and self._changes(some):
                    yield f"{some} changes the answer, and proven_size is {row['proven_size']}"
                    return
        if row["status"] == "irreducible":
            for some in combinations(row["positions"], n_removed - 1):
                if some and self._changes(some):
                    yield f"{some} is enough, and the status irreducible"

    def _changes(self, positions: Collection[int]) -> bool:
        row, after = self.row, self._top(positions)
        if row["change"] == "list":
            return len(set(after) - set(row["before"])) / row["k"] >= row["tau"]
        if row["change"] == "enters":
            return row["wanted"] in after
        return row["target"] not in (after[:1] if row["change"] == "top1" else after)

    def _top(self, positions: Collection[int]) -> list[str]:
        """The top k, as ids, without some positions: scored alone, all items ranked, those of the history left out."""
        row, kept = self.row, []
        for position in range(0 if row["removal"] == "backfill" else self.unseen, len(row["history"])):
            if position not in positions:
                kept.append(self.vocabulary.number_of(row["history"][position]))
            elif row["removal"] in ("pad", "mask"):
                kept.append(0 if row["removal"] == "pad" else self.recommender.mask_item)
        seen = kept[-self.recommender.max_length :]
        scores = self.recommender.scores([np.array(seen, dtype=np.int64)])[0]
        order = np.lexsort((np.arange(1, len(scores)), -scores[1:])) + 1  # best first, then the smaller number
        ids = (self.vocabulary.id_of(int(number)) for number in order)
        history = set(row["history"])
        top: list[str] = []
        while len(top) < row["k"] and (item := next(ids, None)) is not None:
            top += [item] if item not in history else []
        return top


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:  # noqa: ARG001  its effect
    """A folder with a small model, untrained but with weights that matter, and explanations of all kinds."""
    folder = tmp_path_factory.mktemp("explained")
    torch.manual_seed(3)
    model = {"name": "BERT4Rec", "n_items": 25, "max_length": 6, "dim": 8, "layers": 2, "heads": 2, "dropout": 0.1}
    weights = {
        name: tensor + 0.4 * torch.randn(tensor.shape) for name, tensor in build_model(model).state_dict().items()
    }
    vocabulary = Vocabulary(tuple(f"film {number}" for number in range(1, 26)))
    save_checkpoint(Checkpoint(model, weights, vocabulary, {}, "data"), folder / "checkpoint.ckpt")
    recommender, draw = recexplain.load(folder / "checkpoint.ckpt"), np.random.default_rng(1)
    histories = [[f"film {n}" for n in draw.integers(1, 21, length)] for length in (2, 3, 4, 6, 6, 9, 9, 9, 1)]
    explanations = [
        explanation
        for change, k, removal, more in [
            ("top1", 10, "delete", {}),
            ("top1", 3, "pad", {}),
            ("top1", 3, "delete", {"explainer": "cleann"}),
            ("leaves", 2, "delete", {"explainer": "occlusion"}),
            ("leaves", 1, "delete", {"explainer": "random"}),
            ("leaves", 8, "delete", {"max_evaluations": 7}),
            ("leaves", 3, "mask", {}),
            ("list", 4, "backfill", {"tau": 0.5}),
            ("enters", 2, "mask", {"wanted": "film 23"}),
            ("leaves", 3, "backfill", {"locked": ["film 3"], "min_age": 1}),
        ]
        for explanation in recexplain.explain_many(
            recommender, histories, users=map(str, range(9)), change=change, k=k, removal=removal, **more
        )
    ]
    (folder / "explanations.parquet").write_bytes(parquet_bytes(explanations))
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "explanations.parquet").to_pylist()
    return rows


def test_everything_explained_is_true(explained: Path) -> None:
    assert verify_file(explained / "explanations.parquet", explained / "checkpoint.ckpt") == []
    statuses = {row["status"] for row in rows_of(explained)}
    assert statuses >= {"optimal", "irreducible", "none_up_to", "budget", "error"}


def first(rows: list[dict[str, Any]], status: str, **more: Any) -> dict[str, Any]:
    return next(row for row in rows if row["status"] == status and all(row[name] == more[name] for name in more))


def larger(row: dict[str, Any]) -> None:
    """Add a position to a set: it may change the answer still, but a smaller one did."""
    spare = next(p for p in range(row["n_unseen"], len(row["history"])) if p not in row["positions"])
    row["positions"] = sorted([*row["positions"], spare])
    row["items"] = [row["history"][position] for position in row["positions"]]
    row["proven_size"] = len(row["positions"]) - 1


def swap(row: dict[str, Any], name: str) -> None:
    row[name] = [row[name][1], row[name][0], *row[name][2:]]


@pytest.mark.parametrize(
    ("status", "tamper", "reason"),
    [
        ("optimal", lambda row: row.update(target_rank=2), "target_rank"),
        ("optimal", lambda row: row.update(n_unseen=row["n_unseen"] + 1), "does not see"),
        ("optimal", lambda row: row.update(model_hash="other"), "another model"),
        ("optimal", lambda row: row.update(null_rate=row["null_rate"] + 1e-9), "null_rate should be"),
        ("optimal", lambda row: row.update(replacement=row["after"][1]), "the replacement is not"),
        ("optimal", lambda row: row.update(items=["film 25"]), "items are not those"),
        ("optimal", lambda row: row.update(positions=[]), "positions must be some"),
        ("optimal", lambda row: row.update(positions=[9]), "positions must be some"),
        ("optimal", lambda row: row.update(error="but"), "the reason of an error"),
        ("optimal", lambda row: row.update(status="none_up_to"), "nothing was found, and yet"),
        ("optimal", lambda row: row.update(status="best"), "no status best"),
        ("optimal", lambda row: row.update(history=row["history"][1:] + row["history"][:1]), "should be"),
        ("optimal", lambda row: row.update(k=row["k"] - 1), "before should be"),
        ("optimal", lambda row: swap(row, "before"), "before should be"),
        ("optimal", lambda row: swap(row, "after"), "after should be"),
        ("optimal", larger, "changes the answer, and proven_size is"),
        ("irreducible", lambda row: row.update(status="optimal"), "optimal says that all smaller sets"),
        ("irreducible", larger, "changes the answer|is enough"),
        ("none_up_to", lambda row: row.update(proven_size=9), "more than can be removed"),
        ("none_up_to", lambda row: row.update(evaluations=0, proven_size=1), "fewer evaluations"),
        ("budget", lambda row: row.update(after=["film 1"]), "nothing was found, and yet"),
        ("error", lambda row: row.update(error=None), "an error has a reason"),
    ],
)
def test_a_tampered_row_is_found_out(
    status: str, tamper: Callable[[dict[str, Any]], None], reason: str, explained: Path, tmp_path: Path
) -> None:
    rows = rows_of(explained)
    row = first(rows, status)
    tamper(row)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "tampered.parquet")
    failures = verify_file(tmp_path / "tampered.parquet", explained / "checkpoint.ckpt")
    assert failures
    assert all(failure.startswith(f"row {rows.index(row)}, user {row['user']}: ") for failure in failures)
    assert any(part in failure for failure in failures for part in reason.split("|"))


def test_a_set_that_changes_nothing_is_found_out(explained: Path, tmp_path: Path) -> None:
    """The lists are those of the false removal, so that only the answer itself gives it away."""
    rows, recommender = rows_of(explained), recexplain.load(explained / "checkpoint.ckpt")
    for row in rows:
        false = [p for p in range(row["n_unseen"], len(row["history"])) if not Row(recommender, row)._changes([p])]
        if row["status"] == "optimal" and len(row["positions"]) == 1 and false:
            after = Row(recommender, row)._top(false[:1])
            row.update(positions=false[:1], items=[row["history"][false[0]]], after=after, replacement=after[0])
            break
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "tampered.parquet")
    failures = verify_file(tmp_path / "tampered.parquet", explained / "checkpoint.ckpt")
    assert failures == [f"row {rows.index(row)}, user {row['user']}: the removal does not change the answer"]


def test_the_demo_is_true(one_thread: None) -> None:  # noqa: ARG001  its effect
    folder = Path(os.environ.get("RECEXPLAIN_DEMO", Path(__file__).parent.parent / "outputs" / "demo"))
    files = [folder / name for name in ("explained/explanations.parquet", "explanations.parquet")]
    file = next((file for file in files if file.exists()), None)
    if file is None or not (folder / "checkpoint.ckpt").exists():
        pytest.skip("no demo: RECEXPLAIN_DEMO names the folder, or `make demo` makes outputs/demo")
    assert verify_file(file, folder / "checkpoint.ckpt") == []


if __name__ == "__main__":
    found = verify_file(*sys.argv[1:3])
    print(*found, f"{len(found)} failures", sep="\n")
    sys.exit(1 if found else 0)
