//! Lists: numbered, tapped, retyped, paged through, left.

use super::*;

#[test]
fn a_list_has_numbers_and_links_that_name_their_entries() {
    let (mut talk, ids) = offered();
    talk.session = Session::default();
    let list = talk.ask("基金赎回");
    assert!(
        list.starts_with("您是不是想问：\n1. <a href=\"weixin://bizmsgmenu?msgmenucontent="),
        "{list}"
    );
    assert!(list.contains(&format!("&msgmenuid=entry:{}\">", ids[0])), "{list}");
}

#[test]
fn a_list_is_chosen_from_by_number_in_any_writing() {
    for text in [
        "2",
        "２",
        "二",
        "第二个",
        "2.",
        "②",
        "选2",
        "2️⃣",
        "点2",
        "查看2",
        "我看第二个",
        "第2項",
        "2谢谢",
        "❷",
        "⑵",
        "Ⅱ",
    ] {
        let (mut talk, ids) = offered();
        assert_eq!(told_entry(&talk.hear(&typed(text))), Some(ids[1].as_str()), "{text}");
    }
}

#[test]
fn another_number_can_follow_the_first() {
    let (mut talk, ids) = offered();
    talk.ask("1");
    assert_eq!(told_entry(&talk.hear(&typed("3"))), Some(ids[2].as_str()));
}

#[test]
fn a_list_is_chosen_from_by_tap_even_without_a_session() {
    let (mut talk, ids) = offered();
    talk.session = Session::default();
    let outcome = talk.hear(&tapped("whatever the line said", &format!("entry:{}", ids[2])));
    assert_eq!(told_entry(&outcome), Some(ids[2].as_str()));
}

#[test]
fn a_list_is_chosen_from_by_retyping_its_line() {
    let (mut talk, ids) = offered();
    let question = talk.index.entry(&ids[2]).unwrap().question.clone();
    assert_eq!(
        told_entry(&talk.hear(&typed(&format!(" {question}？")))),
        Some(ids[2].as_str())
    );
}

#[test]
fn a_number_beyond_the_list_asks_again_and_keeps_it() {
    let (mut talk, ids) = offered();
    let shown = talk.session.shown;
    assert!(talk.ask("99").contains(&format!("1 到 {shown}")));
    assert!(talk.ask("0").contains(&format!("1 到 {shown}")));
    assert_eq!(told_entry(&talk.hear(&typed("1"))), Some(ids[0].as_str()));
}

#[test]
fn a_number_without_a_list_says_so() {
    assert!(Talk::with(&SAMPLE).ask("2").contains("没有可以选择的列表"));
}

#[test]
fn more_pages_through_the_list_and_numbers_count_on() {
    let entries: Vec<Entry> = (0..12)
        .map(|n| {
            entry(
                &format!("e{n:02}"),
                &format!(
                    "基金{}怎么赎回",
                    ["甲", "乙", "丙", "丁", "戊", "己", "庚", "辛", "壬", "癸", "子", "丑"][n]
                ),
                "好",
            )
        })
        .collect();
    let mut talk = Talk::of(&entries);
    let told = talk.hear(&typed("基金赎回")).told;
    assert!(matches!(told, Told::List(5)), "{told:?}");
    assert!(talk.session.offer.len() > 5, "{:?}", talk.session);
    let second = talk.ask("更多");
    assert!(second.starts_with("还有这些问题：\n6. "), "{second}");
    let sixth = talk.session.offer[5].to_string();
    assert_eq!(told_entry(&talk.hear(&typed("6"))), Some(sixth.as_str()));
    while talk.session.has_more() {
        talk.ask("更多");
    }
    assert!(talk.ask("更多").contains("没有更多"));
}

#[test]
fn a_new_question_leaves_the_list() {
    let (mut talk, _) = offered();
    assert!(talk.ask("科创板开户要什么条件").contains("50万"));
    assert!(talk.ask("2").contains("没有可以选择的列表"));
}

