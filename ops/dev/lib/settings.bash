# shellcheck shell=bash disable=SC2034  # a list of names for the scripts that source it
#
# What every script of this folder starts from: where the checkout and its run directory are, and which port is whose.
#
#   JUMUN_RUN_DIR      where everything that runs keeps its files (default: .run in the checkout)
#   JUMUN_PORT_OFFSET  added to every port, so that a second copy can run beside the first (default: 0)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd -P)
RUN_DIR=$(realpath -m -- "${JUMUN_RUN_DIR:-$ROOT/.run}")
# SwiftPM links both to the folder of the machine's architecture.
BIN_DIR=$ROOT/.build/release
DEBUG_BIN_DIR=$ROOT/.build/debug
POSTGRES_BIN_DIR=/usr/lib/postgresql/15/bin

readonly ROOT RUN_DIR BIN_DIR DEBUG_BIN_DIR POSTGRES_BIN_DIR

POSTGRES_MAX_CONNECTIONS=100

# In the order in which they are started; epmd is the name service without which an Erlang node does not boot.
readonly SERVERS=(postgres epmd rabbitmq redis prometheus)
readonly SERVICES=(data-platform order-api consumer scheduler)

# A run directory remembers its offset, so that `status`, `env` and `down` need not be told it again.
if [[ -z ${JUMUN_PORT_OFFSET:-} && -r $RUN_DIR/port-offset ]]; then
    PORT_OFFSET=$(<"$RUN_DIR/port-offset")
else
    PORT_OFFSET=${JUMUN_PORT_OFFSET:-0}
fi
readonly MAX_PORT_OFFSET=16000
if [[ ! $PORT_OFFSET =~ ^[0-9]{1,5}$ ]] || ((10#$PORT_OFFSET > MAX_PORT_OFFSET)); then
    echo "JUMUN_PORT_OFFSET must be a whole number from 0 to $MAX_PORT_OFFSET, and is '$PORT_OFFSET'" >&2
    exit 78
fi
PORT_OFFSET=$((10#$PORT_OFFSET))
readonly PORT_OFFSET

# All below 32768 with any offset, where Linux starts to hand out ports to outgoing connections: those could take one
# of ours while it is being restarted.
readonly API_PORT=$((8080 + PORT_OFFSET))
readonly CONSUMER_PORT=$((8081 + PORT_OFFSET))
readonly SCHEDULER_PORT=$((8082 + PORT_OFFSET))
readonly PLATFORM_PORT=$((8083 + PORT_OFFSET))
readonly OPERATOR_PORT=$((8085 + PORT_OFFSET))
readonly PROMETHEUS_PORT=$((9090 + PORT_OFFSET))
readonly SUPERVISOR_PORT=$((9001 + PORT_OFFSET))
readonly POSTGRES_PORT=$((15432 + PORT_OFFSET))
readonly AMQP_PORT=$((15672 + PORT_OFFSET))
readonly RABBITMQ_MANAGEMENT_PORT=$((15673 + PORT_OFFSET))
readonly RABBITMQ_METRICS_PORT=$((15693 + PORT_OFFSET))
readonly RABBITMQ_DISTRIBUTION_PORT=$((15674 + PORT_OFFSET))
readonly EPMD_PORT=$((15675 + PORT_OFFSET))
readonly REDIS_PORT=$((16379 + PORT_OFFSET))

# The ports that a process listens on, its main one first.
ports_of() {
    case $1 in
        supervisord) echo "$SUPERVISOR_PORT" ;;
        postgres) echo "$POSTGRES_PORT" ;;
        epmd) echo "$EPMD_PORT" ;;
        rabbitmq) echo "$AMQP_PORT $RABBITMQ_MANAGEMENT_PORT $RABBITMQ_METRICS_PORT $RABBITMQ_DISTRIBUTION_PORT" ;;
        redis) echo "$REDIS_PORT" ;;
        prometheus) echo "$PROMETHEUS_PORT" ;;
        order-api) echo "$API_PORT $OPERATOR_PORT" ;;
        consumer) echo "$CONSUMER_PORT" ;;
        scheduler) echo "$SCHEDULER_PORT" ;;
        data-platform) echo "$PLATFORM_PORT" ;;
    esac
}
