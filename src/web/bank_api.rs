//! The published bank as a caller sees it: what to suggest while somebody types, what is asked most, one entry, the
//! categories. Read-only, in the same scope as a search.

use super::description::{ErrorBody, Refusals};
use super::parameters::Parameters;
use super::search_api::{answer_of, micros};
use super::{ApiError, Web};
use crate::bank::Entry;
use crate::bank::category::{Node, counts};
use crate::bot::Snapshot;
use crate::dialog;
use crate::matching::Suggestion;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

const DEFAULT_TOP: usize = 8;

/// An entry in a list.
#[derive(Serialize, ToSchema)]
pub struct Line {
    id: String,
    question: String,
}

/// An entry to offer, with the wording of it that matched.
#[derive(Serialize, ToSchema)]
pub struct Offer {
    id: String,
    question: String,
    matched: String,
}

/// `GET /api/v1/suggest`
#[derive(Serialize, ToSchema)]
#[schema(as = Suggestions)]
pub struct SuggestBody {
    query: String,
    suggestions: Vec<Offer>,
    took_us: u64,
}

/// `GET /api/v1/hot`
#[derive(Serialize, ToSchema)]
#[schema(as = Hot)]
pub struct HotBody {
    questions: Vec<Line>,
}

/// `GET /api/v1/questions/{id}`
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct EntryBody {
    id: String,
    question: String,
    similar: Vec<String>,
    kind: &'static str,
    answer: Value,
    category: String,
    tags: Vec<String>,
}

/// `GET /api/v1/categories`
#[derive(Serialize, ToSchema)]
#[schema(as = Categories)]
pub struct CategoriesBody {
    /// Those in which an entry stands, by name.
    categories: Vec<Category>,
    /// The same with all above them, in the order that was set.
    tree: Vec<CategoryNode>,
}

/// One category with those right below it.
#[derive(Serialize, ToSchema)]
pub struct CategoryNode {
    /// Its path, as `category=` of a search takes it.
    category: String,
    /// Its title, else the last part of its path.
    name: String,
    /// Entries in it.
    count: usize,
    /// Entries in it and below it.
    total: usize,
    #[schema(no_recursion)]
    children: Vec<CategoryNode>,
}

/// One category with the entries that stand in it, those below it left out.
#[derive(Serialize, ToSchema)]
pub struct Category {
    category: String,
    count: usize,
}

/// What may be meant by what is typed so far.
#[utoipa::path(
    get,
    path = "/api/v1/suggest",
    params(
        ("q" = String, Query, description = "as typed so far: characters, pinyin, initials, mixtures"),
        ("top" = Option<usize>, Query, description = "most entries, 1–50; default 8"),
        ("account" = Option<String>, Query, description = "default: the only one")
    ),
    responses((status = 200, description = "best first", body = SuggestBody), Refusals),
    security(("key" = ["search"]))
)]
pub async fn suggest(State(web): State<Arc<Web>>, RawQuery(query): RawQuery) -> Result<Json<SuggestBody>, ApiError> {
    let started = Instant::now();
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default())?;
    let gates = web.gates.load();
    let (typed, account) = (parameters.question()?, parameters.account(gates.keys())?);
    let top = parameters.top(DEFAULT_TOP)?;
    let turn = web.searches.turn().await?;
    let snapshot = web.bot.snapshot();
    let scope = web.bot.api_scope(account);
    let found = web
        .bot
        .asked()
        .read(|popularity| snapshot.index.suggest(typed, scope, popularity, top));
    drop(turn);
    let suggestions = SuggestBody {
        query: typed.to_owned(),
        suggestions: found.iter().map(Offer::from).collect(),
        took_us: micros(started),
    };
    metrics::histogram!("wxfaq_api_suggest_seconds").record(started.elapsed());
    Ok(Json(suggestions))
}

