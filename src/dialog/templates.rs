//! The words followers read: `templates/reply/*.txt`, in minijinja, each with one struct as its only input.
//!
//! [`Templates::load`] compiles the embedded templates and an operator's overrides, and renders each with sample values
//! before it is accepted, so that a typing error is found when it is made and not when a follower asks. Rendering is
//! bounded in steps ([`FUEL`]) and output ([`MAX_OUTPUT_BYTES`]); unknown names are errors, and so is a text with nothing
//! to read; templates can reach neither files nor the environment. Should one fail all the same, [`Templates::words`] has
//! the embedded one's words: a follower is never met with silence.

mod pages;

pub use pages::{
    Answer, Apology, Category, ChooseAgain, Commented, Continued, Empty, Gone, Greeting, Human, LateAndNew,
    LateHandoff, LateWaits, MediaAway, MenuUnknown, MiniprogramLink, NoList, NoMore, NotFound, NotFoundAgain,
    NothingToJudge, Page, Refused, Searching, Suggestion, Suggestions, TooOften, Unsupported, Useful, Useless,
};

use super::link::link;
use crate::bank::{TextFault, TextKind, TextName};
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

/// Most steps of one rendering; a list of ten takes some hundreds.
pub const FUEL: u64 = 50_000;
/// Longest rendered text, in bytes: above the longest answer.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// The embedded templates alone.
static STAND_IN: LazyLock<Templates> = LazyLock::new(|| match Templates::load(&BTreeMap::new()) {
    Ok(templates) => templates,
    Err(errors) => unreachable!("a test loads the embedded templates: {errors:?}"),
});

/// Embedded templates: file name and source.
const EMBEDDED: [(&str, &str); 28] = [
    (Answer::NAME, include_str!("../../templates/reply/answer.txt")),
    (Suggestions::NAME, include_str!("../../templates/reply/suggestions.txt")),
    (Category::NAME, include_str!("../../templates/reply/category.txt")),
    (NotFound::NAME, include_str!("../../templates/reply/not_found.txt")),
    (
        NotFoundAgain::NAME,
        include_str!("../../templates/reply/not_found_again.txt"),
    ),
    (MediaAway::NAME, include_str!("../../templates/reply/media_away.txt")),
    (Human::NAME, include_str!("../../templates/reply/human.txt")),
    (Useful::NAME, include_str!("../../templates/reply/useful.txt")),
    (Useless::NAME, include_str!("../../templates/reply/useless.txt")),
    (
        NothingToJudge::NAME,
        include_str!("../../templates/reply/nothing_to_judge.txt"),
    ),
    (Commented::NAME, include_str!("../../templates/reply/commented.txt")),
    (Greeting::NAME, include_str!("../../templates/reply/greeting.txt")),
    (Continued::NAME, include_str!("../../templates/reply/continued.txt")),
    (NoMore::NAME, include_str!("../../templates/reply/no_more.txt")),
    (NoList::NAME, include_str!("../../templates/reply/no_list.txt")),
    (
        ChooseAgain::NAME,
        include_str!("../../templates/reply/choose_again.txt"),
    ),
    (Gone::NAME, include_str!("../../templates/reply/gone.txt")),
    (Empty::NAME, include_str!("../../templates/reply/empty.txt")),
    (Refused::NAME, include_str!("../../templates/reply/refused.txt")),
    (Unsupported::NAME, include_str!("../../templates/reply/unsupported.txt")),
    (
        MenuUnknown::NAME,
        include_str!("../../templates/reply/menu_unknown.txt"),
    ),
    (
        MiniprogramLink::NAME,
        include_str!("../../templates/reply/miniprogram.txt"),
    ),
    (Searching::NAME, include_str!("../../templates/reply/searching.txt")),
    (Apology::NAME, include_str!("../../templates/reply/apology.txt")),
    (
        LateHandoff::NAME,
        include_str!("../../templates/reply/late_handoff.txt"),
    ),
    (LateAndNew::NAME, include_str!("../../templates/reply/late_and_new.txt")),
    (LateWaits::NAME, include_str!("../../templates/reply/late_waits.txt")),
    (TooOften::NAME, include_str!("../../templates/reply/too_often.txt")),
];

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {reason}")]
pub struct TemplateError {
    /// The template's file name.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl From<TemplateError> for TextFault {
    fn from(TemplateError { name, line, reason }: TemplateError) -> Self {
        let name = TextName::new(TextKind::Template, name);
        Self { name, line, reason }
    }
}

