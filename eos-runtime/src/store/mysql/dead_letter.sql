-- Records set aside: each is written in the transaction that moves the position past it. {schema} is the database's name
-- with its dot, or nothing.
create table if not exists {schema}eos_dead_letter (
    id            bigint       not null auto_increment primary key,
    -- 0 dead, 1 parked, 5 parked and to be tried now, 2 to be replayed, 3 replayed, 4 discarded.
    state         smallint     not null default 0,
    group_id      varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
    topic         varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
    `partition`   int          not null,
    record_offset bigint       not null,
    record_time   bigint,                       -- in milliseconds since 1970, as the record has it
    `key`         longblob,
    payload       longblob,                     -- null: a tombstone
    headers       longtext     character set utf8mb4 collate utf8mb4_bin,  -- JSON, as in eos_outbox
    message_id    varbinary(64),                -- as in eos_inbox, whose row says outcome 1 until it is replayed
    listener      text         character set utf8mb4 collate utf8mb4_bin not null,  -- for people
    attempts      int          not null,
    reason        varchar(16)  character set ascii not null,  -- poison, failed, overran, panicked, killed, behind
    error         mediumtext   character set utf8mb4 not null,  -- the chain of causes
    set_aside_at  timestamp(3) not null default current_timestamp(3),
    changed_at    timestamp(3) null,
    -- Attempts of the replay that was asked for, or while it was parked, counted before each: one may end the process.
    tries         int          not null default 0,
    -- What was changed before a replay: when, and the payload as it came.
    edited_at     timestamp(3) null,
    original_payload longblob,
    -- The topic that it is still to be written to as well, and not before when (milliseconds since 1970).
    publish_to    varchar(255) character set utf8mb4 collate utf8mb4_bin,
    publish_after bigint       not null default 0,
    key eos_dead_letter_of (state, group_id, topic, `partition`, id),
    key eos_dead_letter_unpublished (publish_to)
) engine = InnoDB;
