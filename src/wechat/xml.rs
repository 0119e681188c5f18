//! The XML of the protocol: an element tree of text, read from hostile bytes and written with CDATA.
//!
//! [`Fields::parse`] reads any document of the protocol, whether message, envelope or reply, in one pass: at most
//! [`MAX_BYTES`], [`MAX_DEPTH`] and [`MAX_ELEMENTS`], no document type, no entities but the five built in. Attributes,
//! comments and processing instructions are passed over; namespaces mean nothing. `push_cdata` is the only place where
//! text becomes XML.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::Error;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

/// The longest document in bytes. WeChat's own are far smaller.
pub const MAX_BYTES: usize = 64 * 1024;
/// The deepest nesting, the root included. WeChat's deepest event has five.
pub const MAX_DEPTH: usize = 8;
/// The most elements of one document. A finished mass sending names the most, some hundred.
pub const MAX_ELEMENTS: usize = 1024;

/// The name of every document's root.
const ROOT: &str = "xml";

/// Why bytes are not a document of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct ParseError {
    /// Where reading stopped.
    pub offset: u64,
    /// What is wrong; never quotes the document.
    pub reason: String,
}

impl ParseError {
    pub(super) fn new(offset: usize, reason: impl Into<String>) -> Self {
        Self {
            offset: offset as u64,
            reason: reason.into(),
        }
    }
}

/// The children of one element, in document order. Names may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    fields: Vec<Field<'a>>,
    /// Where the element ends, to report what it lacks.
    end: usize,
}

/// One child element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// As written, with its prefix if it has one.
    pub name: &'a str,
    /// What is inside.
    pub value: Value<'a>,
    /// Where the element begins, to report what is wrong with it.
    offset: usize,
}

/// What is inside an element: text or elements, never both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text and CDATA joined, references resolved, line ends `\n`, characters XML forbids dropped, trimmed of white
    /// space. Empty for an empty element.
    Text(Cow<'a, str>),
    /// At least one element.
    Nested(Fields<'a>),
}

impl<'a> Fields<'a> {
    /// Reads a document whose root is `xml`. A byte order mark and white space around the root are passed over.
    ///
    /// # Errors
    /// Not UTF-8, too long, not well-formed, a document type, an unknown entity, text beside elements, too deep, too
    /// many elements, or another root.
    pub fn parse(document: &'a [u8]) -> Result<Self, ParseError> {
        if document.len() > MAX_BYTES {
            return Err(ParseError::new(MAX_BYTES, "document is too long"));
        }
        let text = str::from_utf8(document).map_err(|error| ParseError::new(error.valid_up_to(), "not UTF-8"))?;
        if let Some(offset) = text.find('\0') {
            return Err(ParseError::new(offset, "NUL character"));
        }
        Tree {
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            open: Vec::with_capacity(4),
            elements: 0,
            root: None,
        }
        .read()
    }

    /// All children, in document order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field<'a>> {
        self.fields.iter()
    }

    /// The text of the only child `name`; `None` when there is none.
    ///
    /// # Errors
    /// It comes twice, or holds elements: then no reader must have to choose.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ParseError> {
        let mut found = None;
        for field in self.fields.iter().filter(|field| field.name == name) {
            match &field.value {
                Value::Text(text) if found.is_none() => found = Some(&**text),
                Value::Text(_) => return Err(ParseError::new(field.offset, format!("second {name}"))),
                Value::Nested(_) => return Err(ParseError::new(field.offset, format!("{name} holds elements"))),
            }
        }
        Ok(found)
    }

    /// [`Fields::text`] of a child that must be there and not be empty.
    pub fn required(&self, name: &str) -> Result<&str, ParseError> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| ParseError::new(self.end, format!("{name} is missing or empty")))
    }

    /// Where the first child `name` begins, or else the element ends.
    pub(super) fn offset(&self, name: &str) -> usize {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .map_or(self.end, |field| field.offset)
    }
}

impl<'f, 'a> IntoIterator for &'f Fields<'a> {
    type Item = &'f Field<'a>;
    type IntoIter = std::slice::Iter<'f, Field<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A document half read.
struct Tree<'a> {
    text: &'a str,
    /// The elements not closed yet, outermost first.
    open: Vec<OpenElement<'a>>,
    elements: usize,
    root: Option<Fields<'a>>,
}

