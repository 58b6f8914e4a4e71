# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A web server over a folder, which knows Range and may ask for a token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import re
from threading import Thread
from urllib.parse import urlsplit

import pytest


@dataclass
class Server:
    """What it does, and has done.

    Attributes:
        address: of the folder.
        token: without which nothing is given out: ?token=...
        knows_range: else files come as a whole.
        breaks_off: whether requests for a part are not answered.
        parts: first and last byte of each that was given.
        whole: how many files and folders were.
    """

    address: str = ''
    token: str = ''
    knows_range: bool = True
    breaks_off: bool = False
    parts: list[tuple[int, int]] = field(default_factory=list)
    whole: int = 0


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder to fsspec, which needs aiohttp for that."""
    pytest.importorskip('aiohttp')
    server = Server()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            if server.token and urlsplit(self.path).query != f'token={server.token}':
                self.send_error(403)
                return
            file = Path(self.translate_path(self.path))
            part = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range', ''))
            if part is None or not server.knows_range or not file.exists():
                server.whole += 1
                super().do_GET()
                return
            if server.breaks_off:
                self.close_connection = True
                return
            first, last = map(int, part.groups())
            server.parts.append((first, last))
            data = file.read_bytes()[first:last + 1]
            self.send_response(206)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as listening:
        server.address = f'http://127.0.0.1:{listening.server_port}'
        thread = Thread(target=listening.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
