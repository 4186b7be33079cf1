"""The index of a run: its figures, its table, its links."""

from dataclasses import replace

import pytest
from test_html_pages import CASES, FOUND, NOTHING, Page, shown, squeezed, title_of

from recexplain.report.page import index_page, summary


def test_the_figures_of_an_index_count_failures_as_such() -> None:
    single = replace(FOUND, positions=(1,), items=("1",), null_rate=0.9)
    figures = summary([FOUND, single, NOTHING, CASES["error"]])
    assert (figures.n_people, figures.n_found, figures.n_weak) == (4, 2, 1)
    assert figures.statuses == (("optimal", 2), ("none_up_to", 1), ("error", 1))
    assert figures.mean_size == 1.5  # 2 and 1
    assert figures.mean_size_all == 2.75  # 2, 1 and twice the four items that the model saw
    assert figures.evaluations == 4 * 1234


def test_figures_without_people_or_finds_are_none_and_not_zero() -> None:
    assert (summary([]).mean_size, summary([]).mean_size_all) == (None, None)
    assert (summary([NOTHING]).mean_size, summary([NOTHING]).mean_size_all) == (None, 4.0)
    assert "This run has no people." in shown(index_page([], title_of, heading="Nobody"))


def test_the_summary_of_an_index_shows_its_figures() -> None:
    text = shown(index_page([(FOUND, "a.html"), (FOUND, "b.html"), (NOTHING, "c.html")], title_of, heading="Run"))
    for words in (
        "3 people", "66.7 % explained: 2 of 3", "2.00 items removed", "2.67 on average over everyone",
        "3,702 edited histories scored, 1,234 a person", "optimal 2 (66.7 %)", "none found 1 (33.3 %)",
    ):  # fmt: skip
        assert words in text
    assert "say little" not in text
    weak = replace(FOUND, null_rate=0.5)
    assert "1 explanation says little:" in shown(index_page([(weak, "a.html")], title_of, heading="Run"))


def rows_of(html: str) -> list[list[str]]:
    """What stands in each cell of each row of the table."""
    rows: list[list[str]] = []
    for element in Page(html).elements:
        if element.tag == "tr":
            rows.append([])
        elif element.tag in ("th", "td"):
            rows[-1].append(squeezed(element.text))
    return rows[1:]


def test_a_row_of_the_table_tells_one_person() -> None:
    html = index_page([(FOUND, "users/7.html"), (replace(NOTHING, user=None), "users/8.html")], title_of, heading="Run")
    found, nothing = rows_of(html)
    target, removed = "Heat (1995)", "<script>alert(1)</script> M*A*S*H (1970)"
    assert found == [
        "ann & <b>", target, removed, "Brazil (1985)", "optimal", "2", "1,234",
    ]  # fmt: skip
    sentence = NOTHING.sentence(title_of).replace("*", "")
    assert nothing == ["person 2", target, sentence, "none up to 2 items", "\N{EN DASH}", "1,234"]
    assert [a.attributes["href"] for a in Page(html).find("a")] == ["users/7.html", "users/8.html"]


def test_every_person_has_a_row_in_the_order_given() -> None:
    rows = [(replace(FOUND, user=str(i)), f"users/{i}.html") for i in (3, 1, 2) * 200]
    html = index_page(rows, title_of, heading="Run")
    assert [a.text for a in Page(html).find("a")] == ["3", "1", "2"] * 200


@pytest.mark.parametrize("link", ["https://example.org/x", "//example.org/x", "javascript:alert(1)", "/etc/x"])
def test_a_link_that_leaves_the_run_is_refused(link: str) -> None:
    with pytest.raises(ValueError, match="relative path"):
        index_page([(FOUND, link)], title_of, heading="Run")
