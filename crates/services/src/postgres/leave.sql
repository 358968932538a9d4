-- $1 owner, $2 session. A later run of this owner that takes part already is known again with its next renewal.
with left_out as (
    delete from lease_owner where name = $1
)
update lease set expires_at = '-infinity' where owner = $1 and session = $2
