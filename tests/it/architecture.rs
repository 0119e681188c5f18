//! The house rules of ARCHITECTURE.md, read off the sources: which room may name which other room, which outside crate
//! may be named where, how a file begins and how long it may be, and what no file may mention.
//!
//! Who needs a new arrow or a new crate changes a table below, in sight of the reviewer. Test code (`mod tests` at the
//! end of a file, files named `tests.rs`) may use any crate; the arrows hold for it as well.

mod source;

use source::{NamedPath, lines_naming, named_paths, without_tests};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Room → the rooms it may name. A room is a folder or a file right under `src/`.
const ARROWS: &[(&str, &str)] = &[
    ("lib", ""),
    ("main", "cli commands intake app config lifecycle telemetry"),
    (
        "cli",
        "commands intake app config lifecycle telemetry wechat matching bank",
    ),
    (
        "commands",
        "app config lifecycle telemetry web bot dialog matching bank wechat store intake wechat_api fake_wechat",
    ),
    (
        "app",
        "config lifecycle telemetry web bot dialog matching bank wechat store intake wechat_api",
    ),
    (
        "web",
        "bot dialog matching bank wechat store intake wechat_api telemetry config",
    ),
    ("bot", "dialog matching bank wechat store wechat_api telemetry"),
    ("dialog", "matching bank wechat"),
    ("matching", "bank"),
    ("bank", ""),
    ("wechat", ""),
    ("store", "bank telemetry"),
    ("intake", "bank store telemetry"),
    ("wechat_api", "bank wechat store telemetry"),
    // WeChat's side of `wechat_api`; whatever it shared would not be tested.
    ("fake_wechat", ""),
    // Beside the others: configuration speaks in the pure rooms' values, the rest knows nobody.
    ("config", "dialog matching bank wechat"),
    ("lifecycle", "telemetry config web"),
    ("telemetry", "config"),
];

/// The deciding code: no I/O, no clock, no randomness, no async.
const PURE: &[&str] = &["bank", "wechat", "matching", "dialog"];

/// What of the standard library pure rooms do without.
const IMPURE_STD: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::time::SystemTime",
    "std::time::Instant",
];

/// Where an outside crate may be named.
enum Home {
    Anywhere,
    /// Everywhere but in the pure rooms.
    NotPure,
    /// Under paths that begin so.
    Under(&'static str),
}

/// Every dependency of Cargo.toml, under the name the code uses.
const CRATES: &[(&str, Home)] = &[
    ("serde serde_json thiserror rustc_hash arc_swap", Home::Anywhere),
    (
        "sha2 base64 percent_encoding subtle strsim unicode_normalization unicode_segmentation",
        Home::Anywhere,
    ),
    (
        "tokio tokio_util futures_util async_trait tracing metrics getrandom hmac",
        Home::NotPure,
    ),
    ("moka toml notify notify_debouncer_full", Home::NotPure),
    ("axum", Home::Under("src/web src/lifecycle/listener src/fake_wechat")),
    ("utoipa utoipa_axum", Home::Under("src/web")),
    ("hyper hyper_util tower", Home::Under("src/web src/lifecycle/listener")),
    ("sqlx", Home::Under("src/store/sql")),
    ("redis", Home::Under("src/store/redis")),
    ("reqwest", Home::Under("src/wechat_api src/commands/simulate src/cli")),
    (
        "rustls",
        Home::Under("src/wechat_api src/commands/simulate src/cli src/app src/main.rs"),
    ),
    ("backon", Home::Under("src/wechat_api")),
    ("ring", Home::Under("src/bot/seals")),
    ("quick_xml aes cbc sha1", Home::Under("src/wechat/")),
    ("jieba_rs pinyin fast2s", Home::Under("src/matching/")),
    ("minijinja", Home::Under("src/dialog src/web/admin src/web/description")),
    ("csv encoding_rs", Home::Under("src/bank/format")),
    ("calamine rust_xlsxwriter zip", Home::Under("src/bank/format/xlsx")),
    (
        "regex",
        Home::Under("src/bank/rule src/dialog/rules src/commands/script"),
    ),
    ("regex_syntax", Home::Under("src/bank/rule")),
    ("aho_corasick", Home::Under("src/dialog/rules")),
    (
        "clap clap_complete clap_mangen",
        Home::Under("src/main.rs src/cli src/commands"),
    ),
    ("indicatif", Home::Under("src/cli src/commands")),
    ("tikv_jemallocator", Home::Under("src/main.rs")),
    (
        "tracing_subscriber tracing_appender metrics_exporter_prometheus",
        Home::Under("src/telemetry"),
    ),
    ("sd_notify listenfd", Home::Under("src/lifecycle")),
    ("nix", Home::Under("src/lifecycle src/intake")),
];

const MOST_LINES: usize = 700;

/// What is wrong with one file of `src/`, a line for each: `file:line: what, and what is allowed`.
fn violations(path: &str, text: &str) -> Vec<String> {
    [
        room_violations(path, text),
        crate_violations(path, text),
        form_violations(path, text),
    ]
    .concat()
}

fn room_violations(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let room = module.first().map_or_else(|| file_stem(path), String::as_str);
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "{path}:1: the room `{room}` is not in ARROWS of tests/it/architecture.rs"
        )];
    };
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    named_paths(&module, text)
        .into_iter()
        .filter_map(|named| {
            let target = named.segments.get(1).filter(|_| named.segments[0] == "crate")?;
            let is_allowed =
                target == room || allowed.split(' ').any(|name| name == target) || !rooms.contains(target.as_str());
            (!is_allowed || target == "*").then(|| {
                format!(
                    "{path}:{}: `{room}` may not name `{target}`, only: {allowed}",
                    named.line
                )
            })
        })
        .collect()
}

