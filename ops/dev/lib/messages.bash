# shellcheck shell=bash disable=SC2034  # colours for the scripts that source it
#
# What a person sees: steps with their progress, and one clear line when something is wrong.

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    readonly BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    readonly BOLD='' DIM='' RED='' GREEN='' PLAIN=''
fi

# Says what is wrong, and what to do if there is a second line, and ends the script.
die() {
    printf '%s%s%s\n' "$RED" "$1" "$PLAIN" >&2
    (($# < 2)) || printf '%s\n' "${@:2}" >&2
    exit 1
}

# log_steps_to FILE: where the steps that follow keep what they print.
log_steps_to() {
    STEP_LOG=$1
}

# step TITLE COMMAND…: runs the command and shows that it goes on. The last line of what it prints is shown
# beside the title, the last lines if it fails. Not for use in a condition: a failure must end the script.
step() {
    local title=$1 started=$SECONDS status=0
    shift
    # Job control gives the command a process group of its own, so that Ctrl-C can end all that it has started.
    set -m
    (
        set +m -e
        "$@"
    ) >"$STEP_LOG" 2>&1 </dev/null &
    STEP_PID=$!
    set +m
    trap 'kill -TERM -- "-$STEP_PID" 2>/dev/null; exit 130' INT TERM
    show_progress "$title" "$started"
    wait "$STEP_PID" || status=$?
    trap 'exit 130' INT TERM
    [[ ! -t 1 ]] || printf '\r\e[K'
    if ((status != 0)); then
        printf '%s✗%s %s, after %d s. The last that it said (all of it is in %s):\n' \
            "$RED" "$PLAIN" "$title" $((SECONDS - started)) "$STEP_LOG" >&2
        tail -n 25 "$STEP_LOG" | sed 's/^/    /' >&2
        exit "$status"
    fi
    printf '%s✓%s %s %s\n' "$GREEN" "$PLAIN" "$title" "$DIM$(elapsed "$started")$PLAIN"
}

elapsed() {
    local seconds=$((SECONDS - $1))
    ((seconds < 2)) || echo "($seconds s)"
}

# Until STEP_PID ends: on a terminal one line that moves, elsewhere a plain line after 2 s and then every 15 s.
show_progress() {
    local title=$1 started=$2 frames='⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏' frame=0 next_line=2 last width
    while kill -0 "$STEP_PID" 2>/dev/null; do
        sleep 0.1
        if [[ -t 1 ]]; then
            width=$(tput cols 2>/dev/null || echo 80)
            last=$(tail -c 400 "$STEP_LOG" | tr '\r' '\n' | grep -v '^ *$' | tail -n 1) || true
            last="$title $(elapsed "$started") $last"
            printf '\r\e[K%s %s' "${frames:frame++ % 10:1}" "${last:0:width - 3}"
        elif ((SECONDS - started >= next_line)); then
            printf '  %s… %d s %s\n' "$title" $((SECONDS - started)) "$(tail -n 1 "$STEP_LOG" | cut -c 1-100)"
            next_line=$((next_line + 15))
        fi
    done
}
