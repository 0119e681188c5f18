//! Categories with default replies: named, listed, come near.

use super::*;
use wxfaq::bank::Category;
use wxfaq::bank::rule;

/// Entries about opening accounts, in a tree, and one about funds.
fn bank() -> Vec<Entry> {
    let within = |name: &str, category: &str, question: &str, priority| Entry {
        category: category.to_owned(),
        priority,
        ..entry(name, question, "题库的答案")
    };
    vec![
        within("a1", "开户", "开户需要带哪些证件", 0),
        within("a2", "开户/科创板", "科创板权限怎么申请", 0),
        within("a3", "开户/科创板", "科创板门槛是多少", 5),
        within("a4", "开户/创业板", "创业板权限怎么申请", 0),
        within("a5", "开户费用", "开立账户收费吗", 0),
        within("f1", "基金", "基金申购什么时候确认", 0),
        within("f2", "基金", "基金赎回什么时候到账", 0),
        Entry {
            accounts: ["other".to_owned()].into(),
            ..within("p1", "私募", "私募产品怎么购买", 0)
        },
    ]
}

fn category(category: &str, title: &str, reply: &str) -> Category {
    Category {
        title: title.to_owned(),
        reply: reply.to_owned(),
        ..Category::new(category)
    }
}

fn talk() -> Talk {
    let mut talk = Talk::of(&bank());
    talk.categories = CategoryBook::new([
        category("开户", "开户指南", "《开户请到网点》"),
        category("开户/科创板", "", ""),
        category("开户/创业板", "", "《创业板见公告》"),
        category("空的", "", "《没有条目》"),
        category("私募", "", "《私募》"),
        category("基金", "", ""),
    ]);
    talk
}

/// The questions a reply lists, by their entries.
fn listed(talk: &mut Talk, text: &str) -> (String, Vec<String>) {
    let outcome = talk.hear(&typed(text));
    let Reply::Text { content } = &outcome.reply else {
        panic!("{outcome:?}")
    };
    let head = content.lines().next().unwrap_or_default().to_owned();
    let session = outcome.session.clone().unwrap_or_default();
    let shown = session.offer[outcome.shown.clone()].iter();
    (head, shown.map(ToString::to_string).collect())
}

