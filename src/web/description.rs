//! The JSON API described: `/api/v1/openapi.json` for programs, `/api/docs` for people.
//!
//! [`pages`] is the entry point. Paths and bodies come from the handlers' own annotations; the page is made of the same
//! description, with `templates/docs.html`, and needs no script. Neither asks for a key: there is nothing in them that
//! the documentation does not say. Follows `OpenAPI` 3.1.

use super::ApiError;
use super::Web;
use crate::store::api_key::KeyScope;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, HtmlEscape};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Description, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

const PAGE: &str = include_str!("../../templates/docs.html");
const STYLE: &str = include_str!("../../templates/docs.css");

/// What the API answers when it does not do what it was asked.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody {
    /// Why it was not done.
    pub error: ErrorText,
}

/// Why.
#[derive(Serialize, ToSchema)]
#[schema(as = ErrorText)]
pub struct ErrorText {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// The refusals that every path knows.
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = |error: ApiError| {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Error")))
                .example(Some(json!(error.body())));
            let described = ResponseBuilder::new()
                .description(error.kind())
                .content("application/json", content.build());
            (error.status().as_str().to_owned(), RefOr::T(described.build()))
        };
        ApiError::everywhere().map(response).into()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wxfaq",
        description = "The question bank of WeChat official accounts, for pages, apps and mini-programs."
    ),
    components(schemas(ErrorBody, ErrorText)),
    modifiers(&Keys)
)]
struct Head;

/// How callers say who they are.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut Description) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("a key of `wxfaq apikey add`, with the scope the path names"));
        let scheme = SecurityScheme::Http(bearer.build());
        if let Some(components) = &mut openapi.components {
            components.add_security_scheme("key", scheme);
        }
    }
}

/// `templates/docs.html`
#[derive(Serialize)]
struct Page<'a> {
    api: &'a Value,
    style: &'a str,
}

/// The description for programs. What a caller without the path's scope is told stands with each path.
fn described(description: &Description) -> Value {
    let mut described = json!(description);
    let paths = described["paths"].as_object_mut();
    let operations = paths.into_iter().flat_map(|paths| paths.values_mut());
    let operations = operations
        .filter_map(Value::as_object_mut)
        .flat_map(|path| path.values_mut());
    for operation in operations {
        let scope = operation["security"][0]["key"][0].as_str().and_then(KeyScope::parse);
        let Some(scope) = scope.map(KeyScope::as_str) else {
            continue;
        };
        let error = ApiError::Forbidden { scope };
        if let Some(response) = operation["responses"].get_mut(error.status().as_str()) {
            response["description"] = error.kind().into();
            response["content"]["application/json"]["example"] = json!(error.body());
        }
    }
    described
}

/// The description without paths.
pub fn head() -> Description {
    Head::openapi()
}

/// Serves `description`.
///
/// # Panics
/// When `templates/docs.html` cannot be rendered; a test does.
pub fn pages(description: &Description) -> Router<Arc<Web>> {
    let described = described(description);
    let page = page(&described).expect("the embedded template fits every description");
    let json: Arc<str> = described.to_string().into();
    let page: Arc<str> = page.into();
    let policy = HeaderValue::from_str(&policy()).expect("a hash in base64 is visible ASCII");
    let json = get(move || async move { ([(header::CONTENT_TYPE, "application/json")], json.to_string()) });
    let page = get(move || async move { (headers(policy), page.to_string()).into_response() });
    Router::new()
        .route("/api/v1/openapi.json", json)
        .route("/api/docs", page)
}

/// Nothing but the page's own style, which is named by its hash.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn headers(policy: HeaderValue) -> [(HeaderName, HeaderValue); 4] {
    [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]
}

fn page(described: &Value) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_filter("name", |reference: String| named(&reference).to_owned());
    templates.add_filter("kind", |Serde(schema): Serde<Value>| kind(&schema));
    templates.add_filter("prose", |text: Option<String>| prose(&text.unwrap_or_default()));
    templates.add_template("docs.html", PAGE)?;
    let input = Page {
        api: described,
        style: STYLE,
    };
    templates.get_template("docs.html")?.render(Serde(input))
}

