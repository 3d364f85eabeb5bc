# shellcheck shell=bash
# MariaDB from the distribution, with a database `test` and the user `root` without a password by TCP. It keeps a binary
# log of rows, as Debezium needs it, and not for long.

mariadb_packages() { command -v mariadbd >/dev/null || echo mariadb-server; }

mariadb_installed() { command -v mariadbd >/dev/null || die "\`mariadbd\` is not there"; }

mariadb_user() { echo mysql; }

mariadb_ports() { echo "$1"; }

mariadb_prepare() {
    cat >"$1/start.sql" <<'END'
CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS root@'127.0.0.1';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
END
    (
        cd "$1" &&
            as_user mysql mariadb-install-db --no-defaults --datadir="$1/data" --skip-test-db \
                --auth-root-authentication-method=normal
    )
}

mariadb_tidy() { :; }

# The socket's name is relative to the data folder: a full one may be longer than a socket's name can be.
mariadb_run() {
    become mysql setsid mariadbd --no-defaults --datadir="$1/data" --port="$2" --bind-address=127.0.0.1 \
        --socket=mariadb.sock --pid-file=mariadb.pid --init-file="$1/start.sql" --skip-name-resolve \
        --max-connections=300 --innodb-buffer-pool-size=256M --log-bin=binlog --binlog-format=row --server-id=1 \
        --max-binlog-size=128M --binlog-expire-logs-seconds=3600
}

mariadb_answers() {
    mariadb --no-defaults --protocol=tcp -h 127.0.0.1 -P "$1" -u root --connect-timeout=2 -e 'SELECT 1' test
}

mariadb_stop_signal() { echo TERM; }
