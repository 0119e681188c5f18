//! 有用 and 没用, and what follows them.

use super::*;
use wxfaq::dialog::{Answered, Feedback, Given, Verdict};

const QUESTION: &str = "科创板开户要什么条件";

/// A talk in which sec-001 has just been answered.
fn answered() -> (Talk, Answered) {
    let mut talk = Talk::with(&SAMPLE);
    talk.habits.feedback = true;
    let told = talk.hear(&typed(QUESTION)).told;
    let Told::Answer(entry, score) = told else {
        panic!("{told:?}")
    };
    let about = Answered {
        entry,
        score: Some(score.steps()),
        message: "message:1".into(),
    };
    (talk, about)
}

fn verdict(verdict: Verdict, about: &Answered) -> Feedback {
    Feedback {
        given: Given::Verdict(verdict),
        about: about.clone(),
    }
}

#[test]
fn an_answer_asks_for_a_verdict_where_the_operator_wants_it() {
    let mut talk = Talk::with(&SAMPLE);
    assert!(!talk.ask(QUESTION).contains("没用"));
    talk.habits.feedback = true;
    let answer = talk.ask(QUESTION);
    assert!(
        answer.contains("msgmenucontent=有用&msgmenuid=useful:sec-001\">有用</a>"),
        "{answer}"
    );
    assert!(answer.contains("msgmenuid=useless:sec-001\">没用</a>"), "{answer}");
    assert!(!talk.ask("谢谢").contains("没用"), "small talk is not judged");
}

#[test]
fn a_verdict_by_tap_or_text_is_about_the_answer_before() {
    for (text, said) in [
        (typed("有用"), Verdict::Useful),
        (typed("👍"), Verdict::Useful),
        (typed("没用。"), Verdict::Useless),
        (tapped("有用", "useful:sec-001"), Verdict::Useful),
        (tapped("x", "useless:sec-001"), Verdict::Useless),
    ] {
        let (mut talk, about) = answered();
        let outcome = talk.hear(&text);
        assert_eq!(outcome.feedback, Some(verdict(said, &about)), "{text:?}");
        assert_eq!(outcome.told, Told::Feedback);
    }
}

#[test]
fn a_typed_verdict_is_about_nothing_but_the_answer_right_before_it() {
    for (between, is_about) in [
        (&["谢谢"][..], true),
        (&["更多"], true),
        (&["人工"], true),
        (&["😀"], true),
        (&["火星旅游团几月出发"], false),
        (&["火星旅游团几月出发", "木星呢，飞船票价多少钱"], false),
        (&["基金赎回"], false),
        (&["基金赎回", "人工"], false),
    ] {
        let (mut talk, about) = answered();
        for text in between {
            talk.ask(text);
        }
        let outcome = talk.hear(&typed("没用"));
        let expected = is_about.then(|| verdict(Verdict::Useless, &about));
        assert_eq!(outcome.feedback, expected, "{between:?}");
        assert_eq!(outcome.told == Told::Hint, !is_about, "{between:?}: {outcome:?}");
    }
    let mut talk = Talk::with(&SAMPLE);
    talk.habits.feedback = true;
    let hint = talk.ask("没用");
    assert!(hint.contains("msgmenuid=human\">人工</a>"), "{hint}");
    assert!(talk.ask("👍").contains("谢谢"));
    assert_eq!(talk.session.misses, 0);
}

#[test]
fn a_tap_on_an_earlier_answer_is_about_that_one() {
    let (mut talk, _) = answered();
    let outcome = talk.hear(&tapped("没用", "useless:sec-002"));
    let about = Answered {
        entry: id("sec-002"),
        score: None,
        message: String::new(),
    };
    assert_eq!(outcome.feedback, Some(verdict(Verdict::Useless, &about)));
    let comment = talk.hear(&typed("天气说得不对呀你们"));
    assert_eq!(comment.feedback.unwrap().about, about);
}

#[test]
fn words_after_useless_are_kept_once_and_a_clear_question_is_answered() {
    let (mut talk, about) = answered();
    talk.ask("没用");
    let comment = Some(Feedback {
        given: Given::Comment,
        about,
    });
    let outcome = talk.hear(&typed("天气说得不对呀你们"));
    assert_eq!((outcome.feedback, outcome.told), (comment.clone(), Told::Feedback));
    let next = talk.hear(&typed("天气说得不对呀你们"));
    assert_eq!((next.feedback, next.told), (None, Told::NotFound));

    let (mut talk, _) = answered();
    talk.ask("没用");
    let outcome = talk.hear(&typed("怎么开发票"));
    assert_eq!(
        (told_entry(&outcome), outcome.feedback.as_ref()),
        (Some("wx-022"), None)
    );

    // What may be either is both.
    let (mut talk, _) = answered();
    talk.ask("没用");
    let outcome = talk.hear(&typed("基金赎回"));
    assert!(matches!(outcome.told, Told::List(_)));
    assert_eq!(outcome.feedback, comment);
}

#[test]
fn a_number_after_useless_still_chooses_and_thanks_still_wait() {
    let (mut talk, ids) = offered();
    talk.habits.feedback = true;
    talk.ask("1");
    talk.ask("没用");
    talk.ask("谢谢");
    assert!(talk.session.awaits_comment);
    let outcome = talk.hear(&typed("2"));
    assert_eq!(
        (told_entry(&outcome), outcome.feedback.as_ref()),
        (Some(ids[1].as_str()), None)
    );
    assert!(!talk.session.awaits_comment);
}

#[test]
fn verdicts_without_an_answer_or_of_a_question_of_the_bank_are_questions() {
    let mut talk = Talk::with(&SAMPLE);
    talk.habits.feedback = true;
    assert_eq!(talk.hear(&typed("没用")).feedback, None);
    let mut talk = Talk::of(&[entry("a", "没用", "怎么会呢"), entry("b", "怎么开户", "带上身份证")]);
    talk.habits.feedback = true;
    talk.ask("怎么开户");
    assert_eq!(told_entry(&talk.hear(&typed("没用"))), Some("a"));
    let gone = talk.hear(&tapped("没用", "useless:gone"));
    assert_eq!((gone.feedback, gone.told), (None, Told::Hint));
}

#[test]
fn a_hand_off_is_no_answer_to_judge_or_to_follow_up() {
    for ask_for_human in ["人工", "转人工"] {
        let (mut talk, about) = answered();
        let outcome = talk.hear(&typed(ask_for_human));
        assert!(matches!(outcome.reply, Reply::Transfer { .. }), "{outcome:?}");
        assert_eq!(talk.session.answered, Some(about.clone()));
        let judged = talk.hear(&typed("没用"));
        assert_eq!(
            judged.feedback,
            Some(verdict(Verdict::Useless, &about)),
            "{ask_for_human}"
        );
    }
    let mut talk = Talk::with(&SAMPLE);
    talk.habits.feedback = true;
    talk.session.misses = 2;
    talk.ask("人工");
    assert_eq!((talk.session.answered.as_ref(), talk.session.misses), (None, 0));
}

#[test]
fn an_answer_that_the_follower_may_not_see_is_not_judged() {
    let mut entry = Entry::new(
        EntryId::parse("sec-001").unwrap(),
        QUESTION.into(),
        Answer::Text("要。".into()),
    );
    entry.accounts = ["another".to_owned()].into();
    let mut talk = Talk::of(&[entry]);
    for id in ["useful:sec-001", "useless:sec-001", "useful:nowhere"] {
        let outcome = talk.hear(&tapped("x", id));
        assert_eq!((outcome.feedback, outcome.told), (None, Told::Hint), "{id}");
    }
}
