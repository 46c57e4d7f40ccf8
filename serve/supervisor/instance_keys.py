"""Creates the keys of a home before its processes start."""

from __future__ import annotations

import secrets
from pathlib import Path

from lakehouse.storage.signed_urls import home_secret
from schemas.settings import Settings
from serve.supervisor.cluster_secret import ClusterSecret
from serve.supervisor.instance import Instance, ensure_key, key_file, put_key


def prepare_keys(settings: Settings, instance: Instance) -> str:
    """Make the keys in ``HOME/keys``, and in a cluster the machine's certificate; returns the credentials of Prefect.

    In a cluster the keys are derived from the cluster's secret, which the head creates. Raises as `ClusterSecret.read`.
    """
    home = settings.home
    if not instance.in_cluster:
        ensure_key(home, "operator")
        ensure_key(home, "node")
        ensure_key(home, "default", settings.auth.api_key)
        ensure_key(home, "ray", secrets.token_hex(32))
        return ensure_key(home, "prefect", f"fluxions:{secrets.token_urlsafe(32)}")
    given = settings.cluster.cluster_secret_file
    path = Path(given).expanduser() if given else key_file(home, "cluster")
    secret = ClusterSecret.read(path) if instance.joined else ClusterSecret.ensure(path)
    secret.certify(instance.tls_folder, instance.address)
    put_key(home, "ray", secret.key("ray"))
    put_key(home, "node", f"fx_{secret.key('node')}")
    if not instance.joined:
        ensure_key(home, "operator")
        ensure_key(home, "default", settings.auth.api_key)
        home_secret(home, secret.derived("links"))
    return put_key(home, "prefect", f"fluxions:{secret.key('prefect')}")
