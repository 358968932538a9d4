//! New stream epochs for what went back to an earlier state (a restored backup): clients that saw more of an epoch than is held here must
//! not find it again.
//!
//! Each frame holds its epoch, as it is sent as it is stored. So it is changed in each of them, by its text: that of a frame has one place
//! where `"epoch":"..."` can stand, as neither names of devices nor timestamps can hold a quote.

use rusqlite::{Connection, params};

use super::batch::Updates;
use crate::files;

/// Gives each partition a new epoch, in a transaction of the caller's.
pub(crate) fn renew_epochs(connection: &Connection) -> rusqlite::Result<()> {
    let partitions = connection
        .prepare("SELECT number, epoch FROM partition")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(u32, String)>>>()?;
    for (partition, before) in partitions {
        let made = files::random_name();
        let after = made.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let (before, after) = (Change::member(&before), Change { epoch: &after, member: Change::member(&after) });
        renew_epoch(connection, partition, &before, &after)?;
    }
    Ok(())
}

struct Change<'a> {
    epoch: &'a str,
    member: String,
}

impl Change<'_> {
    /// As it stands in a frame.
    fn member(epoch: &str) -> String {
        format!("\"epoch\":\"{epoch}\"")
    }
}

fn renew_epoch(connection: &Connection, partition: u32, before: &str, after: &Change<'_>) -> rusqlite::Result<()> {
    connection.execute("UPDATE partition SET epoch = ?2 WHERE number = ?1", params![partition, after.epoch])?;
    connection.execute(
        "UPDATE device SET latest = replace(latest, ?2, ?3) WHERE partition = ?1",
        params![partition, before, after.member],
    )?;
    connection.execute(
        "UPDATE frame SET json = replace(json, ?2, ?3) WHERE device IN (SELECT id FROM device WHERE partition = ?1)",
        params![partition, before, after.member],
    )?;
    let ids = connection
        .prepare("SELECT id FROM recent WHERE partition = ?1")?
        .query_map([partition], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for id in ids {
        let body: Vec<u8> = connection.query_row("SELECT body FROM recent WHERE id = ?1", [id], |row| row.get(0))?;
        let mut updates = Updates::decode(&body).map_err(|malformed| crate::sqlite::unreadable(0, malformed))?;
        for published in updates.devices.iter_mut().flat_map(|update| &mut update.frames) {
            published.frame.json = published.frame.json.replace(before, &after.member).into();
        }
        connection.execute("UPDATE recent SET body = ?2 WHERE id = ?1", params![id, updates.encode()])?;
    }
    Ok(())
}