/// Compiled templates, every one tried with sample values.
pub struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    /// Names of all templates.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|(name, _)| *name)
    }

    /// The embedded template; `None`: there is none of that name.
    pub fn embedded(name: &str) -> Option<&'static str> {
        let mut all = EMBEDDED.iter();
        all.find(|(known, _)| *known == name).map(|(_, source)| *source)
    }

    /// The embedded templates, with `overrides` (file name to source) in their place.
    ///
    /// # Errors
    /// A name that is no template's, a syntax error, an unknown variable, a rendering beyond the limits: every one of
    /// them, by file and line.
    pub fn load(overrides: &BTreeMap<String, String>) -> Result<Self, Vec<TemplateError>> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // Then it remembers which value it was that is not there.
        environment.set_debug(true);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        // In templates `tap("有用", useful)` is a link whose tap says what the second value stands for.
        environment.add_function("tap", |text: &str, id: &str| link(text, id));
        let mut errors = Vec::new();
        for name in overrides
            .keys()
            .filter(|name| !Self::names().any(|known| known == *name))
        {
            let known = Self::names().collect::<Vec<_>>().join(", ");
            errors.push(TemplateError {
                name: name.clone(),
                line: 1,
                reason: format!("no such template; there are {known}"),
            });
        }
        for (name, embedded) in EMBEDDED {
            let source = overrides.get(name).map_or(embedded, String::as_str);
            // As some editors save them: the mark is invisible in a reply, and WeChat's line breaks are \n.
            let source = source.trim_start_matches('\u{feff}').replace("\r\n", "\n");
            if let Err(error) = environment.add_template_owned(name, source.trim_end_matches('\n').to_owned()) {
                errors.push(TemplateError::from_engine(name, MAX_OUTPUT_BYTES, &error));
            }
        }
        let templates = Self { environment };
        if errors.is_empty() {
            errors = templates.try_all();
        }
        if errors.is_empty() { Ok(templates) } else { Err(errors) }
    }

    /// The page in words; those of the embedded template when this one fails, with what is wrong with it.
    pub fn words<P: Page>(&self, page: &P) -> (String, Option<TemplateError>) {
        match self.render(page) {
            Ok(text) => (text, None),
            Err(fault) => (STAND_IN.render(page).unwrap_or_default(), Some(fault)),
        }
    }

    /// Renders one template.
    ///
    /// # Errors
    /// Only for values far from the samples, as beyond the limits, or when nothing is left to read.
    pub fn render<P: Page>(&self, page: &P) -> Result<String, TemplateError> {
        let fail = |error: &minijinja::Error| {
            let mut fault = TemplateError::from_engine(P::NAME, P::MAX_BYTES, error);
            if error.kind() == ErrorKind::UndefinedError {
                fault.reason.push_str(&known_names(page));
            }
            fault
        };
        let template = self.environment.get_template(P::NAME).map_err(|error| fail(&error))?;
        let mut output = Capped {
            bytes: Vec::new(),
            left: P::MAX_BYTES,
        };
        template
            .render_captured_to(Serde(page), &mut output)
            .map_err(|error| fail(&error))?;
        let text = String::from_utf8_lossy(&output.bytes).into_owned();
        if text.trim().is_empty() {
            return Err(TemplateError {
                name: P::NAME.into(),
                line: 1,
                reason: "gives nothing to read".into(),
            });
        }
        Ok(text)
    }

    fn try_all(&self) -> Vec<TemplateError> {
        let mut errors = Vec::new();
        self.try_one::<Answer<'_>>(&mut errors);
        self.try_one::<Suggestions>(&mut errors);
        self.try_one::<NotFound>(&mut errors);
        self.try_one::<NotFoundAgain>(&mut errors);
        self.try_one::<MediaAway>(&mut errors);
        self.try_one::<Human>(&mut errors);
        self.try_one::<Useful>(&mut errors);
        self.try_one::<Useless>(&mut errors);
        self.try_one::<NothingToJudge>(&mut errors);
        self.try_one::<Commented>(&mut errors);
        self.try_one::<Greeting>(&mut errors);
        self.try_one::<Continued>(&mut errors);
        self.try_one::<NoMore>(&mut errors);
        self.try_one::<NoList>(&mut errors);
        self.try_one::<ChooseAgain>(&mut errors);
        self.try_one::<Gone>(&mut errors);
        self.try_one::<Empty>(&mut errors);
        self.try_one::<Refused>(&mut errors);
        self.try_one::<Unsupported>(&mut errors);
        self.try_one::<MenuUnknown>(&mut errors);
        self.try_one::<MiniprogramLink<'_>>(&mut errors);
        self.try_one::<Searching>(&mut errors);
        self.try_one::<Apology>(&mut errors);
        self.try_one::<LateHandoff>(&mut errors);
        self.try_one::<LateAndNew<'_>>(&mut errors);
        self.try_one::<LateWaits<'_>>(&mut errors);
        self.try_one::<TooOften>(&mut errors);
        errors
    }

    fn try_one<P: Page>(&self, errors: &mut Vec<TemplateError>) {
        errors.extend(P::samples().iter().find_map(|sample| self.render(sample).err()));
    }
}

impl TemplateError {
    fn from_engine(name: &str, max_bytes: usize, error: &minijinja::Error) -> Self {
        let reason = match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => format!("needs more than {FUEL} steps"),
            (ErrorKind::WriteFailure, _) => format!("gives more than {max_bytes} bytes"),
            (kind, None) => kind.to_string(),
            (kind, Some(detail)) => format!("{kind}: {detail}"),
        };
        Self {
            name: name.into(),
            line: error.line().unwrap_or(1),
            reason,
        }
    }
}