#[test]
fn a_categorys_name_brings_its_default_reply_and_its_entries() {
    // What is typed, what heads the reply, which entries are listed.
    let cases: [(&str, &str, &[&str]); 7] = [
        ("开户指南", "《开户请到网点》", &["a3", "a1", "a2", "a4"]),
        ("请问开户？", "《开户请到网点》", &["a3", "a1", "a2", "a4"]),
        ("開戶", "《开户请到网点》", &["a3", "a1", "a2", "a4"]),
        ("科创板", "《开户请到网点》", &["a3", "a2"]),
        ("开户/科创板", "《开户请到网点》", &["a3", "a2"]),
        ("创业板", "《创业板见公告》", &["a4"]),
        // No default reply stands for it: as if it had not been set.
        ("基金", "您是不是想问：", &["f2", "f1"]),
    ];
    for (text, head, expected) in cases {
        let (found, mut ids) = listed(&mut talk(), text);
        let mut expected = expected.to_vec();
        if head == "您是不是想问：" {
            ids.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(
            (found.as_str(), ids),
            (head, expected.iter().map(|id| (*id).to_owned()).collect()),
            "{text}"
        );
    }
}

#[test]
fn what_is_asked_most_stands_first_among_equals_and_is_chosen_by_number() {
    let mut talk = talk();
    talk.hot = vec![id("f1"), id("a4"), id("a3")];
    let (_, ids) = listed(&mut talk, "开户");
    assert_eq!(ids, ["a3", "a4", "a1", "a2"]);
    assert_eq!(told_entry(&talk.hear(&typed("2"))), Some("a4"));
}

#[test]
fn an_entry_or_a_rule_that_answers_the_name_goes_before_the_category() {
    let mut entries = bank();
    entries.push(entry("own", "开户", "《题库有这个问题》"));
    let mut by_entry = talk();
    by_entry.index = Talk::of(&entries).index;
    assert_eq!(by_entry.ask("开户"), "《题库有这个问题》");
    let mut by_rule = talk();
    let line = r#"{"id":"r","trigger":{"keywords":[{"equals":"开户"}]},"replies":["《规则》"]}"#;
    by_rule.rules = RuleBook::new([rule::file::from_line(line).unwrap()], &[]);
    assert_eq!(by_rule.ask("开户"), "《规则》");
}

#[test]
fn a_category_of_which_the_follower_may_see_nothing_is_as_if_it_were_not_there() {
    for text in ["空的", "私募"] {
        let said = talk().ask(text);
        assert!(!said.contains('《'), "{text}: {said}");
    }
}

#[test]
fn a_category_the_follower_cannot_see_takes_no_name_from_one_they_can() {
    let mut talk = talk();
    let (seen, unseen) = ("《公募》", "《私募》");
    talk.categories = CategoryBook::new([category("基金/产品", "", seen), category("私募/产品", "", unseen)]);
    let mut entries = bank();
    entries[6].category = "基金/产品".to_owned();
    entries[7].category = "私募/产品".to_owned();
    talk.index = Talk::of(&entries).index;
    assert_eq!(listed(&mut talk, "产品"), (seen.to_owned(), vec!["f2".to_owned()]));
}

#[test]
fn a_verdict_after_a_categorys_list_is_about_no_answer() {
    let mut talk = talk();
    talk.habits.feedback = true;
    assert_eq!(told_entry(&talk.hear(&typed("开户需要带哪些证件"))), Some("a1"));
    talk.ask("开户指南");
    assert_eq!(talk.hear(&typed("没用")).feedback, None);
}

#[test]
fn a_name_that_several_categories_have_means_none_of_them_unless_one_has_it_as_a_title() {
    let book = |title| {
        let reply = "《好》";
        CategoryBook::new([category("开户/费用", title, reply), category("交易/费用", "", reply)])
    };
    assert_eq!(book("").named("费用", |_| true), None);
    assert_eq!(book("费用").named("费用", |_| true), Some("开户/费用"));
    assert_eq!(book("").named("交易/费用", |_| true), Some("交易/费用"));
    let warned: Vec<String> = book("").shared_names().iter().map(ToString::to_string).collect();
    assert!(
        warned.len() == 1 && warned[0].starts_with("交易/费用: \"费用\" alone means none of"),
        "{warned:?}"
    );
    assert!(book("费用").shared_names().is_empty());
}

#[test]
fn a_list_whose_entries_stand_in_one_category_is_headed_by_its_reply() {
    // 权限怎么申请 finds 科创板 and 创业板, whose nearest common category is 开户.
    let mut one = talk();
    let (head, ids) = listed(&mut one, "权限申请");
    assert_eq!(head, "《开户请到网点》", "{ids:?}");
    assert!(ids.len() >= 2, "{ids:?}");
    // Without a reply for what they have in common the heading is the usual one.
    let mut without = talk();
    without.categories = CategoryBook::new([category("开户/创业板", "", "《创业板见公告》")]);
    assert_eq!(listed(&mut without, "权限申请").0, "您是不是想问：");
}

#[test]
fn what_comes_near_in_one_category_is_answered_by_its_reply_and_still_counts_as_a_miss() {
    let mut talk = talk();
    talk.handoff = Handoff::Always;
    talk.thresholds = Thresholds {
        answer: 0.99,
        suggest: 0.97,
    };
    let outcome = talk.hear(&typed("创业板权限申请时间"));
    assert_eq!(outcome.told, Told::NotFound, "{outcome:?}");
    let Reply::Text { content } = outcome.reply else {
        panic!()
    };
    assert!(
        content.starts_with("《创业板见公告》") || content.starts_with("《开户请到网点》"),
        "{content}"
    );
    let again = talk.ask("创业板权限申请时间");
    assert!(
        again.contains('《') && again.contains("需要真人帮忙"),
        "the help follows: {again}"
    );
    let far = talk.ask("今天天气怎么样");
    assert!(!far.contains('《') && far.contains("还是没有找到答案"), "{far}");
}

#[test]
fn why_a_category_is_spoken_of_can_be_told() {
    let talk = talk();
    let told = |text: &str| {
        let matches = talk.index.search(text, SCOPE, dialog::MAX_OFFER);
        let desk = talk.desk();
        dialog::topic(text, &matches, desk).map(|topic| topic.to_string())
    };
    let named =
        "the message is the name of category 开户/科创板: its entries are listed, headed by the default reply of 开户";
    assert_eq!(told("科创板").as_deref(), Some(named));
    let listed = told("权限申请").unwrap();
    assert!(
        listed.starts_with("all that is listed stands in category 开户:"),
        "{listed}"
    );
    assert_eq!(told("科创板门槛是多少"), None, "it is answered");
    assert_eq!(told("今天天气怎么样"), None);
}

#[test]
fn a_long_default_reply_leaves_room_for_the_list() {
    let mut entries = bank();
    for n in 0..30 {
        entries.push(Entry {
            category: "开户/更多".to_owned(),
            ..entry(&format!("m{n:02}"), &"很长很长的问题".repeat(5), "答")
        });
    }
    let mut talk = talk();
    talk.index = Talk::of(&entries).index;
    talk.categories = CategoryBook::new([category("开户", "", &"字".repeat(300))]);
    talk.max_bytes = 2048;
    let said = talk.ask("开户");
    assert!(
        said.starts_with("字字") && said.contains("1. ") && said.contains("更多"),
        "{said}"
    );
    assert!(talk.ask("更多").starts_with("还有这些问题："));
}
