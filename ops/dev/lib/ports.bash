# shellcheck shell=bash
#
# Whether the ports that we need are free.

# "name (process N)" for each listener on the port; nothing when it is free. Another user's process has no name here.
listeners_on() {
    local line
    ss -Hltnp "sport = :$1" | while read -r line; do
        if [[ $line =~ users:\(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
            echo "${BASH_REMATCH[1]} (process ${BASH_REMATCH[2]})"
        else
            echo "a process of another user"
        fi
    done | sort -u | paste -sd, -
}

# require_free_ports NAME…: ends the script, saying which ports are taken and by whom, unless those of all are free.
require_free_ports() {
    local name port holder taken=()
    for name in "$@"; do
        for port in $(ports_of "$name"); do
            holder=$(listeners_on "$port")
            [[ -z $holder ]] || taken+=("  port $port, needed by $name, is in use by $holder")
        done
    done
    ((${#taken[@]} == 0)) || die "Nothing was started, because ports are taken:" "${taken[@]}" \
        "Stop what uses them, or move all of Jumun's ports:  JUMUN_PORT_OFFSET=100 make up"
}

# is_open PORT: something on loopback accepts a connection.
is_open() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