/// Which names a template's input has, those of a list's items in brackets: for who wrote another one.
fn known_names(page: &impl Page) -> String {
    let names = |value: &Value| match value {
        Value::Object(fields) => fields.keys().cloned().collect::<Vec<_>>().join(", "),
        _ => String::new(),
    };
    let fields = match serde_json::to_value(page) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let described = fields.iter().map(|(name, value)| match value.get(0).map(names) {
        Some(items) if !items.is_empty() => format!("{name} (each with {items})"),
        _ => name.clone(),
    });
    match described.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "; this template has no variables".to_owned(),
        all => format!("; there are {all}"),
    }
}

/// Collects bytes up to a limit, then fails.
struct Capped {
    bytes: Vec<u8>,
    left: usize,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::WriteZero)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, source: &str) -> Result<Templates, Vec<TemplateError>> {
        Templates::load(&BTreeMap::from([(name.to_owned(), source.to_owned())]))
    }

    fn refusal(name: &str, source: &str) -> String {
        with(name, source).err().expect("a refusal")[0].to_string()
    }

    #[test]
    fn the_embedded_templates_pass_their_own_check() {
        let templates = Templates::load(&BTreeMap::new()).unwrap();
        let page = &Suggestions::samples()[0];
        assert_eq!(
            templates.render(page).unwrap(),
            "您是不是想问：\n1. 怎么开户\n2. 怎么开户\n\n回复数字或点击问题查看答案，回复“更多”看其他问题。"
        );
    }

    #[test]
    fn an_override_replaces_its_template() {
        let templates = with("empty.txt", "说点什么吧\n").unwrap();
        assert_eq!(templates.render(&Empty {}).unwrap(), "说点什么吧");
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_do_not_reach_followers() {
        let templates = with("greeting.txt", "\u{feff}您好\r\n请提问\r\n").unwrap();
        assert_eq!(templates.render(&Greeting {}).unwrap(), "您好\n请提问");
    }

    #[test]
    fn a_broken_template_is_refused_with_file_and_line() {
        assert!(
            refusal("suggestions.txt", "一\n{% for item in items %}\n{{ item.link }}")
                .starts_with("suggestions.txt:3: ")
        );
        assert!(refusal("empty.txt", "\n{{ nobody }}").starts_with("empty.txt:2: undefined value"));
        assert_eq!(
            refusal("empty.txt", "{{ nobody }}"),
            "empty.txt:1: undefined value: `nobody` is undefined; this template has no variables"
        );
        for (source, name) in [("{{ item[0].link }}", "`item`"), ("{{ items[7].link }}", "`items[7]`")] {
            let told = format!("{name} is undefined; there are ");
            let refused = refusal("suggestions.txt", source);
            assert!(
                refused.contains(&told) && refused.contains("items (each with "),
                "{refused}"
            );
        }
        assert!(refusal("other.txt", "x").starts_with("other.txt:1: no such template"));
    }

    #[test]
    fn endless_and_swollen_templates_are_refused() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(
            refusal("empty.txt", endless).contains("steps"),
            "{}",
            refusal("empty.txt", endless)
        );
        let swollen = "{% set text = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' %}{% for a in range(5000) %}{{ text }}{% endfor %}";
        assert!(
            refusal("empty.txt", swollen).contains("bytes"),
            "{}",
            refusal("empty.txt", swollen)
        );
    }

    #[test]
    fn a_template_that_could_silence_followers_is_refused() {
        let second = "第一个：{{ items[1].link }}";
        assert!(refusal("suggestions.txt", second).starts_with("suggestions.txt:1: undefined value"));
        for blank in ["", " \n\n", "{% if kind == \"voice\" %}听不懂{% endif %}"] {
            assert_eq!(
                refusal("unsupported.txt", blank),
                "unsupported.txt:1: gives nothing to read"
            );
        }
        let displacing = "读".repeat(800);
        assert_eq!(
            refusal("continued.txt", &displacing),
            "continued.txt:1: gives more than 200 bytes"
        );
    }

    #[test]
    fn where_a_template_fails_the_embedded_one_stands_in() {
        let templates = with("choose_again.txt", "{{ 30 // (count - 7) }}").unwrap();
        let (text, fault) = templates.words(&ChooseAgain { count: 7 });
        assert!(text.contains("1 到 7"), "{text}");
        assert!(fault.unwrap().to_string().starts_with("choose_again.txt:1: "));
        assert_eq!(templates.words(&ChooseAgain { count: 9 }), ("15".to_owned(), None));
    }

    #[test]
    fn values_are_never_template_source() {
        let templates = Templates::load(&BTreeMap::new()).unwrap();
        let page = Answer {
            question: "q",
            answer: "{{ 1 + 1 }}{% raw %}",
            also: Vec::new(),
            useful: String::new(),
            useless: String::new(),
        };
        assert_eq!(templates.render(&page).unwrap(), "{{ 1 + 1 }}{% raw %}");
    }
}
