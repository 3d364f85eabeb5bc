-- How many slots a partition's keys are split into: the same in each of its rows. MySQL knows no `add column if not exists`,
-- and has committed the column before the version is written.
set @eos_slots = if(
    exists (select 1 from information_schema.columns where table_name = 'eos_position' and column_name = 'slots'
            and table_schema = if('{schema}' = '', database(), replace(trim(trailing '.' from '{schema}'), '`', ''))),
    'do 0', 'alter table {schema}eos_position add column slots int not null default 1');
prepare eos_slots from @eos_slots;
execute eos_slots;
deallocate prepare eos_slots;
