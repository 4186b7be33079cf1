"""`recexplain verify`: a line for each thing that does not hold, and status 1; silence and 0 where all holds."""

import json
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recexplain.checkpoint import Checkpoint, build_model, save_checkpoint
from recexplain.evaluation import cli
from recexplain.evaluation import verify as verify_entry
from recexplain.evaluation.config import record
from recexplain.explanation import Explanation
from recexplain.interactions import Interactions
from recexplain.schema import jsonl_text, parquet_bytes, read_explanations
from recexplain.sequences import load_dataset

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(folder: Path, seed: int) -> Path:
    """An untrained checkpoint whose items matter, of data beside it."""
    source = Interactions(str(folder / "ratings.csv"), min_item_ratings=1)
    data = load_dataset(source)
    model = {"name": "BERT4Rec", "n_items": data.vocabulary.n_items, "max_length": 5, "dim": 8, "layers": 1, "heads": 2}
    torch.manual_seed(seed)
    weights = {name: w + 0.4 * torch.randn(w.shape) for name, w in build_model(model).state_dict().items()}
    path = folder / f"{seed}.ckpt"
    save_checkpoint(Checkpoint(model, weights, data.vocabulary, record(source), data.data_hash), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Explanations of ten people, two checkpoints over the same data."""
    folder, draw = tmp_path_factory.mktemp("verified"), np.random.default_rng(0)
    rows = [f"u{user},i{item},{step}" for user in range(10) for step, item in enumerate(draw.permutation(15)[:7])]
    (folder / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    trained(folder, 1)
    trained(folder, 2)
    words = [f"checkpoint={folder / '1.ckpt'}", "change=leaves", "k=3", f"out={folder / 'out'}", "pages=0"]
    assert cli.main(["explain", *words]) == 0
    return folder


Verify = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def verify(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Verify:
    monkeypatch.chdir(tmp_path)

    def run(*more: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        words = [f"explanations={folder / 'out' / 'explanations.parquet'}", f"checkpoint={folder / '1.ckpt'}", "out=v"]
        status = cli.main(["verify", *words, *more])
        printed = capsys.readouterr()
        assert printed.err == ""
        lines = printed.out.splitlines()
        assert lines.pop() == "v"
        return status, [line for line in lines if not line.startswith("verifying")]

    return run


def explanations_of(folder: Path) -> list[Explanation]:
    return read_explanations(folder / "out" / "explanations.parquet")


def test_what_was_written_holds(folder: Path, verify: Verify) -> None:
    assert verify() == (0, ["10 explanations, 0 of them with failures"])
    assert Path("v/failures.json").read_text() == "[]\n"
    assert verify(f"explanations={folder / 'out' / 'explanations.jsonl'}", "limit=3", "max_evaluations=null") == (
        0,
        ["3 explanations, 0 of them with failures"],
    )
    assert any(one.is_found for one in explanations_of(folder))


def test_a_tampered_row_is_named_and_the_status_is_1(folder: Path, verify: Verify, tmp_path: Path) -> None:
    rows = explanations_of(folder)
    number = next(i for i, one in enumerate(rows) if one.is_found)
    rows[number] = replace(rows[number], replacement="i[1]4")  # what rich would take for markup stays as it is
    for name, content in (("t.parquet", parquet_bytes(rows)), ("t.jsonl", jsonl_text(rows).encode())):
        (tmp_path / name).write_bytes(content)
        status, lines = verify(f"explanations={name}")
        where = f"row {number}, user u{number}: "
        assert (status, lines) == (
            1,
            [
                where + "digest: the row was changed after it was written",
                where + "replacement: it is not the first item afterwards",
                "10 explanations, 1 of them with failures",
            ],
        )
    text = Path("v/failures.json").read_text()
    assert [failure["row"] for failure in json.loads(text)] == [number, number]
    assert text == json.dumps(json.loads(text), indent=2) + "\n"


class Reason(str):
    """A text of which it can be seen whether it is still held."""

    __slots__ = ("__weakref__",)


def test_neither_rows_nor_failures_are_held(
    folder: Path, verify: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [replace(one, user=f"p{number}") for number, one in enumerate(explanations_of(folder) * 5)]
    (tmp_path / "many.parquet").write_bytes(parquet_bytes(rows))
    held = weakref.WeakSet[Explanation | Reason]()

    def failing(_: object, explanation: Explanation, **_more: object) -> Iterator[Reason]:
        reason = Reason(f"a reason of {explanation.user}")
        held.add(explanation)
        held.add(reason)
        assert len(held) <= 4
        yield reason

    monkeypatch.setattr(verify_entry, "failures_of", failing)
    status, lines = verify("explanations=many.parquet")
    assert (status, lines[-1]) == (1, "50 explanations, 50 of them with failures")
    reasons = [line for line in lines if "a reason of" in line]
    assert reasons == [f"row {number}, user p{number}: a reason of p{number}" for number in range(50)]


def test_another_history_than_that_of_the_data_is_named(folder: Path, verify: Verify, tmp_path: Path) -> None:
    rows = explanations_of(folder)
    swapped = [replace(rows[0], user="u1"), replace(rows[1], user="nobody")]
    sealed = [replace(one, digest=one.fingerprint()) for one in swapped]
    (tmp_path / "t.jsonl").write_text(jsonl_text(sealed))
    status, lines = verify("explanations=t.jsonl")
    assert status == 1
    assert "row 0, user u1: history: it is not that of the user in the data" in lines
    assert "row 1, user nobody: user: user 'nobody' is not one of the 10 users of the data" in lines


def test_another_checkpoint_is_named_in_every_row(folder: Path, verify: Verify) -> None:
    status, lines = verify(f"checkpoint={folder / '2.ckpt'}")
    assert status == 1
    named = [line for line in lines if "model_hash: it is about another one" in line]
    assert [line.partition(",")[0] for line in named] == [f"row {row}" for row in range(10)]


def test_other_data_is_named(folder: Path, verify: Verify, tmp_path: Path) -> None:
    text = (folder / "ratings.csv").read_text()
    (tmp_path / "other.csv").write_text(text.replace("u1,", "u1x,"))
    status, lines = verify("data=interactions", "data.path=other.csv", "data.min_item_ratings=1")
    assert status == 1
    assert lines[0].startswith("data: the data (hash ")
    (tmp_path / "same.csv").write_text(text)
    assert verify("data=interactions", "data.path=same.csv", "data.min_item_ratings=1")[0] == 0


def test_somebody_twice_or_nobody_is_named(folder: Path, verify: Verify, tmp_path: Path) -> None:
    rows = explanations_of(folder)
    (tmp_path / "t.parquet").write_bytes(parquet_bytes([*rows, rows[4]]))
    assert verify("explanations=t.parquet") == (
        1,
        ["row 10, user u4: digest: the same row stands here twice", "11 explanations, 1 of them with failures"],
    )
    nameless = [replace(one, user=None) for one in (rows[4], rows[4])]
    nameless = [replace(one, digest=one.fingerprint()) for one in nameless]
    (tmp_path / "t.parquet").write_bytes(parquet_bytes(nameless))
    assert not any("twice" in line for line in verify("explanations=t.parquet")[1])
    (tmp_path / "t.parquet").write_bytes(parquet_bytes([]))
    words = [f"checkpoint={folder / '1.ckpt'}", "explanations=t.parquet", "out=v"]
    assert cli.main(["verify", *words]) == 2


def test_people_of_an_audit_who_are_missing_are_named(folder: Path, verify: Verify) -> None:
    off = [f"{part}.people=null" for part in ("quality", "sensitivity", "comparison")]
    words = [f"checkpoint={folder / '1.ckpt'}", "workers=0", "buckets=4", "cases=0", "page=false", *off]
    assert cli.main(["audit", *words, "out=audit"]) == 0
    assert verify("explanations=audit/explanations") == (0, ["10 explanations, 0 of them with failures"])
    bucket = next(Path("audit/explanations").iterdir())
    lost = len(read_explanations(next(bucket.glob("*.parquet"))))
    bucket.rename("elsewhere")
    status, lines = verify("explanations=audit/explanations")
    assert status == 1
    assert lines[0] == f"10 people went into the audit, and {10 - lost} rows are here, or of others"
    assert verify("explanations=audit/explanations", "limit=2")[0] == 0  # the first so many only
    Path("elsewhere").rename(bucket)
    part = next(bucket.glob("*.parquet"))
    part.write_bytes(parquet_bytes([replace(one, user="x") for one in read_explanations(part)]))
    assert (
        "10 people went into the audit, and 10 rows are here, or of others"
        in verify("explanations=audit/explanations")[1]
    )
