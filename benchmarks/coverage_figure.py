"""Draw how often intervals held the truth: `python -m benchmarks.coverage_figure`.

The figure is made from coverage.csv beside it, which `python -m benchmarks coverage` simulates.
"""

from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from agent.evaluation.figures import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    METADATA,
    ORANGE,
    enlarged,
    house_style,
    label_lines,
    title_with_note,
)
from agent.evaluation.interval_worth import TABLE

FIGURE = TABLE.with_suffix(".svg")
COLOURS = {"clustered": BLUE, "runs": ORANGE, "stratified": GREEN}
WANTED = (0.93, 0.97)


def coverage_figure(table: pd.DataFrame) -> Figure:
    """Share of the studies whose interval holds the truth over the number of runs, by setting."""
    covered = table[table["interval"].isin(COLOURS) & ~table["measure"].str.startswith("false")]
    figure = Figure(figsize=(COLUMN, 2.3))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (setting, rows) in zip(panels, covered.groupby("setting"), strict=True):
        labels = _draw(axes, rows)
        title_with_note(axes, f"Runs {setting}", "gain, P(improvement)")
    label_lines(panels[1], labels, gap=0.04)
    panels[0].set_ylabel("Intervals that hold the truth")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    figure.supxlabel("Training runs in a study", fontsize=7.5)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Mean over measures with their range, at equal steps; returns the labels of the lines."""
    axes.axhspan(*WANTED, color=GREY, alpha=0.2, linewidth=0)
    labels = []
    for interval, colour in COLOURS.items():
        shares = rows[rows["interval"] == interval].groupby("runs")["share"]
        low, mean, high = shares.min(), shares.mean(), shares.max()
        places = range(len(mean))
        axes.fill_between(places, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(places, mean, color=colour, marker="o")
        labels.append((float(mean.iloc[-1]), interval, colour))
    axes.set_xticks(places, [str(runs) for runs in mean.index])
    axes.set_ylim(0.4, 1.0)
    return labels


def draw(table: Path = TABLE, figure: Path = FIGURE) -> None:
    buffer = BytesIO()
    with house_style():
        drawn = coverage_figure(pd.read_csv(table))
        drawn.savefig(buffer, format="svg", metadata=METADATA["svg"])
    figure.write_bytes(enlarged(buffer.getvalue()))


if __name__ == "__main__":
    draw()
