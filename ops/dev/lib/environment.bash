# shellcheck shell=bash disable=SC2034  # names for the scripts that source it
#
# The addresses of everything in this run directory, and the environment that our processes are started with.

database_url() {
    echo "postgres://$1:$2@127.0.0.1:$POSTGRES_PORT/${3:-jumun}"
}

# Needs load_secrets.
export_environment() {
    export DATABASE_URL AMQP_URL REDIS_URL
    DATABASE_URL=$(database_url jumun_owner "$OWNER_PASSWORD")
    AMQP_URL=amqp://jumun:$RABBITMQ_PASSWORD@127.0.0.1:$AMQP_PORT/jumun
    REDIS_URL=redis://:$REDIS_PASSWORD@127.0.0.1:$REDIS_PORT/0
    export API_URL=http://127.0.0.1:$API_PORT
    export CONSUMER_URL=http://127.0.0.1:$CONSUMER_PORT
    export SCHEDULER_URL=http://127.0.0.1:$SCHEDULER_PORT
    export PLATFORM_URL=http://127.0.0.1:$PLATFORM_PORT
    export LISTEN_HOST=127.0.0.1 API_PORT CONSUMER_PORT SCHEDULER_PORT PLATFORM_PORT
    export SCHEDULE_FILE=$ROOT/ops/schedule.toml MIGRATIONS_DIR=$ROOT/sql/migrations
    export BIN_DIR LOG_LEVEL=info
    # What the consumer signs its requests with, and the platform checks.
    export PLATFORM_SIGNING_KEYS
    # The operator's console, and who may use it.
    export CONSOLE_URL=http://127.0.0.1:$OPERATOR_PORT/console OPERATOR_TOKEN
    export OPERATOR_HOST=127.0.0.1 OPERATOR_PORT MOCK_PLATFORM_URL=$PLATFORM_URL
    # Empty where it could not be fetched.
    export SWAGGER_UI_DIR=
    [[ ! -d $RUN_DIR/swagger-ui ]] || SWAGGER_UI_DIR=$RUN_DIR/swagger-ui
}

# For people and other programs only: our processes have no business with these.
export_admin_environment() {
    export ADMIN_DATABASE_URL
    ADMIN_DATABASE_URL=$(database_url postgres "$ADMIN_PASSWORD" postgres)
    # What a scheduler started by hand gives to its jobs.
    export AGGREGATOR_DATABASE_URL AUDIT_DATABASE_URL CLEANER_DATABASE_URL
    AGGREGATOR_DATABASE_URL=$(database_url_of aggregator)
    AUDIT_DATABASE_URL=$(database_url_of audit)
    CLEANER_DATABASE_URL=$(database_url_of cleaner)
    export PROMETHEUS_URL=http://127.0.0.1:$PROMETHEUS_PORT
    export RABBITMQ_MANAGEMENT_URL=http://jumun:$RABBITMQ_PASSWORD@127.0.0.1:$RABBITMQ_MANAGEMENT_PORT
}

# The database URL of the least-privilege role that a process or a job has.
database_url_of() {
    case $1 in
        order-api) database_url jumun_api "$API_PASSWORD" ;;
        consumer) database_url jumun_consumer "$CONSUMER_PASSWORD" ;;
        aggregator) database_url jumun_aggregator "$AGGREGATOR_PASSWORD" ;;
        audit) database_url jumun_audit "$AUDIT_PASSWORD" ;;
        cleaner) database_url jumun_cleaner "$CLEANER_PASSWORD" ;;
        scheduler) database_url jumun_scheduler "$SCHEDULER_PASSWORD" ;;
    esac
}
