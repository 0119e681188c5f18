//! `wxfaq serve`: the daemon, and on its first day the sample bank and rules.

use super::beside::{Care, Terms};
use super::import::run_embedded;
use super::{Exit, Failure, media, rule};
use crate::app::{self, AppError, Missing};
use crate::bank::import::Mode;
use crate::bank::rule::file;
use crate::intake::ImportTerms;
use crate::lifecycle::Inherited;
use crate::matching::text::normalize;
use crate::store::sql::{Database, Place, Questions};
use crate::telemetry::Logs;
use std::path::PathBuf;

/// The banks of the first day.
const SAMPLES: [&str; 2] = [
    include_str!("../../config/sample-bank.jsonl"),
    include_str!("../../config/smalltalk.jsonl"),
];

/// Rules of the first day.
const SAMPLE_RULES: &str = include_str!("../../config/sample-rules.jsonl");

/// Runs until stopped.
pub async fn run(config: Option<PathBuf>, inherited: Inherited) -> Result<(), Failure> {
    let setup = app::configure(config, Missing::Make)?;
    let logs = Logs::start(&setup.config.log).map_err(AppError::from)?;
    let place = Place {
        told: |migrated| tracing::warn!("{migrated}"),
        ..app::place_of(&setup.config)
    };
    let database = Database::open(place).await.map_err(AppError::from)?;
    let questions = database.questions();
    // An emptied bank stays empty; only one that never held anything gets the sample.
    if setup.first_day && questions.revision().await.map_err(AppError::from)? == 0 {
        import_samples(&questions).await?;
        import_sample_rules(&database).await?;
    }
    let served = app::serve(setup, &database, &logs, inherited).await;
    database.close().await;
    Ok(served?)
}

async fn import_samples(questions: &Questions) -> Result<(), Failure> {
    for sample in SAMPLES {
        let terms = ImportTerms {
            mode: Mode::Append,
            dry_run: false,
            made_from: None,
            who: "wxfaq",
            normalise: &normalize,
            file_problem: &|answer| media::Shelf::none().problem(answer),
        };
        let report = run_embedded(questions, sample.as_bytes(), terms).await?;
        if !report.applied {
            return Err(Failure::Report(Exit::from(&report), report.to_string()));
        }
    }
    Ok(())
}

async fn import_sample_rules(database: &Database) -> Result<(), Failure> {
    let terms = Terms {
        mode: Mode::Append,
        care: Care {
            dry_run: false,
            made_from: None,
        },
        who: "wxfaq",
        source: "import",
    };
    let report = rule::import(database, || file::read(SAMPLE_RULES), terms).await?;
    match report.applied {
        true => Ok(()),
        false => Err(Failure::Report(report.exit(), report.to_string())),
    }
}
