//! How the house's types stand in columns: ids as 16 bytes, names as text, times as microseconds (Unix, UTC).

use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use uuid::Uuid;

use crate::model::{
    AccessReviewId, DeliveryId, EquipmentId, EquipmentKind, EventId, IntegrationId, OrganisationId, RequestId,
    ScopeSet, Status, UserId, WebhookEvent, WebhookId,
};

macro_rules! id_columns {
    ($($id:ident)*) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_uuid().into_bytes().to_vec()))
            }
        }

        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?;
                let uuid = Uuid::from_slice(bytes).map_err(|source| FromSqlError::Other(Box::new(source)))?;
                Ok(Self::from_uuid(uuid))
            }
        }
    )*};
}

id_columns!(AccessReviewId OrganisationId UserId IntegrationId EquipmentId RequestId WebhookId DeliveryId EventId);

macro_rules! name_columns {
    ($($name:ident)*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_str()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
            }
        }
    )*};
}

name_columns!(Status EquipmentKind WebhookEvent);

/// Scopes stand as one JSON array of their names, so that they read well at the SQL prompt.
impl ToSql for ScopeSet {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let names: Vec<&str> = self.iter().map(crate::model::Scope::as_str).collect();
        Ok(ToSqlOutput::from(serde_json::Value::from(names).to_string()))
    }
}

impl FromSql for ScopeSet {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let names: Vec<String> =
            serde_json::from_str(value.as_str()?).map_err(|source| FromSqlError::Other(Box::new(source)))?;
        names.iter().map(|name| crate::model::Scope::parse(name).ok_or(FromSqlError::InvalidType)).collect()
    }
}
