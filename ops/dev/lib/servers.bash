# shellcheck shell=bash disable=SC2034  # names that the templates use
#
# The private PostgreSQL, RabbitMQ, Redis and Prometheus: their directories and configuration, and whether they are ready.
# Each has one directory, RUN_DIR/NAME, that belongs to its user. Preparing one that is prepared changes nothing.

# render TEMPLATE: prints it with each @NAME@ replaced by the shell variable NAME.
render() {
    local text
    text=$(<"$1")
    while [[ $text =~ @([A-Z_]+)@ ]]; do
        text=${text//"${BASH_REMATCH[0]}"/"${!BASH_REMATCH[1]}"}
    done
    printf '%s\n' "$text"
}

# write_config NAME TEMPLATE: into the directory of the process NAME, readable for its user alone.
write_config() {
    local target
    target=$RUN_DIR/$1/$(basename "$2")
    (umask 077 && render "$2" >"$target.new")
    ((EUID != 0)) || chown "$(user_of "$1"):" "$target.new"
    mv "$target.new" "$target"
}

prepare_run_dir() {
    # They would need another quoting in each server's configuration. Spaces are fine.
    [[ $ROOT$RUN_DIR != *[%\"\'\\]* ]] || die "A path with a percent sign, a quote or a backslash cannot be used: $RUN_DIR"
    if [[ -d $RUN_DIR && ! -e $RUN_DIR/port-offset && -n $(ls -A "$RUN_DIR") ]]; then
        die "$RUN_DIR is not empty and not a run directory of Jumun." "Choose another:  JUMUN_RUN_DIR=/some/dir make up"
    fi
    local recorded
    recorded=$(cat "$RUN_DIR/port-offset" 2>/dev/null) || recorded=$PORT_OFFSET
    if ((recorded != PORT_OFFSET)) && is_running supervisord; then
        die "$RUN_DIR is up with the port offset $recorded." "To change it, first:  JUMUN_PORT_OFFSET=$recorded make down"
    fi
    mkdir -p "$RUN_DIR"
    # The servers' own users must be able to pass through, but not to look around.
    chmod 711 "$RUN_DIR"
    echo "$PORT_OFFSET" >"$RUN_DIR/port-offset"
    (umask 077 && mkdir -p "$RUN_DIR/log" "$RUN_DIR/pids" "$RUN_DIR/supervisord")
    create_secrets
}

prepare_servers() {
    prepare_postgres
    make_private_dir epmd "$RUN_DIR/epmd"
    prepare_rabbitmq
    make_private_dir redis "$RUN_DIR/redis"
    write_config redis "$ROOT/ops/redis/redis.conf"
    prepare_prometheus
}

# The data directory gets its name only when it is complete: what an interrupted run left is begun anew.
prepare_postgres() {
    local dir=$RUN_DIR/postgres
    make_private_dir postgres "$dir"
    write_config postgres "$ROOT/ops/postgres/postgresql.conf"
    write_config postgres "$ROOT/ops/postgres/pg_hba.conf"
    [[ ! -d $dir/data ]] || return 0
    rm -rf "$dir/data.new"
    (umask 077 && echo "$ADMIN_PASSWORD" >"$dir/password")
    ((EUID != 0)) || chown postgres: "$dir/password"
    (cd / && as_user_of postgres "$POSTGRES_BIN_DIR/initdb" --pgdata="$dir/data.new" --username=postgres \
        --pwfile="$dir/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums)
    rm "$dir/password"
    mv "$dir/data.new" "$dir/data"
}

prepare_rabbitmq() {
    make_private_dir rabbitmq "$RUN_DIR/rabbitmq"
    write_config rabbitmq "$ROOT/ops/rabbitmq/rabbitmq.conf"
    write_config rabbitmq "$ROOT/ops/rabbitmq/enabled_plugins"
}

prepare_prometheus() {
    local file
    make_private_dir prometheus "$RUN_DIR/prometheus"
    for file in "$ROOT/ops/prometheus/prometheus.yml" "$ROOT"/ops/prometheus/rules/*.yml; do
        write_config prometheus "$file"
    done
}

# One that runs reads its configuration and rules again only when it is told to.
reload_prometheus() {
    ! is_ready prometheus || kill -HUP "$(pid_of prometheus)"
}

# Everything that a RabbitMQ node and its rabbitmqctl must know, so that neither the machine's own configuration nor its
# own epmd is touched.
export_rabbitmq_environment() {
    local dir=$RUN_DIR/rabbitmq
    export HOME=$dir # for the Erlang cookie
    export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$EPMD_PORT
    export RABBITMQ_NODENAME=jumun@localhost RABBITMQ_DIST_PORT=$RABBITMQ_DISTRIBUTION_PORT
    export RABBITMQ_CONF_ENV_FILE=$dir/no-rabbitmq-env.conf
    export RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE=$dir/no-advanced.config
    export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins
    export RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir/log RABBITMQ_GENERATED_CONFIG_DIR=$dir/generated
    # Node and rabbitmqctl talk on loopback only.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    export RABBITMQ_CTL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
}

# run_psql ARGUMENT…: as the superuser, in the database `postgres` unless told otherwise.
run_psql() {
    PGPASSWORD=$ADMIN_PASSWORD PGCONNECT_TIMEOUT=5 "$POSTGRES_BIN_DIR/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
        --host=127.0.0.1 --port="$POSTGRES_PORT" --username=postgres --dbname=postgres "$@"
}

is_ready() {
    is_running "$1" || return 1
    case $1 in
        supervisord) is_open "$SUPERVISOR_PORT" ;;
        postgres) run_psql --command='SELECT 1' ;;
        epmd) is_open "$EPMD_PORT" ;;
        # The password goes the way of a configuration, because everyone can read an argument.
        rabbitmq) curl -fs -m 5 --config - <<<"user = jumun:$RABBITMQ_PASSWORD" \
            "http://127.0.0.1:$RABBITMQ_MANAGEMENT_PORT/api/health/checks/port-listener/$AMQP_PORT" ;;
        redis) REDISCLI_AUTH=$REDIS_PASSWORD timeout 5 redis-cli -p "$REDIS_PORT" --no-auth-warning ping | grep -x PONG ;;
        prometheus) curl -fs -m 5 "http://127.0.0.1:$PROMETHEUS_PORT/-/ready" ;;
        *) curl -fs -m 5 "http://127.0.0.1:$(ports_of "$1" | cut -d' ' -f1)/health/ready" ;;
    esac &>/dev/null
}

# wait_for_ready SECONDS NAME…: fails with the end of the log of the first one that is not ready in time.
wait_for_ready() {
    local seconds=$1 name
    for name in "${@:2}"; do
        if ! wait_until "$seconds" is_ready "$name"; then
            echo "$name is not ready after $seconds s; the end of $RUN_DIR/log/$name.log:"
            tail -n 20 "$RUN_DIR/log/$name.log" || true
            return 1
        fi
    done
}

create_roles_and_database() {
    JUMUN_OWNER_PASSWORD=$OWNER_PASSWORD JUMUN_API_PASSWORD=$API_PASSWORD JUMUN_CONSUMER_PASSWORD=$CONSUMER_PASSWORD \
        JUMUN_AGGREGATOR_PASSWORD=$AGGREGATOR_PASSWORD JUMUN_SCHEDULER_PASSWORD=$SCHEDULER_PASSWORD \
        JUMUN_AUDIT_PASSWORD=$AUDIT_PASSWORD JUMUN_CLEANER_PASSWORD=$CLEANER_PASSWORD \
        run_psql --file="$ROOT/sql/roles.sql"
    run_psql <<<"SELECT 'CREATE DATABASE jumun OWNER jumun_owner'
        WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'jumun') \gexec"
}
