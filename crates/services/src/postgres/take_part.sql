-- $1 owner, $2 time to live in ms. How many others there are, and how many of them come before this one.
-- Who has not been seen for a day does not come back under its name: rows of daemons that are gone don't pile up.
with seen as (
    insert into lease_owner (name, expires_at) values ($1, clock_timestamp() + $2 * interval '1 millisecond')
    on conflict (name) do update set expires_at = excluded.expires_at
), forgotten as (
    delete from lease_owner where expires_at < clock_timestamp() - interval '1 day' and name <> $1
)
select count(*), count(*) filter (where name < $1)
from lease_owner
where name <> $1 and expires_at > clock_timestamp()
