"""One request to a server, and how often and when it is sent again."""

import json
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

# Nothing but the temperature shapes the distribution that is sampled from. A server would take what
# a request leaves out from the model's generation_config.json, as Qwen's top_p, top_k and penalty.
UNSHAPED = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
ATTEMPTS = 6
_FIRST_WAIT = 2.0  # s before a request is sent again, doubled each time
_REQUEST_SECONDS = 3600.0  # for one answer, waiting for others included


class Attempts:
    """The failures of one request that its server survived.

    place: what to look at, for the message. over: an event that makes all waiting end.
    """

    def __init__(self, place: str, over: threading.Event) -> None:
        self._place, self._over = place, over
        self._failed = 0

    def note(self, failed: OSError) -> None:
        """Wait before the next attempt; raises `RuntimeError` instead when there is none."""
        self._failed += 1
        if self._failed == ATTEMPTS:
            raise RuntimeError(
                f"vllm: a request failed {ATTEMPTS} times, the last one with {failed}; "
                f"{self._place}"
            ) from failed
        self._over.wait(_FIRST_WAIT * 2 ** (self._failed - 1))


def ask(
    url: str,
    path: str,
    key: str,
    body: dict[str, Any] | None = None,
    seconds: float = _REQUEST_SECONDS,
) -> dict[str, Any]:
    """GET, or POST of a body as JSON.

    Raises `RuntimeError` for a request that is refused, and `OSError` where it may be sent again:
    the server is not there, went away amid its reply, or failed.
    """
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {key}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    # No proxy stands between a job and its own server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as answer:
            content = answer.read()
        reply = json.loads(content) if content else {}
    except urllib.error.HTTPError as refused:
        told = f"{path}: HTTP {refused.code}: {_text(refused)}"
        if refused.code >= 500:
            raise ConnectionError(told) from refused
        raise RuntimeError(f"vllm: {told}") from refused
    except (HTTPException, ValueError) as broken:
        raise ConnectionError(f"{path}: {type(broken).__name__}: {broken}") from broken
    if not isinstance(reply, dict):
        raise ConnectionError(f"{path}: no object: {reply!r:.100}")
    return reply


def _text(refused: urllib.error.HTTPError) -> str:
    try:
        return refused.read().decode(errors="replace")[:500]
    except (OSError, HTTPException) as broken:
        return type(broken).__name__
