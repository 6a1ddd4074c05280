# shellcheck shell=bash
#
# Debian's supervisord, with a configuration of our own: it starts what we run and starts again what dies.

# write_supervisor_config NAME…: for these processes, in the order of starting.
write_supervisor_config() {
    write_config supervisord "$ROOT/ops/supervisor/supervisord.conf"
    local name priority=0
    for name in "$@"; do
        priority=$((priority + 10))
        program_section "$name" "$priority"
    done >>"$RUN_DIR/supervisord/supervisord.conf"
}

program_section() {
    local signal=TERM patience=12
    case $1 in
        # INT is PostgreSQL's fast shutdown: sessions are ended, data is flushed.
        postgres) signal=INT patience=30 ;;
        rabbitmq) patience=30 ;;
    esac
    cat <<END

[program:$1]
command="$ROOT/ops/dev/launch" "$RUN_DIR" $1
priority=$2
autostart=false
autorestart=true
startsecs=1
startretries=30
stopsignal=$signal
stopwaitsecs=$patience
redirect_stderr=true
stdout_logfile=%(here)s/../log/$1.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
END
}

# supervisord speaks on loopback with a password: a Unix socket would tie the run directory to 107 bytes of path.
supervisor() {
    supervisorctl -c "$RUN_DIR/supervisord/supervisord.conf" "$@"
}

has_no_orphans() {
    is_running supervisord || (($(names_not_running "$@" | wc -l) == $#))
}

# A supervisord that was killed leaves what it had started: that is stopped, in the reverse order of starting, before
# another one starts it anew.
stop_orphans() {
    local names=("$@") i
    ! is_running supervisord || return 0
    for ((i = ${#names[@]} - 1; i >= 0; i--)); do
        terminate "${names[i]}" 30
    done
}

# Starts supervisord with an environment that does not depend on who calls.
start_supervisord() {
    ! is_running supervisord || return 0
    env -i PATH="$PATH" HOME="$HOME" LANG=C.UTF-8 USER="$(id -un)" \
        setsid "$ROOT/ops/dev/launch" "$RUN_DIR" supervisord </dev/null &>"$RUN_DIR/log/supervisord.out" 9>&- &
    wait_until 20 is_open "$SUPERVISOR_PORT"
}

# start_processes NAME…: those that do not run; all at once, since supervisord watches each for a second before it answers.
start_processes() {
    local name clients=()
    for name in "$@"; do
        ! is_running "$name" || continue
        supervisor start "$name" &
        clients+=($!)
    done
    # What came of it is found out by waiting for readiness.
    ((${#clients[@]} == 0)) || wait "${clients[@]}" || true
}

# Stops supervisord and with it everything, each within its own time, in the reverse order of starting.
stop_everything() {
    terminate supervisord 120
    stop_orphans "$@"
}

# The same at once, for servers whose data nobody will need.
kill_everything() {
    local name
    for name in supervisord "$@"; do
        terminate "$name" 10 KILL
    done
}
