-- Ids that a handler without a transaction runs for now, by `idempotent(database)`; those that are done are in eos_inbox.
-- {schema} is the database's name with its dot, or nothing.
create table if not exists {schema}eos_claim (
    stream       int           not null,    -- as in eos_inbox
    message_id   varbinary(64) not null,
    token        binary(24)    not null,    -- whoever claimed it, and nobody else
    leased_until bigint        not null,    -- in milliseconds since 1970; later it is anybody's
    primary key (stream, message_id)
) engine = InnoDB;
