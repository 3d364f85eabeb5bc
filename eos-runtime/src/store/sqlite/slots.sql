-- How many slots a partition's keys are split into: the same in each of its rows.
alter table {schema}eos_position add column slots integer not null default 1;
