"""Options beyond what files can hold, and damaged files of a stopped run: one sentence, status 2."""

from pathlib import Path

import pytest

from recexplain.evaluation import cli


@pytest.mark.parametrize(
    "option", ["pages=null", "pages=true", "limit=true", "k=3000000000", "seed=9223372036854775808"]
)
def test_an_option_that_cannot_be_held_stops_before_anything_is_written(
    option: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["explain", f"checkpoint={checkpoint}", "users=[1]", option, f"out={out}"]) == 2
    name = option.partition("=")[0]
    assert capsys.readouterr().err.startswith(f"recexplain: {name} must be a whole number of ")
    assert not out.exists()


@pytest.mark.parametrize("words", [["train", "model=null"], ["train", "data=null"], ["explain", "explainer=null"]])
def test_a_part_that_is_needed_cannot_be_null(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith("recexplain: the options cannot be put together: ")


def test_a_damaged_journal_is_named(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", f"checkpoint={checkpoint}", "users=[1,2]", f"out={tmp_path}"]
    assert cli.main(words) == 0
    (tmp_path / "index.html").unlink()
    (tmp_path / "journal.jsonl").write_text('{"a":1}\n', encoding="utf-8")
    capsys.readouterr()
    assert cli.main(words) == 2
    assert "journal.jsonl is damaged; choose another folder" in capsys.readouterr().err
