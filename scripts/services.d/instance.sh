# shellcheck shell=bash
# One server in one folder: started once, recognised by its process, ended by its process.
#
# The folder holds `kind`, `port`, `process`, `log`, `data/` and `lock`. Whoever starts or stops the server holds
# the lock. `process` names a pid together with the moment it began, so that a pid which the system has given to
# somebody else since is never taken for the server.
# A kind is its functions: `<kind>_user` (who runs it), `<kind>_prepare DIR PORT` (makes the data, once),
# `<kind>_run DIR PORT` (becomes the server) and `<kind>_answers PORT`; `<kind>_ports PORT` are all that it listens on,
# `<kind>_tidy DIR` removes what a killed server left, `<kind>_stop_signal` is the polite one.

readonly START_SECONDS=60
readonly STOP_SECONDS=20

# Starts KIND in DIR on PORT unless it runs there already. Prints KIND at the moment a process is started.
start_instance() {
    local kind=$1 dir=$2 port=$3 lock
    own_folder "$kind" "$dir"
    exec {lock}>"$dir/lock"
    flock "$lock"
    if ! already_running "$kind" "$dir" "$port"; then
        ports_are_free "$kind" "$port"
        if [[ ! -e $dir/prepared ]]; then
            rm -rf "$dir/data"
            : >"$dir/log"
            "${kind}_prepare" "$dir" "$port" >>"$dir/log" 2>&1 || failed "$kind" "$dir" "could not make its data"
            touch "$dir/prepared"
        fi
        "${kind}_tidy" "$dir" || failed "$kind" "$dir" "has data that a process of an earlier run still holds"
        launch "$kind" "$dir" "$port" "$lock"
        printf '%s\n' "$kind"
    fi
    wait_for_answer "$kind" "$dir" "$port"
    exec {lock}>&-
}

# Ends the server in DIR, if one runs there; its data stay.
stop_instance() {
    local dir=$1 kind pid lock
    [[ -e $dir/kind ]] || return 0
    kind=$(<"$dir/kind")
    exec {lock}>"$dir/lock"
    flock "$lock"
    if pid=$(running_pid "$dir"); then
        end_process "$("${kind}_stop_signal")" "$pid"
        if ! wait_until_gone "$dir"; then
            say "$kind (pid $pid) did not stop within $STOP_SECONDS s and is killed"
            end_process KILL "$pid"
            wait_until_gone "$dir"
        fi
    fi
    rm -f "$dir/process"
    exec {lock}>&-
}

# A stopped process hears nothing until it goes on. One that has just ended by itself is no failure.
end_process() {
    kill -s "$1" "$2" 2>/dev/null || true
    kill -s CONT "$2" 2>/dev/null || true
}

# Prints the pid of the server in DIR, or fails when it does not run.
running_pid() {
    local dir=$1 pid birth
    read -r pid birth 2>/dev/null <"$dir/process" || return 1
    [[ -n $birth && $(birth_of "$pid") == "$birth" ]] || return 1
    printf '%s\n' "$pid"
}

# When the process began: the boot it belongs to and the ticks since then. Empty for a process that is gone.
birth_of() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    stat=${stat##*) } # the name, in brackets, may hold anything
    read -r -a stat <<<"$stat"
    [[ ${stat[0]} != Z ]] || return 0
    printf '%s/%s\n' "$(</proc/sys/kernel/random/boot_id)" "${stat[19]}"
}

# A folder is ours when it is new, empty, or was ours before.
own_folder() {
    local kind=$1 dir=$2 user
    user=$("${kind}_user")
    mkdir -p "$dir"
    if [[ ! -e $dir/kind ]]; then
        [[ -z $(ls -A "$dir") ]] || die "$dir is neither empty nor a folder of scripts/services"
        printf '%s\n' "$kind" >"$dir/kind"
    fi
    [[ $(<"$dir/kind") == "$kind" ]] || die "$dir holds $(<"$dir/kind"), not $kind"
    if [[ -n $user && $(id -u) == 0 ]]; then
        chown "$user" "$dir"
        as_user "$user" test -x "$dir" ||
            die "user $user cannot enter $dir; every folder above it must let others pass (chmod o+x)"
    fi
}

already_running() {
    local kind=$1 dir=$2 port=$3 pid
    pid=$(running_pid "$dir") || return 1
    [[ $(<"$dir/port") == "$port" ]] ||
        die "$kind runs on port $(<"$dir/port") with pid $pid; stop it before starting it on port $port"
}

ports_are_free() {
    local kind=$1 port
    for port in $("${kind}_ports" "$2"); do
        ! port_is_open "$port" || die "$kind needs port $port, and another program listens there"
    done
}

port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The server gets a session of its own, so that no Ctrl-C reaches it, and none of our locks.
launch() {
    local kind=$1 dir=$2 port=$3 lock=$4 pid
    (
        exec {lock}>&- </dev/null >>"$dir/log" 2>&1
        cd "$dir" || exit
        "${kind}_run" "$dir" "$port"
    ) &
    pid=$!
    printf '%s\n' "$port" >"$dir/port"
    printf '%s %s\n' "$pid" "$(birth_of "$pid")" >"$dir/process"
}

wait_for_answer() {
    local kind=$1 dir=$2 port=$3 deadline=$((SECONDS + START_SECONDS))
    until "${kind}_answers" "$port" >/dev/null 2>&1; do
        running_pid "$dir" >/dev/null || failed "$kind" "$dir" "ended while starting"
        ((SECONDS < deadline)) || failed "$kind" "$dir" "runs, but did not answer on port $port within $START_SECONDS s"
        sleep 0.05
    done
}

wait_until_gone() {
    local dir=$1 deadline=$((SECONDS + STOP_SECONDS))
    while running_pid "$dir" >/dev/null; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

failed() {
    local kind=$1 dir=$2 why=$3
    say "$kind $why; the last lines of $dir/log:"
    tail -n 20 "$dir/log" | sed 's/^/    /' >&2
    die "$kind is not up"
}

# Becomes the command, as the given user when we are root and a user is given.
become() {
    local user=$1
    shift
    if [[ -n $user && $(id -u) == 0 ]]; then
        exec setpriv --reuid="$user" --regid="$user" --init-groups "$@"
    fi
    exec "$@"
}

as_user() (become "$@")
