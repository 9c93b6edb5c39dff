# Runs cells in this shell. $1 is the descriptor of the agent's socket; a cell is three texts, each ended by NUL: what to do
# before it, the cell, and what to do after it.
__sandglass=$1
shift
# An interrupt makes every function and the cell return: with extdebug, a DEBUG trap that returns 2 does that.
__sandglass_unwind() { ((${#FUNCNAME[@]} > 1)) && return 2 || return 0; }
trap 'shopt -s extdebug; set -T; trap __sandglass_unwind DEBUG' INT
printf 'ready\n' >&"$__sandglass"
while :; do
    # A signal interrupts the first read.
    IFS= read -r -d '' -u "$__sandglass" __sandglass_before || { [ "$?" -gt 128 ] && continue || exit; }
    IFS= read -r -d '' -u "$__sandglass" __sandglass_cell || exit
    IFS= read -r -d '' -u "$__sandglass" __sandglass_after || exit
    eval "$__sandglass_before"
    # An interrupt that came too late for the last cell is not for this one.
    trap - DEBUG
    shopt -u extdebug
    set +T
    printf 'begun\n' >&"$__sandglass"
    # The cell and its children must not hold the socket.
    eval 'source <(printf %s "$__sandglass_cell") '"$__sandglass>&-" && __sandglass_status=0 || __sandglass_status=$?
    trap - DEBUG
    shopt -u extdebug
    set +T
    eval "$__sandglass_after"
    printf 'done %s\n' "$__sandglass_status" >&"$__sandglass"
done
