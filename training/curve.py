"""The learning curve of a run as a picture."""

from collections.abc import Sequence
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1b1d21", "#767a80", "#d9dce0"
LOSS, NDCG, HR = "#767a80", "#c04a00", "#0063a0"


def curve_png(rows: Sequence[dict[str, float]]) -> bytes:
    """Return a PNG of the training loss and the validation figures by epoch, from the rows of a `RunRecord`."""
    figure = Figure(figsize=(8.4, 3.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], color=LOSS, linewidth=1.6)
    _dress(left, "training loss (cross-entropy)")
    kept = ""
    validated = [row for row in rows if "val_ndcg10" in row]
    for name, label, colour in (("val_hr10", "HR@10", HR), ("val_ndcg10", "NDCG@10", NDCG)):
        values = [row[name] for row in validated]
        right.plot([row["epoch"] for row in validated], values, color=colour, linewidth=1.6, marker="o", markersize=3)
        if values:
            end = validated[-1]["epoch"], values[-1]
            right.annotate(label, end, xytext=(6, 0), textcoords="offset points", color=colour, va="center", fontsize=9)
    if validated:
        best = max(validated, key=lambda row: row["val_ndcg10"])
        kept = f"; kept: epoch {best['epoch']:.0f}, NDCG@10 {best['val_ndcg10']:.4f}"
        right.axvline(best["epoch"], color=FAINT, zorder=0)
        right.set_ylim(bottom=0)
    right.margins(x=0.2)
    _dress(right, f"validation{kept}")
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("epoch", fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
