# shellcheck shell=bash
#
# Started by an ordinary user, all runs as that user. Started by root, each server runs as the user that its Debian
# package made for it, because PostgreSQL refuses to run as root and the others have no need of it.

# The user that a process of ours runs as when root starts it.
user_of() {
    case $1 in
        postgres | redis | prometheus) echo "$1" ;;
        rabbitmq | epmd) echo rabbitmq ;;
        *) echo root ;;
    esac
}

# exec_as_user_of NAME COMMAND…: the command in place of this shell or subshell, as the user of the process NAME.
exec_as_user_of() {
    local user traverse=()
    user=$(user_of "$1")
    shift
    if ((EUID != 0)) || [[ $user == root ]]; then
        exec "$@"
    fi
    # A checkout under /root cannot be entered by other users. One capability lets them pass through (and read, but
    # not write) without a permission being changed outside the run directory. A container may withhold it, but
    # commonly grants the stronger one.
    if ! setpriv --reuid="$user" --regid="$user" --init-groups test -x "$RUN_DIR" 2>/dev/null; then
        mapfile -t traverse < <(capability_options dac_read_search)
        setpriv --reuid="$user" --regid="$user" --init-groups "${traverse[@]}" true 2>/dev/null ||
            mapfile -t traverse < <(capability_options dac_override)
    fi
    exec setpriv --reuid="$user" --regid="$user" --init-groups "${traverse[@]}" -- "$@"
}

# The options that let a capability outlive the change of user and an exec. Without the secure bit access(2), by which
# Erlang asks whether a file can be written, leaves capabilities out of account.
capability_options() {
    printf '%s\n' --securebits=+no_setuid_fixup "--inh-caps=+$1" "--ambient-caps=+$1"
}

# The same, but coming back.
as_user_of() {
    (exec_as_user_of "$@")
}

# make_private_dir NAME PATH: a directory for the user of the process NAME alone.
make_private_dir() {
    mkdir -p "$2"
    chmod 700 "$2"
    ((EUID != 0)) || chown "$(user_of "$1"):" "$2"
}
