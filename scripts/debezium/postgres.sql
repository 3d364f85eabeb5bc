-- What Debezium needs of PostgreSQL 15 or newer to publish the outbox, once, by the owner of the table. Before 15 a
-- publication has no condition: leave `where` out, and keep rows of other brokers out of this table.
create publication eos_outbox for table public.eos_outbox where (broker = 'kafka') with (publish = 'insert');

-- Rows of services that fill only Debezium's columns have no topic, and a row without one stops the connector.
create function public.eos_outbox_topic() returns trigger language plpgsql as $$
begin
    new.topic := 'outbox.event.' || new.aggregatetype;
    return new;
end $$;
create trigger eos_outbox_topic before insert on public.eos_outbox
    for each row when (new.topic is null) execute function public.eos_outbox_topic();
update public.eos_outbox set topic = 'outbox.event.' || aggregatetype where topic is null;
