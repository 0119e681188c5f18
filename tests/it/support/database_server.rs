//! Real database servers of the tests' own, MariaDB and PostgreSQL, on free ports of the loopback address, each in a
//! temporary folder.
//!
//! [`mariadb`] and [`postgres`] start one for the whole test process at first use; every test makes databases of its own
//! on it. Statics are never dropped: a shell beside each server ends it, and removes its folder, when our end of a pipe
//! is closed, however this process ends.

use super::daemon::{PATIENCE, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// In the addresses of all databases here: must be nowhere else.
pub const CANARY: &str = "CanaryPassw0rd";
const USER: &str = "wxfaq_test";

/// Runs the server given behind the folder and the signal that ends it. `keep`: the folder stays.
const KEEPER: &str = r#"trap '' INT TERM HUP
folder=$1 signal=$2; shift 2
"$@" </dev/null &
read -r word
kill -s "$signal" $!; wait
[ "$word" = keep ] || rm -rf "$folder""#;

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MariaDb,
    Postgres,
}

/// Whether a server waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// As servers come, so that what it acknowledged outlives it.
    Waited,
    /// There is no time for it.
    Ignored,
}

/// A running server; killed when dropped.
pub struct DatabaseServer {
    kind: Kind,
    disk: Disk,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

/// The MariaDB that tests share.
pub async fn mariadb() -> &'static DatabaseServer {
    static SHARED: OnceCell<DatabaseServer> = OnceCell::const_new();
    SHARED.get_or_init(|| DatabaseServer::start(Kind::MariaDb)).await
}

/// The PostgreSQL that tests share.
pub async fn postgres() -> &'static DatabaseServer {
    static SHARED: OnceCell<DatabaseServer> = OnceCell::const_new();
    SHARED.get_or_init(|| DatabaseServer::start(Kind::Postgres)).await
}

impl DatabaseServer {
    /// With the user of the tests, and no database yet.
    pub async fn start(kind: Kind) -> Self {
        Self::start_on(kind, Disk::Ignored).await
    }

    /// As [`DatabaseServer::start`].
    pub async fn start_on(kind: Kind, disk: Disk) -> Self {
        let mut server = Self {
            kind,
            disk,
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            process: None,
        };
        server.initialise();
        server.restart().await;
        match kind {
            Kind::MariaDb => {
                server
                    .administer(&format!("CREATE USER '{USER}'@'%' IDENTIFIED BY '{CANARY}'"))
                    .await;
                server.administer(&format!("GRANT ALL ON *.* TO '{USER}'@'%'")).await;
            }
            Kind::Postgres => {
                server
                    .administer(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{CANARY}'"))
                    .await;
            }
        }
        server
    }

    /// The address of a new, empty database.
    pub async fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.administer(&match self.kind {
            Kind::MariaDb => format!("CREATE DATABASE {name}"),
            Kind::Postgres => format!("CREATE DATABASE {name} OWNER {USER}"),
        })
        .await;
        self.url(&name)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How its version begins, as `wxfaq check` shows it.
    pub fn version_prefix(&self) -> &'static str {
        match self.kind {
            Kind::MariaDb => "MariaDB 1",
            Kind::Postgres => "PostgreSQL 1",
        }
    }

    /// The address of a database, whether it is there or not.
    pub fn url(&self, name: &str) -> String {
        let scheme = match self.kind {
            Kind::MariaDb => "mysql",
            Kind::Postgres => "postgres",
        };
        format!("{scheme}://{USER}:{CANARY}@127.0.0.1:{}/{name}", self.port)
    }