#[test]
fn an_entry_that_has_left_meanwhile_is_not_answered() {
    let (mut talk, ids) = offered();
    talk.index = talk.index.apply(&[Change::Remove(id(&ids[0]))]);
    assert!(talk.ask("1").contains("下线"));
    assert!(talk.say(&tapped("x", &format!("entry:{}", ids[0]))).contains("下线"));
}

#[test]
fn markup_in_a_question_cannot_leave_its_line() {
    let nasty = "基金</a><a href=\"https://evil.example/?a=1&b=2\">赎回";
    let mut talk = Talk::of(&[entry("a", nasty, "好"), entry("b", "基金赎回到哪里", "好")]);
    talk.session = Session {
        offer: vec![id("a"), id("b")],
        ..Session::default()
    };
    let list = talk.say(&tapped("更多", "more"));
    assert_eq!(list.matches("<a ").count(), 2, "{list}");
    assert!(!list.contains("<a href=\"https"), "{list}");
}

#[test]
fn a_list_of_long_questions_fits_one_reply() {
    let long = "很".repeat(300);
    let entries: Vec<Entry> = (0..10)
        .map(|n| entry(&format!("e{n}"), &format!("{n}{long}"), "好"))
        .collect();
    let mut talk = Talk::of(&entries);
    talk.max_bytes = 600;
    talk.session = Session {
        offer: entries.iter().map(|entry| entry.id.clone()).collect(),
        ..Session::default()
    };
    let first = talk.hear(&typed("更多"));
    assert!(matches!(first.told, Told::List(1..=3)), "{first:?}");
    assert_eq!(talk.session.shown, if let Told::List(n) = first.told { n } else { 0 });
}

#[test]
fn thanks_and_an_unknown_question_leave_the_list_on_the_table() {
    for (text, said) in [
        ("谢谢", "不客气"),
        ("今天天气怎么样", "还没有这个问题的答案"),
        ("你好", "你好呀"),
    ] {
        let (mut talk, ids) = offered();
        assert!(talk.ask(text).contains(said), "{text}");
        assert_eq!(told_entry(&talk.hear(&typed("2"))), Some(ids[1].as_str()), "{text}");
    }
}

#[test]
fn a_question_of_the_bank_is_never_taken_for_a_choice() {
    let mut bank: Vec<Entry> = SAMPLE.entries().map(|entry| (**entry).clone()).collect();
    let questions = ["第二个月账单", "2021年", "第二个", "更多问题", "查看2", "九号"];
    bank.extend(
        questions
            .iter()
            .enumerate()
            .map(|(n, question)| entry(&format!("x{n}"), question, "答")),
    );
    let index = Index::build(bank.into_iter().map(Arc::new), ANALYZER.clone());
    let (offer, _) = offered();
    for (n, question) in questions.iter().enumerate() {
        for session in [Session::default(), offer.session.clone()] {
            let mut talk = Talk::with(&index);
            talk.session = session;
            let outcome = talk.hear(&typed(question));
            assert_eq!(
                told_entry(&outcome),
                Some(format!("x{n}").as_str()),
                "{question}: {outcome:?}"
            );
        }
    }
}

