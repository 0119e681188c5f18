//! A waiting answer, told to a message that may ask something itself.

use super::*;
use wxfaq::bank::rule;
use wxfaq::dialog::late::{Brought, FileAnswer, Finding, tell, with_own};

const WAITED: &str = "晚到的答案。";
const ONCE_MORE: &str = "如果您刚才发的是新问题，请再发一次。";

const WAITS: &str = "您之前那个问题的答案也有了，回复“好”查看。";

/// What `text` comes to in `talk` while this waits for it, which was asked with `question`.
fn brought(talk: &mut Talk, finding: &Finding, question: &str, text: &str) -> Brought {
    let own = talk.hear(&typed(text));
    let desk = talk.desk();
    let again = |desk: Desk<'_>| tell(finding, question, Session::default(), desk);
    with_own(again(desk), again, own, text, desk)
}

/// What `text` gets where it is told.
fn told(talk: &mut Talk, finding: &Finding, question: &str, text: &str) -> (String, Outcome) {
    let Brought::Told(outcome) = brought(talk, finding, question, text) else {
        panic!("it waits on: {text}")
    };
    let Reply::Text { content } = &outcome.reply else {
        panic!("{outcome:?}")
    };
    (content.clone(), outcome)
}

fn waited() -> Finding {
    Finding::of_words(Some(WAITED.to_owned()))
}

