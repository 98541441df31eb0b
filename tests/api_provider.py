"""A provider of models behind an API, over real HTTP, that says what it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SAMPLE = "open('submission.csv', 'w').write(open('sample_submission.csv').read())"


def answer(text: str | None = "fine", finish: str = "stop") -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


@dataclass
class Provider:
    """A server that replies what it was given, the last of it for ever, and notes the requests."""

    replies: list[tuple[int, dict[str, str], Any]]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def served_provider() -> Iterator[Provider]:
    served, guard = Provider([(200, {}, answer())]), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with guard:
                served.asked.append({"path": self.path, **body})
                served.keys.append(self.headers["Authorization"])
                last = len(served.replies) == 1
                status, headers, content = served.replies[0] if last else served.replies.pop(0)
            told = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(told))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield served
    server.shutdown()
    server.server_close()
