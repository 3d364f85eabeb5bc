-- What eos keeps in SQLite. {schema} is `main.`, so that no temporary table can stand in the way.
create table if not exists {schema}eos_position (
    id             integer primary key,
    group_id       text    not null,
    topic          text    not null,
    partition      integer not null,
    slot           integer not null default 0,
    -- Who owns it: the token fences, the epoch counts the takes for people and logs.
    epoch          integer not null,
    owner          blob    not null,
    taken_at       integer not null default (cast(strftime('%s', 'now') as integer)),
    -- Which log, and how far: the next offset, and the last record by which the log is recognised.
    cluster        text,
    next_offset    integer not null check (typeof(next_offset) = 'integer'),
    last_offset    integer,
    last_timestamp integer,
    last_checksum  integer,
    attempts       integer not null default 0,
    unique (group_id, topic, partition, slot)
);

-- A small number for each group and topic, so that inbox rows are short.
create table if not exists {schema}eos_stream (
    id       integer primary key,
    group_id text not null,
    topic    text not null,
    -- How many partitions the topic had when the group met it; later ones were added, and are read from their beginning.
    first_partitions integer,
    unique (group_id, topic)
);

-- Ids already processed; outcome 0 is done, seen_at is in seconds since 1970.
create table if not exists {schema}eos_inbox (
    stream     integer not null,
    message_id blob    not null,
    outcome    integer not null default 0,
    seen_at    integer not null default (cast(strftime('%s', 'now') as integer)),
    primary key (stream, message_id)
) without rowid;
