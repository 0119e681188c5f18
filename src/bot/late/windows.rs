//! How many customer-service messages a follower may still get: WeChat's windows, counted on our side (pure).
//!
//! A message opens 5 for 48 hours and ends what an earlier one left; a tap on a line or in the menu, and following,
//! open 3 for a minute beside it. What ends first is used first. Follows 公众号开发文档 › 客服消息 › 下发条数限制.

use crate::wechat::{Event, Inbound};
use serde::{Deserialize, Serialize};

const MESSAGE: (u32, i64) = (5, 48 * 3_600);
const TAP: (u32, i64) = (3, 60);
/// Windows that are remembered; of a follower who taps more often the one that ends first goes, nothing worth counting.
const MOST: usize = 8;

/// Leave to write to one follower.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows(Vec<Window>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    left: u32,
    /// Unix seconds.
    ends: i64,
}

impl Windows {
    /// The follower has sent `inbound` at `now` (Unix seconds).
    pub fn note(&mut self, inbound: &Inbound, now: i64) {
        let (left, seconds) = match inbound {
            Inbound::Text { menu_id: Some(_), .. }
            | Inbound::Event {
                event: Event::Click { .. } | Event::Subscribe { .. } | Event::Scan { .. },
                ..
            } => TAP,
            Inbound::Event { .. } => return,
            _ => MESSAGE,
        };
        self.0.retain(|window| window.ends > now);
        if seconds == MESSAGE.1 {
            self.0.retain(|window| window.ends <= now + TAP.1);
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        let ends = now + seconds;
        self.0.push(Window { left, ends });
        self.0.sort_by_key(|window| window.ends);
    }

    /// Takes leave for up to `wanted` messages; how many it is.
    pub fn take(&mut self, wanted: usize, now: i64) -> usize {
        self.0.retain(|window| window.ends > now);
        let mut taken = 0;
        for window in &mut self.0 {
            let more = (wanted - taken).min(window.left as usize);
            window.left -= u32::try_from(more).unwrap_or(window.left);
            taken += more;
        }
        taken
    }

    /// Gives back leave for `unused` messages.
    pub fn give_back(&mut self, unused: usize) {
        if let Some(window) = self.0.last_mut() {
            window.left = (window.left + u32::try_from(unused).unwrap_or(0)).min(MESSAGE.0);
        }
    }

    /// WeChat says that nothing is left until the follower writes again.
    pub fn exhaust(&mut self) {
        self.0.iter_mut().for_each(|window| window.left = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::Head;

    fn head() -> Head {
        Head {
            account: "gh".into(),
            openid: "o".into(),
            create_time: 1,
        }
    }

    fn text(menu_id: Option<&str>) -> Inbound {
        Inbound::Text {
            head: head(),
            msg_id: "1".into(),
            content: "x".into(),
            menu_id: menu_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_message_opens_five_for_two_days_and_a_tap_three_for_a_minute() {
        let mut windows = Windows::default();
        assert_eq!(windows.take(1, 0), 0);
        windows.note(&text(None), 0);
        assert_eq!(windows.take(3, 10), 3);
        assert_eq!(windows.take(3, MESSAGE.1 - 1), 2);
        windows.note(&text(None), 100);
        assert_eq!(windows.take(9, 100 + MESSAGE.1), 0, "the time is over");
        windows.note(&text(None), 0);
        windows.note(&text(Some("more")), 0);
        assert_eq!(windows.take(4, 59), 4, "the short one first");
        assert_eq!(windows.take(9, 60), 4);
        windows.give_back(2);
        assert_eq!(windows.take(9, 61), 2);
        windows.note(&text(None), 62);
        windows.exhaust();
        assert_eq!(windows.take(1, 63), 0);
    }

    #[test]
    fn a_message_after_many_taps_opens_its_window() {
        let mut windows = Windows::default();
        for now in 0..MOST + 2 {
            windows.note(&text(Some("x")), i64::try_from(now).unwrap());
        }
        windows.note(&text(None), 20);
        assert_eq!(windows.take(100, 20 + TAP.1), 5);
        assert!(windows.0.len() <= MOST);
    }

    #[test]
    fn messages_do_not_add_up() {
        let mut windows = Windows::default();
        for now in 0..20 {
            windows.note(&text(None), now);
            windows.note(&text(Some("x")), now);
        }
        windows.note(&text(None), 100);
        assert_eq!(windows.take(100, 100), 5);
        let event = Event::Other {
            event: "VIEW".into(),
            key: String::new(),
        };
        windows.note(&Inbound::Event { head: head(), event }, 101);
        assert_eq!(windows.take(1, 101), 0, "looking at a page opens nothing");
    }
}
