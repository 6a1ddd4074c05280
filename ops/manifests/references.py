"""references.py FILE…: what a schema does not see in compose.yaml and in manifests that are put together: files,
ConfigMaps, Secrets, ports, services and labels that are named but not there, containers that are allowed more than
they need, a console that cannot be reached, and rollouts that need more connections than PostgreSQL's role has."""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Made by hand, see docs/deployment.md.
SECRETS = {
    "jumun-database": {"owner-url", "api-url", "consumer-url", "scheduler-url", "aggregator-url", "audit-url",
                       "cleaner-url"},
    "jumun-servers": {"amqp-url", "redis-url", "platform-signing-keys"},
}
# Role of a Deployment's process, the most connections to PostgreSQL that one opens, and how many more with a console;
# those of docs/deployment.md. COMMIT_LANES is taken to be 1.
CONNECTIONS = {"order-api": ("jumun_api", 7, 3), "consumer": ("jumun_consumer", 2, 0),
               "scheduler": ("jumun_scheduler", 4, 0)}
CONSOLE_PORT = 8085


def compose_faults(document):
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and not (ROOT / source).exists():
                yield f"{name}: {source} does not exist"
            if not source.startswith("./") and source not in document["volumes"]:
                yield f"{name}: there is no volume {source}"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is not on loopback"
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASS|SECRET|KEYS|AUTH|TOKEN", key) and not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value):
                yield f"{name}: {key} must come from .env, without a default"
            if re.search(r"://\w*:(?!\$\{\w+:\?)[^@/]*@", value):
                yield f"{name}: {key} has a password that does not come from .env"
            for host in re.findall(r"(?:://|@)([a-z][a-z-]*):\d", str(value)):
                if host not in document["services"]:
                    yield f"{name}: {key} names {host}, which is no service"
        yield from console_faults(name, service)
        for other in service.get("depends_on", {}):
            if other not in document["services"]:
                yield f"{name}: depends on {other}, which is no service"
        if "healthcheck" not in service:
            yield f"{name}: has no health check"
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name}: keeps capabilities"
        if service.get("logging", {}).get("options", {}).get("max-size") is None:
            yield f"{name}: its log grows without end"


def console_faults(name, service):
    """A console that listens where nobody can reach it. From outside of its container loopback cannot be reached."""
    environment = service.get("environment") or {}
    if "OPERATOR_TOKEN" not in environment:
        return
    if environment.get("OPERATOR_HOST", "127.0.0.1") != "0.0.0.0":
        yield f"{name}: its console listens within the container alone: OPERATOR_HOST must be 0.0.0.0"
    if f"127.0.0.1:{CONSOLE_PORT}:{CONSOLE_PORT}" not in service.get("ports", []):
        yield f"{name}: the console's port {CONSOLE_PORT} is not published"
    for key in ("CONSUMER_URL", "SCHEDULER_URL"):
        if key not in environment:
            yield f"{name}: its console does not know {key}"


def pod_of(item):
    spec = item["spec"]
    if item["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"] if "template" in spec else None


def container_faults(where, pod, container, config_maps):
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference and reference["key"] not in SECRETS.get(reference["name"], ()):
            yield f"{where}: there is no key {reference['key']} in the Secret {reference['name']}"
    for source in container.get("envFrom", []):
        if source["configMapRef"]["name"] not in config_maps:
            yield f"{where}: there is no ConfigMap {source['configMapRef']['name']}"
    security = container.get("securityContext", {})
    if not (security.get("readOnlyRootFilesystem") and security.get("allowPrivilegeEscalation") is False
            and security.get("capabilities") == {"drop": ["ALL"]} and pod["securityContext"].get("runAsNonRoot")):
        yield f"{where}: its container may do more than it needs"
    if container["image"] == "jumun":
        yield f"{where}: the image has no registry and no tag"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield f"{where}: has no limit of memory"


def limit_of(role):
    """How many connections sql/roles.sql allows it."""
    return int(re.search(rf"ALTER ROLE {role} .*CONNECTION LIMIT (\d+)", (ROOT / "sql/roles.sql").read_text())[1])


def rollout_faults(deployment, scaler):
    """Whether the processes of a rollout, at the autoscaler's most, have room among their role's connections."""
    name, spec = deployment["metadata"]["name"], deployment["spec"]
    if name not in CONNECTIONS:
        return
    pod = spec["template"]["spec"]
    if scaler and "replicas" in spec:
        yield f"Deployment {name}: replicas would be set again by each apply, whatever the autoscaler has made of it"
    role, connections, of_console = CONNECTIONS[name]
    if any(each["name"] == "OPERATOR_TOKEN" for each in pod["containers"][0]["env"]):
        connections += of_console
    running = scaler["spec"]["maxReplicas"] if scaler else spec["replicas"]
    if running > 1 and spec.get("minReadySeconds", 0) < pod["terminationGracePeriodSeconds"]:
        yield f"Deployment {name}: more than one process may be ending: minReadySeconds < terminationGracePeriodSeconds"
    # The one before may still be ending when the next is replaced; of a single one there is none before.
    ending = 1 if running > 1 else 0
    most = (running + spec["strategy"]["rollingUpdate"]["maxSurge"] + ending) * connections
    if most > limit_of(role):
        yield f"Deployment {name}: a rollout may open {most} connections, and {role} has {limit_of(role)}"


def kubernetes_faults(items):
    config_maps = {each["metadata"]["name"] for each in items if each["kind"] == "ConfigMap"}
    pods = {f"{each['kind']} {each['metadata']['name']}": pod_of(each) for each in items
            if each["kind"] in ("Deployment", "Job", "CronJob")}
    for where, pod in pods.items():
        for container in pod["spec"]["containers"]:
            yield from container_faults(where, pod["spec"], container, config_maps)
    scalers = {each["spec"]["scaleTargetRef"]["name"]: each for each in items
               if each["kind"] == "HorizontalPodAutoscaler"}
    for item in items:
        if item["kind"] == "Deployment":
            yield from rollout_faults(item, scalers.get(item["metadata"]["name"]))
    for item in items:
        where = f"{item['kind']} {item['metadata']['name']}"
        selector = item.get("spec", {}).get("selector", {})
        wanted = selector if item["kind"] == "Service" else selector.get("matchLabels", {})
        if wanted and not any(wanted.items() <= pod["metadata"]["labels"].items() for pod in pods.values()):
            yield f"{where}: selects no pod"
        target = item.get("spec", {}).get("scaleTargetRef")
        if target and f"{target['kind']} {target['name']}" not in pods:
            yield f"{where}: there is no {target['kind']} {target['name']}"


def main():
    faults = []
    for path in sys.argv[1:]:
        documents = [each for each in yaml.safe_load_all(Path(path).read_text()) if each]
        found = compose_faults(documents[0]) if "services" in documents[0] else kubernetes_faults(documents)
        faults += [f"{path}: {fault}" for fault in found]
    sys.exit("\n".join(faults) or 0)


main()