struct OpenElement<'a> {
    name: &'a str,
    offset: usize,
    /// So far, without blank beginning.
    text: Cow<'a, str>,
    fields: Vec<Field<'a>>,
}

impl<'a> Tree<'a> {
    fn read(mut self) -> Result<Fields<'a>, ParseError> {
        let mut reader = Reader::from_str(self.text);
        loop {
            let offset = reader.buffer_position() as usize;
            let event = reader
                .read_event()
                .map_err(|error| ParseError::new(reader.error_position() as usize, reason(&error)))?;
            match event {
                Event::Start(tag) => self.open(tag.name().as_ref(), offset)?,
                Event::Empty(tag) => {
                    self.open(tag.name().as_ref(), offset)?;
                    self.close(reader.buffer_position() as usize)?;
                }
                Event::End(_) => self.close(reader.buffer_position() as usize)?,
                Event::Text(text) => self.append(text.xml10_content(), offset)?,
                Event::CData(text) => self.append(text.xml10_content(), offset)?,
                Event::GeneralRef(reference) => self.append(resolve(&reference, offset)?, offset)?,
                Event::DocType(_) => return Err(ParseError::new(offset, "document type")),
                Event::Decl(_) if offset > 0 => return Err(ParseError::new(offset, "XML declaration inside")),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if self.open.is_empty() => {
                    return self.root.ok_or_else(|| ParseError::new(offset, "no element"));
                }
                Event::Eof => return Err(ParseError::new(offset, "element without end")),
            }
        }
    }

    fn open(&mut self, name: &str, offset: usize) -> Result<(), ParseError> {
        let depth = self.open.len();
        self.elements += 1;
        if depth == 0 && (self.root.is_some() || name != ROOT) {
            return Err(ParseError::new(offset, "root is not one xml element"));
        }
        if depth == MAX_DEPTH {
            return Err(ParseError::new(offset, "elements too deep"));
        }
        if self.elements > MAX_ELEMENTS {
            return Err(ParseError::new(offset, "too many elements"));
        }
        // The event lends its name only; the document has the same bytes behind the `<`.
        let name = self
            .text
            .get(offset + 1..offset + 1 + name.len())
            .filter(|written| *written == name)
            .ok_or_else(|| ParseError::new(offset, "stray byte order mark"))?;
        // A message has six to eight fields, most of which have none.
        let fields = if depth == 0 { Vec::with_capacity(8) } else { Vec::new() };
        self.open.push(OpenElement {
            name,
            offset,
            text: Cow::Borrowed(""),
            fields,
        });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), ParseError> {
        // The reader refuses an end tag without its start.
        let OpenElement {
            name,
            offset,
            text,
            fields,
        } = self.open.pop().expect("an end tag has an open element");
        let text = trimmed(text, str::trim_end);
        if !text.is_empty() && !fields.is_empty() {
            return Err(ParseError::new(offset, "text beside elements"));
        }
        match self.open.last_mut() {
            None if !text.is_empty() => return Err(ParseError::new(offset, "text beside elements")),
            None => self.root = Some(Fields { fields, end }),
            Some(parent) => {
                let value = if fields.is_empty() {
                    Value::Text(text)
                } else {
                    Value::Nested(Fields { fields, end })
                };
                parent.fields.push(Field { name, value, offset });
            }
        }
        Ok(())
    }

    fn append(&mut self, piece: Cow<'a, str>, offset: usize) -> Result<(), ParseError> {
        let piece = permitted(piece);
        let Some(element) = self.open.last_mut() else {
            let blank = piece.trim().is_empty();
            return if blank {
                Ok(())
            } else {
                Err(ParseError::new(offset, "text outside the root"))
            };
        };
        // Without its blank beginning, the usual single piece stays borrowed.
        if element.text.is_empty() {
            element.text = trimmed(piece, str::trim_start);
        } else {
            element.text.to_mut().push_str(&piece);
        }
        Ok(())
    }
}

