-- Records set aside: each is written in the transaction that moves the position past it. {schema} is `main.`.
create table if not exists {schema}eos_dead_letter (
    id            integer primary key autoincrement,
    -- 0 dead, 1 parked, 5 parked and to be tried now, 2 to be replayed, 3 replayed, 4 discarded.
    state         integer not null default 0,
    group_id      text    not null,
    topic         text    not null,
    partition     integer not null,
    record_offset integer not null,
    record_time   integer,                      -- in milliseconds since 1970, as the record has it
    key           blob,
    payload       blob,                         -- null: a tombstone
    headers       text,                         -- JSON, as in eos_outbox
    message_id    blob,                         -- as in eos_inbox, whose row says outcome 1 until it is replayed
    listener      text    not null,             -- for people
    attempts      integer not null,
    reason        text    not null,             -- poison, failed, overran, panicked, killed, behind
    error         text    not null,             -- the chain of causes
    -- In milliseconds since 1970.
    set_aside_at  integer not null default (cast(1000 * (julianday('now') - 2440587.5) * 86400 as integer)),
    changed_at    integer,
    -- Attempts of the replay that was asked for, or while it was parked, counted before each: one may end the process.
    tries         integer not null default 0,
    -- What was changed before a replay: when, and the payload as it came.
    edited_at     integer,
    original_payload blob,
    -- The topic that it is still to be written to as well, and not before when (milliseconds since 1970).
    publish_to    text,
    publish_after integer not null default 0
);
create index if not exists {schema}eos_dead_letter_of on eos_dead_letter (state, group_id, topic, partition, id);
create index if not exists {schema}eos_dead_letter_unpublished on eos_dead_letter (id) where publish_to is not null;
