"""Writes the page: index.html, the index of all episodes, and the episodes in chunks.

A page opened from a disk may not fetch files, but it may run scripts that lie beside it; so the
episodes are scripts that hand over compressed JSON. What they carry was written by a model and is
never markup: it travels as base64, the page shows it as text only, and a content security policy
keeps everything from running that is not the page's own script.
"""

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent.browser.episodes import Episode, index_row, transcript
from agent.browser.tokens import Tokens
from agent.core.files import unfinished

PAGE = Path(__file__).with_name("page")
STYLES = ("style", "episode", "screens")
SCRIPTS = (
    "dom",
    "store",
    "facts",
    "address",
    "filters",
    "strip",
    "list",
    "facets",
    "text",
    "program",
    "marks",
    "episode",
    "compare",
    "overview",
    "search",
    "keys",
    "main",
)
TEXTS = ("source", "folder", "group", "competition", "policy", "stop_reason")
LISTS_OF_TEXTS = ("actions", "outcomes", "errors", "hack_attempts")
# A chunk ends with the episode that reaches either; a reader waits for one chunk, not for all.
CHUNK_EPISODES = 64
CHUNK_CHARACTERS = 1_000_000


def write_browser(
    folder: Path,
    study: str,
    episodes: Iterable[Episode],
    tokens: Tokens,
    answers: Mapping[str, str],
) -> int:
    """Write the page of a study into `folder`, whole or not at all; returns how many episodes.

    `answers` names those that agents are told of (`told`) and those that judge (`judging`).
    """
    rows: list[dict[str, Any]] = []
    with unfinished(folder) as partial:
        (partial / "episodes").mkdir(parents=True)
        chunks = _Chunks(partial / "episodes")
        for episode in episodes:
            place = None
            if episode.trajectory:
                place = chunks.add(transcript(episode.trajectory, episode.rewards, tokens))
            rows.append(index_row(episode) | {"place": place})
        chunks.close()
        if not rows:
            raise ValueError(f"{folder}: no episode to show; give shards or evaluations")
        index = {"study": study, "answers": answers, "columns": _columns(rows)}
        (partial / "index.js").write_text(_handover("index", _json(index)))
        (partial / "index.html").write_text(_document(study))
    return len(rows)


class _Chunks:
    """Fills one chunk after the other, so that a large study never lies in memory whole.

    The messages that open an episode are the same for all episodes of a competition; they are
    kept once, in a file of their own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._texts: list[str] = []
        self._openings: dict[str, int] = {}

    def add(self, content: dict[str, Any]) -> list[int]:
        """Where the episode is: the number of its chunk, and its place there."""
        opening = self._openings.setdefault(_json(content["opening"]), len(self._openings))
        place = [self._number, len(self._texts)]
        self._texts.append(_json(content | {"opening": opening}))
        if len(self._texts) == CHUNK_EPISODES or sum(map(len, self._texts)) >= CHUNK_CHARACTERS:
            self._write_chunk()
        return place

    def close(self) -> None:
        self._write_chunk()
        self._write("openings", list(self._openings))

    def _write_chunk(self) -> None:
        if self._texts:
            self._write(f"{self._number:04}", self._texts)
            self._number, self._texts = self._number + 1, []

    def _write(self, name: str, texts: list[str]) -> None:
        path = self._folder / f"{name}.js"
        path.write_text(_handover(path.stem, f"[{','.join(texts)}]"))


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Column by column, with every text once: the index is read whole before anything is shown."""
    return {key: _column(key, [row[key] for row in rows]) for key in rows[0]}


def _column(key: str, values: list[Any]) -> Any:
    if key in TEXTS:
        names = sorted(set(values))
    elif key in LISTS_OF_TEXTS:
        names = sorted({text for value in values for text in value})
    else:
        return values
    code = {name: number for number, name in enumerate(names)}
    if key in TEXTS:
        return {"names": names, "codes": [code[value] for value in values]}
    return {"names": names, "codes": [[code[text] for text in value] for value in values]}


def _handover(name: str, text: str) -> str:
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return f'receive("{name}", "{packed}");\n'


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def _document(study: str) -> str:
    style = "".join((PAGE / f"{name}.css").read_text() for name in STYLES)
    script = "".join((PAGE / f"{name}.js").read_text() for name in SCRIPTS)
    parts = {
        "study": html.escape(study),
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }
    template = (PAGE / "index.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], template)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
