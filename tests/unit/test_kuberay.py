"""The manifest of a RayService: what it names exists in the program, and KubeRay and Kubernetes know its fields."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema

from clients.connection import worker_key_file
from schemas.cluster_settings import ClusterSettings
from schemas.errors import InvalidParameter
from schemas.settings import Settings
from serve import app
from serve.built_in_keys import BUILT_IN_KEYS
from serve.cluster_app import application, settings_of
from serve.engines.placement import options, role_share
from serve.engines.registry import SLOTS
from serve.supervisor import pod
from serve.supervisor.environment import RAY_TUNING
from tests.support.processes import ROOT
from tests.unit.test_deploy import check_schemas, manifests

pytestmark = pytest.mark.unit

FILE = ROOT / "deploy" / "kuberay" / "fluxions.yaml"
HOME = "/var/lib/fluxions/home"

# Fields of ray.io/v1 as KubeRay's API reference (v1.6 and v1.7) names them; pod templates are Kubernetes' own.
SERVICE_FIELDS = {"serveConfigV2", "rayClusterConfig", "upgradeStrategy", "excludeHeadPodFromServeSvc"}
UPGRADES = {"NewCluster", "NewClusterWithIncrementalUpgrade", "None"}
CLUSTER_FIELDS = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
HEAD_FIELDS = {"rayStartParams", "template"}
GROUP_FIELDS = HEAD_FIELDS | {"groupName", "replicas", "minReplicas", "maxReplicas"}


def found(kind: str) -> list[dict[str, Any]]:
    return [one for one in manifests(FILE.read_text()) if one["kind"] == kind]


def cluster() -> dict[str, Any]:
    (service,) = found("RayService")
    config: dict[str, Any] = service["spec"]["rayClusterConfig"]
    return config


def groups() -> dict[str, dict[str, Any]]:
    config = cluster()
    return {"head": config["headGroupSpec"]} | {group["groupName"]: group for group in config["workerGroupSpecs"]}


def templates() -> dict[str, dict[str, Any]]:
    own = {one["metadata"]["name"]: one["spec"]["template"] for one in found("Deployment")}
    return {name: group["template"] for name, group in groups().items()} | own


def containers(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from template["spec"].get("initContainers", ())
    yield from template["spec"]["containers"]


def environment() -> dict[str, str]:
    (settings,) = found("ConfigMap")
    return dict(settings["data"])


def configuration() -> dict[str, Any]:
    return dict(yaml.safe_load(found("RayService")[0]["spec"]["serveConfigV2"]))


@pytest.fixture
def as_in_a_pod(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return settings_of("10.0.0.1:6379")


@pytest.mark.skipif(importlib.util.find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed")
def test_the_manifest_keeps_the_schemas_of_kubernetes() -> None:
    check_schemas([one for one in manifests(FILE.read_text()) if one["kind"] != "RayService"])
    pods = [
        {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": group["template"]}
        for name, group in groups().items()
    ]
    assert len(pods) == 3
    check_schemas(pods)


def test_kuberay_knows_the_fields() -> None:
    (service,) = found("RayService")
    assert service["apiVersion"] == "ray.io/v1"
    assert set(service["spec"]) <= SERVICE_FIELDS
    # YAML reads None as the word, which KubeRay expects, and not as null.
    assert service["spec"]["upgradeStrategy"]["type"] in UPGRADES
    assert set(cluster()) <= CLUSTER_FIELDS
    assert cluster()["authOptions"]["mode"] == "token"
    for name, group in groups().items():
        assert set(group) <= (HEAD_FIELDS if name == "head" else GROUP_FIELDS), name
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), name
        assert re.fullmatch(r"[a-z][a-z0-9-]*", name)


def test_ray_serve_reads_the_configuration_and_finds_the_application() -> None:
    config = ServeDeploySchema(**configuration())
    (deployed,) = config.applications
    module, _, name = deployed.import_path.partition(":")
    builder = getattr(import_module(module), name)
    assert builder is application
    assert len(inspect.signature(builder).parameters) == 1
    assert deployed.name == app.APPLICATION
    assert cluster()["rayVersion"] == ray.__version__
    with pytest.raises(InvalidParameter, match="no arguments"):
        application({"profile": "gpu"})


def test_the_settings_are_accepted_and_agree_with_the_configuration(as_in_a_pod: Settings) -> None:
    http, server = configuration()["http_options"], as_in_a_pod.server
    assert (http["host"], http["port"]) == (server.host, server.port)
    assert as_in_a_pod.cluster.has_other_machines
    assert as_in_a_pod.cluster.storage_is_shared
    environ = environment()
    assert {name: environ.get(name) for name in RAY_TUNING} == RAY_TUNING
    assert environ["RAY_SERVE_HAPROXY_BINARY_PATH"] == f"{HOME}/haproxy/haproxy"
    containerfile = (ROOT / "deploy" / "Containerfile").read_text()
    assert f"FLUXIONS_HOME={HOME}\n" in containerfile
    assert "HF_HOME=/models " in containerfile


def test_storage_that_other_machines_cannot_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_STORAGE_URL", "")
    with pytest.raises(InvalidParameter, match="FLUXIONS_STORAGE_URL"):
        settings_of("10.0.0.1:6379")


def test_groups_offer_what_the_deployments_ask_for(as_in_a_pod: Settings) -> None:
    offered = {name: json.loads(yaml.safe_load(group["rayStartParams"]["resources"])) for name, group in groups().items()}
    assert offered == {
        "head": {"fluxions_ledger": 1},
        "gateway": {"fluxions_gateway": 1},
        "engines": {"fluxions_engines": 1},
    }
    assert set(role_share(as_in_a_pod, "ledger") or {}) == set(offered["head"])
    gateway = app._gateway_options(as_in_a_pod)
    assert gateway["ray_actor_options"]["resources"] == offered["gateway"]
    engines = [options(as_in_a_pod, slot, 1.0)["ray_actor_options"] for slot in SLOTS]
    assert {name for one in engines for name in one["resources"]} == set(offered["engines"])
    gpus = sum(one["num_gpus"] for one in engines)
    assert 0 < gpus <= float(groups()["engines"]["rayStartParams"]["num-gpus"])
    limits = templates()["engines"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == groups()["engines"]["rayStartParams"]["num-gpus"]
    assert role_share(Settings(cluster=ClusterSettings(role_resources=False)), "ledger") is None


def test_pods_run_without_rights_and_are_watched() -> None:
    for name, template in templates().items():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["automountServiceAccountToken"] is False, name
        volumes = {one["name"] for one in spec["volumes"]}
        for container in containers(template):
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert not rights["allowPrivilegeEscalation"], name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, name
    for name, group in groups().items():
        ray_container = group["template"]["spec"]["containers"][0]
        ports = {one["name"]: one["containerPort"] for one in ray_container["ports"]}
        assert ports["serve"] == configuration()["http_options"]["port"], name
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = ray_container[probe]["httpGet"]["port"]
            assert port in ports or port == 52365, (name, probe)
        assert [one["command"] for one in group["template"]["spec"]["initContainers"]] == [
            ["python", "-m", pod.__name__, *(["/secret"] if name == "head" else [])]
        ], "only the pod with the ledger gets the keys"


def test_policies_budgets_and_services_select_pods_that_exist() -> None:
    labels = [template["metadata"]["labels"] for template in templates().values()]
    selectors = [one["spec"]["selector"]["matchLabels"] for one in (*found("Deployment"), *found("PodDisruptionBudget"))]
    selectors += [one["spec"]["selector"] for one in found("Service")]
    policies = [one["spec"]["podSelector"] for one in found("NetworkPolicy")]
    for selector in [*selectors, *(one["matchLabels"] for one in policies if "matchLabels" in one)]:
        assert any(selector.items() <= label.items() for label in labels), selector
    expressions = [term for one in policies for term in one.get("matchExpressions", ())]
    assert {value for term in expressions for value in term["values"]} == {"fluxions", "head", "gateway", "engines"}
    assert set(groups()) == {"head", "gateway", "engines"}


def test_workers_find_the_api_prefect_and_their_key() -> None:
    (service,) = found("Service")
    prefect = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/api"
    port = configuration()["http_options"]["port"]
    clients = [one for name in ("fluxions-worker", "fluxions-prefect") for one in containers(templates()[name])]
    clients = [one for one in clients if one["command"][0] == "python"]
    assert [one["command"][2] for one in clients] == ["flows.worker", "flows.scheduler"]
    for client in clients:
        assert importlib.util.find_spec(client["command"][2]) is not None
        env = {one["name"]: one.get("value") for one in client["env"]}
        # KubeRay names the service of a RayService so.
        assert env["FLUXIONS_URL"] == f"http://{found('RayService')[0]['metadata']['name']}-serve-svc:{port}"
        assert env["PREFECT_API_URL"] in (prefect, prefect.replace(service["metadata"]["name"], "127.0.0.1"))
        assert f"{HOME}/keys" in {mount["mountPath"] for mount in client["volumeMounts"]}
    for name in ("fluxions-worker", "fluxions-prefect"):
        (key,) = [volume["secret"] for volume in templates()[name]["spec"]["volumes"] if "secret" in volume]
        assert [item["path"] for item in key["items"]] == [worker_key_file(Path("/home")).name]


def test_a_pod_gets_its_keys_and_a_hardened_haproxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_HOME", str(tmp_path / "home"))
    settings, secrets = Settings(), tmp_path / "secret"
    secrets.mkdir()
    pod.prepare(settings, None)
    assert (settings.home / "haproxy" / "haproxy").stat().st_mode & 0o777 == 0o700
    assert not (settings.home / "keys").exists()
    names = [name for name, _, _ in BUILT_IN_KEYS]
    for name in names:
        with pytest.raises(InvalidParameter, match=f"secret {name} is missing"):
            pod.prepare(settings, secrets)
        (secrets / name).write_text(f"fx_{name * 8}\n")
    (secrets / pod.LINKS).write_text("short")
    with pytest.raises(InvalidParameter, match="links"):
        pod.prepare(settings, secrets)
    (secrets / pod.LINKS).write_text("b" * 64)
    pod.prepare(settings, secrets)
    pod.prepare(settings, secrets)
    assert {name: (settings.home / "keys" / name).read_text() for name in names} == {
        name: f"fx_{name * 8}" for name in names
    }
    assert len((settings.home / "secret").read_bytes()) == 32
    assert all(path.stat().st_mode & 0o077 == 0 for path in (settings.home / "keys").iterdir())
