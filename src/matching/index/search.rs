//! Searching the index: from a query to ranked candidates.
//!
//! [`Index::search`] is the entry point. `candidates` names the phrasings worth a look, then every one of them is compared
//! with the query in full.

use super::{Index, Inner, Scope};
use crate::bank::{Entry, EntryId};
use crate::matching::candidates::{Place, gather};
use crate::matching::confidence::Sureness;
use crate::matching::features::{Features, Query, Room};
use crate::matching::ranking::Standing;
use crate::matching::segment::{Item, Segment, phrasing_text};
use crate::matching::sounding::Sounding;
use crate::matching::spelling::Respelled;
use crate::matching::tokenizer::{Analysis, Word};
use crate::matching::vocabulary::Recognised;
use crate::matching::{Guard, Hit, Matches, Score, confidence, effort, ranking};
use std::sync::Arc;

/// Exact matches that are told apart: no less than anyone may ask for.
const MOST_EXACT: usize = 64;

/// A search with all its steps; what [`Index::search`] returns is cut from it.
pub(in crate::matching) struct Ranking<'a> {
    /// As the cache is keyed.
    pub normalized: String,
    /// What was compared: normalised, with synonyms, respelled.
    pub analysis: Analysis,
    /// How the query was respelled, when it was.
    pub respelled: Option<Respelled>,
    /// Best first: by score, priority, id.
    pub candidates: Vec<Candidate<'a>>,
    /// What the score of the best is worth among the others.
    pub sureness: Sureness,
    /// Why the best must not be answered directly.
    pub guard: Option<Guard>,
}

/// One entry, compared.
#[derive(Clone, Copy)]
pub(in crate::matching) struct Candidate<'a> {
    pub entry: &'a Arc<Entry>,
    /// Its segment and, by id, its rank there: known without a look at the entry, which is far away in memory.
    rank: (u32, u32),
    /// The entry's.
    priority: i8,
    pub phrasing: u16,
    pub features: Features,
    pub standing: Standing,
    /// [`ranking::score`] of the features.
    pub raw: f64,
    pub score: Score,
}

/// A part of a search that is done, for whoever measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The text is normalised and its terms are known.
    Analysed,
    /// It is respelled, and analysed anew where that changed it.
    Respelled,
    /// The phrasings to compare are found.
    Gathered,
    /// They are compared and in order.
    Ranked,
}

/// What a search may find.
#[derive(Clone, Copy)]
struct Sight<'a> {
    scope: Scope<'a>,
    /// Not this entry.
    hidden: Option<&'a EntryId>,
}

impl<'a> Sight<'a> {
    fn of(scope: Scope<'a>) -> Self {
        Self { scope, hidden: None }
    }

    /// Whether what is open to everybody need not be asked about.
    fn is_wide(self) -> bool {
        self.scope.category.is_none() && self.hidden.is_none()
    }

    fn admits(self, entry: &Entry) -> bool {
        self.hidden != Some(&entry.id) && self.scope.admits(entry)
    }
}

/// Which phrasings are compared in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::matching) enum Breadth {
    /// Those that `candidates` finds.
    Candidates,
    /// Every visible one: slow, for judging the other.
    Everything,
}

impl Index {
    /// The at most `k` entries in `scope` that answer `query` best.
    pub fn search(&self, query: &str, scope: Scope<'_>, k: usize) -> Matches {
        self.rank(query, scope, Breadth::Candidates).into_matches(k)
    }

    /// As [`Index::search`], and tells `reached` each part as soon as it is done.
    pub fn search_watched(&self, query: &str, scope: Scope<'_>, k: usize, reached: impl FnMut(Stage)) -> Matches {
        let ranking = self.rank_watched(query, Sight::of(scope), Breadth::Candidates, reached);
        ranking.into_matches(k)
    }

    /// As [`Index::search`], as if the bank had no entry `hidden`.
    pub(in crate::matching) fn search_beside(
        &self,
        query: &str,
        scope: Scope<'_>,
        hidden: &EntryId,
        k: usize,
    ) -> Matches {
        let sight = Sight {
            scope,
            hidden: Some(hidden),
        };
        let ranking = self.rank_watched(query, sight, Breadth::Candidates, |_| {});
        ranking.into_matches(k)
    }

