"""A real HTTP server on loopback that serves files, and behaves badly on demand."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Mirrors:
    """What the server is told to do, and what it was asked.

    A path is `/MIRROR/NAME`: files are found by their name, behaviours by the mirror's.

    Attributes:
        address: of the server, without a slash at its end.
        files: content by name.
        behaviour: by mirror: a status, "html", "longer", "shorter", "changed", "unsized", "no
            ranges", "wrong range", "redirect" to the mirror `good`, "drip", "cut N" after N bytes
            of each answer, "cut once N".
        requests: (mirror, Range header) as they came.
        pause_seconds: between two blocks, for those who want to kill at leisure.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    behaviour: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    pause_seconds: float = 0.0

    def mirror(self, name: str) -> str:
        return f"{self.address}/{name}/"


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Mirrors]:
    told = Mirrors(files=files)

    class Handler(_Handler):
        mirrors = told

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    told.address = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield told
    finally:
        told.stopped.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


class _Handler(BaseHTTPRequestHandler):
    mirrors: Mirrors

    def do_GET(self) -> None:
        _, mirror, name = self.path.split("/", 2)
        asked = self.headers.get("Range")
        self.mirrors.requests.append((mirror, asked))
        behave, _, amount = self.mirrors.behaviour.get(mirror, "well").rpartition(" ")
        behave, amount = (behave, amount) if amount.isdecimal() else (f"{behave} {amount}", "")
        behave = behave.strip()
        if not behave:
            self.send_error(int(amount))
        elif behave == "redirect":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.end_headers()
        elif name not in self.mirrors.files:
            self.send_error(404)
        else:
            with contextlib.suppress(ConnectionError):
                self._send(self._body(behave, self.mirrors.files[name]), behave, amount, asked)

    def _body(self, behave: str, content: bytes) -> bytes:
        match behave:
            case "html":
                return b"<html>down for maintenance</html>"
            case "longer":
                return content + b"!"
            case "shorter":
                return content[:-1]
            case "changed":
                return b"?" + content[1:]
            case _:
                return content

    def _send(self, body: bytes, behave: str, amount: str, asked: str | None) -> None:
        start = 0
        if asked and behave != "no ranges":
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            assert match
            start = int(match[1])
        if start >= len(body):
            self.send_error(416)
            return
        if asked and behave == "wrong range":
            start = 0
        self.send_response(206 if asked and behave != "no ranges" else 200)
        kind = "text/html; charset=utf-8" if behave == "html" else "application/zip"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if behave != "unsized":
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop = len(body)
        if behave == "cut" or (behave == "cut once" and len(self.mirrors.requests) == 1):
            stop = min(stop, start + int(amount))
        if behave == "unsized" and len(self.mirrors.requests) == 1:
            stop //= 2
        self._write(memoryview(body)[start:stop], 10 if behave == "drip" else 1 << 14)

    def _write(self, body: memoryview, block: int) -> None:
        pause = 0.02 if block == 10 else self.mirrors.pause_seconds
        for place in range(0, len(body), block):
            self.wfile.write(body[place : place + block])
            if pause and self.mirrors.stopped.wait(pause):
                return

    def log_message(self, *_: object) -> None: ...
