//! A database of the test's own, of each kind, and the macro that runs a test on every one.

use super::database_server::{mariadb, postgres};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use std::path::PathBuf;
use tempfile::TempDir;
use wxfaq::store::sql::{Database, sqlite_url};

/// `fn name(database: TestDatabase)` as the tests `name::on_sqlite`, `name::on_mariadb` and `name::on_postgres`.
macro_rules! on_every_database {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::support::database::TestDatabase;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$name(TestDatabase::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_mariadb() {
                super::$name(TestDatabase::mariadb().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                super::$name(TestDatabase::postgres().await).await;
            }
        }
    )+};
}
pub(crate) use on_every_database;

/// A database that nobody has opened yet.
pub struct TestDatabase {
    url: String,
    folder: Option<TempDir>,
}

impl TestDatabase {
    /// A file in a folder that goes with it; the folder of the file does not exist yet.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            url: sqlite_url(&folder.path().join("题 库/a%b/wxfaq.db")),
            folder: Some(folder),
        }
    }

    /// On the MariaDB that tests share.
    pub async fn mariadb() -> Self {
        Self::at(mariadb().await.database().await)
    }

    /// On the PostgreSQL that tests share.
    pub async fn postgres() -> Self {
        Self::at(postgres().await.database().await)
    }

    fn at(url: String) -> Self {
        Self { url, folder: None }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// Of a [`TestDatabase::sqlite`].
    pub fn path(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join("题 库/a%b/wxfaq.db")
    }

    pub async fn open(&self) -> Database {
        Database::open(&self.url).await.unwrap()
    }

    /// A connection behind the store's back.
    pub async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = self.url.parse().unwrap();
        AnyConnection::connect_with(&options).await.unwrap()
    }

    pub async fn tamper(&self, statements: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}
