-- What eos keeps in MySQL or MariaDB. {schema} is the database's name with its dot, or nothing.
create table if not exists {schema}eos_position (
    id             bigint       not null auto_increment primary key,
    group_id       varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
    topic          varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
    `partition`    int          not null,
    slot           int          not null default 0,
    -- Who owns it: the token fences, the epoch counts the takes for people and logs.
    epoch          bigint       not null,
    owner          binary(16)   not null,
    taken_at       bigint       not null,
    -- The connection that wrote the row last, and when whoever waits may end it, in seconds since 1970.
    `connection`   bigint       not null,
    held_until     bigint       not null,
    -- Which log, and how far: the next offset, and the last record by which the log is recognised.
    cluster        varchar(255) character set utf8mb4 collate utf8mb4_bin,
    next_offset    bigint       not null,
    last_offset    bigint,
    last_timestamp bigint,
    last_checksum  bigint,
    attempts       int          not null default 0,
    unique key eos_position_key (group_id, topic, `partition`, slot)
) engine = InnoDB;

-- A small number for each group and topic, so that inbox rows are short.
create table if not exists {schema}eos_stream (
    id       int          not null auto_increment primary key,
    group_id varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
    topic    varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
    -- How many partitions the topic had when the group met it; later ones were added, and are read from their beginning.
    first_partitions int,
    unique key eos_stream_key (group_id, topic)
) engine = InnoDB;

-- Ids already processed; outcome 0 is done, seen_at is in seconds since 1970.
create table if not exists {schema}eos_inbox (
    stream     int           not null,
    message_id varbinary(64) not null,
    outcome    smallint      not null default 0,
    seen_at    bigint        not null,
    primary key (stream, message_id)
) engine = InnoDB;