fn trimmed(text: Cow<'_, str>, trim: impl Fn(&str) -> &str) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
    }
}

/// The text of a reference such as `&lt;` or `&#20320;`.
fn resolve<'a>(reference: &BytesRef<'a>, offset: usize) -> Result<Cow<'a, str>, ParseError> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(Cow::Owned(character.to_string())),
        Ok(None) => {
            let text = resolve_xml_entity(reference).ok_or_else(|| ParseError::new(offset, "unknown entity"))?;
            Ok(Cow::Borrowed(text))
        }
        Err(_) => Err(ParseError::new(offset, "character reference outside Unicode")),
    }
}

/// The reader's own messages quote tag names, which are the sender's.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Syntax(_) => "markup without end",
        Error::IllFormed(_) => "tags do not match",
        _ => "not well-formed",
    }
}

/// `text` without the characters XML 1.0 forbids. They come from pasted text; refusing would leave a follower without
/// an answer.
pub(super) fn permitted(text: Cow<'_, str>) -> Cow<'_, str> {
    // U+FFFE and U+FFFF begin with EF in UTF-8.
    let surely_permitted = |byte: u8| (byte >= b' ' && byte != 0xef) || matches!(byte, b'\t' | b'\n' | b'\r');
    if text.bytes().all(surely_permitted) || text.chars().all(is_permitted) {
        text
    } else {
        Cow::Owned(text.chars().filter(|c| is_permitted(*c)).collect())
    }
}

fn is_permitted(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        character => character >= ' ' && !matches!(character, '\u{fffe}' | '\u{ffff}'),
    }
}