fn crate_violations(path: &str, text: &str) -> Vec<String> {
    if path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let code = without_tests(text);
    let module = module_of(path);
    let is_pure = module.first().is_some_and(|room| PURE.contains(&room.as_str()));
    let refusal = |named: &NamedPath| {
        let first = named.segments[0].as_str();
        // A module of that name, as in `mod redis; … redis::open()`, hides the crate.
        let is_crate = !code.contains(&format!("mod {first};"));
        match CRATES
            .iter()
            .find(|(names, _)| names.split(' ').any(|name| name == first))
        {
            Some((_, Home::NotPure)) if is_pure => Some(format!("`{first}` stays out of {}", PURE.join(", "))),
            Some((_, Home::Under(homes))) if is_crate && !homes.split(' ').any(|home| path.starts_with(home)) => {
                Some(format!("`{first}` may be named only under {homes}"))
            }
            Some(_) => None,
            None => is_pure.then(|| impurity(&named.segments.join("::"))).flatten(),
        }
    };
    let refused = |named: NamedPath| refusal(&named).map(|refusal| format!("{path}:{}: {refusal}", named.line));
    named_paths(&module, code).into_iter().filter_map(refused).collect()
}

/// What keeps the standard library's `name` out of a pure room, if anything.
fn impurity(name: &str) -> Option<String> {
    if IMPURE_STD
        .iter()
        .any(|impure| name == *impure || name.starts_with(&format!("{impure}::")))
    {
        Some(format!("`{name}` in a pure room; its caller passes the value"))
    } else if matches!(name, "std::*" | "std::time::*") {
        Some(format!("`{name}` in a pure room hides what is used; name it"))
    } else {
        None
    }
}

fn form_violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("{path}:1: a file starts with `//!` and what it is for"));
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        found.push(format!(
            "{path}:{lines}: {lines} lines, at most {MOST_LINES}; split it by reason to change"
        ));
    }
    for line in lines_naming(text, "unsafe") {
        found.push(format!("{path}:{line}: `unsafe` is allowed nowhere"));
    }
    found
}

/// `["store", "sql"]` for `src/store/sql/mod.rs` and `src/store/sql.rs`; empty for `src/lib.rs` and `src/main.rs`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .trim_end_matches("/mod");
    inner
        .split('/')
        .filter(|part| !matches!(*part, "lib" | "main"))
        .map(str::to_owned)
        .collect()
}

fn file_stem(path: &str) -> &str {
    path.trim_start_matches("src/").trim_end_matches(".rs")
}

/// What no file of the repository may contain: places on somebody's machine, and the hosts packages are fetched from,
/// which mirrors replace. Written in pieces so that this file passes.
fn mention_violations(path: &str, text: &str) -> Vec<String> {
    let folders = [
        concat!("/wo", "rk"),
        concat!("/ro", "ot"),
        concat!("/tmp/ba", "sh"),
        concat!("/fa", "rm"),
    ];
    let hosts = [
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("deb.debian", ".org"),
        concat!("pypi", ".org"),
        concat!("registry.npmjs", ".org"),
    ];
    let is_boundary =
        |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '}'));
    let names_folder = |line: &str, folder: &str| {
        line.match_indices(folder).any(|(at, _)| {
            is_boundary(line[..at].chars().next_back()) && is_boundary(line[at + folder.len()..].chars().next())
        })
    };
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for folder in folders.iter().filter(|folder| names_folder(line, folder)) {
            found.push(format!(
                "{path}:{}: mentions {folder}, a folder of one machine",
                number + 1
            ));
        }
        for host in hosts.iter().filter(|host| line.contains(**host)) {
            found.push(format!(
                "{path}:{}: mentions {host}; name the package, not the host",
                number + 1
            ));
        }
    }
    found
}

