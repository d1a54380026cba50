use rusqlite::params;

use crate::rows::{self, MAX_NAME};
use crate::{RecordError, State};

/// How often somebody looks at targets: reads, investigations and rehearsals; see [`State::looks`].
pub struct Looks<'a>(pub(crate) &'a State);

impl Looks<'_> {
    /// Counts one more look of somebody that begins now, durably, unless they began `most` within the last `span`
    /// milliseconds; gives whether they may. Of several at once no more may than as many. `now` is in milliseconds since
    /// 1970-01-01 UTC.
    ///
    /// # Errors
    /// Where it cannot be counted; then they may not.
    pub fn begin(&self, principal: &str, now: u64, span: u64, most: u64) -> Result<bool, RecordError> {
        rows::bounded("bytes of a name", principal.len(), MAX_NAME)?;
        let action = "count a look";
        let after = rows::time(now.saturating_sub(span));
        self.0.write(action, |tx| {
            let begin = || {
                tx.execute("DELETE FROM looks WHERE at <= ?1", [after])?;
                let sql = "SELECT count(*) FROM looks WHERE principal = ?1";
                if tx.query_row(sql, [principal], |row| rows::get_count(row, 0))? >= most {
                    return Ok(false);
                }
                tx.execute("INSERT INTO looks (principal, at) VALUES (?1, ?2)", params![principal, rows::time(now)])?;
                Ok(true)
            };
            begin().map_err(|error| RecordError::database(action, error))
        })
    }
}
