"""``python -m serve.supervisor.prefect_server PORT [ADDRESS TLS_FOLDER]``: Prefect's server, for clients of the instance.

It listens on loopback, or in a cluster on the machine's address with TLS.

Requests need the credentials in ``PREFECT_SERVER_API_AUTH_STRING``. Requests with the name of another host are refused,
which prevents DNS rebinding by web pages. There is no user interface.
"""

from __future__ import annotations

import os
import sys

import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware

_HOSTS = ["127.0.0.1", "localhost"]


def main(port: int, address: str = "127.0.0.1", tls_folder: str = "") -> None:
    """Serve until stopped. Raises SystemExit without credentials."""
    if not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise SystemExit("PREFECT_SERVER_API_AUTH_STRING is not set; without it anybody on this machine could run code")
    os.environ["PREFECT_SERVER_UI_ENABLED"] = "false"
    from prefect.server.api.server import create_app

    app = create_app(final=True)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_HOSTS, address])
    tls = {"ssl_certfile": f"{tls_folder}/node.pem", "ssl_keyfile": f"{tls_folder}/node.key"} if tls_folder else {}
    uvicorn.run(app, host=address, port=port, log_level="warning", **tls)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
