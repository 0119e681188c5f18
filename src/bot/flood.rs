//! Followers who write more in a minute than a person asks: told so once, then met with silence until the minute ends.
//!
//! [`Floods::judge`] is the entry point. What a follower has sent is counted in this process, each instance for itself, in
//! windows that begin with a message. A message that comes again is judged as before and counted once, as far as the
//! last few go; whose record the store has does not come here at all.

use crate::store::conversations::Follower;
use crate::wechat::{Event, Inbound};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(60);
/// Followers counted at once. Beyond, whoever comes new is not counted.
const MOST_FOLLOWERS: usize = 100_000;
/// Messages of a follower that are recognised when they come again.
const RECOGNISED: usize = 4;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is answered.
    Passed,
    /// It is the first too many in its window: the follower is told.
    Warned,
    /// Nothing is said.
    Silenced,
}

/// The windows of all followers.
pub(super) struct Floods {
    /// Messages in a window; 0: any number.
    most: u32,
    hasher: RandomState,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    windows: HashMap<u64, Window>,
    /// When ended windows were last looked for.
    swept: Option<Instant>,
}

struct Window {
    ends: Instant,
    count: u32,
    last: [Option<(u64, Judgement)>; RECOGNISED],
}

impl Floods {
    /// Lets `most` messages of a follower pass in a minute; 0: any number.
    pub fn new(most: u32) -> Self {
        Self {
            most,
            hasher: RandomState::new(),
            counted: Mutex::default(),
        }
    }

    /// Judges the follower's message of that id, and counts it. What happens to a follower, other than that they tap the
    /// menu, is never too much.
    pub fn judge(&self, follower: &Follower, inbound: &Inbound, id: &str, now: Instant) -> Judgement {
        let is_counted = match inbound {
            Inbound::Event { event, .. } => matches!(event, Event::Click { .. }),
            _ => true,
        };
        if self.most == 0 || !is_counted {
            return Judgement::Passed;
        }
        let (follower, message) = (self.hasher.hash_one(follower), self.hasher.hash_one(id));
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if !counted.has_room(follower, now) {
            metrics::counter!("wxfaq_store_dropped_total", "store" => "memory", "item" => "flood").increment(1);
            return Judgement::Passed;
        }
        let window = counted
            .windows
            .entry(follower)
            .or_insert_with(|| Window::beginning(now));
        window.judge(message, self.most, now)
    }
}

impl Counted {
    /// Whether `follower` is counted, or can be. Ended windows go at most once a second.
    fn has_room(&mut self, follower: u64, now: Instant) -> bool {
        let is_full = self.windows.len() >= MOST_FOLLOWERS && !self.windows.contains_key(&follower);
        if is_full && self.swept.is_none_or(|swept| now >= swept + Duration::from_secs(1)) {
            self.swept = Some(now);
            self.windows.retain(|_, window| window.ends > now);
        }
        !is_full || self.windows.len() < MOST_FOLLOWERS
    }
}

impl Window {
    fn beginning(now: Instant) -> Self {
        Self {
            ends: now + WINDOW,
            count: 0,
            last: [None; RECOGNISED],
        }
    }

    fn judge(&mut self, message: u64, most: u32, now: Instant) -> Judgement {
        if let Some((_, before)) = self.last.iter().flatten().find(|(known, _)| *known == message) {
            return *before;
        }
        if self.ends <= now {
            (self.ends, self.count) = (now + WINDOW, 0);
        }
        self.count = self.count.saturating_add(1);
        let judgement = match self.count.saturating_sub(most) {
            0 => Judgement::Passed,
            1 => Judgement::Warned,
            _ => Judgement::Silenced,
        };
        self.last.rotate_right(1);
        self.last[0] = Some((message, judgement));
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::Judgement::{Passed, Silenced, Warned};
    use super::*;
    use crate::wechat::Head;

    const SECOND: Duration = Duration::from_secs(1);

    fn follower(name: &str) -> Follower {
        Follower {
            account: "a".into(),
            pseudonym: name.into(),
        }
    }

    fn head() -> Head {
        Head {
            account: "gh".into(),
            openid: "o".into(),
            create_time: 1,
        }
    }

    fn text() -> Inbound {
        Inbound::Text {
            head: head(),
            msg_id: "1".into(),
            content: "问".into(),
            menu_id: None,
        }
    }

    #[test]
    fn the_first_too_many_is_warned_and_the_rest_of_the_minute_silenced() {
        let (floods, begin) = (Floods::new(3), Instant::now());
        let judge = |name: &str, id: &str, at: Duration| floods.judge(&follower(name), &text(), id, begin + at);
        let all: Vec<_> = (0..6).map(|n| judge("x", &n.to_string(), SECOND * n)).collect();
        assert_eq!(all, [Passed, Passed, Passed, Warned, Silenced, Silenced]);
        // Those that come again, in whatever window.
        assert_eq!(judge("x", "3", 5 * SECOND), Warned);
        assert_eq!(judge("x", "2", 61 * SECOND), Passed);
        assert_eq!(judge("y", "6", 5 * SECOND), Passed, "others are not meant");
        assert_eq!(judge("x", "6", 59 * SECOND), Silenced);
        let next: Vec<_> = (7..12).map(|n| judge("x", &n.to_string(), 60 * SECOND)).collect();
        assert_eq!(next, [Passed, Passed, Passed, Warned, Silenced], "once a window");
    }

    #[test]
    fn a_message_that_comes_again_is_counted_once() {
        let (floods, now) = (Floods::new(2), Instant::now());
        for _ in 0..10 {
            assert_eq!(floods.judge(&follower("x"), &text(), "1", now), Judgement::Passed);
        }
        assert_eq!(floods.judge(&follower("x"), &text(), "2", now), Judgement::Passed);
        assert_eq!(floods.judge(&follower("x"), &text(), "3", now), Judgement::Warned);
    }

    #[test]
    fn coming_and_going_is_never_too_much() {
        let (floods, now) = (Floods::new(1), Instant::now());
        let events = [
            Event::Subscribe { scene: None },
            Event::Unsubscribe,
            Event::Revoked,
            Event::Scan { scene: "s".into() },
        ];
        for (n, event) in events.into_iter().cycle().take(40).enumerate() {
            let event = Inbound::Event { head: head(), event };
            let judged = floods.judge(&follower("x"), &event, &n.to_string(), now);
            assert_eq!(judged, Judgement::Passed);
        }
        let click = |id: &str| {
            let event = Event::Click { key: "k".into() };
            floods.judge(&follower("x"), &Inbound::Event { head: head(), event }, id, now)
        };
        assert_eq!((click("a"), click("b")), (Judgement::Passed, Judgement::Warned));
        let off = Floods::new(0);
        assert!((0..99).all(|n| off.judge(&follower("x"), &text(), &n.to_string(), now) == Judgement::Passed));
    }

    #[test]
    fn no_more_than_so_many_are_counted() {
        let (floods, begin) = (Floods::new(1), Instant::now());
        let judge = |n: usize, id: &str, now| floods.judge(&follower(&n.to_string()), &text(), id, now);
        for n in 0..MOST_FOLLOWERS + 10 {
            judge(n, "1", begin);
        }
        assert_eq!(floods.counted.lock().unwrap().windows.len(), MOST_FOLLOWERS);
        assert_eq!(judge(0, "2", begin), Judgement::Warned);
        assert_eq!(judge(MOST_FOLLOWERS, "2", begin), Judgement::Passed, "not counted");
        judge(MOST_FOLLOWERS, "3", begin + WINDOW);
        assert_eq!(floods.counted.lock().unwrap().windows.len(), 1);
    }
}
