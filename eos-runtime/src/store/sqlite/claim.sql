-- Ids that a handler without a transaction runs for now, by `idempotent(database)`; those that are done are in eos_inbox.
create table if not exists {schema}eos_claim (
    stream       integer not null,          -- as in eos_inbox
    message_id   blob    not null,
    token        blob    not null,          -- whoever claimed it, and nobody else
    leased_until integer not null,          -- in milliseconds since 1970; later it is anybody's
    primary key (stream, message_id)
) without rowid;
