-- What Debezium needs of MariaDB to publish the outbox, once. The server has `log_bin`, `binlog_format = row` (its image
-- of a row is `full`, as it comes) and a `server_id`.

-- Rows of services that fill only Debezium's columns have no topic, and a row without one stops the connector.
create trigger eos_outbox_topic before insert on eos_outbox
    for each row set new.topic = coalesce(new.topic, concat('outbox.event.', new.aggregatetype));
update eos_outbox set topic = concat('outbox.event.', aggregatetype) where topic is null;
