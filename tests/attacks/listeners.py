"""Servers on loopback and on unix sockets that note what reaches them."""

import contextlib
import random
import selectors
import socket
import threading
import time
from pathlib import Path

_PAUSE = 0.05  # s between two calls to the port on which programs may listen


class Listeners:
    """A thread that listens; it also calls a port, in case somebody listens there."""

    def __init__(self, folder: Path, abstract: str, credential: str) -> None:
        self.service, self.datagram = folder / "service", folder / "datagram"
        self._credential = credential.encode()
        self._received: list[bytes] = []
        self._selector = selectors.DefaultSelector()
        self._leaving = threading.Event()
        self.tcp_port = self._serve(_bound(socket.AF_INET, "127.0.0.1"))
        self.tcp6_port = self._serve(_bound(socket.AF_INET6, "::1"))
        self.udp_port = self._serve(_bound(socket.AF_INET, "127.0.0.1", socket.SOCK_DGRAM))
        self.dial_port = _free_port()
        for address in (str(self.service), f"\0{abstract}"):
            stream = socket.socket(socket.AF_UNIX)
            stream.bind(address)
            self._serve(stream)
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        datagrams.bind(str(self.datagram))
        self._serve(datagrams)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def heard(self, text: str) -> bool:
        """Whether `text` has arrived, or does within half a second."""
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            if any(text.encode() in message for message in self._received):
                return True
            time.sleep(0.01)
        return False

    def forget(self) -> None:
        self._received.clear()

    def stop(self) -> None:
        self._leaving.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._close(key.fileobj)
        self._selector.close()
        for path in (self.service, self.datagram):
            path.unlink(missing_ok=True)

    def _serve(self, server: socket.socket) -> int:
        streams = server.type == socket.SOCK_STREAM
        if streams:
            server.listen()
        self._selector.register(server, selectors.EVENT_READ, "accept" if streams else "read")
        name = server.getsockname()
        return name[1] if isinstance(name, tuple) else 0

    def _listen(self) -> None:
        dial_at = 0.0
        while not self._leaving.is_set():
            for key, _ in self._selector.select(_PAUSE):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if key.data == "accept":
                    self._selector.register(ready.accept()[0], selectors.EVENT_READ, "read")
                else:
                    self._read(ready)
            if time.monotonic() >= dial_at:
                self._dial()
                dial_at = time.monotonic() + _PAUSE

    def _read(self, ready: socket.socket) -> None:
        message = b""
        with contextlib.suppress(OSError):
            message = ready.recv(65536)
            if message == b"credential\n":
                ready.sendall(self._credential)
        self._received.append(message)
        if not message and ready.type == socket.SOCK_STREAM:
            self._close(ready)

    def _dial(self) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.dial_port), _PAUSE) as call,
        ):
            call.settimeout(0.5)
            self._received.append(call.recv(65536))

    def _close(self, closing: object) -> None:
        assert isinstance(closing, socket.socket)
        self._selector.unregister(closing)
        closing.close()


def _bound(family: int, host: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    server = socket.socket(family, kind)
    server.bind((host, 0))
    return server


def _free_port() -> int:
    """Below those that connections are given, so that no call can reach itself."""
    while True:
        port = random.randrange(20000, 30000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