/// Appends `<name><![CDATA[text]]></name>`, which reads back as `text` trimmed. A `]]>` is split between two sections;
/// characters XML forbids are left out. `name` must be a name.
pub(super) fn push_cdata(xml: &mut String, name: &str, text: &str) {
    xml.extend(["<", name, "><![CDATA["]);
    for (index, part) in permitted(Cow::Borrowed(text)).split("]]>").enumerate() {
        if index > 0 {
            xml.push_str("]]]]><![CDATA[>");
        }
        xml.push_str(part);
    }
    xml.extend(["]]></", name, ">"]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(inner: &str) -> Result<String, String> {
        let document = format!("<xml><Content>{inner}</Content></xml>");
        let fields = Fields::parse(document.as_bytes()).map_err(|error| error.reason)?;
        fields
            .text("Content")
            .map(|text| text.unwrap().to_owned())
            .map_err(|error| error.reason)
    }

    #[test]
    fn text_and_cdata_are_joined_and_trimmed() {
        assert_eq!(content("<![CDATA[你]]>好<![CDATA[吗]]>").unwrap(), "你好吗");
        assert_eq!(content("\n <![CDATA[ok]]>\n").unwrap(), "ok");
        assert_eq!(content("<![CDATA[a]]]]><![CDATA[>b]]>").unwrap(), "a]]>b");
        assert_eq!(content("<![CDATA[a\r\nb]]>").unwrap(), "a\nb");
        assert_eq!(content("").unwrap(), "");
    }

    #[test]
    fn only_built_in_entities_and_legal_character_references_resolve() {
        assert_eq!(
            content("1 &lt; 2 &amp;&amp; &quot;&apos;&gt;").unwrap(),
            "1 < 2 && \"'>"
        );
        assert_eq!(content("&#20320;&#x1F600;").unwrap(), "你😀");
        assert_eq!(content("&nbsp;").unwrap_err(), "unknown entity");
        for reference in ["&#0;", "&#xD83D;", "&#x110000;", "&#;", "&#-1;"] {
            assert_eq!(
                content(reference).unwrap_err(),
                "character reference outside Unicode",
                "{reference}"
            );
        }
    }

    #[test]
    fn control_characters_are_dropped_and_nul_is_refused() {
        assert_eq!(content("<![CDATA[a\u{b}b]]>&#11;").unwrap(), "ab");
        assert_eq!(content("a\0b").unwrap_err(), "NUL character");
    }

    #[test]
    fn a_repeated_or_nested_field_has_no_text() {
        assert_eq!(content("1</Content><Content>2").unwrap_err(), "second Content");
        assert_eq!(content("<b>c</b>").unwrap_err(), "Content holds elements");
        assert_eq!(content("a<b>c</b>").unwrap_err(), "text beside elements");
    }

    #[test]
    fn malformed_documents_are_refused_with_their_place() {
        for (document, offset, reason) in [
            ("", 0, "no element"),
            ("你好", 0, "text outside the root"),
            ("<xml></xml>x", 11, "text outside the root"),
            ("<xml></xml><xml/>", 11, "root is not one xml element"),
            ("<root/>", 0, "root is not one xml element"),
            ("<xml>text</xml>", 0, "text beside elements"),
            ("<!DOCTYPE xml><xml/>", 0, "document type"),
            (" <?xml version=\"1.0\"?><xml/>", 1, "XML declaration inside"),
            ("\u{feff}\u{feff}<xml/>", 0, "stray byte order mark"),
            ("<xml><a>", 8, "element without end"),
            ("<xml><a></b></xml>", 8, "tags do not match"),
            ("<xml><a><![CDATA[", 8, "markup without end"),
        ] {
            let error = Fields::parse(document.as_bytes()).unwrap_err();
            assert_eq!((error.offset, error.reason.as_str()), (offset, reason), "{document}");
        }
        assert_eq!(Fields::parse(b"<xml>\xff</xml>").unwrap_err().offset, 5);
    }

    #[test]
    fn depth_count_and_length_are_limited() {
        let nested = |depth: usize| format!("<xml>{}{}</xml>", "<a>".repeat(depth - 1), "</a>".repeat(depth - 1));
        assert!(Fields::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            Fields::parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().reason,
            "elements too deep"
        );
        let wide = |count: usize| format!("<xml>{}</xml>", "<a/>".repeat(count - 1));
        assert!(Fields::parse(wide(MAX_ELEMENTS).as_bytes()).is_ok());
        assert_eq!(
            Fields::parse(wide(MAX_ELEMENTS + 1).as_bytes()).unwrap_err().reason,
            "too many elements"
        );
        let long = format!("<xml>{}</xml>", " ".repeat(MAX_BYTES - 11));
        assert!(Fields::parse(long.as_bytes()).is_ok());
        assert_eq!(
            Fields::parse(format!("{long} ").as_bytes()).unwrap_err().reason,
            "document is too long"
        );
    }

    #[test]
    fn a_byte_order_mark_comments_attributes_and_instructions_are_passed_over() {
        let document = "\u{feff}<?xml version=\"1.0\"?><?p x?><!-- <a/> -->\
            <xml v=\"9\"><a Content=\"x\">1<!-- 2 -->3</a></xml>\r\n";
        assert_eq!(Fields::parse(document.as_bytes()).unwrap().text("a"), Ok(Some("13")));
    }

    /// Documents near the protocol's, and bytes far from it.
    fn any_document() -> impl Strategy<Value = Vec<u8>> {
        let token = prop::sample::select(vec![
            "<xml>",
            "</xml>",
            "<a>",
            "</a>",
            "<a/>",
            "<![CDATA[",
            "]]>",
            "&lt;",
            "&#x41;",
            "&",
            "<",
            ">",
            "<!--",
            "-->",
            "<?",
            "?>",
            "<!DOCTYPE",
            "文",
            "\r\n",
            "\u{feff}",
            "\u{b}",
            "]]",
            "x",
        ]);
        prop_oneof![
            prop::collection::vec(token, 0..30).prop_map(|tokens| tokens.concat().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..200),
        ]
    }

    proptest! {
        #[test]
        fn parsing_never_panics(document in any_document()) {
            let _ = Fields::parse(&document);
        }

        #[test]
        fn what_is_written_reads_back(text in "(\\PC|[\\x00-\\x20]|\\]\\]>|\\]|>|&lt;|<b>)*") {
            let mut xml = String::from("<xml>");
            push_cdata(&mut xml, "Content", &text);
            xml.push_str("</xml>");
            let fields = Fields::parse(xml.as_bytes()).unwrap();
            let kept = permitted(Cow::Borrowed(&text)).replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(fields.text("Content").unwrap(), Some(kept.trim()));
        }
    }
}
