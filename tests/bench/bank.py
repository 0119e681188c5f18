#!/usr/bin/env python3
"""Large banks through files, and edits from one daemon to another: the release binary on real servers of its own.

    tests/bench/bank.py roundtrip BANK.jsonl [DATABASE ...]     # default: sqlite mariadb postgres
    tests/bench/bank.py spread [EDITS] [DATABASE]               # default: 200 edits on postgres

roundtrip imports the first 100,000 rows that ask what none before them asks, then for every format: exports the bank,
imports the file into an empty database, and exports that one again, which has to give the first export to the byte.
Printed are the time of each command by the clock and the most memory it ever held, that of the child that parses apart.

spread starts two daemons on one database, with every default, and edits an entry by `wxfaq entry put` on the first one's
configuration; printed is how long after the acknowledgement a follower of the second gets the new answer. Without Redis
the edits come at random moments between two looks at the database.

Needs the Python standard library only, a release build (WXFAQ names another binary), and the servers of tests/README.md.
What these write is waited for on the disk, as they come. Ends with an assertion where something is wrong, never for being
slow.
"""

import contextlib
import hashlib
import http.client
import json
import os
import pwd
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WXFAQ = str(Path(os.environ.get("WXFAQ", ROOT / "target/release/wxfaq")).resolve())
PATIENCE = 60
ROWS = 100_000
PASSWORD = "bench"
TOKEN = "benchtoken"
QUESTION = "传播测试的问题是什么"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, holds):
    begin = time.monotonic()
    while not holds():
        assert time.monotonic() - begin < PATIENCE, f"waited in vain until {what}"
        time.sleep(0.02)


def find(program):
    """On the path, or where Debian keeps the programs of PostgreSQL, the newest."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    places = [os.environ["PATH"], "/usr/sbin", *map(str, reversed(versions))]
    return shutil.which(program, path=":".join(places)) or sys.exit(f"there is no {program}: see tests/README.md")


class Servers:
    """Real servers in one temporary folder, which all end with the `with`."""

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)
        self.started = {}
        self.count = 0
        return self

    def __exit__(self, *error):
        self.stack.close()

    def run(self, name, command, user=None):
        """Starts a process that ends with this."""
        log = self.stack.enter_context(open(self.folder / f"{name}.log", "ab"))
        process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user)
        self.stack.callback(process.wait)
        # The last is ended first: PostgreSQL waits for its clients.
        self.stack.callback(process.terminate)

    def mariadb(self):
        data, sock, port = self.folder / "mariadb", self.folder / "mariadb.sock", free_port()
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        install = ["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal", f"--datadir={data}"]
        subprocess.run([find("mariadb-install-db"), *install, *as_root], **quiet)
        options = [f"--datadir={data}", f"--socket={sock}", f"--port={port}", "--bind-address=127.0.0.1"]
        self.run("mariadbd", [find("mariadbd"), "--no-defaults", *options, *as_root])
        client = [find("mariadb"), "--no-defaults", f"--socket={sock}", "--user=root", "-e"]
        wait_until("MariaDB answers", lambda: subprocess.run([*client, "SELECT 1"], capture_output=True).returncode == 0)
        user = f"CREATE USER bench@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO bench@'%'"
        subprocess.run([*client, user], check=True)
        return client, f"mysql://bench:{PASSWORD}@127.0.0.1:{port}"

    def postgres(self):
        data, port = self.folder / "postgres", free_port()
        # It refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        data.mkdir()
        if user:
            os.chown(data, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        initdb = [find("initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, user=user, cwd=data)
        self.run("postgres", [find("postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", ""], user)
        client = [find("psql"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", "postgres", "-c"]
        wait_until("PostgreSQL answers", lambda: subprocess.run([*client, "SELECT 1"], capture_output=True).returncode == 0)
        return client, f"postgres://bench:{PASSWORD}@127.0.0.1:{port}"

    def database(self, kind):
        """The address of a new, empty database."""
        self.count += 1
        name = f"bank{self.count}"
        if kind == "sqlite":
            return f"sqlite://{self.folder}/{name}.db"
        if kind not in self.started:
            self.started[kind] = {"mariadb": self.mariadb, "postgres": self.postgres}[kind]()
        client, url = self.started[kind]
        subprocess.run([*client, f"CREATE DATABASE {name}"], check=True)
        return f"{url}/{name}"

    def redis(self):
        port = str(free_port())
        self.run("redis", [find("redis-server"), "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"])
        wait_until("Redis answers", lambda: socket.socket().connect_ex(("127.0.0.1", int(port))) == 0)
        return f"redis://127.0.0.1:{port}"


class Measured:
    """One command run to its end: seconds by the clock, and the most MiB that it and its children ever held."""

    def __init__(self, config, *arguments, codes=(0,)):
        begin = time.monotonic()
        command = [WXFAQ, "--config", str(config), *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.mib = self.child_mib = 0.0
        watcher = threading.Thread(target=self.watch, args=[process])
        watcher.start()
        said = [stream.decode() for stream in process.communicate()]
        self.seconds = time.monotonic() - begin
        watcher.join()
        assert process.returncode in codes, (command, said)
        self.said = said[0]

    def watch(self, process):
        while process.poll() is None:
            children = Path(f"/proc/{process.pid}/task").glob("*/children")
            with contextlib.suppress(OSError):
                # The kernel keeps the highest, so that what lies between two looks is not missed.
                self.mib = max(self.mib, high_water(process.pid))
                for child in " ".join(path.read_text() for path in children).split():
                    self.child_mib = max(self.child_mib, high_water(child))
            time.sleep(0.005)


def high_water(process):
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def configuration(path, database, more=""):
    """An instance with every default but its addresses; returns its ports."""
    port, ops_port = free_port(), free_port()
    path.write_text(
        f"""[server]
