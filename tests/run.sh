#!/usr/bin/env bash
# The gate: everything that must hold before a change lands. See tests/README.md.
#
#   tests/run.sh           installs what is missing (apt-get, as root or through sudo), then checks and tests
#   tests/run.sh --check   only names what is missing; exits 1 if something is
#
# The last line is `N passed, N failed, N skipped`: tests, and one for each step that is none. Exits 1 unless all is
# well; a run without tests is not.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# command, or file with wildcards|Debian package|what for
needs='
gcc|gcc|the C parts of dependencies: SQLite, ring, jemalloc
/usr/include/stdio.h|libc6-dev|as gcc
make|make|building jemalloc
redis-server|redis-server|the tests of the Redis store, each with a server of its own on a socket of its own
/usr/sbin/mariadbd|mariadb-server|the tests on MySQL, on a server of their own in a temporary folder
/usr/lib/postgresql/*/bin/initdb|postgresql|the tests on PostgreSQL, likewise
strace|strace|the test that an edit waits for the disk
systemd-analyze|systemd|the test of the unit files
systemd-sysusers|systemd|the test of the file that makes the user wxfaq
prlimit|util-linux|the test of a daemon without descriptors
curl|curl|asking the daemon under test how it is
/bin/kill|procps|ExecReload of the unit, looked for by systemd-analyze verify
'
rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
cargo_deny_version=0.20.2

target=${CARGO_TARGET_DIR:-target}
[[ $target = /* ]] || target=$PWD/$target
tools=$target/tools
logs=$target/gate
export CARGO_TARGET_DIR=$target CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never} PATH=$tools/bin:$PATH:${HOME:-}/.cargo/bin

# Names on stderr what is missing, and prints the packages that bring it.
missing_packages() {
    local need package why
    while IFS='|' read -r need package why; do
        if [[ -n $need ]] && ! compgen -G "$need" >/dev/null && ! command -v "$need" >/dev/null; then
            echo "missing: $need ($why); install with: apt-get install $package" >&2
            echo "$package"
        fi
    done <<<"$needs"
}

has_rust() {
    local tool result=0
    for tool in cargo cargo-fmt cargo-clippy; do
        if ! command -v "$tool" >/dev/null; then
            echo "missing: $tool; install Rust with: $rustup" >&2
            result=1
        fi
    done
    return "$result"
}

has_cargo_deny() {
    [[ $(cargo-deny --version 2>/dev/null) = "cargo-deny $cargo_deny_version" ]]
}

as_root=(env DEBIAN_FRONTEND=noninteractive)
policy=/usr/sbin/policy-rc.d

# While it stands, packages do not start the servers they install. One that was there before is kept aside, also when
# an earlier run was killed before it could put it back.
forbid_services() {
    if [[ -e $policy && ! -e $policy.before-wxfaq ]]; then
        "${as_root[@]}" mv "$policy" "$policy.before-wxfaq"
    fi
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
}

restore_services() {
    if [[ -e $policy.before-wxfaq ]]; then
        "${as_root[@]}" mv -f "$policy.before-wxfaq" "$policy"
    else
        "${as_root[@]}" rm -f "$policy"
    fi
}

install_packages() {
    if ((EUID != 0)); then
        if ! sudo -n true; then
            echo "installing needs root, or a sudo that asks for no password" >&2
            exit 69
        fi
        as_root=(sudo -n "${as_root[@]}")
    fi
    echo "installing: $*"
    trap restore_services EXIT
    forbid_services
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
    restore_services
    trap - EXIT
}

passed=0 failed=0 skipped=0
summary=() failures=()

# Sums over all lines like `test result: ok. 6 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`.
count_tests() {
    awk '/^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;") passed += $(i - 1)
            if ($i == "failed;") failed += $(i - 1)
            if ($i == "ignored;") skipped += $(i - 1)
        }
    } END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# check NAME COMMAND…: one step, passed or failed as a whole.
check() {
    run_step "$@"
    if ((status == 0)); then record "$1" 1 0 0; else record "$1" 0 1 0; fi
}

# check_tests NAME COMMAND…: one step that counts the tests it ran; none is a failure, and so is not getting that far.
check_tests() {
    local ok bad ignored
    run_step "$@"
    read -r ok bad ignored < <(count_tests "$log")
    if ((bad == 0 && (status != 0 || ok == 0))); then bad=1; fi
    record "$1" "$ok" "$bad" "$ignored"
}

# Sets `status`, `log` and `seconds`.
run_step() {
    local name=$1 started=$SECONDS
    shift
    log=$logs/$name.log
    status=0
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$log" || status=$?
    seconds=$((SECONDS - started))
}

record() {
    local name=$1 verdict=ok
    if (($3 != 0)); then
        verdict=FAILED
        failures+=("$name; its output is in $log")
    fi
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
    summary+=("$(printf '%-8s %-6s %5d s %6d passed %4d failed %4d skipped' "$name" "$verdict" "$seconds" "$2" "$3" "$4")")
}

# Built without optimisation or debug information: it runs for seconds, building it takes minutes.
check_dependencies() {
    if ! has_cargo_deny; then
        echo "installing: cargo-deny $cargo_deny_version into $tools"
        CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_DEV_DEBUG=0 \
            cargo install --quiet --locked --debug --root "$tools" --version "$cargo_deny_version" cargo-deny || return
        rm -rf "$tools/build"
    fi
    cargo-deny --locked check licenses bans sources
}

case ${1-} in
    '') ;;
    --check)
        packages=$(missing_packages)
        complete=0
        has_rust && [[ -z $packages ]] || complete=1
        has_cargo_deny || echo "cargo-deny $cargo_deny_version is not there; the gate builds it, in about two minutes" >&2
        exit "$complete"
        ;;
    *)
        sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 64
        ;;
esac

has_rust || exit 69
mapfile -t packages < <(missing_packages)
if ((${#packages[@]} != 0)); then
    install_packages "${packages[@]}"
fi

mkdir -p "$logs"
check fmt cargo fmt --check
check clippy cargo clippy --locked --all-targets -- -D warnings
check deny check_dependencies
check_tests test cargo test --locked --no-fail-fast
check doc env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

echo
printf '%s\n' "${summary[@]}"
if ((${#failures[@]} != 0)); then
    printf 'failed: %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
