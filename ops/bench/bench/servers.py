"""Where the servers of this run are: what ops/dev/with-servers says in the environment."""

import os
import subprocess
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
OUTPUT = ROOT / ".build" / "bench"
POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")

_postgres = urlsplit(os.environ.get("JUMUN_TEST_ADMIN_DATABASE_URL", ""))
_management = urlsplit(os.environ.get("JUMUN_TEST_RABBITMQ_MANAGEMENT_URL", ""))

HOST = "127.0.0.1"
_OFFSET = int(os.environ.get("JUMUN_PORT_OFFSET", "0"))
PORTS = {"order-api": 8080 + _OFFSET, "consumer": 8081 + _OFFSET, "data-platform": 8083 + _OFFSET,
         "aggregator": 8084 + _OFFSET}
BIN_DIR = Path(os.environ.get("JUMUN_TEST_BIN_DIR", ROOT / ".build" / "release"))
FORWARD_QUEUE = "dataplatform.forward.v1"


def server_pids():
    """The process ids of the servers, by name."""
    return {name: int(os.environ[f"JUMUN_TEST_PID_{name.upper()}"]) for name in ("postgres", "rabbitmq", "redis")}


def environment(role, database):
    """What an executable of ours is started with, as that role."""
    password = os.environ["JUMUN_TEST_ROLE_PASSWORD"]
    return os.environ | {
        "DATABASE_URL": f"postgres://{role}:{password}@{_postgres.hostname}:{_postgres.port}/{database}",
        "AMQP_URL": os.environ["JUMUN_TEST_AMQP_URL"],
        "REDIS_URL": os.environ["JUMUN_TEST_REDIS_URL"],
        "MIGRATIONS_DIR": os.environ["JUMUN_TEST_MIGRATIONS_DIR"],
        "LISTEN_HOST": HOST,
        "API_PORT": str(PORTS["order-api"]),
        "CONSUMER_PORT": str(PORTS["consumer"]),
        "PLATFORM_PORT": str(PORTS["data-platform"]),
        "AGGREGATOR_PORT": str(PORTS["aggregator"]),
        "PLATFORM_URL": f"http://{HOST}:{PORTS['data-platform']}",
        "LOG_LEVEL": "info",
    }


def superuser_environment(database):
    """With what psql and pgbench find the database."""
    return os.environ | {
        "PGHOST": _postgres.hostname,
        "PGPORT": str(_postgres.port),
        "PGUSER": _postgres.username,
        "PGPASSWORD": _postgres.password,
        "PGDATABASE": database,
        "PGOPTIONS": "-c client_min_messages=warning",
    }


def psql(database, *arguments, **variables):
    """Runs psql as superuser; what it prints, without headings. A statement that fails ends the run."""
    settings = [option for name, value in variables.items() for option in ("-v", f"{name}={value}")]
    command = [POSTGRES_BIN / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *settings, *arguments]
    return subprocess.run(
        command, env=superuser_environment(database), check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def broker_url():
    return os.environ["JUMUN_TEST_AMQP_URL"]


def forget_events(queue=FORWARD_QUEUE):
    """Empties a queue, by default that of the published events."""
    url = f"http://{_management.hostname}:{_management.port}/api/queues/jumun/{queue}/contents"
    request = urllib.request.Request(url, method="DELETE")
    credentials = b64encode(f"{_management.username}:{_management.password}".encode()).decode()
    request.add_header("Authorization", f"Basic {credentials}")
    urllib.request.urlopen(request, timeout=60).close()


def forget_rankings():
    """Empties Redis: the runs of a shop made anew begin at 1, and those of before would be the newer ones."""
    redis = urlsplit(os.environ["JUMUN_TEST_REDIS_URL"])
    command = ["redis-cli", "-e", "-h", redis.hostname, "-p", str(redis.port), "-n", redis.path.strip("/"), "FLUSHDB"]
    environment = os.environ | {"REDISCLI_AUTH": redis.password}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