#[test]
fn no_question_of_the_sample_bank_reads_as_a_choice() {
    let questions = SAMPLE.entries().flat_map(|entry| entry.phrasings().collect::<Vec<_>>());
    let taken: Vec<&str> = questions
        .filter(|text| dialog::choice::Pick::parse(text).is_some())
        .collect();
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn a_list_of_one_says_so_when_another_number_comes() {
    let mut talk = Talk::of(&[entry("a", "基金赎回到哪里", "好")]);
    talk.session = Session {
        offer: vec![id("a")],
        shown: 1,
        ..Session::default()
    };
    assert!(talk.ask("2").contains("只有 1 项，请回复 1，"));
}

#[test]
fn more_shows_no_blank_lines_for_entries_that_have_left() {
    let (mut talk, ids) = offered();
    assert!(ids.len() >= 8, "{ids:?}");
    talk.index = talk
        .index
        .apply(&[Change::Remove(id(&ids[5])), Change::Remove(id(&ids[7]))]);
    let page = talk.ask("更多");
    let sixth = talk.index.entry(&ids[6]).unwrap().question.clone();
    assert!(
        page.contains(&format!(">{sixth}</a>")) && !page.contains("></a>"),
        "{page}"
    );
    assert_eq!(told_entry(&talk.hear(&typed("6"))), Some(ids[6].as_str()));

    let (mut talk, ids) = offered();
    let gone: Vec<Change> = ids[5..].iter().map(|gone| Change::Remove(id(gone))).collect();
    talk.index = talk.index.apply(&gone);
    assert!(talk.ask("更多").contains("没有更多"));
    assert_eq!(told_entry(&talk.hear(&typed("2"))), Some(ids[1].as_str()));
}

#[test]
fn a_list_is_chosen_from_by_ordinal_words() {
    let (offer, ids) = offered();
    let shown = offer.session.shown;
    for (text, n) in [
        ("第一个", 0),
        ("上面那个", 0),
        ("最后一个", shown - 1),
        ("下面那个", shown - 1),
        ("倒数第二个", shown - 2),
        ("中间那个", shown / 2),
    ] {
        let mut talk = Talk::with(&SAMPLE);
        talk.session = offer.session.clone();
        assert_eq!(told_entry(&talk.hear(&typed(text))), Some(ids[n].as_str()), "{text}");
    }
    let mut talk = Talk::with(&SAMPLE);
    talk.session = offer.session.clone();
    assert!(talk.ask("倒数第九个").contains(&format!("1 到 {shown}")));
    talk.session.shown = 4;
    assert!(talk.ask("中间那个").contains("1 到 4"));
    assert!(Talk::with(&SAMPLE).ask("上面那个").contains("没有可以选择的列表"));
}

#[test]
fn a_list_is_chosen_from_by_a_clear_part_of_one_line_only() {
    let bank = [
        entry("a", "基金赎回多久到账", "三天"),
        entry("b", "基金赎回手续费是多少", "百分之一"),
        entry("c", "基金怎么赎回", "点卖出"),
    ];
    let listed = || {
        let mut talk = Talk::of(&bank);
        talk.session = Session {
            offer: ["a", "b", "c"].map(id).into(),
            shown: 3,
            ..Session::default()
        };
        talk
    };
    for (text, chosen) in [("多久到账", "a"), ("手续费是多少", "b"), ("赎回多久到账？", "a")] {
        let outcome = listed().hear(&typed(text));
        assert_eq!(outcome.told, Told::Choice(id(chosen)), "{text}");
    }
    // In every line, or too little of one.
    for text in ["基金赎回", "基金", "到账"] {
        let told = listed().hear(&typed(text)).told;
        assert!(!matches!(told, Told::Choice(_)), "{text}: {told:?}");
    }
}

#[test]
fn a_page_is_not_told_to_tap_what_it_cannot() {
    let dead = ["点击", "有用", "没用"];
    for (channel, has_taps) in [(Channel::Wechat, true), (Channel::Api, false)] {
        let mut talk = Talk::with(&SAMPLE);
        (talk.channel, talk.habits.feedback) = (channel, true);
        talk.hot = vec![id("sec-001")];
        let list = talk.ask("基金赎回");
        assert!(list.contains("\n1. ") && list.contains("回复数字"), "{list}");
        assert_eq!(list.contains("点击"), has_taps, "{list}");
        let answer = talk.ask("科创板开户要什么条件");
        assert_eq!(dead.iter().any(|word| answer.contains(word)), has_taps, "{answer}");
        talk.ask("今天天气怎么样");
        let help = talk.ask("明天天气怎么样");
        assert!(help.contains("\n1. "), "{help}");
        assert_eq!(help.contains("点击"), has_taps, "{help}");
    }
}
