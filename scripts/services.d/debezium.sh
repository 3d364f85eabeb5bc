# shellcheck shell=bash
# Debezium: a Kafka Connect worker, which is in the jars of scripts/kafka/pom.xml, with the connectors that
# scripts/debezium/pom.xml names as its plugin.
#
# Its REST interface listens on PORT. Connectors, offsets and states are in topics of the Kafka that `address kafka`
# says, under a name that is new with every folder: a worker whose data were thrown away knows no connector.

readonly DEBEZIUM_POM=$HERE/debezium/pom.xml
DEBEZIUM_PLUGINS=$STATE/debezium-plugins-$(cksum <"$DEBEZIUM_POM" | cut -d ' ' -f 1)
readonly DEBEZIUM_PLUGINS

debezium_packages() {
    kafka_packages
    [[ -d $DEBEZIUM_PLUGINS ]] || command -v mvn >/dev/null || echo maven
}

debezium_installed() {
    kafka_installed
    [[ ! -d $DEBEZIUM_PLUGINS ]] || return 0
    say "fetching Debezium's jars"
    copy_jars "$DEBEZIUM_POM" "$DEBEZIUM_PLUGINS" debezium || die "Maven could not fetch Debezium's jars"
}

debezium_user() { :; }

debezium_ports() { echo "$1"; }

debezium_prepare() {
    mkdir -p "$1/data"
    printf 'eos-connect-%s-%s\n' "$2" "$(date +%s%N)" >"$1/data/group"
}

# What depends on the folder and the ports; the rest is in scripts/debezium/worker.properties.
debezium_settings() {
    local dir=$1 port=$2 group
    group=$(<"$dir/data/group")
    cat "$HERE/debezium/worker.properties" - >"$dir/worker.properties" <<END

bootstrap.servers=$(address kafka)
listeners=http://127.0.0.1:$port
plugin.path=$DEBEZIUM_PLUGINS
group.id=$group
config.storage.topic=$group-configs
offset.storage.topic=$group-offsets
status.storage.topic=$group-status
END
}

debezium_tidy() { :; }

debezium_run() {
    local dir=$1 port=$2
    debezium_settings "$dir" "$port"
    become '' setsid "$(newest_java)" -Xms128m -Xmx512m -XX:+UseSerialGC \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.io.debezium=info \
        -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
        -cp "$KAFKA_JARS/*" org.apache.kafka.connect.cli.ConnectDistributed "$dir/worker.properties"
}

# The first Java of 21 or newer: JAVA_HOME's, or one of the distribution's folder; without one, the `java` that runs
# Kafka.
newest_java() {
    local home
    for home in "${JAVA_HOME:-}" /usr/lib/jvm/*; do
        if [[ -n $home && -x $home/bin/java && $(java_major "$home/bin/java") -ge 21 ]]; then
            printf '%s\n' "$home/bin/java"
            return 0
        fi
    done
    command -v java
}

# The worker says that it is healthy when it has joined its group and takes requests.
debezium_answers() {
    local status
    status=$(
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf 'GET /health HTTP/1.0\r\n\r\n' >&3
        timeout 5 head -n 1 <&3
    )
    [[ $status == *" 200 "* ]]
}

debezium_stop_signal() { echo TERM; }
