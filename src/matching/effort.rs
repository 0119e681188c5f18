//! Steps of work, counted in tests: so that linear time can be held to without a clock.
//!
//! [`spend`] stands in the loops whose length depends on a query. Outside unit tests it does nothing.

#[cfg(not(test))]
#[inline]
pub fn spend(_steps: usize) {}

#[cfg(test)]
pub use counted::spend;

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static SPENT: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts steps of this thread.
    pub fn spend(steps: usize) {
        SPENT.with(|spent| spent.set(spent.get() + steps));
    }

    /// The steps that `work` takes.
    pub fn spent<T>(work: impl FnOnce() -> T) -> usize {
        let before = SPENT.get();
        std::hint::black_box(work());
        SPENT.get() - before
    }
}

#[cfg(test)]
mod tests {
    use super::counted::spent;
    use crate::bank::{Answer, Channel, Dictionaries, Entry, EntryId};
    use crate::matching::{Analyzer, Index, Scope};
    use proptest::prelude::*;
    use std::sync::{Arc, LazyLock};

    static INDEX: LazyLock<Index> = LazyLock::new(|| {
        let group = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let dictionaries = Dictionaries {
            synonyms: vec![group(&["交易型开放式指数基金", "etf"])],
            contrast: vec![group(&["转入", "转出"])],
            ..Dictionaries::default()
        };
        let questions = [
            "科创板怎么开户",
            "资金怎么转入证券账户",
            "资金怎么转出证券账户",
            "ETF交易佣金是多少",
            "忘记交易密码怎么办",
            "一百万以上的利率是多少",
            "哈哈哈哈你好",
        ];
        let entries = questions.iter().enumerate().map(|(number, question)| {
            let id = EntryId::parse(&format!("e{number}")).expect("letters and digits");
            Arc::new(Entry::new(id, (*question).to_owned(), Answer::Text("答".to_owned())))
        });
        Index::build(entries, Arc::new(Analyzer::new(&dictionaries)))
    });

    const SCOPE: Scope<'static> = Scope {
        account: "",
        channel: Channel::Api,
        now: 0,
        category: None,
    };

    /// What could be looked at again and again: numerals, runs, pinyin, fillers, faces, the bank's own words.
    const AWKWARD: [&str; 34] = [
        "一",
        "十",
        "百万",
        "零",
        "百分之",
        "9",
        "1.",
        "w",
        "a",
        "n",
        "kai",
        "hu",
        "xian",
        "zh",
        "k",
        "etf",
        "请问",
        "你好",
        "呀",
        "谢谢",
        "哈",
        "[微笑]",
        "[",
        "/:",
        "+",
        "%",
        " ",
        "，",
        "怎么",
        "在哪",
        "科创板",
        "转出",
        "不",
        "\u{200b}",
    ];

    fn awkward_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => prop::sample::select(AWKWARD.as_slice()).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 1..10).prop_map(|pieces| pieces.concat())
    }

    /// Twice the text, at most twice the work: with room for where the repetitions meet, far from the four times that
    /// a second look at everything before would take.
    fn check(text: &str, work: impl Fn(&str) -> usize) {
        // As much as is analysed, or a little less.
        let times = (240 / text.chars().count()).max(4);
        let (once, twice) = (work(&text.repeat(times)), work(&text.repeat(2 * times)));
        assert!(
            twice * 2 <= once * 5 + 200,
            "{text:?}: {once} steps, and {twice} for twice as much"
        );
    }

    #[test]
    fn no_two_things_side_by_side_are_looked_at_again_and_again() {
        let analyzer = INDEX.analyzer();
        for first in AWKWARD {
            check(first, |text| spent(|| INDEX.search(text, SCOPE, 10)));
            for second in AWKWARD {
                check(&format!("{first}{second}"), |text| spent(|| analyzer.normalize(text)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn twice_the_text_is_twice_the_work(text in awkward_text()) {
            let analyzer = INDEX.analyzer();
            check(&text, |text| spent(|| analyzer.normalize(text)));
            check(&text, |text| spent(|| analyzer.analyze(text)));
            check(&text, |text| spent(|| INDEX.search(text, SCOPE, 10)));
        }

        #[test]
        fn an_analysis_is_no_larger_than_its_text(text in awkward_text(), times in 1_usize..80) {
            let analyzer = INDEX.analyzer();
            let text = text.repeat(times);
            let normalized = analyzer.normalize(&text);
            // NFKC makes eighteen characters of one at most, 啥 becomes 什么, and 百万 becomes 1000000.
            prop_assert!(normalized.chars().count() <= 18 * text.chars().count());
            let analysis = analyzer.analyze_normalized(&normalized);
            let (chars, bytes) = (analysis.text.chars().count(), analysis.text.len() as u32);
            // The longest synonym has ten characters.
            prop_assert!(chars <= 10 * normalized.chars().count());
            prop_assert!(analysis.units.len() <= chars);
            prop_assert_eq!(analysis.units.len(), analysis.unit_starts.len());
            prop_assert!(analysis.unit_starts.is_sorted_by(|a, b| a < b) && analysis.unit_starts.iter().all(|at| *at < bytes));
            // A character begins itself and at most four words around and inside the one it belongs to.
            prop_assert!(analysis.words.len() <= 5 * chars);
            prop_assert_eq!(analysis.words.len(), analysis.word_spans.len());
            for &(start, end) in &analysis.word_spans {
                prop_assert!(start < end && analysis.text.get(start as usize..end as usize).is_some());
            }
            prop_assert!(analysis.contrasts.len() <= chars);
        }
    }

    #[test]
    fn what_one_text_costs_is_counted() {
        let analyzer = INDEX.analyzer();
        assert!(spent(|| analyzer.normalize("科创板怎么开户")) >= 7);
        assert!(
            spent(|| INDEX.search("kechuangban zenme kaihu", SCOPE, 10)) > spent(|| analyzer.normalize("kechuangban"))
        );
    }
}