    /// Starts it again, at the same address, with the data it had.
    pub async fn restart(&mut self) {
        self.kill();
        let data = self.data().display().to_string();
        let (program, signal, mut arguments) = match self.kind {
            Kind::MariaDb => {
                let mut arguments = vec![
                    "--no-defaults".to_owned(),
                    format!("--datadir={data}"),
                    format!("--socket={}", self.socket()),
                    format!("--port={}", self.port),
                ];
                // Set up by somebody who knew nothing of us.
                let flush = match self.disk {
                    Disk::Waited => 1,
                    Disk::Ignored => 0,
                };
                arguments.push(format!("--innodb-flush-log-at-trx-commit={flush}"));
                arguments.push("--bind-address=127.0.0.1".to_owned());
                arguments
                    .extend(["--innodb-log-file-size=8M", "--skip-name-resolve", "--sql-mode="].map(str::to_owned));
                arguments.extend(
                    ["--character-set-server=latin1", "--transaction-isolation=SERIALIZABLE"].map(str::to_owned),
                );
                // Less than any MySQL takes by default.
                arguments.push("--max-allowed-packet=2M".to_owned());
                ("mariadbd", "KILL", arguments)
            }
            Kind::Postgres => {
                let mut arguments = vec!["-D".to_owned(), data, "-p".to_owned(), self.port.to_string()];
                arguments.extend(["-h", "127.0.0.1", "-k", ""].map(str::to_owned));
                if self.disk == Disk::Ignored {
                    arguments.extend(["-c", "fsync=off"].map(str::to_owned));
                }
                arguments.extend(["-c", "default_transaction_isolation=serializable"].map(str::to_owned));
                // Its children would live on after KILL.
                ("postgres", "QUIT", arguments)
            }
        };
        if self.kind == Kind::MariaDb && nix::unistd::geteuid().is_root() {
            arguments.push("--user=root".to_owned());
        }
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.command("sh");
        command
            .args(["-c", KEEPER, "sh"])
            .arg(self.folder.path())
            .args([signal, self.find(program).to_str().unwrap()]);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
        let started = Instant::now();
        while let Err(error) = self.administrator().await {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                started.elapsed() < PATIENCE,
                "{:?} does not answer: {error}\n{}",
                self.kind,
                log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Without a chance to tidy up.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.process.take() {
            let _ = keeper.stdin.take().map(|mut pipe| pipe.write_all(b"keep\n"));
            let _ = keeper.wait();
        }
    }

    /// With SIGKILL, PostgreSQL's children with it; [`DatabaseServer::kill`] lets that one end by itself.
    pub fn kill_all(&mut self) {
        if self.kind == Kind::Postgres {
            let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
            let postmaster: i32 = file.lines().next().unwrap().trim().parse().unwrap();
            let children = format!("/proc/{postmaster}/task/{postmaster}/children");
            let children = std::fs::read_to_string(children).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            // The postmaster first, which would otherwise look after the others.
            let all: Vec<i32> = [postmaster].into_iter().chain(children).collect();
            for process in &all {
                // One that has ended meanwhile is as good.
                let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
            }
            // It does not start again beside one of its children.
            let begin = Instant::now();
            while all.iter().any(|process| is_running(*process)) {
                assert!(begin.elapsed() < PATIENCE, "PostgreSQL lives on after SIGKILL");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.kill();
    }

    /// Runs statements as its administrator.
    pub async fn administer(&self, statement: &str) {
        let mut connection = self.administrator().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    async fn administrator(&self) -> Result<AnyConnection, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let url = match self.kind {
            Kind::MariaDb => format!("mysql://{}@localhost/mysql?socket={}", "root", self.socket()),
            Kind::Postgres => format!("postgres://postgres:{CANARY}@127.0.0.1:{}/postgres", self.port),
        };
        let options: AnyConnectOptions = url.parse()?;
        AnyConnection::connect_with(&options).await
    }

    fn socket(&self) -> String {
        self.folder.path().join("sql.sock").display().to_string()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Makes the folder of data.
    fn initialise(&self) {
        let mut command = match self.kind {
            Kind::MariaDb => {
                let mut command = self.command(self.find("mariadb-install-db"));
                let data = format!("--datadir={}", self.data().display());
                command.args([
                    "--no-defaults",
                    "--skip-test-db",
                    "--auth-root-authentication-method=normal",
                    &data,
                ]);
                if nix::unistd::geteuid().is_root() {
                    command.arg("--user=root");
                }
                command
            }
            Kind::Postgres => {
                let password = self.folder.path().join("password");
                std::fs::write(&password, CANARY).unwrap();
                if nix::unistd::geteuid().is_root() {
                    let user = server_user();
                    for path in [self.folder.path(), &password] {
                        nix::unistd::chown(path, Some(user.uid), Some(user.gid)).unwrap();
                    }
                }
                let mut command = self.command(self.find("initdb"));
                command.arg("-D").arg(self.data()).arg("--pwfile").arg(&password);
                command.args([
                    "-U",
                    "postgres",
                    "-A",
                    "scram-sha-256",
                    "-E",
                    "UTF8",
                    "--locale=C",
                    "--no-sync",
                ]);
                command
            }
        };
        let Output { status, stdout, stderr } = command.output().unwrap();
        let told = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(status.success(), "{told}");
    }

    /// A program, run as a user that the server agrees to run as.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        if self.kind == Kind::Postgres && nix::unistd::geteuid().is_root() {
            let user = server_user();
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    fn find(&self, program: &str) -> PathBuf {
        let package = match self.kind {
            Kind::MariaDb => "mariadb-server",
            Kind::Postgres => "postgresql",
        };
        find(program).unwrap_or_else(|| panic!("there is no {program}: apt-get install {package}"))
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether there is more of the process than its exit code.
fn is_running(process: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

/// Who PostgreSQL runs as where we are root, whom it refuses.
fn server_user() -> User {
    User::from_name("postgres")
        .unwrap()
        .expect("apt-get install postgresql makes the user postgres")
}

/// On the path, or where Debian keeps the programs of PostgreSQL, the newest.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    let folders = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .chain(versions.into_iter().rev());
    let is_program = |path: &Path| {
        path.metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    folders.map(|folder| folder.join(program)).find(|path| is_program(path))
}
