//! The conversation of pages and apps where the bank has no answer and the source that has one is slow.

use crate::late::{ACCOUNT, ANSWER, ANYTHING, KNOWN, QUESTION, SEARCHING, Stage, Way, memory};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use wxfaq::bot::Words;
use wxfaq::wechat::Reply;

const SECOND: Duration = Duration::from_secs(1);

/// A page's session with one instance, whose source takes so long.
struct Page {
    stage: Stage,
    session: String,
}

impl Page {
    fn new(takes: Duration) -> Self {
        // Whatever followers of the account get, a page is sent nothing.
        let stage = Stage::on(ANSWER, Way::Send, takes, 60 * SECOND, vec![(memory(), None)]);
        let session = stage.bots[0].new_session("key").unwrap();
        Self { stage, session }
    }

    /// What is decided and said.
    async fn ask(&self, text: &str) -> (&'static str, String) {
        let begun = Instant::now();
        let words = Words::Text(text.to_owned());
        let conversed = self.stage.bots[0]
            .converse(ACCOUNT, &self.session, words, async { Some(()) })
            .await;
        let conversed = conversed.unwrap();
        assert!(
            begun.elapsed() < 4 * SECOND,
            "{:?} by the paused clock",
            begun.elapsed()
        );
        match conversed.reply {
            Reply::Text { content } => (conversed.decision, content),
            other => panic!("{other:?}"),
        }
    }
}

fn said(decision: &'static str, text: &str) -> (&'static str, String) {
    (decision, text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_page_gets_what_is_found_in_time_or_with_its_next_text() {
    let page = Page::new(SECOND);
    assert_eq!(page.ask(QUESTION).await, said("source", ANSWER));

    let page = Page::new(5 * SECOND);
    assert_eq!(page.ask(QUESTION).await, said("searching", SEARCHING));
    // Who asks while it is looked for waits for it.
    assert_eq!(page.ask(ANYTHING).await, said("late", ANSWER));

    let page = Page::new(20 * SECOND);
    assert_eq!(page.ask(QUESTION).await, said("searching", SEARCHING));
    assert_eq!(page.ask(ANYTHING).await, said("searching", SEARCHING));
    assert_eq!(page.ask(KNOWN).await.0, "answer", "the bank goes on answering");
    page.stage.settle().await;
    assert_eq!(page.ask(ANYTHING).await, said("late", ANSWER));
    assert_ne!(page.ask(ANYTHING).await.1, ANSWER, "once");

    let page = Page::new(20 * SECOND);
    assert_eq!(page.ask(QUESTION).await, said("searching", SEARCHING));
    page.stage.settle().await;
    let both = format!("{ANSWER}\n\n关于您刚才的问题：\n带上身份证。");
    assert_eq!(page.ask(KNOWN).await, said("answer", &both));
    assert_eq!(page.ask(KNOWN).await, said("answer", "带上身份证。"));
    assert_eq!(page.stage.asked(), 1);
    assert!(page.stage.outbox.texts().is_empty());
}

/// Sets its flag when it is dropped.
struct Place(Arc<AtomicBool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_source_holds_no_place_to_search() {
    let page = Page::new(20 * SECOND);
    let is_free = Arc::new(AtomicBool::new(false));
    let place = Place(is_free.clone());
    let words = Words::Text(QUESTION.to_owned());
    let asking = page.stage.bots[0].converse(ACCOUNT, &page.session, words, async { Some(place) });
    let mut asking = std::pin::pin!(asking);
    assert!(timeout(SECOND, &mut asking).await.is_err(), "it waits");
    assert!(is_free.load(Ordering::SeqCst));
    assert_eq!(asking.await.unwrap().decision, "searching");
}
