//! Keys of the admin API: their digests, never the keys.

use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Type};

use super::{Store, StoreError};
use crate::domain::access::{Actor, Role};

/// A key about to be written down.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Its name, unique for ever.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of it.
    pub digest: [u8; 32],
}

/// A key as the books know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, Unix milliseconds.
    pub created_at_ms: i64,
    /// When it was revoked.
    pub revoked_at_ms: Option<i64>,
}

impl Store {
    /// Writes a key down.
    ///
    /// # Errors
    /// [`StoreError::KeyExists`] when a key has or had this name.
    pub async fn add_key(&self, key: NewApiKey, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let taken = connection.prepare_cached("SELECT 1 FROM api_keys WHERE name = ?")?.exists([&key.name])?;
            if taken {
                return Err(StoreError::KeyExists(key.name));
            }
            connection.execute(
                "INSERT INTO api_keys (name, role, digest, created_at) VALUES (?, ?, ?, ?)",
                params![key.name, key.role.as_str(), key.digest, now_ms],
            )?;
            Ok(())
        })
        .await
    }

    /// Takes a key out of force at once; false when none in force has this name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_key(&self, name: String, now_ms: i64) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let sql = "UPDATE api_keys SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL";
            Ok(connection.execute(sql, params![now_ms, name])? > 0)
        })
        .await
    }

    /// All keys, those out of force too, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, role, created_at, revoked_at FROM api_keys ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(ApiKey {
                    name: row.get(0)?,
                    role: read_role(row, 1)?,
                    created_at_ms: row.get(2)?,
                    revoked_at_ms: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Whose key has this digest. The look-up compares digests of keys that are random, so its time tells nothing of use.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn actor_of(&self, digest: [u8; 32]) -> Result<Option<Actor>, StoreError> {
        self.read(move |connection| {
            let actor = connection
                .prepare_cached("SELECT name, role FROM api_keys WHERE digest = ? AND revoked_at IS NULL")?
                .query_row([&digest[..]], |row| Ok(Actor { name: row.get(0)?, role: read_role(row, 1)? }))
                .optional()?;
            Ok(actor)
        })
        .await
    }

    /// Whether a key of this name is in force.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_key_in_force(&self, name: String) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT 1 FROM api_keys WHERE name = ? AND revoked_at IS NULL";
            Ok(connection.prepare_cached(sql)?.exists([name])?)
        })
        .await
    }

    /// Whether a key was ever made. From then on nobody is let in without one, even when all are revoked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        self.read(has_keys).await
    }
}

pub(super) fn has_keys(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM api_keys LIMIT 1")?.exists([])?)
}

fn read_role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let text: String = row.get(column)?;
    Role::parse(&text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("unknown role {text:?}").into())
    })
}
