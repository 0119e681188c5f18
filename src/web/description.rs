//! The JSON API described: `/api/v1/openapi.json` for programs, `/api/docs` for people.
//!
//! [`pages`] is the entry point. Paths and bodies come from the handlers' own annotations; the page is made of the same
//! description, with `templates/docs.html`, and needs no script. Neither asks for a key: there is nothing in them that
//! the documentation does not say. Follows `OpenAPI` 3.1.

use super::ApiError;
use super::Web;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
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
                .description(error.to_string())
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

/// The description without paths.
pub fn head() -> Description {
    Head::openapi()
}

/// Serves `description`.
///
/// # Panics
/// When `templates/docs.html` cannot be rendered; a test does.
pub fn pages(description: &Description) -> Router<Arc<Web>> {
    let described = json!(description);
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
    templates.add_filter("name", |reference: String| {
        reference.rsplit('/').next().unwrap_or_default().to_owned()
    });
    templates.add_template("docs.html", PAGE)?;
    let input = Page {
        api: described,
        style: STYLE,
    };
    templates.get_template("docs.html")?.render(Serde(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_path_of_the_description() {
        let description = crate::web::described().into_openapi();
        let page = page(&json!(description)).unwrap().replace("&#x2f;", "/");
        for path in description.paths.paths.keys() {
            assert!(page.contains(path), "{path}: {page}");
        }
    }
}