#[test]
fn only_a_direct_answer_in_words_stands_beside_a_waiting_one() {
    let file = Answer::parse("image", r#"{"file":"away.png"}"#).unwrap();
    let away = Talk::of(&[Entry::new(id("map"), "营业网点地图".into(), file)]).index;
    for (index, text) in [
        (&away, "营业网点地图"),
        (&SAMPLE, "基金赎回"),
        (&SAMPLE, "人工"),
        (&SAMPLE, "火星旅游团几月出发"),
    ] {
        let talk = &mut Talk::with(index);
        let (said, outcome) = told(talk, &waited(), "", text);
        assert_eq!(said, format!("{WAITED}\n\n{ONCE_MORE}"), "{text}");
        assert_eq!(
            outcome.session,
            Some(Session::default()),
            "no list to choose from: {text}"
        );
    }
    let mut sample = Talk::with(&SAMPLE);
    let answer = Talk::with(&SAMPLE).ask("科创板开户要什么条件");
    let (said, outcome) = told(&mut sample, &waited(), "", "科创板开户要什么条件");
    assert_eq!(said, format!("{WAITED}\n\n关于您刚才的问题：\n{answer}"));
    assert!(matches!(outcome.told, Told::Answer(..)), "{outcome:?}");
    for text in ["你好", "谢谢", "2", "？", "有用"] {
        assert_eq!(told(&mut sample, &waited(), "", text).0, WAITED, "{text}");
    }
}

#[test]
fn the_rule_is_named_whose_words_a_waiting_answer_has() {
    let line = r#"{"id":"quiet","trigger":{"sensitive":["坏词"]},"replies":["不谈这个。"]}"#;
    let found = Finding::of_words(Some("坏词".to_owned()));
    for (finding, text, named) in [
        (&found, "你好", Some("quiet")),
        (&found, "科创板开户要什么条件", Some("quiet")),
        (&found, "基金赎回", Some("quiet")),
        (&waited(), "科创板开户要什么条件", None),
    ] {
        let mut talk = Talk::with(&SAMPLE);
        talk.rules = RuleBook::new([rule::file::from_line(line).unwrap()], &[]);
        let (said, outcome) = told(&mut talk, finding, "", text);
        assert_eq!(said.contains("不谈这个。"), named.is_some(), "{said}");
        let rule = outcome.rule.map(|rule| rule.to_string());
        assert_eq!(rule.as_deref(), named, "{text}");
    }
}

#[test]
fn a_waiting_list_keeps_its_numbers() {
    let mut talk = Talk::with(&SAMPLE);
    let list = Talk::with(&SAMPLE).ask("基金赎回");
    let (said, outcome) = told(&mut talk, &Finding::Nothing, "基金赎回", "科创板开户要什么条件");
    assert_eq!(said, format!("{}\n\n{ONCE_MORE}", list.trim_end()));
    talk.session = outcome.session.unwrap();
    assert_eq!(talk.session.shown, outcome.shown.end);
    assert!(matches!(talk.hear(&typed("2")).told, Told::Choice(_)));
}

#[test]
fn what_is_chosen_from_the_list_on_the_table_is_answered() {
    let list = "基金赎回";
    let mut alone = Talk::with(&SAMPLE);
    alone.ask(list);
    let chosen = alone.ask("2");
    let mut talk = Talk::with(&SAMPLE);
    talk.ask(list);
    let (said, outcome) = told(&mut talk, &waited(), "", "2");
    assert_eq!(said, format!("{WAITED}\n\n关于您刚才的问题：\n{chosen}"));
    assert!(matches!(outcome.told, Told::Choice(_)), "{outcome:?}");

    // Numbers of two lists, the next page, and a choice that has no room beside it: its list would be gone.
    let long = Finding::of_words(Some("长".repeat(600)));
    for (finding, question, text) in [(Finding::Nothing, list, "2"), (waited(), "", "更多"), (long, "", "2")] {
        let mut talk = Talk::with(&SAMPLE);
        talk.habits.also_asked = 0;
        talk.ask(list);
        let mut alone = Talk::with(&SAMPLE);
        alone.ask(list);
        let own = alone.hear(&typed(text));
        let Reply::Text { content } = &own.reply else {
            panic!("{own:?}")
        };
        let Brought::Waits(outcome) = brought(&mut talk, &finding, question, text) else {
            panic!("told: {text}")
        };
        assert!(matches!(own.told, Told::Choice(_) | Told::List(_)), "{own:?}");
        let said = format!("{}\n\n{WAITS}", content.trim_end());
        let reply = Reply::Text { content: said };
        assert_eq!(outcome, Outcome { reply, ..own }, "{text}");
    }
}

#[test]
fn the_next_part_of_a_long_answer_comes_first() {
    let long = Answer::Text("一句长长的话。".repeat(200));
    let bank = Talk::of(&[Entry::new(id("long"), "章程全文".into(), long)]).index;
    let mut talk = Talk::with(&bank);
    talk.ask("章程全文");
    assert!(talk.session.rest.is_some());
    let Brought::Waits(outcome) = brought(&mut talk, &waited(), "", "更多") else {
        panic!("told")
    };
    assert_eq!(outcome.told, Told::Part);
}

#[test]
fn what_the_bank_knows_is_answered_before_what_has_no_words() {
    let picture = Answer::parse("image", r#"{"media_id":"M1"}"#).unwrap();
    let picture = Finding::File(FileAnswer::of(&picture));
    for text in ["科创板开户要什么条件", "基金赎回", "人工"] {
        let alone = Talk::with(&SAMPLE).hear(&typed(text));
        let Brought::Waits(outcome) = brought(&mut Talk::with(&SAMPLE), &picture, "", text) else {
            panic!("told: {text}")
        };
        assert_eq!((&outcome.told, &outcome.session), (&alone.told, &alone.session));
        match (&alone.reply, outcome.reply) {
            (Reply::Text { content: own }, Reply::Text { content }) => {
                assert_eq!(content, format!("{}\n\n{WAITS}", own.trim_end()));
            }
            (own, reply) => assert_eq!(*own, reply),
        }
    }
    // A word of more than one reply holds goes without.
    let mut tight = Talk::with(&SAMPLE);
    let own = Talk::with(&SAMPLE).ask("科创板开户要什么条件");
    tight.max_bytes = own.len() + 10;
    let Brought::Waits(outcome) = brought(&mut tight, &picture, "", "科创板开户要什么条件") else {
        panic!("told")
    };
    assert_eq!(outcome.reply, Reply::Text { content: own });
    for text in ["好", "谢谢", "1", "火星旅游团几月出发"] {
        let brought = brought(&mut Talk::with(&SAMPLE), &picture, "", text);
        assert!(
            matches!(&brought, Brought::Told(outcome) if matches!(outcome.reply, Reply::Image { .. })),
            "{text}: {brought:?}"
        );
    }
}
