//! Files from outside, read by the child process: limits that are set, hostile files that are refused, and what becomes
//! of a child that dies. Every file is made here.

use crate::support::daemon::{BINARY, Daemon, Message, PATIENCE, client, content, program};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use wxfaq::bank::format::{Cell, Column, Format};
use wxfaq::intake::{self, Event, IntakeError, Limits, Sheet};
use wxfaq::wechat::Mode;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const CONTENT_TYPES: &str = r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/></Types>"#;
const RELATIONS: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
const WORKBOOK: &str = r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
const SHEETS: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>"#;

/// A workbook of one sheet with those rows, in the sheet's own XML, and those strings.
fn workbook(rows: &[u8], strings: &str) -> Vec<u8> {
    let sheet = [
        br#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>"#.as_slice(),
        rows,
        b"</sheetData></worksheet>",
    ]
    .concat();
    with_sheet(&sheet, "worksheets/sheet1.xml", strings)
}

/// The same, with the sheet in the part `xl/{part}`.
fn with_sheet(sheet: &[u8], part: &str, strings: &str) -> Vec<u8> {
    archive(&[
        ("[Content_Types].xml", CONTENT_TYPES.as_bytes()),
        ("_rels/.rels", RELATIONS.as_bytes()),
        ("xl/workbook.xml", WORKBOOK.as_bytes()),
        (
            "xl/_rels/workbook.xml.rels",
            SHEETS.replace("worksheets/sheet1.xml", part).as_bytes(),
        ),
        ("xl/sharedStrings.xml", strings.as_bytes()),
        (&format!("xl/{part}"), sheet),
    ])
}

fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

const HEADER: &str = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>question</t></is></c><c r="B1" t="inlineStr"><is><t>answer</t></is></c></row>"#;
const NO_STRINGS: &str = r#"<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>"#;

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

async fn read(content: &[u8]) -> Result<Sheet, IntakeError> {
    intake::read(Path::new(BINARY), file(content), &Limits::UPLOAD, &|_| ()).await
}