/// The last part of a reference.
fn named(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

/// What a field holds, as people write it: `string`, `Hit[]`; nothing is said of its being absent.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return named(reference).to_owned();
    }
    let any_of = ["oneOf", "anyOf", "allOf"]
        .into_iter()
        .find_map(|word| schema[word].as_array());
    let written = |one: &str| match one {
        "array" => format!("{}[]", kind(&schema["items"])),
        one => one.to_owned(),
    };
    let kinds: Vec<String> = match (&schema["type"], any_of) {
        (Value::String(one), _) => vec![written(one)],
        (Value::Array(several), _) => several.iter().filter_map(Value::as_str).map(written).collect(),
        (_, Some(several)) => several.iter().map(kind).collect(),
        _ => vec!["any".to_owned()],
    };
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|kind| !matches!(kind.as_str(), "" | "null"))
        .collect();
    kinds.join(" | ")
}

/// A doc comment as HTML: what stands between backquotes is code, and an empty line begins a paragraph.
fn prose(text: &str) -> minijinja::Value {
    let escaped = HtmlEscape(text).to_string();
    let mut html = String::with_capacity(escaped.len());
    for (n, part) in escaped.split('`').enumerate() {
        html.push_str(match n {
            0 => "",
            n if n % 2 == 1 => "<code>",
            _ => "</code>",
        });
        html.push_str(part);
    }
    minijinja::Value::from_safe_string(html.replace("\n\n", "<br>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_path_of_the_description() {
        let description = crate::web::described().into_openapi();
        let page = page(&described(&description)).unwrap().replace("&#x2f;", "/");
        for path in description.paths.paths.keys() {
            assert!(page.contains(path), "{path}: {page}");
        }
        assert!(!page.contains('`') && !page.contains("null"), "{page}");
    }

    #[test]
    fn a_type_is_written_as_people_write_it() {
        for (schema, written) in [
            (json!({"type": "string"}), "string"),
            (json!({"type": ["string", "null"]}), "string"),
            (
                json!({"type": "array", "items": {"$ref": "#/components/schemas/Hit"}}),
                "Hit[]",
            ),
            (json!({"type": "array", "items": {"type": "string"}}), "string[]"),
            (
                json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Hit"}]}),
                "Hit",
            ),
            (
                json!({"type": ["array", "null"], "items": {"type": "string"}}),
                "string[]",
            ),
            (json!({}), "any"),
        ] {
            assert_eq!(kind(&schema), written);
        }
    }

    #[test]
    fn code_in_a_comment_is_code_on_the_page() {
        let check = |text: &str, html: &str| assert_eq!(prose(text).to_string(), html);
        check("a `b<c>` d\n\ne", "a <code>b&lt;c&gt;</code> d<br>e");
        check("", "");
    }

    #[test]
    fn every_path_says_which_scope_it_needs_and_nothing_of_what_it_has_not() {
        let description = described(&crate::web::described().into_openapi());
        for (path, scope) in [
            ("search", "search"),
            ("suggest", "search"),
            ("hot", "search"),
            ("questions/{id}", "search"),
            ("categories", "search"),
            ("ask", "ask"),
            ("feedback", "feedback"),
        ] {
            let path = &description["paths"][format!("/api/v1/{path}")];
            let method = if path["get"].is_object() { "get" } else { "post" };
            let responses = &path[method]["responses"];
            let told = format!("this needs an API key with the scope {scope}");
            assert_eq!(responses["403"]["description"], told);
            let example = &responses["403"]["content"]["application/json"]["example"];
            assert_eq!(example["error"]["message"], told);
            let bad = &responses["400"]["content"]["application/json"]["example"]["error"]["message"];
            let (named, _) = bad.as_str().unwrap().split_once(':').unwrap();
            let is_named = |list: &Value| {
                list.as_array()
                    .is_some_and(|list| list.iter().any(|one| one["name"] == named))
            };
            let body = path[method]["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
            let body = body.map(|body| &description["components"]["schemas"][super::named(body)]["properties"][named]);
            assert!(
                is_named(&path[method]["parameters"]) || body.is_some_and(Value::is_object),
                "{path}"
            );
        }
    }
}
