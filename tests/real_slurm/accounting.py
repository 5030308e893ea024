"""Slurm accounting for the cluster of the tests: slurmdbd with its own MariaDB."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_slurm import Cluster, free_ports, running, start_munge, wait_until

DATABASE_DAEMON = """
AuthType=auth/munge
DbdHost=localhost
DbdPort={daemon}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
LogFile={folder}/dbd.log
PidFile={folder}/dbd.pid
"""

ACCOUNTING = """
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={daemon}
AccountingStorageTRES=gres/gpu
Epilog={folder}/epilog.sh
"""

USERS = "; ".join(
    f"create user 'slurm'@'{host}' identified by 'slurm'; grant all on *.* to 'slurm'@'{host}'"
    for host in ("127.0.0.1", "localhost")
)


@contextlib.contextmanager
def accounted(folder: Path, epilog: str) -> Iterator[Cluster]:
    """Run a Slurm that accounts its jobs and runs an epilog after each."""
    if (
        not all(map(shutil.which, ("mariadbd", "mariadb-install-db", "slurmdbd")))
        or os.geteuid() != 0
    ):
        pytest.skip("needs root, slurmdbd and MariaDB: apt install slurmdbd mariadb-server")
    ports = dict(zip(("database", "daemon"), free_ports(2), strict=True))
    (folder / "epilog.sh").write_text(f"#!/bin/bash\n{epilog}")
    (folder / "epilog.sh").chmod(0o755)
    more = ACCOUNTING.format(folder=folder, **ports)
    with (
        database(folder, ports["database"]),
        database_daemon(folder, ports),
        running(folder, more) as cluster,
    ):
        yield cluster


@contextlib.contextmanager
def database(folder: Path, port: int) -> Iterator[None]:
    """Run a MariaDB on a loopback port, with its data in its own folder.

    Every start of pytest closes the folder of all its tests to other users, and the database runs as one.
    """
    with tempfile.TemporaryDirectory(prefix="wattlaw-database-") as place:
        Path(place).chmod(0o755)
        data = Path(place) / "data"
        data.mkdir()
        shutil.chown(data, "mysql")
        with _database(data, folder / "database.log", port):
            yield


@contextlib.contextmanager
def _database(data: Path, log_path: Path, port: int) -> Iterator[None]:
    socket = data / "socket"
    words = ["--no-defaults", "--user=mysql", f"--datadir={data}"]
    subprocess.run(
        ["mariadb-install-db", *words, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True, capture_output=True,
    )  # fmt: skip
    more = [
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={socket}",
        "--innodb-buffer-pool-size=64M",
    ]
    with log_path.open("w") as log:
        process = subprocess.Popen(["mariadbd", *words, *more], stdout=log, stderr=log)
    try:
        ask = ["mariadb", "--no-defaults", "-S", str(socket), "-uroot", "-e"]
        wait_until(
            lambda: subprocess.run([*ask, USERS], capture_output=True).returncode == 0,
            "MariaDB did not come up",
        )
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def database_daemon(folder: Path, ports: dict[str, int]) -> Iterator[None]:
    """Run slurmdbd over the database."""
    path = folder / "slurmdbd.conf"
    path.write_text(DATABASE_DAEMON.format(folder=folder, **ports))
    path.chmod(0o600)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    start_munge()
    process = subprocess.Popen(
        ["slurmdbd", "-D"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        log = folder / "dbd.log"
        wait_until(
            lambda: log.exists() and "started" in log.read_text(), "slurmdbd did not come up"
        )
        yield
    finally:
        process.terminate()
        process.wait(30)