listen = "127.0.0.1:{port}"
ops_listen = "127.0.0.1:{ops_port}"
[database]
url = "{database}"
[security]
install_key = "one-key-for-both-instances"
[reply]
per_minute = 0
{more}
[[account]]
id = "bench"
appid = "wx1a2b3c4d5e6f7081"
mode = "plain"
token = "{TOKEN}"
"""
    )
    return port, ops_port


def roundtrip(bank, kinds):
    print(f"load {os.getloadavg()[0]:.2f}\n{'':28}{'s':>7}{'MiB':>7}{'child MiB':>11}{'file MiB':>10}")
    for kind in kinds:
        with Servers() as servers:
            one_roundtrip(servers, kind, Path(bank).resolve())


def distinct(servers, bank):
    """A file of the rows that can be imported together, and what they say."""
    config = servers.folder / "judge.toml"
    configuration(config, servers.database("sqlite"))
    judged = json.loads(Measured(config, "import", "--dry-run", "--json", bank, codes=(0, 65)).said)
    lines = bank.read_text().splitlines()
    lines = [lines[row["line"] - 1] for row in judged["rows"] if row["verdict"] == "new"][:ROWS]
    file = servers.folder / "bank.jsonl"
    file.write_text("\n".join(lines))
    return file, [json.loads(line) for line in lines]


def one_roundtrip(servers, kind, bank):
    def tell(what, run, file):
        size = file.stat().st_size / 2**20
        print(f"{kind + ', ' + what:28}{run.seconds:7.1f}{run.mib:7.0f}{run.child_mib:11.0f}{size:10.1f}", flush=True)

    def config():
        path = servers.folder / "wxfaq.toml"
        configuration(path, servers.database(kind))
        return path

    def export(config, name):
        file = servers.folder / name
        return Measured(config, "export", file), file

    bank, given = distinct(servers, bank)
    first = config().rename(servers.folder / "first.toml")
    tell(f"import {len(given)}", Measured(first, "import", bank), bank)
    _, before = export(first, "before.jsonl")
    held = {entry["id"]: entry for entry in map(json.loads, before.read_text().splitlines())}
    assert len(held) == len(given)
    for entry in given:
        # What was given is there; what was not given has its default.
        assert entry.items() <= held[entry["id"]].items(), (entry, held[entry["id"]])
    for extension in ("jsonl", "csv", "xlsx"):
        run, file = export(first, f"out.{extension}")
        tell(f"export {extension}", run, file)
        second = config()
        tell(f"import {extension}", Measured(second, "import", file), file)
        _, after = export(second, "after.jsonl")
        assert after.read_bytes() == before.read_bytes(), f"{kind}: the bank is another after {extension}"


class Follower:
    """Who asks one daemon again and again, as WeChat delivers it in plain mode; named by its port, so nobody's repeat."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.name = f"o{port}"
        self.count = 0

    def ask(self, text):
        self.count += 1
        now = str(int(time.time()))
        message = (
            f"<xml><ToUserName>gh</ToUserName><FromUserName>{self.name}</FromUserName><CreateTime>{now}</CreateTime>"
            f"<MsgType>text</MsgType><Content>{text}</Content><MsgId>{self.count}</MsgId></xml>"
        )
        nonce = f"{self.name}n{self.count}"
        signature = hashlib.sha1("".join(sorted([TOKEN, now, nonce])).encode()).hexdigest()
        path = f"/wechat/bench?signature={signature}&timestamp={now}&nonce={nonce}"
        self.connection.request("POST", path, message.encode())
        return self.connection.getresponse().read().decode()


