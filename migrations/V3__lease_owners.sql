-- Which daemons share the leases, until when by this server's clock: how many there are says how many partitions each should have.

create table lease_owner (
    name text primary key,
    expires_at timestamptz not null
);
