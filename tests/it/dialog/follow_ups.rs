//! What goes on after an answer: related questions, short follow-ups, misses, humans.

use super::*;
use wxfaq::dialog::Handoff;

fn curious(index: &Index) -> Talk {
    let mut talk = Talk::with(index);
    talk.habits.also_asked = 3;
    talk.habits.also_asked_margin = 1.0;
    talk
}

#[test]
fn a_direct_answer_names_at_most_so_many_others_within_the_margin() {
    let (question, best) = ("科创板开户要什么条件", "sec-001");
    let hits = SAMPLE.search(question, SCOPE, 20).hits;
    let floor = |margin: f64| (hits[0].score.get() - margin).max(0.3);
    for (most, margin) in [(3, 1.0), (1, 1.0), (3, 0.45), (3, 0.0), (0, 1.0)] {
        let mut talk = curious(&SAMPLE);
        (talk.habits.also_asked, talk.habits.also_asked_margin) = (most, margin);
        let outcome = talk.hear(&typed(question));
        assert_eq!(told_entry(&outcome), Some(best));
        let near = hits[1..].iter().filter(|hit| hit.score.get() >= floor(margin));
        let expected: Vec<EntryId> = near.take(most).map(|hit| hit.entry.id.clone()).collect();
        assert_eq!(talk.session.offer, expected, "{most} {margin}");
        assert_eq!(talk.session.shown, expected.len());
        let Reply::Text { content } = outcome.reply else {
            panic!("{:?}", outcome.reply)
        };
        assert_eq!(content.contains("您可能还想问："), !expected.is_empty(), "{content}");
        assert_eq!(content.matches("msgmenuid=entry:").count(), expected.len(), "{content}");
    }
}

#[test]
fn what_is_named_beside_an_answer_is_chosen_by_number() {
    let mut talk = curious(&SAMPLE);
    talk.ask("科创板开户要什么条件");
    let second = talk.session.offer[1].clone();
    assert_eq!(talk.hear(&typed("2")).told, Told::Choice(second));
}

#[test]
fn an_answer_that_fills_its_reply_names_nothing_else() {
    let bank = [
        entry("a", "基金赎回多久能到账", &"很".repeat(660)),
        entry("b", "基金赎回后多久能查到", "好"),
    ];
    let mut talk = curious(&Index::build(bank.into_iter().map(Arc::new), ANALYZER.clone()));
    let outcome = talk.hear(&typed("基金赎回多久能到账"));
    assert_eq!(told_entry(&outcome), Some("a"));
    assert!(
        talk.session.offer.is_empty() && !talk.session.has_more(),
        "{:?}",
        talk.session
    );
    talk.max_bytes = 2_048 * 2;
    assert!(talk.ask("基金赎回多久能到账").contains("msgmenuid=entry:b"));
}

/// What is told after `first` and then `text`.
fn after(first: &str, text: &str) -> Told {
    said_after(first, text).told
}

fn said_after(first: &str, text: &str) -> Outcome {
    let mut talk = Talk::with(&SAMPLE);
    let outcome = talk.hear(&typed(first));
    assert!(told_entry(&outcome).is_some(), "{first}: {outcome:?}");
    talk.hear(&typed(text))
}

#[test]
fn a_short_follow_up_is_understood_by_what_was_answered_last() {
    for (first, text, meant) in [
        ("基金从业资格考试怎么报名", "那费用呢", "exam-009"),
        ("基金从业资格考试怎么报名", "费用是多少", "exam-009"),
        ("基金赎回多久到账", "那费用呢", "fund-009"),
        ("基金赎回多久到账", "那手续费呢", "fund-009"),
        ("科创板怎么开户", "那创业板呢", "sec-002"),
        ("储蓄卡要收年费吗", "信用卡的呢", "card-008"),
    ] {
        let outcome = said_after(first, text);
        let session = outcome.session.as_ref().unwrap();
        let is_offered = session.offer.iter().take(2).any(|id| id.as_str() == meant);
        assert!(
            is_offered || told_entry(&outcome) == Some(meant),
            "{first} / {text}: {outcome:?}"
        );
        let said = ["exam-007", "fund-007", "sec-001", "card-007"].map(id);
        assert!(
            !session.offer.iter().any(|offered| said.contains(offered)),
            "what has been said is not offered again"
        );
    }
    assert_eq!(Talk::with(&SAMPLE).hear(&typed("那费用呢")).told, Told::NotFound);
}

#[test]
fn what_was_answered_is_said_again_where_it_says_when_or_how_much() {
    for (first, text, said) in [
        ("信用卡怎么注销", "要多久", "card-010"),
        ("委托怎么撤单", "要收钱不", "sec-042"),
    ] {
        assert_eq!(told_entry_of(&after(first, text)), Some(said), "{first} / {text}");
    }
    // It names no sum, and the bank has nothing else to say.
    assert_eq!(after("信用卡怎么注销", "哪家最好"), Told::NotFound);
}

#[test]
fn what_the_bank_does_not_know_ends_the_topic_before_it() {
    let mut talk = Talk::with(&SAMPLE);
    talk.ask("信用卡怎么注销");
    assert_eq!(talk.hear(&typed("护照怎么办理")).told, Told::NotFound);
    assert_eq!(talk.hear(&typed("要多久")).told, Told::NotFound);
    talk.ask("信用卡怎么注销");
    assert_eq!(told_entry_of(&talk.hear(&typed("要多久")).told), Some("card-010"));
}

