-- The outbox: events that leave exactly when their rows do. `id` to `payload` are Debezium's columns; whoever
-- writes only those is published as well. {schema} is the database's name with its dot, or nothing.
create table if not exists {schema}eos_outbox (
    -- The order of publishing.
    seq           bigint        not null auto_increment primary key,
    id            varchar(36)   character set utf8mb4 collate utf8mb4_bin not null,     -- the record's header `message-id`
    aggregatetype varchar(255) character set utf8mb4 collate utf8mb4_bin not null,   -- without `topic`: outbox.event.<this>
    aggregateid   varchar(255) character set utf8mb4 collate utf8mb4_bin,            -- the record's key
    type          varchar(255) character set utf8mb4 collate utf8mb4_bin not null default '',   -- the header `type`
    -- Bytes, because they are published as they are; null is a tombstone.
    payload       longblob,
    broker        varchar(32)  character set ascii collate ascii_bin not null default 'kafka',
    topic         varchar(255) character set utf8mb4 collate utf8mb4_bin,
    `key`         longblob,                                                          -- the key where no text can hold it
    headers       longtext     character set utf8mb4 collate utf8mb4_bin,            -- JSON
    -- Which of the 1,024 slots: what has the same key is in the same one, whoever wrote it.
    slot          smallint as (crc32(coalesce(aggregateid, id)) & 1023) stored,
    created_at    timestamp(3) not null default current_timestamp(3),
    -- What became of it, in milliseconds since 1970: when Kafka had it (where rows are kept), or why it was refused.
    published_at  bigint,
    attempts      int          not null default 0,
    refusal       smallint,   -- 1: its topic was missing or forbidden, and is looked for; 2: the record itself
    failed_at     bigint,
    error         text         character set utf8mb4,
    key eos_outbox_failed (failed_at, seq),
    key eos_outbox_published (published_at)
) engine = InnoDB;

-- Who publishes what: ranges of slots that never overlap. Changed under a lock on its first row.
create table if not exists {schema}eos_lane (
    first_slot  smallint   not null primary key,
    end_slot    smallint   not null,
    epoch       bigint     not null default 0,
    owner       varchar(36),
    lease_until bigint     not null default 0   -- in milliseconds since 1970
) engine = InnoDB;

-- The relays that live, so that each knows its share.
create table if not exists {schema}eos_relay (
    id          varchar(36) not null primary key,
    alive_until bigint      not null   -- in milliseconds since 1970
) engine = InnoDB;

-- This database's own id: two services whose databases have the same name must not fence each other.
create table if not exists {schema}eos_identity (
    one int not null primary key default 1,
    id  char(36) character set ascii not null
) engine = InnoDB;
insert ignore into {schema}eos_identity (one, id) values (1, uuid());
insert ignore into {schema}eos_lane (first_slot, end_slot) select 0, 1024 from (select 1 as one) o
    where not exists (select 1 from (select first_slot from {schema}eos_lane limit 1) l);
