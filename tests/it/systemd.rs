//! The unit files, judged by systemd's own tools: the sandbox's score, and that every line is understood.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

/// Exposure as `systemd-analyze security` prints it: 0 is sealed, 10 is open.
const WORST_EXPOSURE: f64 = 1.2;
/// With the optional address allow-list.
const WORST_EXPOSURE_WITH_ALLOWLIST: f64 = 0.9;

fn unit_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn systemd_analyze(arguments: &[&str], folder: &Path) -> Output {
    output_of(Command::new("systemd-analyze").args(arguments).current_dir(folder))
}

fn output_of(tool: &mut Command) -> Output {
    match tool.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = tool.get_program().display();
            panic!("{name} is missing; install it with: apt-get install systemd")
        }
        output => output.unwrap(),
    }
}

fn exposure(folder: &Path) -> f64 {
    let output = systemd_analyze(&["security", "--offline=true", "--no-pager", "./wxfaq.service"], folder);
    let report = String::from_utf8(output.stdout).unwrap();
    let verdict = report
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for wxfaq.service: "))
        .unwrap_or_else(|| panic!("no verdict in {report}{}", String::from_utf8_lossy(&output.stderr)));
    let score = verdict.1.split(' ').next().unwrap();
    println!(
        "exposure {score}\n{}",
        report
            .lines()
            .filter(|line| !line.contains('✓'))
            .collect::<Vec<_>>()
            .join("\n")
    );
    score.parse().unwrap()
}

/// What `systemd-analyze verify` has to say; it exits with 0 even when it ignores a line it does not know.
fn complaints(folder: &Path) -> String {
    let output = systemd_analyze(&["verify", "--man=no", "./wxfaq.service", "./wxfaq.socket"], folder);
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A folder with both units; the service starts the binary under test, since verifying looks whether it is there.
fn installed_units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let service = unit_file("wxfaq.service").replace("/usr/bin/wxfaq", env!("CARGO_BIN_EXE_wxfaq"));
    fs::write(folder.path().join("wxfaq.service"), service).unwrap();
    fs::write(folder.path().join("wxfaq.socket"), unit_file("wxfaq.socket")).unwrap();
    folder
}

#[test]
fn the_sandbox_is_tight() {
    let score = exposure(installed_units().path());
    assert!(
        score <= WORST_EXPOSURE,
        "exposure {score}, at most {WORST_EXPOSURE} is promised"
    );
}

#[test]
fn the_address_allowlist_makes_it_tighter() {
    let folder = installed_units();
    let drop_ins = folder.path().join("wxfaq.service.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(
        drop_ins.join("address-allowlist.conf"),
        unit_file("address-allowlist.conf"),
    )
    .unwrap();
    let score = exposure(folder.path());
    assert!(
        score <= WORST_EXPOSURE_WITH_ALLOWLIST,
        "exposure {score}, at most {WORST_EXPOSURE_WITH_ALLOWLIST} is promised"
    );
}

#[test]
fn a_unit_without_a_sandbox_would_be_noticed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wxfaq.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(exposure(folder.path()) > WORST_EXPOSURE);
}

#[test]
fn systemd_understands_every_line() {
    assert_eq!(complaints(installed_units().path()), "");
}

#[test]
fn the_user_of_the_daemon_can_be_made() {
    let line = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/wxfaq.sysusers");
    let output = output_of(Command::new("systemd-sysusers").arg("--dry-run").arg(line));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_misspelt_key_would_be_noticed() {
    let folder = installed_units();
    let path = folder.path().join("wxfaq.service");
    fs::write(
        &path,
        unit_file("wxfaq.service").replace("MemoryMax=", "MemoryMaximum="),
    )
    .unwrap();
    let complaints = complaints(folder.path());
    assert!(complaints.contains("MemoryMaximum"), "{complaints}");
}

#[test]
fn the_service_can_reload_drain_and_outlive_its_import_child() {
    let service = unit_file("wxfaq.service");
    let key = |name: &str| {
        let prefix = format!("{name}=");
        service
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("{name} is not set"))
    };
    assert_eq!(key("Type"), "notify");
    assert_eq!(key("ExecReload"), "/bin/kill -HUP $MAINPID");
    assert_eq!(key("OOMPolicy"), "continue");
    assert_eq!(key("RuntimeDirectoryPreserve"), "yes");
    let drain_seconds = 10;
    assert!(key("TimeoutStopSec").parse::<u64>().unwrap() > drain_seconds);
}
