//! The database's tables, version and connections.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::RecordError;
use crate::error::shown;

/// The version of the state directory and its database.
pub const FORMAT: i64 = 7;
/// `CSgn`, in the database's header.
const APPLICATION: i64 = 0x4353_676e;
/// How long a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);
const SCHEMA: &str = include_str!("schema.sql");

/// Makes the tables in an empty file, all or none.
pub(crate) fn create(path: &Path) -> Result<(), RecordError> {
    let failed = |error| RecordError::database("make its tables", error).in_transaction();
    let mut connection = connect(path)?;
    set_up(&connection, path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    transaction.execute_batch(SCHEMA).map_err(failed)?;
    transaction.execute("INSERT INTO meta (key, value) VALUES ('format', ?1)", [FORMAT.to_string()]).map_err(failed)?;
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
    transaction.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// A connection to a database of this version, ready to use.
pub(crate) fn open(path: &Path) -> Result<Connection, RecordError> {
    let connection = connect(path)?;
    check_version(&connection, path)?;
    set_up(&connection, path)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, RecordError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let failed = |error| RecordError::database("be opened", error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    Ok(connection)
}

/// Before anything is set, since setting may write.
fn check_version(connection: &Connection, path: &Path) -> Result<(), RecordError> {
    let failed = |error| match RecordError::database("read its version", error) {
        RecordError::Damaged { what, .. } => RecordError::Damaged { path: shown(path), what },
        other => other,
    };
    let not_ours =
        |why: &str| RecordError::NotAState { path: shown(path.parent().unwrap_or(path)), why: why.to_owned() };
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application == 0 && version == 0 {
        return Err(not_ours("its database has no tables of ours; making it may have been cut off"));
    }
    if application != APPLICATION {
        return Err(not_ours("its database is another program's"));
    }
    let newer = |found| RecordError::Newer { path: shown(path), found, known: FORMAT };
    if version > FORMAT {
        return Err(newer(version));
    }
    let format: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'format'", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    let format = format.and_then(|text| text.parse::<i64>().ok());
    match format {
        Some(format) if format > FORMAT => Err(newer(format)),
        Some(format) if format == FORMAT && version == FORMAT => Ok(()),
        Some(found) if found == version && (1..FORMAT).contains(&found) => {
            Err(RecordError::Older { path: shown(path), found, known: FORMAT })
        }
        _ => {
            Err(RecordError::Damaged { path: shown(path), what: "it names no version that there ever was".to_owned() })
        }
    }
}

fn set_up(connection: &Connection, path: &Path) -> Result<(), RecordError> {
    let failed = |error| RecordError::database("be set up", error);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(failed)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(failed)?;
    // Sorting must not leave contents in /tmp.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(failed)?;
    let value = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    // SQLite says nothing where it does not do as asked.
    if mode != "wal" || value("synchronous")? != 2 || value("foreign_keys")? != 1 {
        let why = "its database cannot be written ahead and synced on this file system".to_owned();
        return Err(RecordError::NotAState { path: shown(path.parent().unwrap_or(path)), why });
    }
    Ok(())
}