/// What is asked most, as far as this process knows; small talk is nobody's question.
#[utoipa::path(
    get,
    path = "/api/v1/hot",
    params(
        ("top" = Option<usize>, Query, description = "most entries, 1–50; default 8"),
        ("account" = Option<String>, Query, description = "default: the only one")
    ),
    responses((status = 200, description = "most asked first", body = HotBody), Refusals),
    security(("key" = ["search"]))
)]
pub async fn hot(State(web): State<Arc<Web>>, RawQuery(query): RawQuery) -> Result<Json<HotBody>, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default())?;
    let account = parameters.account(web.gates.load().keys())?.to_owned();
    let top = parameters.top(DEFAULT_TOP)?;
    let look = move |web: &Web, snapshot: &Snapshot| {
        let scope = web.bot.api_scope(&account);
        let wanted = |entry: &Entry| !dialog::is_small_talk(entry);
        let hottest = web
            .bot
            .asked()
            .read(|popularity| snapshot.index.hottest(scope, popularity, top, wanted));
        hottest.iter().map(|entry| Line::of(entry)).collect()
    };
    let questions = looked_through(web, look).await?;
    Ok(Json(HotBody { questions }))
}

/// One entry that the caller may see.
#[utoipa::path(
    get,
    path = "/api/v1/questions/{id}",
    params(
        ("id" = String, Path, description = "the entry's id"),
        ("account" = Option<String>, Query, description = "default: the only one")
    ),
    responses((status = 200, description = "the entry", body = EntryBody), (status = 404, description = "no such entry, or none the caller may see", body = ErrorBody), Refusals),
    security(("key" = ["search"]))
)]
pub async fn question(
    State(web): State<Arc<Web>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<EntryBody>, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default())?;
    let gates = web.gates.load();
    let account = parameters.account(gates.keys())?;
    // What is not even text names no entry.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let snapshot = web.bot.snapshot();
    let scope = web.bot.api_scope(account);
    let entry = snapshot.index.entry(&id).filter(|entry| scope.admits(entry));
    entry.map(|entry| Json(EntryBody::of(entry))).ok_or(ApiError::NotFound)
}

/// The categories of the entries that the caller may see.
#[utoipa::path(
    get,
    path = "/api/v1/categories",
    params(
        ("account" = Option<String>, Query, description = "default: the only one")
    ),
    responses((status = 200, description = "by name", body = CategoriesBody), Refusals),
    security(("key" = ["search"]))
)]
pub async fn categories(
    State(web): State<Arc<Web>>,
    RawQuery(query): RawQuery,
) -> Result<Json<CategoriesBody>, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default())?;
    let account = parameters.account(web.gates.load().keys())?.to_owned();
    let look = move |web: &Web, snapshot: &Snapshot| {
        let scope = web.bot.api_scope(&account);
        let entries = snapshot.index.entries().map(Arc::as_ref);
        let counts = counts(entries.filter(|entry| scope.admits(entry)));
        let tree = snapshot.categories.tree(&counts);
        let category = |(name, count): (&str, usize)| Category {
            category: name.to_owned(),
            count,
        };
        CategoriesBody {
            categories: counts.into_iter().map(category).collect(),
            tree: tree.into_iter().map(CategoryNode::from).collect(),
        }
    };
    looked_through(web, look).await.map(Json)
}

/// Runs what may look at every entry of the bank where it holds nobody up, in a search's turn.
async fn looked_through<T: Send + 'static>(
    web: Arc<Web>,
    look: impl FnOnce(&Web, &Snapshot) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let _turn = web.searches.turn().await?;
    let (looking, snapshot) = (web.clone(), web.bot.snapshot());
    let looked = tokio::task::spawn_blocking(move || look(&looking, &snapshot)).await;
    Ok(looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())))
}

impl From<&Suggestion> for Offer {
    fn from(suggestion: &Suggestion) -> Self {
        Self {
            id: suggestion.entry.id.to_string(),
            question: suggestion.entry.question.clone(),
            matched: suggestion.matched().to_owned(),
        }
    }
}

impl From<Node> for CategoryNode {
    fn from(node: Node) -> Self {
        let Node {
            category,
            name,
            count,
            total,
            children,
        } = node;
        Self {
            category,
            name,
            count,
            total,
            children: children.into_iter().map(Self::from).collect(),
        }
    }
}

impl Line {
    fn of(entry: &Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            question: entry.question.clone(),
        }
    }
}

impl EntryBody {
    fn of(entry: &Entry) -> Self {
        let (kind, answer) = answer_of(entry);
        Self {
            id: entry.id.to_string(),
            question: entry.question.clone(),
            similar: entry.similar.clone(),
            kind,
            answer,
            category: entry.category.clone(),
            tags: entry.tags.to_vec(),
        }
    }
}