    /// Ranks every candidate.
    pub(in crate::matching) fn rank(&self, query: &str, scope: Scope<'_>, breadth: Breadth) -> Ranking<'_> {
        self.rank_watched(query, Sight::of(scope), breadth, |_| {})
    }

    fn rank_watched(
        &self,
        query: &str,
        sight: Sight<'_>,
        breadth: Breadth,
        mut reached: impl FnMut(Stage),
    ) -> Ranking<'_> {
        let inner = &*self.inner;
        let normalized = inner.analyzer.normalize(query);
        let typed = inner.analyzer.analyze_normalized(&normalized);
        reached(Stage::Analysed);
        let known = Recognised::of(&typed, &inner.vocabulary);
        let respelled = inner.lexicon.respell(&typed, &known, &inner.vocabulary);
        let (analysis, known) = match &respelled {
            Some(respelled) => {
                let analysis = inner.analyzer.analyze_normalized(&respelled.text);
                let known = Recognised::of(&analysis, &inner.vocabulary);
                (analysis, known)
            }
            None => (typed, known),
        };
        reached(Stage::Respelled);
        let is_wide = sight.is_wide();
        let visible = |place: Place| {
            let part = &inner.parts[place.segment as usize];
            part.is_alive(place.doc)
                && ((is_wide && part.segment.is_open(place.doc))
                    || sight.admits(&part.segment.item(part.segment.doc(place.doc).item).entry))
        };
        let exact = inner.exact(query, &normalized, visible);
        let sounding = Sounding::of(&analysis, &inner.vocabulary);
        let mut places = inner.places((&analysis, &known), &sounding, breadth, visible);
        places.extend(&exact);
        places.sort_unstable();
        places.dedup();
        reached(Stage::Gathered);
        let read = respelled.as_ref().map_or(0, |respelled| respelled.read);
        let bank = (&inner.vocabulary, &*inner.scales);
        let mut candidates = Room::lent(|room| {
            let mut query = Query::new(&analysis, &known, &sounding, read, bank, room);
            inner.compare(&mut query, &places)
        });
        for &place in exact.iter().rev() {
            let phrasing = inner.parts[place.segment as usize].segment.doc(place.doc).phrasing;
            let rank = inner.rank_of(place);
            if let Ok(at) = candidates.binary_search_by_key(&rank, |candidate| candidate.rank) {
                (candidates[at].score, candidates[at].phrasing) = (Score::EXACT, phrasing);
            }
        }
        let candidates = in_order(&candidates);
        let sureness = Sureness::of(&candidates);
        let guard = confidence::guard(&analysis, &candidates, &inner.analyzer);
        reached(Stage::Ranked);
        Ranking {
            normalized,
            analysis,
            respelled,
            candidates,
            sureness,
            guard,
        }
    }
}

impl Inner {
    fn doc_item(&self, place: Place) -> u32 {
        self.parts[place.segment as usize].segment.doc(place.doc).item
    }

    fn item(&self, place: Place) -> &Item {
        self.parts[place.segment as usize].segment.item(self.doc_item(place))
    }

    /// Its segment and, by id, its rank there.
    fn rank_of(&self, place: Place) -> (u32, u32) {
        (place.segment, self.doc_item(place))
    }

    /// The first of the visible documents whose normalised text is the query's, at most [`MOST_EXACT`], in order of place.
    fn exact(&self, query: &str, normalized: &str, visible: impl Fn(Place) -> bool) -> Vec<Place> {
        let mut found = Vec::new();
        if normalized.is_empty() {
            return found;
        }
        // Whoever taps a suggestion asks in the bank's letters, and a bank with the same question many times over mostly has
        // it in the same letters: none of these needs to be normalised.
        let mut same = query;
        for (number, part) in self.parts.iter().enumerate() {
            for doc in part.segment.normalized_as(Word::new(normalized)) {
                let place = Place {
                    segment: number as u32,
                    doc,
                };
                let (item, phrasing) = (self.item(place), part.segment.doc(doc).phrasing);
                let text = phrasing_text(&item.entry, phrasing);
                if visible(place) && (same == text || self.analyzer.normalize(text) == normalized) {
                    same = text;
                    found.push(place);
                }
            }
        }
        if found.len() > MOST_EXACT {
            found.sort_by(|a, b| {
                let (a, b) = (&self.item(*a).entry, &self.item(*b).entry);
                b.priority.cmp(&a.priority).then_with(|| a.id.cmp(&b.id))
            });
            found.truncate(MOST_EXACT);
        }
        found.sort_unstable();
        found
    }