def is_ready(ops_port):
    with contextlib.suppress(OSError):
        connection = http.client.HTTPConnection("127.0.0.1", ops_port, timeout=5)
        connection.request("GET", "/readyz")
        return json.loads(connection.getresponse().read())["ready"]


def spread(edits, kind):
    for with_redis in (True, False):
        with Servers() as servers:
            database = servers.database(kind)
            more = f'[redis]\nurls = ["{servers.redis()}"]' if with_redis else ""
            configs = [servers.folder / name for name in ("a.toml", "b.toml")]
            ports = [configuration(config, database, more) for config in configs]
            Measured(configs[0], "import", ROOT / "config/sample-bank.jsonl")
            for config, (_, ops_port) in zip(configs, ports):
                servers.run(config.stem, [WXFAQ, "--config", config, "serve"])
                wait_until("a daemon is ready", lambda: is_ready(ops_port))
            followers = [Follower(port) for port, _ in ports]
            editor = Editor(configs[0], followers)
            waits = sorted(editor.edit_and_wait(n, 0 if with_redis else 2) for n in range(edits))
            at = lambda percent: waits[min(len(waits) - 1, len(waits) * percent // 100)]
            way = "with Redis" if with_redis else "without Redis"
            print(
                f"{edits} edits on {kind}, {way}: p50 {at(50):.3f} s, p99 {at(99):.3f} s, slowest {waits[-1]:.3f} s; "
                f"load {os.getloadavg()[0]:.2f}",
                flush=True,
            )


class Editor:
    """Who works on the first instance, and looks at both."""

    def __init__(self, config, followers):
        self.config = config
        self.followers = followers
        self.revision = 0

    def edit_and_wait(self, n, pause):
        """Seconds from the acknowledgement of an edit until followers of the second instance get it."""
        time.sleep(random.random() * pause)
        answer = f"第{n}版的答案"
        file = self.config.with_name("edit.jsonl")
        file.write_text(json.dumps({"id": "spread-1", "question": QUESTION, "answer": answer}))
        put = Measured(self.config, "entry", "put", file, "--made-from", self.revision)
        begin = time.monotonic()
        wait_until(f"edit {n} is seen", lambda: answer in self.followers[1].ask(QUESTION))
        waited = time.monotonic() - begin
        wait_until(f"edit {n} is seen where it was made", lambda: answer in self.followers[0].ask(QUESTION))
        self.revision = int(re.search(r"revision (\d+)", put.said)[1])
        return waited


def main():
    match sys.argv[1:]:
        case ["roundtrip", bank, *kinds]:
            roundtrip(bank, kinds or ["sqlite", "mariadb", "postgres"])
        case ["spread", *rest] if len(rest) <= 2:
            spread(int(rest[0]) if rest else 200, rest[1] if len(rest) > 1 else "postgres")
        case _:
            sys.exit(__doc__)


main()
