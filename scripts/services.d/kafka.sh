# shellcheck shell=bash
# Apache Kafka in KRaft mode, broker and controller in one process, from the jars that scripts/kafka/pom.xml names.
#
# It listens on PORT for clients and on PORT + 1 for its controller. What does not depend on the port is in
# scripts/kafka/server.properties.

readonly KAFKA_POM=$HERE/kafka/pom.xml
readonly KAFKA_CLUSTER=ZW9zLXRlc3Qtc2VydmljZQ # any 16 bytes will do
KAFKA_JARS=$STATE/kafka-jars-$(cksum <"$KAFKA_POM" | cut -d ' ' -f 1)
readonly KAFKA_JARS

kafka_packages() {
    java_is_new_enough || echo default-jre-headless
    [[ -d $KAFKA_JARS ]] || command -v mvn >/dev/null || echo maven
}

java_is_new_enough() { [[ $(java_major java) -ge 17 ]]; }

# The version of the given `java`, or 0.
java_major() {
    local major
    major=$("$1" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
    printf '%s\n' "${major:-0}"
}

kafka_installed() {
    java_is_new_enough || die "Kafka needs Java 17 or newer, and \`java\` is: $(java -version 2>&1 | head -n 1)"
    [[ ! -d $KAFKA_JARS ]] || return 0
    say "fetching Kafka's jars"
    copy_jars "$KAFKA_POM" "$KAFKA_JARS" || die "Maven could not fetch Kafka's jars"
}

# Copies the jars that a pom needs at runtime to a new folder (or to SUB in it), all of them or none.
copy_jars() {
    local pom=$1 folder=$2 sub=${3:-}
    rm -rf "$folder.part"
    mvn -q -B -f "$pom" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$folder.part/$sub" 2>&1 | sed 's/\x1b\[0m//g' >&2 || return 1
    chmod -R a+rX "$folder.part"
    mv "$folder.part" "$folder"
}

kafka_user() { :; }

kafka_ports() { echo "$1 $(($1 + 1))"; }

kafka_prepare() {
    local dir=$1 port=$2
    kafka_settings "$dir" "$port"
    kafka_java kafka.tools.StorageTool format -t "$KAFKA_CLUSTER" -c "$dir/server.properties"
}

kafka_settings() {
    local dir=$1 port=$2
    cat "$HERE/kafka/server.properties" - >"$dir/server.properties" <<END

listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.quorum.voters=1@127.0.0.1:$((port + 1))
log.dirs=$dir/data
END
}

kafka_tidy() { :; }

kafka_run() {
    local dir=$1 port=$2
    kafka_settings "$dir" "$port"
    become '' setsid java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
        -cp "$KAFKA_JARS/*" kafka.Kafka "$dir/server.properties"
}

# Asks for the cluster's metadata (version 1, no topics) and wants to see a broker in it: a port that is open is
# not yet a broker that creates topics.
kafka_answers() {
    local answer
    answer=$(
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf '\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0' >&3
        timeout 5 head -c 12 <&3 | od -An -v -tu1 | tr -s ' \n' ' '
    )
    [[ ${answer% } == *" 0 0 0 1" ]]
}

kafka_stop_signal() { echo TERM; }

# A class of Kafka's own tools, with its arguments.
kafka_java() {
    java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
        -cp "$KAFKA_JARS/*" "$@"
}