    /// Visible documents to compare, in order of place.
    fn places(
        &self,
        (query, known): (&Analysis, &Recognised),
        sounding: &Sounding,
        breadth: Breadth,
        visible: impl Fn(Place) -> bool,
    ) -> Vec<Place> {
        let segments: Vec<&Segment> = self.parts.iter().map(|part| &*part.segment).collect();
        if breadth == Breadth::Candidates {
            return gather(
                query,
                known,
                sounding,
                &segments,
                (&self.vocabulary, &self.scales),
                visible,
            );
        }
        let everywhere = (0..)
            .zip(&segments)
            .flat_map(|(segment, content)| (0..content.documents() as u32).map(move |doc| Place { segment, doc }));
        everywhere.filter(|place| visible(*place)).collect()
    }

    /// One candidate per entry, by its best phrasing, in order of rank. Phrasings of one entry stand side by side in `places`.
    fn compare(&self, query: &mut Query<'_>, places: &[Place]) -> Vec<Candidate<'_>> {
        let segment = |place: &Place| &self.parts[place.segment as usize].segment;
        // What is compared is far away in memory. Asked for beforehand, it comes all at once instead of one by one.
        std::hint::black_box(
            places
                .iter()
                .fold(0, |sum, place| sum ^ segment(place).touch(place.doc)),
        );
        let mut candidates: Vec<Candidate<'_>> = Vec::with_capacity(places.len());
        let (mut entry, mut covered, mut best) = (None, 0, 0.0);
        for place in places {
            let segment = segment(place);
            let doc = segment.doc(place.doc);
            let is_first = entry != Some((place.segment, doc.item));
            if is_first {
                (entry, covered) = (Some((place.segment, doc.item)), 0);
            }
            effort::spend(segment.row(place.doc).units.len());
            let features = query.compare(segment.row(place.doc), segment.answer(doc.item), &mut covered);
            let standing = Standing::of(&features);
            match candidates.last_mut() {
                Some(last) if !is_first => {
                    if standing.total() > best {
                        (last.phrasing, last.features, best) = (doc.phrasing, features, standing.total());
                    }
                    last.features.query_units = query.coverage(covered);
                    last.standing = Standing::of(&last.features);
                }
                _ => {
                    best = standing.total();
                    candidates.push(Candidate {
                        entry: &segment.item(doc.item).entry,
                        rank: (place.segment, doc.item),
                        priority: segment.item(doc.item).priority,
                        phrasing: doc.phrasing,
                        features,
                        standing,
                        raw: 0.0,
                        score: Score::default(),
                    });
                }
            }
        }
        ranking::with_rivals(&mut candidates, |candidate| {
            (&mut candidate.features, candidate.standing.likeness)
        });
        for candidate in &mut candidates {
            candidate.raw = candidate.standing.settled(&candidate.features);
            candidate.score = confidence::calibrate(candidate.raw);
        }
        candidates
    }
}

/// Best first: by score, priority, id.
fn in_order<'a>(candidates: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let mut order: Vec<&Candidate<'a>> = candidates.iter().collect();
    order.sort_unstable_by(|a, b| {
        let better = b.score.cmp(&a.score).then_with(|| b.priority.cmp(&a.priority));
        better.then_with(|| match a.rank.0 == b.rank.0 {
            true => a.rank.1.cmp(&b.rank.1),
            false => a.entry.id.cmp(&b.entry.id),
        })
    });
    order.into_iter().copied().collect()
}

impl Ranking<'_> {
    /// The best `k`.
    pub(in crate::matching) fn into_matches(self, k: usize) -> Matches {
        let hit = |candidate: Candidate<'_>| Hit {
            entry: Arc::clone(candidate.entry),
            score: candidate.score,
            phrasing: candidate.phrasing,
        };
        Matches {
            hits: self.candidates.into_iter().take(k).map(hit).collect(),
            sure: Score::new(self.sureness.confidence),
            guard: self.guard,
        }
    }
}
