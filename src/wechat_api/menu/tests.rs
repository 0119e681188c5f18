//! What a menu may be.

use super::*;

fn problems(file: &Value) -> Vec<String> {
    let problems = Menus::parse(file).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

/// The only problem of a menu with this button, or none.
fn check_button(button: &Value, expected: &str) {
    let found = problems(&json!({ "button": [button] }));
    if expected.is_empty() {
        assert_eq!(found, Vec::<String>::new(), "{button}");
    } else {
        assert!(found.len() == 1 && found[0].contains(expected), "{button}: {found:?}");
    }
}

#[test]
fn every_type_of_button_has_its_fields() {
    for (kind, fields) in TYPES {
        let mut button = json!({ "name": "按钮", "type": kind });
        for field in *fields {
            button[*field] = json!("https://example.com/");
        }
        check_button(&button, "");
        for field in *fields {
            let mut without = button.clone();
            without.as_object_mut().unwrap().remove(*field);
            let expected = format!("button[0].{field}: needed by a button of type {kind}");
            check_button(&without, &expected);
        }
    }
}

#[test]
fn what_wechat_would_refuse_is_named_with_its_place() {
    let click = |name: &str, key: &str| json!({ "name": name, "type": "click", "key": key });
    let view = |url: &str| json!({ "name": "a", "type": "view", "url": url });
    check_button(&click("四个汉字", "k"), "");
    check_button(&click("五个汉字了", "k"), "button[0].name: \"五个汉字了\" is too long");
    check_button(&click("Letters8", "k"), "");
    check_button(
        &click("Letters 9", "k"),
        "too long; accepted: 4 Chinese characters, or 8 letters",
    );
    check_button(&click(" ", "k"), "button[0].name: a name is needed");
    check_button(&click("a\nb", "k"), "in one line");
    check_button(&click("a", &"k".repeat(128)), "");
    check_button(
        &click("a", &"k".repeat(129)),
        "button[0].key: 129 bytes; accepted: at most 128",
    );
    check_button(&click("a", &"字".repeat(43)), "129 bytes");
    check_button(&view(&format!("https://{}", "x".repeat(1_016))), "");
    check_button(
        &view(&format!("https://{}", "x".repeat(1_017))),
        "button[0].url: 1025 bytes",
    );
    check_button(&view("example.com"), "is no http(s):// address");
    check_button(&json!({ "name": "a" }), "button[0].type: needed, one of click");
    check_button(
        &json!({ "name": "a", "type": "klick", "key": "k" }),
        "\"klick\" is no type",
    );
    check_button(
        &json!({ "name": "a", "type": "click", "key": "k", "url": "u" }),
        "button[0].url: a button of",
    );
    let sub = |count: usize| json!({ "name": "a", "sub_button": vec![click("八个汉字也是可以", "k"); count] });
    check_button(&sub(5), "");
    check_button(&sub(6), "button[0].sub_button: 6 buttons; accepted: at most 5");
    let mut with_key = sub(1);
    with_key["key"] = json!("k");
    check_button(
        &with_key,
        "button[0].key: a button with others under it has only a name",
    );
    let nine = json!({ "name": "a", "sub_button": [click("九个汉字就太长了吧", "k")] });
    check_button(&nine, "button[0].sub_button[0].name");
    let deep = json!({ "name": "a", "sub_button": [{ "name": "b", "sub_button": [click("c", "k")] }] });
    let found = problems(&json!({ "button": [deep] }));
    assert!(
        found[0].contains("button[0].sub_button[0].sub_button: there are only two levels"),
        "{found:?}"
    );
}

#[test]
fn the_whole_file_is_looked_at() {
    let click = json!({ "name": "a", "type": "click", "key": "k" });
    assert_eq!(problems(&json!({})), ["button: 1–3 buttons are needed"]);
    assert_eq!(problems(&json!([])).len(), 1);
    assert!(problems(&json!({ "button": vec![&click; 4] }))[0].contains("4 buttons; accepted: at most 3"));
    assert!(problems(&json!({ "button": "a" }))[0].contains("expected a list"));
    assert!(problems(&json!({ "button": [&click], "buttons": [] }))[0].contains("buttons: unknown"));
    let several = json!({ "button": [{ "name": "", "type": "view", "url": "x" }, { "name": "a", "type": "b" }] });
    assert_eq!(problems(&several).len(), 3);
    let rule = |rule: Value| {
        problems(&json!({ "button": [&click], "conditionalmenu": [{ "button": [&click], "matchrule": rule }] }))
    };
    assert!(rule(json!({ "tag_id": 2 })).is_empty());
    assert!(rule(json!({ "tag_id": "2", "sex": "" })).is_empty());
    assert!(rule(json!({}))[0].contains("conditionalmenu[0].matchrule: at least one of tag_id"));
    assert!(rule(json!({ "tag": "2" }))[0].contains("conditionalmenu[0].matchrule.tag: unknown"));
}

#[test]
fn what_wechat_gives_back_can_be_set_again() {
    let answer = json!({
        "menu": { "button": [
            { "type": "click", "name": "今日", "key": "V1", "sub_button": [] },
            { "name": "更多", "sub_button": [{ "type": "view", "name": "搜索", "url": "https://example.com/", "sub_button": [] }] }
        ], "menuid": 208_396_938 },
        "conditionalmenu": [{
            "button": [{ "type": "click", "name": "今日", "key": "V2", "sub_button": [] }],
            "matchrule": { "tag_id": "2", "sex": 1 }, "menuid": 208_396_993
        }]
    });
    let menus = Menus::parse(&answer).unwrap();
    assert_eq!(menus.click_keys().into_iter().collect::<Vec<_>>(), ["V1", "V2"]);
    assert_eq!(menus.menu.actions(), 2);
    let again = Menus::parse(&menus.to_value()).unwrap();
    assert_eq!(menus, again);
    assert_eq!(
        menus.to_value(),
        json!({
            "button": [
                { "type": "click", "name": "今日", "key": "V1" },
                { "name": "更多", "sub_button": [{ "type": "view", "name": "搜索", "url": "https://example.com/" }] }
            ],
            "conditionalmenu": [{
                "button": [{ "type": "click", "name": "今日", "key": "V2" }],
                "matchrule": { "tag_id": "2", "sex": "1" }
            }]
        })
    );
}
