"""What all figures share: the house style, colours, label placement and byte-identical files."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agent.evaluation.files import write_bytes, write_text

STYLE = Path(__file__).with_name("house.mplstyle")
COLUMN = 3.3  # inches: every figure fits one column of a paper, at the size it is read
ON_SCREEN = 1.8  # times as large in the report, where that fits the height of
WINDOW = 510.0  # points

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILION, YELLOW, GREY = "#56B4E9", "#D55E00", "#F0E442", "#666666"
LIGHT_GREY = "#BBBBBB"
POLICY_COLOURS = {"base": ORANGE, "trained": BLUE}

# Dates and program versions would make equal figures differ.
METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


@contextmanager
def house_style() -> Iterator[None]:
    """The house style alone, whatever the user's matplotlibrc says; draw and save inside."""
    with mpl.rc_context():
        mpl.rc_file(STYLE)
        yield


@dataclass(frozen=True)
class FigureFiles:
    pdf: Path
    """figure to write"""
    svg: Path
    """the same figure"""
    png: Path
    """the same figure"""
    caption: Path
    """what it shows, with n, seeds and interval, to write"""


def save_figure(figure: Figure, caption: str, files: FigureFiles) -> None:
    """Write the figure in three formats, laid out once so that they agree, and its caption."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for kind, path in (("pdf", files.pdf), ("svg", files.svg), ("png", files.png)):
        buffer = BytesIO()
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
        content = buffer.getvalue()
        write_bytes(path, enlarged(content) if kind == "svg" else content)
    write_text(files.caption, caption + "\n")


def enlarged(svg: bytes) -> bytes:
    """The drawing at `ON_SCREEN` times its size: a column of print is small on a screen."""
    size, found = re.subn(
        rb'width="([\d.]+)pt" height="([\d.]+)pt"',
        lambda sides: (
            b'width="%.2fpt" height="%.2fpt"'
            % tuple(ON_SCREEN * float(side) for side in sides.groups())
        ),
        svg,
        count=1,
    )
    if not found:
        raise ValueError("figure: the SVG states no size; Matplotlib writes it in points")
    return size


def colour_of(policy: str) -> str:
    return POLICY_COLOURS.get(policy, GREY)


def label_of(name: str) -> str:
    """`name` as a reader would write it."""
    return name.replace("_", " ")


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Move positions apart until neighbours are at least `gap` apart, in the order given by value.

    Positions that crowd are placed evenly around their common centre, so that labels stay as
    close as possible to what they name.
    """
    order = sorted(range(len(positions)), key=lambda index: (positions[index], index))
    blocks: list[list[float]] = []  # [sum of wanted centres, number of labels]
    for index in order:
        blocks.append([positions[index], 1])
        while len(blocks) > 1 and _touch(blocks[-2], blocks[-1], gap):
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    placed = [0.0] * len(positions)
    labels = iter(order)
    for total, count in blocks:
        for place in range(int(count)):
            placed[next(labels)] = total / count + gap * (place - (count - 1) / 2)
    return placed


def _touch(lower: list[float], upper: list[float], gap: float) -> bool:
    distance = upper[0] / upper[1] - lower[0] / lower[1]
    return distance < gap * (lower[1] + upper[1]) / 2


def title_with_note(axes: Axes, title: str, note: str) -> None:
    """A title, and under it in grey what the panel shows: outside the axes, in nobody's way."""
    axes.set_title(title, pad=15)
    axes.annotate(
        note,
        (0, 1),
        (0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        color=GREY,
        fontsize=6.5,
    )


def label_lines(axes: Axes, labels: Sequence[tuple[float, str, str]], gap: float) -> None:
    """Write (height, text, colour) beside the right edge, apart from each other by `gap`."""
    heights = spread([height for height, _, _ in labels], gap)
    for (_, text, colour), height in zip(labels, heights, strict=True):
        axes.annotate(
            text,
            (1.0, height),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            color=colour,
            fontsize=6.5,
            va="center",
            annotation_clip=False,
        )