async fn refusal(content: &[u8]) -> String {
    match read(content).await {
        Err(IntakeError::Refused(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_comes_out_of_the_child_as_it_is() {
    let events = std::sync::Mutex::new(Vec::new());
    let mut csv = String::from("答案,问题,作者\n");
    for row in 0..2_500 {
        writeln!(csv, "答{row},问{row},我").unwrap();
    }
    let listener = |event| events.lock().unwrap().push(event);
    let sheet = intake::read(Path::new(BINARY), file(csv.as_bytes()), &Limits::UPLOAD, &listener)
        .await
        .unwrap();
    assert_eq!(
        (sheet.format, sheet.rows.len(), sheet.notices.len()),
        (Format::Csv, 2_500, 1)
    );
    let last = sheet.rows[2_499].as_ref().unwrap();
    let text = |text: &str| Cell::Text(text.to_owned());
    assert_eq!(
        last.cells,
        [(Column::Answer, text("答2499")), (Column::Question, text("问2499"))]
    );
    let rows = |event: &Event| match event {
        Event::Reading { rows } => *rows,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        events.lock().unwrap().iter().map(rows).collect::<Vec<_>>(),
        [1, 1_001, 2_001, 2_500]
    );
    let small = workbook(
        format!(r#"{HEADER}<row r="3"><c r="A3" t="s"><v>0</v></c><c r="B3"><v>7</v></c></row>"#).as_bytes(),
        r#"<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>甲</t></si></sst>"#,
    );
    let sheet = read(&small).await.unwrap();
    let record = sheet.rows[0].as_ref().unwrap();
    assert_eq!((sheet.format, record.place.row), (Format::Xlsx, 3));
    assert_eq!(
        record.cells,
        [(Column::Question, text("甲")), (Column::Answer, text("7"))]
    );
}

#[tokio::test]
async fn errors_keep_their_row_and_column_on_the_way() {
    let sheet = read(b"question,answer\na,b\nc,\"d\n").await.unwrap();
    let torn = sheet.rows[1].clone().unwrap();
    assert_eq!(torn.others, [(0, "c,\"d".to_owned())]);
    let error = torn.row().unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 3: cell 2: a quotation mark is opened and never closed"
    );
    let sheet = read(b"question,reply text\n").await.unwrap();
    let header = sheet.rows[0].clone().unwrap();
    assert_eq!(header.others, [(0, "question,reply text".to_owned())]);
    assert_eq!(header.row().unwrap_err().column, Some("answer"));
}

/// A file that is made to do harm.
struct Hostile {
    name: &'static str,
    content: Vec<u8>,
    /// How the refusal begins when it comes over the network.
    as_upload: &'static str,
    /// What the refusal says when an operator imports it, who may import more.
    as_own: &'static str,
}

fn hostile_files() -> Vec<Hostile> {
    let filler = |bytes: usize| "x".repeat(bytes);
    let far = format!(r#"{HEADER}<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#);
    let many_strings = r#"<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="1" uniqueCount="4000000000"><si><t>a</t></si></sst>"#;
    let huge_cell = format!(
        r#"{HEADER}<row r="2"><c r="A2" t="inlineStr"><is><t>{}</t></is></c></row>"#,
        filler(300 << 20)
    );
    let picture = format!(
        r#"<worksheet><sheetData>{HEADER}<row r="2"><c r="A2" t="inlineStr"><is><t>{}</t></is></c></row></sheetData></worksheet>"#,
        filler(40 << 20)
    );
    let sound = workbook(HEADER.as_bytes(), NO_STRINGS);
    let mut renamed = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    renamed.resize(4_096, 0);
    let too_many_files = "is an archive of 65535 files or more";
    [
        (
            "sparse.xlsx",
            workbook(far.as_bytes(), NO_STRINGS),
            "has something in cell XFD1048576",
            "has something in cell XFD1048576",
        ),
        (
            "strings.xlsx",
            workbook(HEADER.as_bytes(), many_strings),
            "takes more than 512 MiB of memory to be read",
            "takes more than 1024 MiB of memory to be read",
        ),
        (
            "cell.xlsx",
            workbook(huge_cell.as_bytes(), NO_STRINGS),
            "has more than 10 MiB of text in one piece",
            "has more than 10 MiB of text in one piece",
        ),
        (
            "picture.xlsx",
            with_sheet(picture.as_bytes(), "media/image1.png", NO_STRINGS),
            "has more than 10 MiB of text in one piece",
            "has more than 10 MiB of text in one piece",
        ),
        (
            "million.xlsx",
            many_entries(1_000_000),
            "has 47000022 bytes, at most 20971520 are read",
            too_many_files,
        ),
        ("entries.xlsx", many_entries(400_000), too_many_files, too_many_files),
        (
            "parts.xlsx",
            many_entries(5_000),
            "is an archive of 5000 files, a workbook has at most 200",
            "is an archive of 5000 files, a workbook has at most 200",
        ),
        (
            "field.csv",
            format!("question,answer\na,{}\n", filler(100 << 20)).into_bytes(),
            "has 104857619 bytes",
            "row 2: cell 2: has 104857600 bytes, at most 1048576 are allowed",
        ),
        (
            "nul.csv",
            b"question,answer\na,b\0\n".to_vec(),
            "has NUL bytes, the first in line 2",
            "has NUL bytes, the first in line 2",
        ),
        (
            "renamed.xlsx",
            renamed,
            "is an .xls workbook of Excel 97",
            "is an .xls workbook of Excel 97",
        ),
        (
            "cut.xlsx",
            sound[..sound.len() - 40].to_vec(),
            "is a damaged or incomplete archive",
            "is a damaged or incomplete archive",
        ),
    ]
    .map(|(name, content, as_upload, as_own)| Hostile {
        name,
        content,
        as_upload,
        as_own,
    })
    .into()
}

#[tokio::test]
async fn hostile_files_are_refused_with_their_reason() {
    for Hostile { content, as_upload, .. } in hostile_files() {
        let refusal = refusal(&content).await;
        assert!(refusal.starts_with(as_upload), "{refusal}, expected {as_upload}");
    }
    let long_cell = format!("question,answer\na,{}\n", "x".repeat(10 << 20));
    let sheet = read(long_cell.as_bytes()).await.unwrap();
    let error = sheet.rows[0].as_ref().unwrap_err().to_string();
    assert_eq!(error, "row 2: cell 2: has 10485760 bytes, at most 1048576 are allowed");
}

/// What a daemon may grow by while files are imported beside it.
const GROWTH_KIB: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_answers_as_before_while_hostile_files_are_imported_beside_it() {
    const QUESTIONS: [&str; 3] = ["科创板开户要什么条件", "怎么修改密码", "今天天气怎么样"];
    let (daemon, client, mut asked) = (Daemon::start(""), client(), 0);
    let mut ask = async || {
        let question = QUESTIONS[asked % QUESTIONS.len()];
        asked += 1;
        let message = Message::text(&format!("oHostile{asked}"), question, Mode::Safe);
        content(&message.deliver(&client, daemon.port).await)
    };
    let readiness = daemon.ops("/readyz");
    let expected = [ask().await, ask().await, ask().await];
    assert!(expected[0].contains("50万") && expected.iter().all(|reply| !reply.is_empty()));
    let before = resident_kib(daemon.pid());
    for hostile in hostile_files() {
        fs::write(daemon.path(hostile.name), &hostile.content).unwrap();
        let begin = Instant::now();
        let mut import = Command::new(program())
            .args(["--config", "wxfaq.toml", "import", hostile.name])
            .current_dir(daemon.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut rounds, mut resident) = (0, 0);
        // At least once; a reply that fails or differs is seen here.
        let took = loop {
            let ended = import.try_wait().unwrap().map(|_| begin.elapsed());
            for reply in &expected {
                assert_eq!(&ask().await, reply, "{}", hostile.name);
            }
            resident = resident_kib(daemon.pid()).max(resident);
            rounds += 1;
            if let Some(took) = ended {
                break took;
            }
            assert!(
                begin.elapsed() < PATIENCE * 4,
                "{}: the import does not end",
                hostile.name
            );
        };
        let output = import.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(65), "{}: {said}", hostile.name);
        assert!(said.contains(hostile.as_own), "{}: {said}", hostile.name);
        let growth = resident.saturating_sub(before);
        assert!(
            growth <= GROWTH_KIB,
            "{}: the daemon grew by {growth} KiB",
            hostile.name
        );
        println!(
            "{:13} refused after {took:?}; {rounds} × 3 replies, the daemon grew by {growth} KiB",
            hostile.name
        );
    }
    assert_eq!(daemon.ops("/readyz"), readiness);
}

/// What a process holds in memory now.
fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// An archive whose directory names that many files: 47 bytes each, all with the same content.
fn many_entries(count: usize) -> Vec<u8> {
    let mut entry = b"PK\x01\x02".to_vec();
    entry.resize(46, 0);
    entry[28] = 1;
    entry.push(b'a');
    let mut file = entry.repeat(count);
    file[..4].copy_from_slice(b"PK\x03\x04");
    let sixteen = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([sixteen, sixteen].concat());
    file.extend(u32::try_from(count * 47).unwrap().to_le_bytes());
    file.extend([0; 6]);
    file
}

/// A table of every column with that many cells, most of them empty.
fn cells(count: usize) -> Vec<u8> {
    let header =
        "id,question,answer,similar,category,tags,kind,state,accounts,channels,valid_from,valid_until,priority\n";
    let rows = ",a,b,,,,,,,,,,\n".repeat(count / 13);
    format!("{header}{rows}").into_bytes()
}

#[tokio::test]
async fn a_child_that_dies_is_a_refusal_and_nothing_else() {
    let limits = Limits {
        memory_bytes: 200 << 20,
        ..Limits::UPLOAD
    };
    let content = file(&vec![b'x'; 19 << 20]);
    let starved = Limits {
        cpu_seconds: 0,
        ..limits
    };
    let busy = cells(1_900_000);
    for (content, limits, reason) in [
        (
            file(&cells(2_100_000)),
            Limits {
                frames_bytes: 1 << 30,
                ..Limits::UPLOAD
            },
            "has more than 2000000 cells",
        ),
        (file(&busy), starved, "takes more than 0 s of processor time to be read"),
        (
            content,
            Limits {
                memory_bytes: 24 << 20,
                ..limits
            },
            "takes more than 24 MiB of memory to be read",
        ),
        (
            file(&busy),
            Limits {
                frames_bytes: 1 << 20,
                ..limits
            },
            "comes to more than 1 MiB of rows",
        ),
    ] {
        match intake::read(Path::new(BINARY), content, &limits, &|_| ()).await {
            Err(IntakeError::Refused(refusal)) => assert!(refusal.to_string().starts_with(reason), "{refusal}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    // And the next file is read as if nothing had happened.
    assert_eq!(read(b"question,answer\na,b\n").await.unwrap().rows.len(), 1);
    let absent = intake::read(Path::new("/absent"), file(b""), &limits, &|_| ()).await;
    assert!(matches!(absent, Err(IntakeError::Broken(_))), "{absent:?}");
    let folder = File::open("/").unwrap();
    let refused = intake::read(Path::new(BINARY), folder, &limits, &|_| ())
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the file is none, but a folder, a pipe or a device"
    );
}

#[test]
fn the_child_has_its_limits_before_it_reads_and_holds_nothing_else() {
    let limits = serde_json::to_string(&Limits::UPLOAD).unwrap();
    // A descriptor that is not closed on the way: the shell opens it.
    let mut child = Command::new("sh")
        .args(["-c", "exec 7</etc/passwd; exec \"$0\" intake \"$1\"", BINARY, &limits])
        .env("WXFAQ_SECRET", "x")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let of = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    let value = |name: &str| {
        let limits = of("limits");
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    // It takes what fits into the pipe and this much more: then it is reading, so its limits stand.
    input.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    for (name, expected) in [
        ("Max address space", "536870912"),
        ("Max cpu time", "30"),
        ("Max file size", "0"),
        ("Max open files", "3"),
        ("Max processes", "0"),
        ("Max core file size", "0"),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let mut open: Vec<_> = open.map(|fd| fd.unwrap().file_name().into_string().unwrap()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "{\"Item\":{\"Format\":\"jsonl\"}}\n\"End\"\n"
    );
}

#[tokio::test]
async fn the_child_gets_no_environment() {
    // What it would say of itself: a program in its place that reports its environment and its arguments.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("reports.sh");
    let script = "#!/bin/sh\nprintf '{\"Item\":{\"Format\":\"csv\"}}\\n{\"Item\":{\"Notice\":\"'\n/usr/bin/env | /usr/bin/cut -d= -f1 | /usr/bin/tr '\\n' ' '\nprintf '\"}}\\n\"End\"\\n'\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sheet = intake::read(&program, file(b"x"), &Limits::UPLOAD, &|_| ())
        .await
        .unwrap();
    // The shell's own.
    let names: Vec<&str> = sheet.notices[0]
        .split_whitespace()
        .filter(|name| !["PWD", "_", "OLDPWD", "SHLVL"].contains(name))
        .collect();
    assert_eq!(names, Vec::<&str>::new());
}
