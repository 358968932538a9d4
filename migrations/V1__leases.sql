-- Who owns a partition, or the ingest, until when by this server's clock.
--
-- Migrations go forward only, and the program of one version before must work with them: add, fill, and drop in a later one.

create table lease (
    -- `ingest`, or `partition/3`.
    name text primary key,
    owner text not null,
    -- One run of the owner: the next run takes over with a higher epoch.
    session text not null,
    -- The fencing token: grows with each change of owner or session. A row is never deleted, so that no epoch repeats.
    epoch bigint not null check (epoch > 0),
    expires_at timestamptz not null
);
