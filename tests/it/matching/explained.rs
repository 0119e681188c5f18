//! Every hit is explained, to the last bit.

use super::{DEFAULT, any_text, index, scope, small_bank};
use proptest::prelude::*;
use wxfaq::matching::confidence::calibrate;
use wxfaq::matching::trace::PartTrace;
use wxfaq::matching::{Matches, Score, Trace};

#[test]
fn an_explanation_adds_up_and_agrees_with_the_search() {
    let index = index(small_bank());
    for query in ["科创板开户条件", "客创板 咋开护", "密码忘了", "ETF 佣金 5%"] {
        let (trace, matches) = (
            index.explain(query, scope(), 5, DEFAULT),
            index.search(query, scope(), 5),
        );
        assert_eq!(untold(&trace, &matches), Vec::<String>::new(), "{query}");
        assert!(trace.to_string().contains("decision"));
    }
}

/// What of `matches` is not explained by `trace`, to the last bit.
fn untold(trace: &Trace, matches: &Matches) -> Vec<String> {
    let mut untold = Vec::new();
    if (trace.decision, trace.guard) != (matches.decide(DEFAULT), matches.guard) {
        untold.push(format!("decision {:?}", trace.decision));
    }
    if trace.candidates.len() != matches.hits.len() {
        untold.push(format!("{} of {} hits", trace.candidates.len(), matches.hits.len()));
    }
    for (candidate, hit) in trace.candidates.iter().zip(&matches.hits) {
        let sum = |value: fn(&PartTrace) -> f64| candidate.parts.iter().map(value).sum::<f64>();
        let lead = candidate
            .parts
            .iter()
            .find(|part| part.feature == "lead")
            .map(|part| part.value);
        let rival = candidate.rival.as_ref().map_or(0.0, |rival| rival.likeness);
        let calibrated = if candidate.exact {
            Score::EXACT
        } else {
            calibrate(candidate.score)
        };
        let same = |what: &str, a: f64, b: f64| {
            (a.to_bits() != b.to_bits()).then(|| format!("{}: {what}: {a} is not {b}", candidate.id))
        };
        untold.extend(same(
            "score",
            trace.intercept + sum(|part| part.contribution),
            candidate.score,
        ));
        untold.extend(same("confidence", calibrated.get(), hit.score.get()));
        untold.extend(same("shown confidence", candidate.confidence, hit.score.get()));
        untold.extend(same("likeness", sum(|part| part.likeness), candidate.likeness));
        untold.extend(same("rival", sum(|part| part.rival_likeness), rival));
        untold.extend(same("lead", candidate.likeness - rival, lead.unwrap_or(f64::NAN)));
        for part in &candidate.parts {
            // Contributions are rounded to about a millionth.
            let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
            let told = near(part.value * part.weight, part.contribution)
                && near(part.value * part.likeness_weight, part.likeness)
                && near(part.rival_value * part.likeness_weight, part.rival_likeness);
            untold.extend((!told).then(|| format!("{}: {part:?}", candidate.id)));
        }
        let phrasings: Vec<&str> = hit.entry.phrasings().collect();
        if candidate.id != hit.entry.id.as_str() || candidate.matched != phrasings[usize::from(hit.phrasing)] {
            untold.push(format!("{} is {}", candidate.id, hit.entry.id));
        }
        if candidate.rival.as_ref().is_some_and(|rival| rival.id == candidate.id) {
            untold.push(format!("{} is its own rival", candidate.id));
        }
    }
    untold
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics_and_every_hit_shares_a_term_and_is_explained(text in any_text()) {
        let index = index(small_bank());
        let trace = index.explain(&text, scope(), 10, DEFAULT);
        let matches = index.search(&text, scope(), 10);
        prop_assert!(matches.hits.is_sorted_by(|a, b| a.score >= b.score));
        let shares = trace.fields.iter().flat_map(|field| &field.terms).any(|term| term.doc_freq > 0);
        prop_assert!(matches.hits.is_empty() || shares, "{trace}");
        prop_assert_eq!(untold(&trace, &matches), Vec::<String>::new());
    }
}
