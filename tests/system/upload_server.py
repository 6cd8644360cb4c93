"""Reads whatever it is sent and answers with its length and SHA-256: `upload_server.py PORT`."""

import hashlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        digest, length = hashlib.sha256(), 0
        while piece := self.next_piece():
            digest.update(piece)
            length += len(piece)
        answer = f"{length} {digest.hexdigest()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def next_piece(self) -> bytes:
        """The next piece of the body, in either framing; nothing at its end."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            data = self.rfile.read(size)
            self.rfile.readline()
            return data
        left = getattr(self, "left", None)
        if left is None:
            left = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(min(left, 1 << 20))
        self.left = left - len(data)
        if not data:
            del self.left
        return data

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
