# shellcheck shell=bash
# Redis from the distribution, in memory only: what it holds is gone when it ends.

redis_packages() { command -v redis-server >/dev/null || echo redis-server; }

redis_installed() { command -v redis-server >/dev/null || die "\`redis-server\` is not there"; }

redis_user() { :; }

redis_ports() { echo "$1"; }

redis_prepare() { mkdir -p "$1/data"; }

redis_tidy() { :; }

redis_run() { become '' setsid redis-server --port "$2" --bind 127.0.0.1 --dir "$1/data" --save '' --appendonly no; }

redis_answers() { [[ $(redis-cli -h 127.0.0.1 -p "$1" ping) == PONG ]]; }

redis_stop_signal() { echo TERM; }
