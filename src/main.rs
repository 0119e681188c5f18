//! The `wxfaq` command: arguments, one command, exit code.

use clap::Parser;
use clap::error::ErrorKind;
use std::process::ExitCode;
use wxfaq::cli::{self, Cli, Command};
use wxfaq::commands::Exit;
use wxfaq::intake;
use wxfaq::lifecycle::Inherited;

// Measured with tests/bench/load.sh: a sixth less CPU per message than the system's (55 against 67 us, 189 against 224).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody is left to tell when even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(if asked_for { Exit::Ok } else { Exit::Usage }.code());
        }
    };
    if let Command::Intake { limits } = &cli.command {
        // Before anything opens a file or starts a thread.
        return ExitCode::from(intake::child::run(limits));
    }
    let inherited = Inherited::take();
    // An error here means that a provider is set already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("wxfaq: {error}");
            return ExitCode::from(Exit::Unavailable.code());
        }
    };
    match runtime.block_on(cli::run(cli, inherited)) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            eprintln!("wxfaq: {}", failure.on_terminal());
            ExitCode::from(failure.exit().code())
        }
    }
}
