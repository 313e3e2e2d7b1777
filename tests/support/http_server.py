"""An HTTP server on the loopback interface that misbehaves on demand."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Behaviour:
    """What the server has, and how it answers.

    Attributes:
        files: path -> content.
        ranges: whether it begins in the middle when asked to.
        cut_after: bytes after which it breaks the connection of the next `cuts` answers.
        cuts: how many answers are cut.
        busy: how many requests are answered with 503 first.
        refuse: paths that are answered with 403.
        head: whether HEAD is allowed.
        pause: seconds between pieces of an answer.
        sent: bytes of content that went out.
        requests: (method, path, Range header) of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int = 0
    cuts: int = 0
    busy: int = 0
    refuse: set[str] = field(default_factory=set)
    head: bool = True
    pause: float = 0.0
    sent: int = 0
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        if self.behaviour.head:
            self._answer(body=False)
        else:
            self.send_error(405)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        known = self.behaviour
        path = unquote(urlsplit(self.path).path).lstrip("/")
        wanted = self.headers.get("Range")
        known.requests.append((self.command, self.path, wanted))
        if known.busy:
            known.busy -= 1
            self.send_error(503)
            return
        if path in known.refuse or path not in known.files:
            self.send_error(403 if path in known.refuse else 404)
            return
        data = known.files[path]
        first, last = 0, len(data) - 1
        if wanted and known.ranges and (match := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)):
            first, last = int(match[1]), min(int(match[2] or last), last)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        self.end_headers()
        if body:
            self._send(data[first : last + 1])

    def _send(self, data: bytes) -> None:
        known = self.behaviour
        cut = known.cuts > 0 and len(data) > known.cut_after
        if cut:
            known.cuts -= 1
            data = data[: known.cut_after]
        try:
            for start in range(0, len(data), 65536):
                self.wfile.write(data[start : start + 65536])
                known.sent += len(data[start : start + 65536])
                if known.pause:
                    time.sleep(known.pause)
        except OSError:  # the other side has enough
            self.close_connection = True
        if cut:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that the other side closed."""


@contextmanager
def http_server(behaviour: Behaviour) -> Iterator[str]:
    """Serve on 127.0.0.1 while the block runs; yields the URL, with a slash at its end."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
