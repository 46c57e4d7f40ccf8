"""The program that puts the application on Ray and watches it; a child of the supervisor (``python -m serve.deploy``)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import sys
import threading
import time

import ray
from ray import serve

from schemas.errors import Unavailable
from schemas.settings import Settings
from serve import app
from serve.gateway.auth import OPERATOR
from serve.instance import ensure_key
from serve.ledger import NAMESPACE, RemoteLedger

_CLUSTER_SECS = 60.0
_WATCH_SECS = 10.0

logger = logging.getLogger("fluxions.deploy")


def connect() -> None:
    """Join the cluster of this instance as soon as it is up. Raises Unavailable when it does not come."""
    deadline = time.monotonic() + _CLUSTER_SECS
    while True:
        try:
            ray.init(
                address=os.environ["RAY_ADDRESS"], namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR
            )
        except ConnectionError as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"no Ray cluster at {os.environ['RAY_ADDRESS']} after {_CLUSTER_SECS:.0f} s") from error
            time.sleep(0.2)
        else:
            return


async def ensure_keys(settings: Settings) -> None:
    """The two keys every home has: one for people (account ``default``), one for the workers."""
    ledger = RemoteLedger()
    for name, account, scopes in (("default", "default", ("user",)), ("operator", "operator", (OPERATOR, "user"))):
        key = ensure_key(settings.home, name)
        if await ledger.find_key(hashlib.sha256(key.encode()).hexdigest()) is None:
            await ledger.create_key(account, name, scopes, key)


def report(last: str) -> str:
    """Log what Serve says of the application whenever that changes."""
    status = serve.status().applications.get(app.APPLICATION)
    text = "absent"
    if status is not None:
        parts = [f"{name}: {d.status.value} {d.message}".strip() for name, d in status.deployments.items()]
        text = f"{status.status.value} {status.message} | " + "; ".join(parts)
    if text != last:
        logger.info("%s", text)
    return text


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    settings = Settings()
    connect()
    app.start_ledger(settings)
    asyncio.run(ensure_keys(settings))
    serve.start(http_options={"host": settings.server.host, "port": settings.server.port, "keep_alive_timeout_s": 75})
    serve.run(app.build(settings), name=app.APPLICATION, route_prefix="/", blocking=False, _local_testing_mode=False)
    last = ""
    while not stopped.wait(_WATCH_SECS):
        last = report(last)
        if last == "absent":
            raise Unavailable("the application is gone from Serve; starting it again")


if __name__ == "__main__":
    main()
