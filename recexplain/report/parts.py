"""What a report is made of, as plain values that one template shows: sections of words, facts, charts and tables.

Every text is cut to a bounded length, so that the size of a page is bounded whatever the titles and names are.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recexplain.report.page import counted, number, percent
from recexplain.report.scoreboard import figure

LONGEST = 160  # characters of a title, a name or a reason
BRIEF = 14  # characters
NONE = "\N{EN DASH}"

Share = Mapping[str, Any]  # n, of, share, low, high
Mean = Mapping[str, Any]  # n, mean, low, high


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what it says, and beside it, small, how sure that is."""

    text: str
    small: str = ""
    kind: str = ""  # a class of the style sheet
    link: str = ""  # an anchor of the same page

    @property
    def style(self) -> str:
        """The classes of the cell; a brief text stays in one line."""
        return " ".join(filter(None, (self.kind, "brief" if len(self.text) <= BRIEF else "")))


@dataclass(frozen=True)
class Table:
    """Rows under heads; the first cell of a row names it."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether it may stand beside another table."""
        longest = max((len(cell.text) for row in self.rows for cell in row[1:]), default=0)
        return len(self.heads) <= 5 and longest <= 20


@dataclass(frozen=True)
class Chart:
    """A picture, and its figures as a table for those who cannot see it."""

    title: str
    picture: str  # SVG in base64
    alt: str
    table: Table


@dataclass(frozen=True)
class Section:
    """One part of the page with a place in its table of contents."""

    anchor: str
    heading: str
    words: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()  # small
    parts: tuple["Section", ...] = ()  # under headings of their own, between the tables and the notes


def short(text: object, longest: int = LONGEST) -> str:
    """Return a text, its end cut where it is very long.

    >>> short("Alien (1979)"), short("aaaa", 3)
    ('Alien (1979)', 'aa…')
    """
    line = str(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell | str]], *, note: str = "") -> Table:
    """Return a table; a cell that is only a text has nothing beside it."""
    cells = (tuple(cell if isinstance(cell, Cell) else Cell(short(cell)) for cell in row) for row in rows)
    return Table(tuple(map(short, heads)), tuple(cells), note)


def chart(title: str, svg: bytes, alt: str, figures: Table) -> Chart:
    """Return a chart with its figures."""
    return Chart(title, b64encode(svg).decode(), alt, figures)


def share_cell(share: Share, *, kind: str = "") -> Cell:
    """Return a share in percent with its interval."""
    if share["share"] is None:
        return Cell(NONE)
    return Cell(percent(share["share"]), between(share["low"], share["high"], in_percent=True), kind)


def mean_cell(mean: Mean, *, in_percent: bool = False, kind: str = "") -> Cell:
    """Return a mean with its interval."""
    value = mean["mean"]
    if value is None:
        return Cell(NONE)
    written = percent(value) if in_percent else figure(value)
    return Cell(written, between(mean["low"], mean["high"], in_percent=in_percent), kind)


def between(low: float | None, high: float | None, *, in_percent: bool = False) -> str:
    """Return an interval in words; nothing where there is none.

    >>> between(0.25, 0.5, in_percent=True), between(1.25, 2.5), between(None, None)
    ('25 to 50 %', '1.25 to 2.50', '')
    """
    if low is None or high is None:
        return ""
    return f"{tenths(low)} to {tenths(high)} %" if in_percent else f"{figure(low)} to {figure(high)}"


def tenths(share: float) -> str:
    """Return a share in percent without the sign, to a tenth."""
    return f"{100 * share:.1f}".removesuffix(".0")


def share_words(share: Share) -> str:
    """Return a share in one phrase: 43 of 100 (43 %; 95 % interval 33.8 to 52.8 %)."""
    if share["share"] is None:
        return f"{number(share['n'])} of {number(share['of'])}"
    interval = between(share["low"], share["high"], in_percent=True)
    sure = f"; 95 % interval {interval}" if interval else ""
    return f"{number(share['n'])} of {number(share['of'])} ({percent(share['share'])}{sure})"


def value_words(value: float | None, *, in_percent: bool = False) -> str:
    """Return a number in words; a dash where there is none."""
    return NONE if value is None else percent(value) if in_percent else figure(value)


def people(count: int) -> str:
    """Return a number of people.

    >>> people(1), people(6040)
    ('1 person', '6,040 people')
    """
    return counted(count, "person", "people")
