# shellcheck shell=bash
#
# The passwords of one run directory: drawn once, kept in its file `secrets`, which only its owner may read.

readonly SECRET_NAMES=(
    ADMIN_PASSWORD OWNER_PASSWORD API_PASSWORD CONSUMER_PASSWORD AGGREGATOR_PASSWORD SCHEDULER_PASSWORD
    AUDIT_PASSWORD CLEANER_PASSWORD RABBITMQ_PASSWORD REDIS_PASSWORD SUPERVISOR_PASSWORD OPERATOR_TOKEN
)

# 128 random bits in hexadecimal, which needs no quoting anywhere.
random_secret() {
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# A key as the Standard Webhooks specification wants it: 256 random bits. A second one, with a space between and all in
# quotes, may be written beside it by hand while keys are changed.
random_signing_key() {
    printf 'whsec_%s' "$(head -c 32 /dev/urandom | base64 -w 0)"
}

# Those that are missing: all of them at first, later those that are new in this version.
create_secrets() {
    local name
    (
        umask 077
        exec >"$RUN_DIR/secrets.new"
        [[ ! -e $RUN_DIR/secrets ]] || cat "$RUN_DIR/secrets"
        for name in "${SECRET_NAMES[@]}"; do
            has_secret "$name" || printf '%s=%s\n' "$name" "$(random_secret)"
        done
        has_secret PLATFORM_SIGNING_KEYS || printf 'PLATFORM_SIGNING_KEYS=%s\n' "$(random_signing_key)"
    )
    mv "$RUN_DIR/secrets.new" "$RUN_DIR/secrets"
}

has_secret() {
    grep -qs "^$1=" "$RUN_DIR/secrets"
}

load_secrets() {
    # shellcheck disable=SC1091  # written by create_secrets
    source "$RUN_DIR/secrets"
}
