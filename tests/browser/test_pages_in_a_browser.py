"""Pages in a real browser, offline: nothing leaves, nothing runs, charts are drawn, anchors lead somewhere."""

from dataclasses import replace
from pathlib import Path

import pytest
from audit_reports import EVIL, FOUND, board, case, report
from browser import Browser

from recexplain.report.audit import audit_page
from recexplain.report.audit_cases import graph_in
from recexplain.report.board import Board
from recexplain.report.page import index_page, picture_of, user_page
from recexplain.report.scoreboard import board_page

NARROW, WIDE = 360, 1100
PAGES = ("report", "person", "scoreboard", "index")


def title_of(item: str) -> str:
    return EVIL if item == "2" else f"Film {item}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of page that we write, of invented people."""
    out = tmp_path_factory.mktemp("pages")
    graph = graph_in(case(FOUND)["graph"])
    scoreboard = Board.from_dict(board())
    row = replace(scoreboard.rows[0], removed=(1.0, 0.5), kept=(0.5, 1.0))
    pages = {
        "report": audit_page(report()),
        "person": user_page(FOUND, title_of, picture=picture_of(FOUND, graph, title_of), note=EVIL),
        "scoreboard": board_page(replace(scoreboard, rows=(row, scoreboard.rows[1])), {row.label: (0.1, 0.2)}),
        "index": index_page([(FOUND, "person.html")], title_of, heading=EVIL),
    }
    for name, page in pages.items():
        (out / f"{name}.html").write_text(page, encoding="utf-8")
    return out


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_and_complains_of_nothing(
    browser: Browser, folder: Path, name: str, width: int
) -> None:
    path = folder / f"{name}.html"
    browser.open(path, width=width)
    assert browser.complaints() == []
    requests = browser.requests()
    assert requests[0] == path.as_uri()
    assert [one for one in requests[1:] if not one.startswith("data:")] == []
    assert browser.ask("document.scripts.length") == 0
    assert EVIL in browser.ask("document.body.textContent")


def test_a_page_that_loads_runs_or_complains_would_be_found(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('ran')</script>", encoding="utf-8")
    browser.open(path)
    assert "http://127.0.0.1:9/x.png" in browser.requests()
    assert any("ran" in one for one in browser.complaints())


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_screen_needs_no_scrolling_sideways(browser: Browser, folder: Path, name: str) -> None:
    browser.open(folder / f"{name}.html", width=NARROW)
    browser.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.ask("document.documentElement.scrollWidth") <= NARROW


@pytest.mark.parametrize(("name", "least"), [("report", 12), ("person", 1), ("scoreboard", 3)])
def test_every_picture_is_drawn_and_described(browser: Browser, folder: Path, name: str, least: int) -> None:
    browser.open(folder / f"{name}.html")
    sizes = browser.ask("[...document.images].map(one => [one.naturalWidth, one.naturalHeight, one.alt.length])")
    assert len(sizes) >= least
    assert all(min(size) > 0 for size in sizes), sizes


def test_the_page_of_a_case_is_reached_by_a_click(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html")
    assert not browser.ask("location.hash")
    browser.click("#cases th a")
    assert browser.ask("location.hash") == "#case-1"
    top = browser.ask("document.getElementById('case-1').getBoundingClientRect().top")
    assert -1 < top < 100
    browser.click("#case-1 nav a")
    assert browser.ask("location.hash") == "#cases"
    browser.click("nav[aria-label=Contents] a[href='#verify']")
    assert browser.ask("document.getElementById('verify').getBoundingClientRect().top") < 900


def test_the_figures_of_a_chart_can_be_unfolded(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html")
    table = "document.querySelector('#outcomes details table').checkVisibility()"
    assert not browser.ask(table)
    browser.click("#outcomes summary")
    assert browser.ask(table)


def test_dark_is_dark_and_light_is_light(browser: Browser, folder: Path) -> None:
    colours = []
    for dark in (False, True):
        browser.open(folder / "report.html", dark=dark)
        colours.append(browser.ask("getComputedStyle(document.documentElement).backgroundColor"))
    assert colours == ["rgb(247, 247, 245)", "rgb(19, 21, 24)"]


def test_a_report_prints_a_page_a_case(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html", dark=True)
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") >= 1 + 3  # the report and its three cases
    breaks = "[...document.querySelectorAll('article')].map(one => getComputedStyle(one).breakBefore)"
    browser.print_styles()
    assert browser.ask(breaks) == ["page"] * 3
    assert browser.ask("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
