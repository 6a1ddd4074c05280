# shellcheck shell=bash
#
# Which of our processes run. `launch` notes each one's id and start time in RUN_DIR/pids; the time tells it from another
# process that was given the same id later, after a reboot for example.

# In clock ticks since boot; nothing when there is no such process. The name in the second field may hold anything, so
# fields are counted from behind it.
start_time() {
    local stat fields
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != Z ]] || return 1
    echo "${fields[19]}"
}

note_process() {
    printf '%s %s\n' "$2" "$(start_time "$2")" >"$RUN_DIR/pids/$1.new"
    mv "$RUN_DIR/pids/$1.new" "$RUN_DIR/pids/$1"
}

# Prints the process id of NAME, or nothing and fails when it does not run.
pid_of() {
    local pid started now
    read -r pid started 2>/dev/null <"$RUN_DIR/pids/$1" || return 1
    now=$(start_time "$pid") && [[ $now == "$started" ]] && echo "$pid"
}

is_running() {
    pid_of "$1" >/dev/null
}

# wait_until SECONDS COMMAND…: until the command succeeds; fails when it still does not after that time.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

is_stopped() {
    ! is_running "$1"
}

# terminate NAME SECONDS [SIGNAL]: asks the process to end, and ends it when it has not done so in time.
terminate() {
    local pid
    pid=$(pid_of "$1") || return 0
    kill -"${3:-TERM}" "$pid" 2>/dev/null || true
    wait_until "$2" is_stopped "$1" && return 0
    echo "$1 (process $pid) did not stop within $2 s and is killed"
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 5 is_stopped "$1"
}

names_not_running() {
    local name
    for name in "$@"; do
        is_running "$name" || echo "$name"
    done
}
