"""Folders and files of a run: never half-written, never mixed with another run's."""

import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from recexplain.errors import OptionError


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file under a temporary name piece by piece, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.writelines(pieces)
    temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it."""
    write_pieces(path, [content])


def write_text(path: Path, content: str) -> None:
    """Write a text file (UTF-8) under a temporary name, then rename it."""
    write_bytes(path, content.encode())


def open_folder(out: Path, entry: str, options: Mapping[str, Any]) -> None:
    """Make the folder of an entry's run, or go on in it; `OptionError` where it holds a run with other options."""
    path = out / f"{entry}.json"
    if out.exists() and not out.is_dir():
        raise OptionError(f"out={out} is a file; it must be a folder")
    wanted = json.loads(json.dumps(options))
    if path.exists():
        try:
            earlier = json.loads(path.read_bytes())
        except ValueError:
            raise OptionError(f"{path} is damaged; choose another folder with out=") from None
        name = _first_difference(earlier, wanted)
        if name:
            raise OptionError(f"{out} holds a run of `{entry}` with another {name}; choose another folder with out=")
        return
    write_text(path, json.dumps(wanted, indent=2) + "\n")


def _first_difference(earlier: Any, wanted: Any, name: str = "") -> str | None:
    """Return the dotted name of the first option that differs, with both values, or None."""
    if isinstance(earlier, dict) and isinstance(wanted, dict):
        for key in sorted({*earlier, *wanted}):
            found = _first_difference(earlier.get(key), wanted.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if earlier == wanted else f"{name} ({earlier} there, {wanted} here)"


def commit() -> str | None:
    """Return which commit of a repository this program was installed from; None where it was not, or nobody knows."""
    told = distribution("recexplain").read_text("direct_url.json")
    found = json.loads(told).get("vcs_info", {}) if told else {}
    return found.get("commit_id")
