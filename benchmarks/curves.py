"""Draw what each budget buys, of the tables that `benchmarks/search.py` prints and a page holds under headings.

    python benchmarks/curves.py docs/minimal-sets.md docs/minimal-sets.png

A column a table, by its heading: above the mean size of the sets, a person without one counted as all items that the
model saw; below the share of people whose set is proven to be smallest.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from search import HEADER

INK, MUTED, FAINT = "#1b1d21", "#5d6168", "#e3e5e8"
OURS = "#c04a00"
LOOKS = {  # of the others, the more telling ones darker
    "exhaustive": ("#0063a0", "-"),
    "recency": ("#17663a", "-"),
    "attention": ("#8a3b9c", "-"),
    "occlusion": ("#b8860b", "-"),
    "cleann": ("#00818a", "--"),
    "genetic": ("#b3195b", "--"),
    "popularity": ("#8b9097", "-."),
    "random": ("#8b9097", ":"),
}
COLUMNS = [name.strip() for name in HEADER.strip("| ").split("|")]

Curves = Mapping[str, Mapping[int, tuple[float, float]]]  # explainer -> budget -> size over all, share optimal


def main(words: Sequence[str]) -> None:
    """Write the picture."""
    page, picture = map(Path, words)
    tables = tables_of(page.read_text(encoding="utf-8"))
    if not tables:
        raise SystemExit(f"{page} holds no table of benchmarks/search.py under a heading")
    drawn(tables).savefig(picture)


def tables_of(page: str) -> dict[str, Curves]:
    """Return the tables of a page by the headings above them; those with one budget alone are left out."""
    found: dict[str, dict[str, dict[int, tuple[float, float]]]] = {}
    heading, is_table = "", False
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        is_table = cells[: len(COLUMNS)] == COLUMNS or (is_table and line.startswith("|"))
        if is_table and cells[0] in ("causal", *LOOKS):
            row = dict(zip(COLUMNS, cells, strict=False))
            budget = int(row["budget"].replace(",", ""))
            values = float(row["size, all"]), float(row["optimal"].rstrip("%")) / 100
            found.setdefault(heading, {}).setdefault(cells[0], {})[budget] = values
    return {heading: curves for heading, curves in found.items() if len(curves.get("causal", ())) > 1}


def drawn(tables: Mapping[str, Curves]) -> Figure:
    """Return the picture of tables."""
    figure = Figure(figsize=(2.6 * len(tables), 5.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, len(tables), sharey="row", squeeze=False)
    for column, (heading, curves) in enumerate(tables.items()):
        for name, by_budget in curves.items():
            colour, style = LOOKS.get(name, (OURS, "-"))
            width, order = (2.6, 3) if name == "causal" else (1.3, 2)
            sizes, shares = zip(*by_budget.values(), strict=True)
            look = {"color": colour, "linestyle": style, "linewidth": width, "zorder": order}
            above[column].plot(list(by_budget), sizes, label=name, **look)
            below[column].plot(list(by_budget), [100 * share for share in shares], **look)
        above[column].set_title(heading.replace(", ", "\n", 1), loc="left", fontsize=9.5, color=INK)
        above[column].set_yscale("log")
        above[column].set_yticks([1, 2, 5, 10, 20, 40], ["1", "2", "5", "10", "20", "40"])
        below[column].set_ylim(0, 100)
        below[column].set_xlabel("evaluations a person at most", fontsize=8.5, color=MUTED)
        for axes in (above[column], below[column]):
            dress(axes, sorted({budget for by_budget in curves.values() for budget in by_budget}))
    above[0].set_ylabel("mean size of the sets", fontsize=8.5, color=MUTED)
    below[0].set_ylabel("% proven smallest", fontsize=8.5, color=MUTED)
    names = above[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=len(names[1]), fontsize=8.5, frameon=False)
    return figure


def dress(axes: Axes, budgets: Sequence[int]) -> None:
    """Give a part of the picture the look that all parts have."""
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
    axes.minorticks_off()
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


if __name__ == "__main__":
    main(sys.argv[1:])
