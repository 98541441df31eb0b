"""What an unfinished job has played so far, kept as it happens: a job killed goes on from there.

A JSON-lines file beside the job's output: a header, the answers of a round with the tokens they
appended, and each action's feedback the moment it is known. A line cut short by a kill is dropped.
Whoever plays has the file locked, so that two jobs never play the same episodes at once.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.core.base_agent import Response
from agent.core.environment import Feedback, from_json, to_json
from agent.core.files import unfinished
from agent.core.records import Conversation

_SYNC_SECONDS = (
    1.0  # at most this long is lost when the whole machine dies; a killed job loses none
)
_PACKAGE = Path(__file__).parents[1]
# What of it plays no part in an episode; all else does, the code of child processes as well.
_NO_PART = ("training/*", "evaluation/*", "browser/*", "grading.py", "wrappers/verl_*")


class Journal:
    """Of the episodes of one job, by number and turn; use as a context manager, and from threads.

    conditions: text that names all that the episodes depend on. What was played under others, or
    by other code, is moved aside, and comes back if it fits again before more is moved there.
    Raises `RuntimeError` while another process has the file.
    """

    def __init__(self, path: Path, conditions: str) -> None:
        self._path = path
        self._header = _line({"conditions": _digest(conditions)})
        self._responses: dict[tuple[int, int], dict[str, Any]] = {}
        self._feedback: dict[tuple[int, int], Feedback] = {}
        self._synced = time.monotonic()
        self._writing = threading.Lock()
        self._worth_keeping = False  # whether anything was answered
        self._cut_short = False  # whether the last line could not be written whole

    def __enter__(self) -> "Journal":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b", buffering=0)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            self._file.close()
            raise RuntimeError(
                f"{self._path}: another process plays these episodes: stop it, or wait for it"
            ) from taken
        self._read()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if not self._worth_keeping and self._path.exists():
            self._path.unlink()
            with contextlib.suppress(OSError):  # other files are in it
                self._path.parent.rmdir()

    def __len__(self) -> int:
        """Turns with feedback."""
        return len(self._feedback)

    def discard(self) -> None:
        """Remove the file: the job's output holds everything now."""
        self._path.unlink()

    def recall(self, episode: int, turn: int, conversation: Conversation) -> Response | None:
        """The answer given before, its tokens appended to `conversation`; None if there is none."""
        known = self._responses.get((episode, turn))
        if known is None:
            return None
        conversation.token_ids += known["token_ids"]
        conversation.action_mask += known["action_mask"]
        conversation.logprobs += known["logprobs"]
        conversation.encoded_messages = known["encoded_messages"]
        conversation.segments = list(known["segments"])
        conversation.answers = list(known["answers"])
        return Response(**known["response"])

    def add_responses(
        self,
        turn: int,
        episodes: Sequence[int],
        conversations: Sequence[Conversation],
        lengths: Sequence[int],
        responses: Sequence[Response],
    ) -> None:
        """Keep what a policy answered; `lengths` are the conversations' tokens before."""
        rows = [
            {
                "episode": episode,
                "turn": turn,
                "token_ids": conversation.token_ids[length:],
                "action_mask": conversation.action_mask[length:],
                "logprobs": conversation.logprobs[length:],
                "encoded_messages": conversation.encoded_messages,
                "segments": list(conversation.segments),
                "answers": list(conversation.answers),
                "response": asdict(response),
            }
            for episode, conversation, length, response in zip(
                episodes, conversations, lengths, responses, strict=True
            )
        ]
        self._append(_line({"responses": rows}))
        self._worth_keeping |= any(response.finish != "context" for response in responses)

    def feedback(self, episode: int, turn: int) -> Feedback | None:
        return self._feedback.get((episode, turn))

    def add_feedback(self, episode: int, turn: int, feedback: Feedback) -> None:
        facts = to_json(feedback)
        self._append(_line({"episode": episode, "turn": turn, "feedback": facts}))

    def _append(self, line: bytes) -> None:
        with self._writing:
            try:
                # Nothing may be written behind half a line, by any other thread either.
                self._cut_short = self._cut_short or self._file.write(line) != len(line)
                if time.monotonic() - self._synced > _SYNC_SECONDS:
                    os.fsync(self._file.fileno())
                    self._synced = time.monotonic()
            except OSError as refused:
                raise OSError(f"{self._path}: cannot be written: {refused}") from refused
            if self._cut_short:
                raise OSError(f"{self._path}: cannot be written: the disk is full; make room")

    def _read(self) -> None:
        self._file.seek(0)
        lines = _whole_lines(self._file.read())
        if lines[:1] != [self._header]:
            lines = self._exchange(lines)
        self._file.truncate(sum(map(len, lines)))
        if not lines:
            self._append(self._header)
        for line in lines[1:]:
            self._remember(json.loads(line))

    def _exchange(self, unfit: list[bytes]) -> list[bytes]:
        """Move aside what does not fit; what was moved there before comes back if it does."""
        aside = self._path.with_name(f"{self._path.name}.aside")
        before = _whole_lines(aside.read_bytes()) if aside.exists() else []
        fit = before if before[:1] == [self._header] else []
        if len(unfit) > 1 or fit:
            then = "what fits comes back from there" if fit else "its episodes are played anew"
            print(f"{self._path}: other settings or code: moved to {aside}; {then}", flush=True)
            with unfinished(aside) as partial:
                partial.write_bytes(b"".join(unfit))
                self._file.truncate(0)
                for line in fit:
                    self._append(line)
        return fit

    def _remember(self, entry: dict[str, Any]) -> None:
        self._worth_keeping = True
        for row in entry.get("responses", ()):
            self._responses[row["episode"], row["turn"]] = row
        if "feedback" in entry:
            told = from_json(Feedback, entry["feedback"])
            self._feedback[entry["episode"], entry["turn"]] = told


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _whole_lines(content: bytes) -> list[bytes]:
    return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)


def _digest(conditions: str) -> str:
    """Of the conditions, code and prompts: what an edit changed is played again."""
    digest = hashlib.blake2b(conditions.encode(), digest_size=16)
    for source in playing(_PACKAGE):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def playing(package: Path) -> list[Path]:
    """The files of the package that decide what happens in an episode."""
    left_out = {path for pattern in _NO_PART for path in package.glob(pattern)}
    files = sorted(package.rglob("*"))
    return [path for path in files if path.suffix in {".py", ".yaml"} and path not in left_out]
