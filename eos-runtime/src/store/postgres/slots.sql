-- How many slots a partition's keys are split into: the same in each of its rows. {schema} is the schema's name with its dot.
alter table {schema}eos_position add column if not exists slots integer not null default 1;
