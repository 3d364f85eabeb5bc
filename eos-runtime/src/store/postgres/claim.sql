-- Ids that a handler without a transaction runs for now, by `idempotent(database)`; those that are done are in eos_inbox.
-- {schema} is the schema's name with its dot.
create table if not exists {schema}eos_claim (
    stream       integer not null,          -- as in eos_inbox
    message_id   bytea   not null,
    token        bytea   not null,          -- whoever claimed it, and nobody else
    leased_until bigint  not null,          -- in milliseconds since 1970; later it is anybody's
    primary key (stream, message_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
