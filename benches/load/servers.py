"""The servers that are compared: how each is found, configured and started.

Their configurations lie in conf/, as files that a user of that server can read and criticise.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

from origin import HERE, fetch
from processes import Daemon

REPOSITORY = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
LAKH = TARGET / "release/lakh"
TELLING = "lakh-telling"
START_SECONDS = 15
BUILD_SECONDS = 1800
VARNISH_DIRECTORY_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Bench:
    """Where a server runs: its directories, its addresses and its core."""

    directory: Path
    memory: Path
    origin: str
    listen: str
    secure: str
    admin: str
    collector: str
    core: int

    def config(self, name: str, **more: str) -> str:
        """conf/NAME with this bench's values, written to the temporary directory."""
        host, port = self.origin.split(":")
        values = {
            "DIR": str(self.directory),
            "MEMORY": str(self.memory),
            "LISTEN": self.listen,
            "SECURE": self.secure,
            "ADMIN": self.admin,
            "ORIGIN": self.origin,
            "ORIGIN_HOST": host,
            "ORIGIN_PORT": port,
            **more,
        }
        text = (HERE / "conf" / name).read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        path = self.directory / name
        path.write_text(text)
        return str(path)


def make_certificate(directory: Path) -> None:
    """One of P-256, as most sites have it: site.pem and site.key; HAProxy wants both in a file."""
    certificate, key = directory / "site.pem", directory / "site.key"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            *["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "30"],
            *["-out", str(certificate), "-keyout", str(key)],
        ],
        check=True, timeout=30, stderr=subprocess.DEVNULL,
    )
    (directory / "both.pem").write_text(certificate.read_text() + key.read_text())


@dataclass(frozen=True)
class Server:
    name: str
    version: str
    command: Callable[[Bench], list[str]]
    caches: bool = True
    has_tls: bool = False
    has_readyz: bool = False

    def start(self, bench: Bench) -> Daemon:
        log = bench.directory / f"{self.name}.out"
        daemon = Daemon(self.name, self.command(bench), bench.core, log)
        try:
            self._wait_until_ready(daemon, bench)
        except BaseException:
            daemon.stop()
            raise
        return daemon

    def can(self, case) -> bool:
        return (self.caches or not case.is_hit) and (self.has_tls or not case.is_secure)

    def _wait_until_ready(self, daemon: Daemon, bench: Bench) -> None:
        if self.has_readyz and daemon.wait_until(lambda: _is_ok(bench.admin, "/readyz"), START_SECONDS):
            return
        if not daemon.wait_until(lambda: accepts(bench.listen), START_SECONDS):
            raise RuntimeError(f"{self.name} does not accept connections, see its log")


def find(wanted: list[str], lakh: Path) -> tuple[list[Server], dict[str, str]]:
    """The wanted servers that can run here, and why each of the others cannot."""
    servers, skipped = [], {}
    for name in wanted:
        found = FINDERS[name](lakh)
        if isinstance(found, Server):
            servers.append(found)
        else:
            skipped[name] = found
    return servers, skipped


def _find_lakh(lakh: Path) -> Server | str:
    if not lakh.is_file():
        return f"not built ({lakh})"
    return Server(
        "lakh",
        _version([str(lakh), "--version"]),
        lambda bench: [str(lakh), "run", "--config", bench.config("lakh.yaml", LOG="none", OTLP="null")],
        has_tls=True,
        has_readyz=True,
    )


def _find_lakh_telling(lakh: Path) -> Server | str:
    """With a line of JSON for each request, in a file, and a trace of each hundredth."""
    def command(bench: Bench) -> list[str]:
        told = {"LOG": str(bench.directory / "access.log"), "OTLP": f"http://{bench.collector}"}
        return [str(lakh), "run", "--config", bench.config("lakh.yaml", **told)]

    found = _find_lakh(lakh)
    return replace(found, name=TELLING, command=command) if isinstance(found, Server) else found


def _find_nginx(_: Path) -> Server | str:
    def command(bench: Bench) -> list[str]:
        log = str(bench.directory / "nginx.log")
        return ["nginx", "-p", str(bench.directory), "-e", log, "-c", bench.config("nginx.conf")]

    return _installed("nginx", "nginx", ["-v"], command, has_tls=True)


def _find_haproxy(_: Path) -> Server | str:
    def command(bench: Bench) -> list[str]:
        return ["haproxy", "-db", "-f", bench.config("haproxy.cfg")]

    return _installed("haproxy", "haproxy", ["-v"], command, has_tls=True)


def _find_varnish(_: Path) -> Server | str:
    def command(bench: Bench) -> list[str]:
        return [
            *["varnishd", "-F", "-j", "none", "-T", "none"],
            *["-n", _varnish_directory(bench), "-a", bench.listen],
            *["-f", bench.config("varnish.vcl"), "-s", "malloc,256m"],
            *["-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=500"],
        ]

    return _installed("varnish", "varnishd", ["-V"], command)


def _varnish_directory(bench: Bench) -> str:
    """In memory, as its manual advises, where there is room and code may be loaded from it."""
    memory = os.statvfs(bench.memory)
    has_room = memory.f_bavail * memory.f_frsize >= VARNISH_DIRECTORY_BYTES
    may_load = not memory.f_flag & os.ST_NOEXEC
    return str((bench.memory if has_room and may_load else bench.directory) / "varnish")


def _find_bare_proxy(_: Path) -> Server | str:
    directory = TARGET / "bare-proxy"
    binary = directory / "release/bare-proxy"
    if shutil.which("cargo"):
        manifest = HERE.parent / "bare-proxy/Cargo.toml"
        build = ["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest)]
        print("bare-proxy: building where it is not up to date (some minutes the first time)", flush=True)
        built = subprocess.run(
            [*build, "--quiet", "--target-dir", str(directory)], timeout=BUILD_SECONDS, check=False
        )
        if built.returncode != 0:
            return "its build failed, see above"
    elif not binary.is_file():
        return "not built, and no cargo to build it"
    return Server(
        "bare-proxy",
        "pingora-proxy without features",
        lambda bench: [str(binary), bench.listen, bench.origin],
        caches=False,
    )


FINDERS: dict[str, Callable[[Path], Server | str]] = {
    "lakh": _find_lakh,
    TELLING: _find_lakh_telling,
    "nginx": _find_nginx,
    "haproxy": _find_haproxy,
    "varnish": _find_varnish,
    "bare-proxy": _find_bare_proxy,
}


def _installed(name: str, program: str, version: list[str], command: Callable,
               has_tls: bool = False) -> Server | str:
    if not shutil.which(program):
        return "not installed"
    return Server(name, _version([program, *version]), command, has_tls=has_tls)


def _version(command: list[str]) -> str:
    output = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10, check=False
    ).stdout
    return output.splitlines()[0].strip() if output else "unknown"


def accepts(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _is_ok(address: str, path: str) -> bool:
    try:
        status, _ = fetch(address, path)
    except (OSError, HTTPException):
        return False
    return status == 200


def free_addresses(count: int) -> list[str]:
    """Loopback addresses with ports that nobody listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses
