"""The monotonic clocks of several hosts, set against the first host's over TCP as NTP does it.

The first host serves its clock as long as it makes a record of several hosts, and says in the record's folder
where. Every other host's sampler asks it when it starts and when it ends. Of many exchanges the one with the
shortest round trip counts: the answer was given somewhere within it, so half of it is how far the offset may be off
(Mills, RFC 5905: offset and delay).
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

SERVED = ".clock.json"
"""Where the first host's clock is served, in an attempt's folder as long as it is."""


_EXCHANGES = 30


_TRY_S = 0.5


_ANSWER_S = 2.0


Clock = Callable[[], float]


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host serves its clock. ``secret`` tells it from another that has the same address elsewhere."""

    host: str
    boot_id: str
    addresses: tuple[str, ...]
    port: int
    secret: str


@contextlib.contextmanager
def clock_served(attempt: Path, clock: Clock = time.monotonic) -> Iterator[None]:
    """Serve this host's monotonic clock to the samplers of an attempt's other hosts, as long as this lasts."""
    secret = secrets.token_hex(16)
    monotonic, utc = clock_pair()
    utc_offset = utc - monotonic + (time.monotonic() - clock())

    class Exchange(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True
        timeout = _ANSWER_S

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                if self.rfile.readline(64).strip() != secret.encode():
                    return
                while self.rfile.read(1):
                    self.wfile.write(b"%.9f %.9f\n" % (clock(), utc_offset))

    with _Server(("", 0), Exchange) as server:
        thread = threading.Thread(target=server.serve_forever, name="wattlaw-clock", daemon=True)
        thread.start()
        told = Served(host=host_name(), boot_id=boot_id(), addresses=_addresses(), port=server.server_address[1],
                      secret=secret)  # fmt: skip
        write_whole(attempt / SERVED, msgspec.json.encode(told))
        (attempt / SERVED).chmod(0o600)
        try:
            yield
        finally:
            (attempt / SERVED).unlink(missing_ok=True)
            server.shutdown()
            thread.join()


def set_against(attempt: Path, clock: Clock = time.monotonic) -> Against | None:
    """Set this host's clock against the one that is served for an attempt.

    None where none is served, where it is this very host's, or where it does not answer.
    """
    try:
        served = msgspec.json.decode((attempt / SERVED).read_bytes(), type=Served)
    except (FileNotFoundError, PermissionError, msgspec.MsgspecError):
        return None
    if (served.host, served.boot_id) == (host_name(), boot_id()):
        return None
    for address in served.addresses:
        with contextlib.suppress(OSError, ValueError):
            return _exchange(served, address, clock)
    return None


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


def _exchange(served: Served, address: str, clock: Clock) -> Against:
    """Ask many times and keep the answer of the shortest round trip. Raises OSError, or ValueError for a stranger."""
    found: list[tuple[float, float, float, float]] = []
    with socket.create_connection((address, served.port), _TRY_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_ANSWER_S)
        connection.sendall(served.secret.encode() + b"\n")
        with connection.makefile("rb") as answers:
            for _ in range(_EXCHANGES):
                before = clock()
                connection.sendall(b"?")
                theirs, utc_offset = map(float, answers.readline().split())
                after = clock()
                found.append((after - before, (before + after) / 2, theirs, utc_offset))
    round_trip, middle, theirs, utc_offset = min(found)
    return Against(
        host=served.host,
        boot_id=served.boot_id,
        time_s=round(middle, 6),
        offset_s=round(theirs - middle, 9),
        uncertainty_s=round(round_trip / 2, 9),
        utc_offset_s=utc_offset,
    )


def _addresses() -> tuple[str, ...]:
    """Return where other hosts may reach this one, loopback last: nodes of a test may share one machine."""
    import psutil

    found = [
        a.address
        for every in psutil.net_if_addrs().values()
        for a in every
        if a.family == socket.AF_INET
    ]
    launch = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "")
    ordered = sorted(dict.fromkeys(found), key=lambda a: (a != launch, a.startswith("127.")))
    return tuple(ordered)