#[test]
fn a_bare_subject_gets_its_own_list_whatever_was_answered_before() {
    for subject in ["基金", "开户"] {
        let fresh = Talk::with(&SAMPLE).hear(&typed(subject));
        assert!(matches!(fresh.told, Told::List(_)), "{subject}: {fresh:?}");
        assert_eq!(after("创业板权限怎么开通", subject), fresh.told, "{subject}");
    }
}

#[test]
fn an_answer_is_said_again_to_nothing_but_a_bare_question() {
    // Each would find no answer alone, and the answer before names a time.
    for text in ["今天几号", "你们几点上班", "几点了", "飞船多久飞到火星"] {
        assert_ne!(
            told_entry_of(&after("信用卡怎么注销", text)),
            Some("card-010"),
            "{text}"
        );
    }
    // No duration and no cost stands there.
    assert_ne!(told_entry_of(&after("科创板怎么开户", "要多久")), Some("sec-001"));
    assert_ne!(told_entry_of(&after("怎么投诉银行", "费用呢")), Some("complaint-003"));
}

#[test]
fn a_follow_up_that_only_leads_back_or_says_enough_stands_for_itself() {
    // The topic with the text finds nothing but what has been said.
    assert_eq!(after("科创板怎么开户", "那费用呢"), Told::NotFound);
    assert_eq!(after("科创板怎么开户", "今天天气怎么样"), Told::NotFound);
    assert_eq!(told_entry_of(&after("科创板怎么开户", "怎么开发票")), Some("wx-022"));
    assert_eq!(
        told_entry_of(&after("基金从业资格考试怎么报名", "谢谢")),
        Some("st-002")
    );
}

fn told_entry_of(told: &Told) -> Option<&str> {
    match told {
        Told::Answer(id, _) | Told::Choice(id) => Some(id.as_str()),
        _ => None,
    }
}

#[test]
fn thanks_between_an_answer_and_its_follow_up_do_not_matter() {
    let mut talk = Talk::with(&SAMPLE);
    talk.ask("基金从业资格考试怎么报名");
    let before = talk.session.clone();
    talk.ask("谢谢");
    assert_eq!(talk.session, before);
}

#[test]
fn the_second_miss_in_a_row_offers_a_human_and_what_is_asked_most() {
    let mut talk = Talk::with(&SAMPLE);
    talk.hot = ["sec-001", "no-longer", "wx-022"].map(id).into();
    let first = talk.ask("今天天气怎么样");
    assert!(!first.contains("人工"), "{first}");
    let second = talk.ask("晚饭吃什么好呢");
    assert!(
        second.contains("还是没有") && second.contains("msgmenuid=human"),
        "{second}"
    );
    assert!(
        second.contains("\n1. ") && second.contains("\n2. ") && !second.contains("\n3. "),
        "{second}"
    );
    assert_eq!(talk.hear(&typed("2")).told, Told::Choice(id("wx-022")));
    assert!(
        !talk.ask("今天天气怎么样").contains("还是没有"),
        "an answer begins the count anew"
    );
}

#[test]
fn misses_without_anything_to_offer_keep_the_list_and_promise_no_human() {
    let (mut talk, ids) = offered();
    talk.handoff = Handoff::Never;
    talk.ask("今天天气怎么样");
    let second = talk.ask("晚饭吃什么好呢");
    assert!(second.contains("还是没有") && !second.contains("人工"), "{second}");
    assert_eq!(told_entry(&talk.hear(&typed("2"))), Some(ids[1].as_str()));
}

#[test]
fn who_asks_for_a_human_gets_one_where_the_account_hands_over() {
    let bank = [entry("a", "怎么开户", "带上身份证")];
    for (handoff, transfers) in [(Handoff::Bank, false), (Handoff::Always, true), (Handoff::Never, false)] {
        for inbound in [typed("转人工"), typed("我想找真人聊聊"), tapped("人工", "human")] {
            let mut talk = Talk::of(&bank);
            talk.handoff = handoff;
            let outcome = talk.hear(&inbound);
            assert_eq!(outcome.told, Told::Human, "{inbound:?}");
            assert_eq!(
                matches!(outcome.reply, Reply::Transfer { .. }),
                transfers,
                "{handoff:?}: {:?}",
                outcome.reply
            );
        }
    }
}

#[test]
fn the_banks_own_words_about_humans_come_first_and_no_desk_means_a_text() {
    let agent = Answer::Handoff {
        kf_account: Some("a@b".into()),
    };
    let bank = [Entry::new(id("h"), "人工".into(), agent)];
    for (handoff, transfers) in [(Handoff::Bank, true), (Handoff::Always, true), (Handoff::Never, false)] {
        for inbound in [typed("人工"), tapped("人工", "human")] {
            let mut talk = Talk::of(&bank);
            talk.handoff = handoff;
            let outcome = talk.hear(&inbound);
            assert_eq!(told_entry(&outcome), Some("h"));
            let agent = Reply::Transfer {
                kf_account: Some("a@b".into()),
            };
            assert_eq!(outcome.reply == agent, transfers, "{handoff:?}: {:?}", outcome.reply);
        }
    }
}
