# shellcheck shell=bash
#
# Everything in this folder, for the scripts above it.

LIB=$(dirname "${BASH_SOURCE[0]}")
source "$LIB/settings.bash"
source "$LIB/messages.bash"
source "$LIB/secrets.bash"
source "$LIB/privileges.bash"
source "$LIB/processes.bash"
source "$LIB/ports.bash"
source "$LIB/environment.bash"
source "$LIB/servers.bash"
source "$LIB/supervisor.bash"
