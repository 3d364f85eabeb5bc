-- The outbox: events that leave exactly when their rows do. `id` to `payload` are Debezium's columns; whoever
-- writes only those is published as well.
create table if not exists {schema}eos_outbox (
    -- The order of publishing; AUTOINCREMENT, so that no number is given out twice.
    seq           integer primary key autoincrement,
    id            text    not null default (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' ||
        substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),   -- the record's header `message-id`
    aggregatetype text    not null,                                     -- without `topic`: outbox.event.<this>
    aggregateid   text,                                                 -- the record's key
    type          text    not null default '',                          -- the record's header `type`
    payload       blob,                                                 -- published as it is; null is a tombstone
    broker        text    not null default 'kafka',
    topic         text,
    key           blob,                                                 -- the key where no text can hold it
    headers       text,                                                 -- JSON
    -- Which of the 1,024 slots: what has the same key is in the same one, whoever wrote it. SQLite has no hash; the last
    -- characters of a key are as good where there is one machine.
    slot          integer not null generated always as (
        (coalesce(unicode(substr(coalesce(aggregateid, id), -1)), 0) * 31
         + coalesce(unicode(substr(coalesce(aggregateid, id), -2, 1)), 0) * 131
         + coalesce(unicode(substr(coalesce(aggregateid, id), -3, 1)), 0) * 17) & 1023
    ) stored,
    created_at    integer not null default (cast(1000 * (julianday('now') - 2440587.5) * 86400 as integer)),
    -- What became of it, in milliseconds since 1970: when Kafka had it (where rows are kept), or why it was refused.
    published_at  integer,
    attempts      integer not null default 0,
    refusal       integer,   -- 1: its topic was missing or forbidden, and is looked for; 2: the record itself
    failed_at     integer,
    error         text
);
create index if not exists {schema}eos_outbox_failed on eos_outbox (seq) where failed_at is not null;
create index if not exists {schema}eos_outbox_published on eos_outbox (published_at) where published_at is not null;

-- Who publishes what: ranges of slots that never overlap.
create table if not exists {schema}eos_lane (
    first_slot  integer primary key,
    end_slot    integer not null check (end_slot > first_slot),
    epoch       integer not null default 0,
    owner       text,
    lease_until integer not null default 0   -- in milliseconds since 1970
);

-- The relays that live, so that each knows its share.
create table if not exists {schema}eos_relay (
    id          text primary key,
    alive_until integer not null             -- in milliseconds since 1970
);

-- This database's own id: two services whose databases have the same name must not fence each other.
create table if not exists {schema}eos_identity (
    one integer primary key default 1 check (one = 1),
    id  text not null
);
insert or ignore into {schema}eos_identity (one, id) values (1, lower(hex(randomblob(16))));
insert into {schema}eos_lane (first_slot, end_slot) select 0, 1024 where not exists (select 1 from {schema}eos_lane);
