-- What eos keeps in PostgreSQL. {schema} is the schema's name with its dot.
create table if not exists {schema}eos_position (
    group_id       text     not null,
    topic          text     not null,
    partition      integer  not null,
    slot           integer  not null default 0,
    -- Who owns it: the token fences, the epoch counts the takes for people and logs.
    epoch          bigint   not null,
    owner          uuid     not null,
    taken_at       timestamptz not null default now(),
    -- Which log, and how far: the next offset, and the last record by which the log is recognised.
    cluster        text,
    next_offset    bigint   not null,
    last_offset    bigint,
    last_timestamp bigint,
    last_checksum  bigint,
    attempts       integer  not null default 0,
    primary key (group_id, topic, partition, slot)
) with (fillfactor = 20);  -- room on the page, so that the position moves without touching the index (HOT)

-- A small number for each group and topic, so that inbox rows are short.
create table if not exists {schema}eos_stream (
    id       integer generated always as identity primary key,
    group_id text not null,
    topic    text not null,
    -- How many partitions the topic had when the group met it; later ones were added, and are read from their beginning.
    first_partitions integer,
    unique (group_id, topic)
);

-- Ids already processed; outcome 0 is done.
create table if not exists {schema}eos_inbox (
    seen_at    timestamptz not null default now(),
    stream     integer  not null,
    outcome    smallint not null default 0,
    message_id bytea    not null,
    primary key (stream, message_id)
);
