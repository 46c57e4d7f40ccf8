"""A bucket and PostgreSQL on an address of this machine that hosts reach."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx

from tests.support.processes import free_port, s3_environment, started

START_SECS = 240.0


@contextmanager
def bucket(address: str) -> Iterator[dict[str, str]]:
    """The settings of a bucket on an S3 server at this address."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        endpoint = f"http://{address}:{port}"
        deadline = time.monotonic() + START_SECS
        while True:
            try:
                httpx.get(endpoint, timeout=1, trust_env=False)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the S3 server did not start"
                time.sleep(0.1)
        client = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        client.create_bucket(Bucket="fluxions")
        yield {**s3_environment(endpoint), "FLUXIONS_STORAGE_URL": "s3://fluxions/home"}


@contextmanager
def database(address: str) -> Iterator[str]:
    """A PostgreSQL server at this address; gives Prefect's setting."""
    (programs,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    owner = pwd.getpwnam("nobody")
    home, port = Path(tempfile.mkdtemp(prefix="pg-")), free_port()
    as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": home}
    try:
        os.chown(home, owner.pw_uid, owner.pw_gid)
        init = [programs / "initdb", "-D", home / "data", "-A", "trust", "-U", "prefect", "-N"]
        subprocess.run(init, check=True, capture_output=True, timeout=120, **as_owner)  # type: ignore[call-overload]
        with (home / "data" / "pg_hba.conf").open("a") as hba:
            hba.write(f"host all all {address.rpartition('.')[0]}.0/24 trust\n")
        options = f"-c listen_addresses={address} -c port={port} -c unix_socket_directories={home} -c fsync=off"
        control = [programs / "pg_ctl", "-D", home / "data", "-w", "-t", "60"]
        start = [*control, "-l", home / "log", "-o", options, "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, timeout=70, **as_owner)  # type: ignore[call-overload]
        try:
            yield f"postgresql+asyncpg://prefect@{address}:{port}/postgres"
        finally:
            stop = [*control, "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, capture_output=True, timeout=70, **as_owner)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(home)
