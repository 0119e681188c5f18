//! A waiting answer, told to a message that may ask something itself.

use super::*;
use wxfaq::dialog::late::{Finding, tell, with_own};

const WAITED: &str = "晚到的答案。";
const ONCE_MORE: &str = "如果您刚才发的是新问题，请再发一次。";

/// What `text` gets in `talk` while this waits for it, which was asked with `question`.
fn told(talk: &mut Talk, finding: &Finding, question: &str, text: &str) -> (String, Outcome) {
    let own = talk.hear(&typed(text));
    let desk = talk.desk();
    let again = |desk: Desk<'_>| tell(finding, question, Session::default(), desk);
    let outcome = with_own(again(desk), again, own, text, desk);
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
fn a_waiting_list_keeps_its_numbers() {
    let mut talk = Talk::with(&SAMPLE);
    let list = Talk::with(&SAMPLE).ask("基金赎回");
    let (said, outcome) = told(&mut talk, &Finding::Nothing, "基金赎回", "科创板开户要什么条件");
    assert_eq!(said, format!("{}\n\n{ONCE_MORE}", list.trim_end()));
    talk.session = outcome.session.unwrap();
    assert_eq!(talk.session.shown, outcome.shown.end);
    assert!(matches!(talk.hear(&typed("2")).told, Told::Choice(_)));
}
