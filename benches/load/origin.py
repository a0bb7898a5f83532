"""The static origin: /1k and /64k, each also below /cached/, and a request counter.

nginx where it is installed. Run as a program (`python3 origin.py HOST:PORT`), this file is the
small fallback, which speaks the same paths and the same status format.
"""

import asyncio
import http.client
import re
import shutil
import ssl
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KIB = "x" * 1024
BODIES = {"/1k": KIB.encode(), "/64k": KIB.encode() * 64}


def fetch(address: str, path: str, secure: bool = False) -> tuple[int, bytes]:
    """Status and body; inside TLS with whoever answers, if `secure`."""
    if secure:
        unverified = ssl._create_unverified_context()  # the bench's own certificate, on loopback
        connection = http.client.HTTPSConnection(address, timeout=5, context=unverified)
    else:
        connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class RequestCounter:
    """Requests that the origin has seen, without those of the counter itself."""

    def __init__(self, origin: str):
        self._origin = origin
        self._own = 0

    def read(self) -> int:
        self._own += 1
        _, body = fetch(self._origin, "/status")
        accepts_handled_requests = re.search(rb"\n\s*\d+\s+\d+\s+(\d+)", body)
        return int(accepts_handled_requests[1]) - self._own


def command(address: str, directory: Path) -> list[str]:
    nginx = shutil.which("nginx")
    if not nginx:
        return [sys.executable, __file__, address]
    config = directory / "origin.conf"
    text = (HERE / "conf/origin.conf").read_text()
    values = {"DIR": str(directory), "ORIGIN": address, "KIB": KIB, "64K": "$k" * 64}
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    config.write_text(text)
    return [nginx, "-p", str(directory), "-e", str(directory / "origin.log"), "-c", str(config)]


class _Fallback(asyncio.Protocol):
    """One connection. Requests are heads without bodies, which is all that the bench sends."""

    requests = 0

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for head in heads:
            _Fallback.requests += 1
            path = head.split(b" ", 2)[1].decode("latin-1")
            self._transport.write(_Fallback._answer(path))

    @staticmethod
    def _answer(path: str) -> bytes:
        body = BODIES.get(path.removeprefix("/cached"))
        if path == "/status":
            body = b"server accepts handled requests\n 0 0 %d \n" % _Fallback.requests
        status = b"200 OK" if body is not None else b"404 Not Found"
        body = body or b""
        head = b"HTTP/1.1 %s\r\nCache-Control: max-age=3600\r\nContent-Length: %d\r\n\r\n"
        return head % (status, len(body)) + body


async def _serve(host: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Fallback, host, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    listen_host, listen_port = sys.argv[1].split(":")
    asyncio.run(_serve(listen_host, int(listen_port)))
