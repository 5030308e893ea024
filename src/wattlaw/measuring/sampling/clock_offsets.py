"""Compares the monotonic clocks of several hosts with the first host's, over TCP, as in NTP.

The first host serves its clock while it makes a record of several hosts, and writes its address
into the record's folder. The sampler of every other host asks it at its start and at its end. Of
many exchanges the one with the shortest round trip is used: the answer was given somewhere within
it, so the offset is off by at most half of it (Mills, RFC 5905: offset and delay).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from wattlaw.core.files import write_whole
from wattlaw.measuring.files.host_files import Against, boot_id, clock_pair, host_name

CLOCK_FILE = ".clock.json"
"""Address of the first host's clock, in an attempt's folder while it is served."""

_EXCHANGES = 30
_CONNECT_TIMEOUT_S = 0.5
_ANSWER_TIMEOUT_S = 2.0

Clock = Callable[[], float]


class ClockAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host serves its clock; ``secret`` distinguishes it from others there."""

    host: str
    boot_id: str
    addresses: tuple[str, ...]
    port: int
    secret: str


@contextlib.contextmanager
def clock_served(attempt: Path, clock: Clock = time.monotonic) -> Iterator[None]:
    """Serve this host's monotonic clock to an attempt's other hosts within the context."""
    secret = secrets.token_hex(16)
    monotonic, utc = clock_pair()
    utc_offset = utc - monotonic + (time.monotonic() - clock())

    class Exchange(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True
        timeout = _ANSWER_TIMEOUT_S

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                if self.rfile.readline(64).strip() != secret.encode():
                    return
                while self.rfile.read(1):
                    self.wfile.write(b"%.9f %.9f\n" % (clock(), utc_offset))

    with _Server(("", 0), Exchange) as server:
        thread = threading.Thread(target=server.serve_forever, name="wattlaw-clock", daemon=True)
        thread.start()
        address = ClockAddress(
            host=host_name(),
            boot_id=boot_id(),
            addresses=_addresses(),
            port=server.server_address[1],
            secret=secret,
        )
        path = attempt / CLOCK_FILE
        write_whole(path, msgspec.json.encode(address))
        path.chmod(0o600)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            server.shutdown()
            thread.join()


def compare_clock(attempt: Path, clock: Clock = time.monotonic) -> Against | None:
    """Measure this host's clock against the one that is served for an attempt.

    None if none is served, if it is this host's own, or if it does not answer.
    """
    try:
        served = msgspec.json.decode((attempt / CLOCK_FILE).read_bytes(), type=ClockAddress)
    except (FileNotFoundError, PermissionError, msgspec.MsgspecError):
        return None
    if (served.host, served.boot_id) == (host_name(), boot_id()):
        return None
    for address in served.addresses:
        with contextlib.suppress(OSError, ValueError):
            return _compare(served, address, clock)
    return None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


def _compare(served: ClockAddress, address: str, clock: Clock) -> Against:
    """Exchange times and keep the answer with the shortest round trip.

    Raises OSError, or ValueError if something else answers.
    """
    exchanges: list[tuple[float, float, float, float]] = []
    endpoint = (address, served.port)
    with socket.create_connection(endpoint, _CONNECT_TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_ANSWER_TIMEOUT_S)
        connection.sendall(served.secret.encode() + b"\n")
        with connection.makefile("rb") as answers:
            for _ in range(_EXCHANGES):
                before = clock()
                connection.sendall(b"?")
                theirs, utc_offset = map(float, answers.readline().split())
                after = clock()
                exchanges.append((after - before, (before + after) / 2, theirs, utc_offset))
    round_trip, middle, theirs, utc_offset = min(exchanges)
    return Against(
        host=served.host,
        boot_id=served.boot_id,
        time_s=round(middle, 6),
        offset_s=round(theirs - middle, 9),
        uncertainty_s=round(round_trip / 2, 9),
        utc_offset_s=utc_offset,
    )


def _addresses() -> tuple[str, ...]:
    """Return the addresses of this host, loopback last: nodes of a test may share one machine."""
    import psutil

    found = []
    for interface in psutil.net_if_addrs().values():
        found += [a.address for a in interface if a.family == socket.AF_INET]
    launch = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "")
    ordered = sorted(dict.fromkeys(found), key=lambda a: (a != launch, a.startswith("127.")))
    return tuple(ordered)
