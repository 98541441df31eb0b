"""What a program's end, its output and its submission amount to."""

import os
import signal
from typing import Any, BinaryIO

from agent.core.environment import Execution
from agent.core.records import Outcome
from agent.sandbox import program
from agent.sandbox.collector import RefusedSubmissionError, read_submission

# What a terminal or a browser that shows an output would obey.
_COMMANDS = (code for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n")
_WITHOUT_COMMANDS = dict.fromkeys(_COMMANDS)


def read_outcome(
    reply: dict[str, Any], submission: int | None, output: BinaryIO, file_mb: int, output_kb: int
) -> Execution:
    """From a supervisor's reply and the descriptor that came with it, which is closed here."""
    printed = _printed(output, reply["folder"], output_kb << 10)
    ended, attempts = reply["ended"], tuple(reply["attempts"])
    outcome: Outcome = "ok"
    error = message = ""
    content, refused = None, reply["refused"]
    if submission is not None:
        try:
            content = read_submission(submission, file_mb)
        except RefusedSubmissionError as reason:
            refused = str(reason)
    if refused:
        attempts += (f"submission: {refused}",)
    if ended in ("seconds", "cpu_seconds"):
        outcome = "timed_out"
    elif isinstance(ended, str):
        outcome, error = "crashed", "ResourceLimit"
        message = f"the program and its processes exceeded the limit of {ended}"
    elif ended != 0:
        outcome = "crashed"
        printed, error, message = _split_error(printed, ended)
    if outcome != "ok":
        content, refused = None, ""
    return Execution(outcome, error, message, printed, content, refused, reply["seconds"], attempts)


def _printed(output: BinaryIO, folder: str, keep: int) -> str:
    """`keep` bytes of both ends, without the path of the program's folder."""
    size = output.seek(0, os.SEEK_END)
    output.seek(0)
    text = output.read(keep)
    if size > 2 * keep:
        output.seek(size - keep)
        text += b"\n[...]\n"
    text += output.read(keep)
    return text.decode(errors="replace").replace(folder, ".").translate(_WITHOUT_COMMANDS)


def _split_error(output: str, status: int) -> tuple[str, str, str]:
    """Output, kind and message of the error that the child reported, or of its signal."""
    body, mark, rest = output.rpartition(f"\n{program.ERROR_MARK}")
    if mark:
        kind, _, message = rest.partition("\n")[0].partition(":")
        return body.rstrip(), kind, message.strip()
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        return output, names.get(-status, f"signal {-status}"), "the program was killed"
    return output, "SystemExit", f"exit code {status}"
