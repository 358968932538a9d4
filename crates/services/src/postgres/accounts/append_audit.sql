-- $1 event, $2 account, $3 address, $4 detail, $5 lines to be kept, $6 lines to forget at most.
-- Ids grow by at least 1 a line, so no more lines than wanted are above the newest less their number. The oldest are found from the
-- index's low end; those which another append forgets at the same time are passed over.
with added as (
    insert into audit (event, user_id, address, detail) values ($1, $2, $3, $4) returning id
), oldest as (
    select id from audit where id <= (select id from added) - $5 order by id limit $6 for update skip locked
)
delete from audit where id = any (array(select id from oldest))