/// What a merge leaves behind when it could not decide.
fn conflict_violations(path: &str, text: &str) -> Vec<String> {
    let is_marker = |line: &str| {
        ["<", ">", "|"]
            .iter()
            .any(|sign| line.starts_with(&format!("{} ", sign.repeat(7))))
    };
    let marked = text.lines().enumerate().filter(|(_, line)| is_marker(line));
    marked
        .map(|(number, _)| format!("{path}:{}: a conflict is left", number + 1))
        .collect()
}

/// All files below `folder`, as paths from the crate's root, sorted; without what is built or made by a first start.
fn files_below(folder: &str) -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if [
                "target",
                "data",
                ".git",
                "tests/fuzz/target",
                "tests/bench/yardstick/target",
            ]
            .contains(&name.as_str())
            {
                continue;
            }
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files.push((name, path));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn the_sources_keep_the_house_rules() {
    let sources: Vec<_> = files_below("src")
        .into_iter()
        .filter(|(_, path)| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    assert!(
        sources.iter().any(|(name, _)| name == "src/matching/index.rs"),
        "the sources were not found: {sources:?}"
    );
    let found: Vec<String> = sources
        .iter()
        .flat_map(|(name, path)| violations(name, &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_repository_mentions_no_machine() {
    let files = files_below("");
    assert!(
        files.iter().any(|(name, _)| name == "Cargo.toml"),
        "the repository was not found"
    );
    // Hostile messages may name any path.
    let found: Vec<String> = files
        .iter()
        .filter(|(name, _)| name != "tests/data/vectors.jsonl")
        .flat_map(|(name, path)| mention_violations(name, &String::from_utf8_lossy(&fs::read(path).unwrap())))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_holds_the_markers_of_a_conflict() {
    let found: Vec<String> = files_below("")
        .iter()
        .flat_map(|(name, path)| conflict_violations(name, &String::from_utf8_lossy(&fs::read(path).unwrap())))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let marked = concat!("mine\n<<<<", "<<< HEAD\n=======\n>>>>", ">>> theirs\n");
    assert_eq!(conflict_violations("a", marked).len(), 2);
}

#[test]
fn every_dependency_has_a_home() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let named: BTreeSet<&str> = CRATES.iter().flat_map(|(names, _)| names.split(' ')).collect();
    let used: BTreeSet<String> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .map(|name| name.replace('-', "_"))
        .collect();
    let used: BTreeSet<&str> = used.iter().map(String::as_str).collect();
    assert_eq!(used, named, "Cargo.toml and CRATES of this file differ");
}

#[test]
fn no_arrow_leads_back() {
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while let Some((room, _)) = ARROWS
        .iter()
        .find(|(room, below)| !settled.contains(room) && below.split_whitespace().all(|below| settled.contains(below)))
    {
        settled.insert(room);
    }
    let caught: Vec<&str> = ARROWS
        .iter()
        .map(|(room, _)| *room)
        .filter(|room| !settled.contains(room))
        .collect();
    assert!(
        caught.is_empty(),
        "these rooms name each other in a circle, or a room that is not there: {caught:?}"
    );
}

/// `code` in a file at `path` breaks exactly one rule, and the message holds `expected`.
fn check_refused(path: &str, code: &str, expected: &str) {
    let found = violations(path, &format!("//! Planted.\n{code}\n"));
    assert!(
        found.len() == 1 && found[0].contains(expected),
        "{path}: {code}: {found:?}, expected {expected}"
    );
}

fn check_accepted(path: &str, code: &str) {
    assert_eq!(
        violations(path, &format!("//! Planted.\n{code}\n")),
        Vec::<String>::new(),
        "{path}: {code}"
    );
}

#[test]
fn an_arrow_that_points_up_is_refused() {
    check_refused(
        "src/matching/text.rs",
        "use crate::dialog::Plan;",
        "src/matching/text.rs:2: `matching` may not",
    );
    check_refused(
        "src/matching/text.rs",
        "fn f() {\n    super::super::wechat::f()\n}",
        ":3: `matching` may not",
    );
    check_refused(
        "src/store/sql/mod.rs",
        "use crate::{bank::Entry, bot::Bot};",
        "may not name `bot`, only: bank",
    );
    check_refused("src/bot.rs", "use super::web;", "`bot` may not name `web`");
    check_refused("src/cli.rs", "use wxfaq::store::memory;", "`cli` may not name `store`");
    check_refused(
        "src/bank/entry.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::matching::Index;\n}",
        "bank/entry.rs:4",
    );
    check_refused("src/bank/entry.rs", "use crate::*;", "may not name `*`");
    check_refused("src/attic.rs", "", "`attic` is not in ARROWS");
    check_accepted(
        "src/bot/mod.rs",
        "use crate::{bank, dialog::{self, Plan}};\nuse crate::bot::claims;",
    );
    check_accepted(
        "src/matching/index.rs",
        "use super::{Analyzer, text};\n/// As [`crate::web`].\nstruct A;",
    );
    check_accepted("src/lib.rs", "pub mod bank;\npub mod web;");
}

#[test]
fn a_crate_away_from_home_is_refused() {
    check_refused(
        "src/bot.rs",
        "use axum::Router;",
        "`axum` may be named only under src/web src/lifecycle/listener src/fake_wechat",
    );
    check_refused(
        "src/store/memory.rs",
        "fn f() { sqlx::query(\"\") }",
        "`sqlx` may be named only under src/store/sql",
    );
    check_refused("src/store/fallback.rs", "use redis::Client;", "`redis`");
    check_refused("src/web/webhook.rs", "use quick_xml::Reader;", "`quick_xml`");
    check_refused(
        "src/wechat/reply.rs",
        "#[tokio::test]\nfn f() {}",
        "`tokio` stays out of bank, wechat",
    );
    check_refused("src/app.rs", "use {reqwest as http};", "`reqwest`");
    check_accepted("src/store/redis/mod.rs", "use redis::Client;");
    check_accepted("src/store/mod.rs", "pub mod redis;\nfn f() { redis::open() }");
    check_accepted("src/wechat_api/client.rs", "use tokio::time;");
    check_accepted("src/lifecycle/listener.rs", "use hyper_util::rt::TokioIo;");
    check_accepted(
        "src/wechat/reply.rs",
        "#[cfg(test)]\nmod tests {\n    use tokio::time;\n}",
    );
}

#[test]
fn a_pure_room_reads_no_clock_file_or_network() {
    check_refused(
        "src/dialog/mod.rs",
        "use std::time::{Duration, SystemTime};",
        "`std::time::SystemTime` in a pure",
    );
    check_refused(
        "src/matching/index.rs",
        "fn f() { std::time::Instant::now() }",
        "std::time::Instant::now",
    );
    check_refused("src/bank/mod.rs", "use std::{fmt, fs};", "`std::fs`");
    check_refused("src/wechat/mod.rs", "use std::net::IpAddr;", "std::net");
    check_refused("src/wechat/mod.rs", "fn f() { getrandom::fill(&mut b) }", "`getrandom`");
    check_refused("src/wechat/mod.rs", "use std::time::*;", "hides what is used");
    check_accepted("src/wechat/mod.rs", "use std::time::Duration;");
    check_accepted("src/store/memory.rs", "use std::time::Instant;");
}

#[test]
fn a_file_without_a_header_too_long_or_unsafe_is_refused() {
    assert!(violations("src/bot.rs", "use std::fmt;\n")[0].contains("starts with `//!`"));
    check_refused("src/bot.rs", &"// line\n".repeat(MOST_LINES), "lines, at most 700");
    check_refused("src/bot.rs", "unsafe fn f() {}", "src/bot.rs:2: `unsafe`");
    check_accepted("src/bot.rs", "// unsafe\nconst A: &str = \"unsafe\";");
}

#[test]
fn a_machine_mentioned_anywhere_is_refused() {
    for line in [
        concat!("cd /wo", "rk/x"),
        concat!("`/ro", "ot`"),
        concat!("deb http://deb.debian", ".org/"),
    ] {
        assert_eq!(
            mention_violations("README.md", &format!("fine\n{line}")).len(),
            1,
            "{line}"
        );
    }
    assert!(mention_violations("README.md", concat!("/wo", "rkshop ~/src/wo", "rk $HOME/ro", "ot")).is_empty());
}
