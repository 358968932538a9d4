-- $1 names, $2 owner, $3 session, $4 time to live in ms, $5 of how many there may be before no further one is taken.
-- Sorted, so that two who want the same leases don't deadlock. The clock is asked again for each row, behind the wait for its lock.
with held_on as (
    select name from lease
    where name = any ($1) and owner = $2 and session = $3 and expires_at > clock_timestamp()
), free as (
    select name from (select distinct unnest($1) as name) as wanted left join lease using (name)
    where lease.owner is null or lease.expires_at <= clock_timestamp() or (lease.owner = $2 and lease.session <> $3)
    order by name
    limit greatest(0, $5 - (select count(*) from held_on))
), taken as (
    insert into lease as held (name, owner, session, epoch, expires_at)
    select name, $2, $3, 1, clock_timestamp() + $4 * interval '1 millisecond'
    from (select name from held_on union select name from free order by name) as wanted
    on conflict (name) do update set
        owner = excluded.owner,
        session = excluded.session,
        epoch = case
            when held.owner = excluded.owner and held.session = excluded.session and held.expires_at > clock_timestamp()
            then held.epoch
            else held.epoch + 1
        end,
        expires_at = clock_timestamp() + $4 * interval '1 millisecond'
    where held.owner = excluded.owner or held.expires_at <= clock_timestamp()
    returning name, epoch
)
select name, epoch from taken
union all
select name, epoch from lease
where owner = $2 and session = $3 and expires_at > clock_timestamp() and name <> all ($1)
