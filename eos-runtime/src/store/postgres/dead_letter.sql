-- Records set aside: each is written in the transaction that moves the position past it. {schema} is the schema's name
-- with its dot.
create table if not exists {schema}eos_dead_letter (
    id            bigint   generated always as identity primary key,
    -- 0 dead, 1 parked, 5 parked and to be tried now, 2 to be replayed, 3 replayed, 4 discarded.
    state         smallint not null default 0,
    group_id      text     not null,
    topic         text     not null,
    partition     integer  not null,
    record_offset bigint   not null,
    record_time   bigint,                       -- in milliseconds since 1970, as the record has it
    key           bytea,
    payload       bytea,                        -- null: a tombstone
    headers       text,                         -- JSON, as in eos_outbox
    message_id    bytea,                        -- as in eos_inbox, whose row says outcome 1 until it is replayed
    listener      text     not null,            -- for people
    attempts      integer  not null,
    reason        text     not null,            -- poison, failed, overran, panicked, killed, behind
    error         text     not null,            -- the chain of causes
    set_aside_at  timestamptz not null default pg_catalog.clock_timestamp(),
    changed_at    timestamptz,
    -- Attempts of the replay that was asked for, or while it was parked, counted before each: one may end the process.
    tries         integer  not null default 0,
    -- What was changed before a replay: when, and the payload as it came.
    edited_at     timestamptz,
    original_payload bytea,
    -- The topic that it is still to be written to as well, and not before when (milliseconds since 1970).
    publish_to    text,
    publish_after bigint not null default 0
);
create index if not exists eos_dead_letter_of on {schema}eos_dead_letter (state, group_id, topic, partition, id);
create index if not exists eos_dead_letter_unpublished on {schema}eos_dead_letter (id) where publish_to is not null;
