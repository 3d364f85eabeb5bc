# shellcheck shell=bash
# PostgreSQL from the distribution, by TCP only, user `postgres` without a password, safe against power loss
# (fsync and synchronous_commit keep their defaults: figures taken without them mean nothing).

postgres_bin() {
    local newest
    newest=$(find /usr/lib/postgresql/*/bin -name initdb 2>/dev/null | sort -V | tail -n 1)
    [[ -n $newest ]] || newest=$(command -v initdb) || return 1
    dirname "$newest"
}

postgres_packages() { postgres_bin >/dev/null || echo postgresql; }

postgres_installed() { postgres_bin >/dev/null || die "PostgreSQL's \`initdb\` is not there"; }

postgres_user() { echo postgres; }

postgres_ports() { echo "$1"; }

postgres_prepare() {
    (
        cd "$1" &&
            as_user postgres "$(postgres_bin)/initdb" -D "$1/data" -U postgres --auth=trust -E UTF8 \
                --locale=C.UTF-8 --no-sync
    )
}

# After a SIGKILL the children of the dead server live on for a moment, and a new one must not start beside them.
# All of them have the data folder as their working directory.
postgres_tidy() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        if nobody_works_in "$1/data"; then
            rm -f "$1/data/postmaster.pid"
            return 0
        fi
        sleep 0.05
    done
    return 1
}

nobody_works_in() {
    local cwd
    for cwd in /proc/[0-9]*/cwd; do
        [[ ! $cwd -ef $1 ]] || return 1
    done
}

postgres_run() {
    become postgres setsid "$(postgres_bin)/postgres" -D "$1/data" -c port="$2" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c wal_level=logical -c max_connections=300 -c shared_buffers=512MB \
        -c max_wal_size=4GB -c max_prepared_transactions=8
}

postgres_answers() { "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$1" -U postgres; }

postgres_stop_signal() { echo INT; } # "fast": open transactions are rolled back, clients are sent away
