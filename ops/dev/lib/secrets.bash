# shellcheck shell=bash
#
# The passwords of one run directory: drawn once, kept in its file `secrets`, which only its owner may read.

readonly SECRET_NAMES=(
    ADMIN_PASSWORD OWNER_PASSWORD API_PASSWORD CONSUMER_PASSWORD AGGREGATOR_PASSWORD SCHEDULER_PASSWORD
    AUDIT_PASSWORD RABBITMQ_PASSWORD REDIS_PASSWORD SUPERVISOR_PASSWORD
)

# 128 random bits in hexadecimal, which needs no quoting anywhere.
random_secret() {
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

create_secrets() {
    [[ ! -e $RUN_DIR/secrets ]] || return 0
    local name
    (
        umask 077
        for name in "${SECRET_NAMES[@]}"; do
            printf '%s=%s\n' "$name" "$(random_secret)"
        done >"$RUN_DIR/secrets.new"
    )
    mv "$RUN_DIR/secrets.new" "$RUN_DIR/secrets"
}

load_secrets() {
    # shellcheck disable=SC1091  # written by create_secrets
    source "$RUN_DIR/secrets"
}
