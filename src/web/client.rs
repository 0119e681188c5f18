//! Who is at the other end of a connection.
//!
//! `X-Forwarded-For` is written by whoever sends it; only the entries added by proxies we trust count.

use crate::config::Network;
use axum::http::HeaderMap;
use std::net::IpAddr;

/// The address a connection comes from; `None` on a Unix socket, which only a local proxy can reach.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<IpAddr>);

/// The client's address: the peer's, or the last in `X-Forwarded-For` that no trusted proxy has.
pub fn client_address(peer: Peer, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if peer.0.is_some_and(|address| !is_trusted(address)) {
        return peer.0;
    }
    let forwarded = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let forwarded: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut last = peer.0;
    for text in forwarded.iter().rev() {
        let Ok(address) = text.parse::<IpAddr>() else {
            return last;
        };
        last = Some(address);
        if !is_trusted(address) {
            return last;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9".parse().unwrap());
        let from = |peer: &str| client_address(Peer(Some(peer.parse().unwrap())), &headers, &trusted);
        assert_eq!(from("10.0.0.1"), Some("1.2.3.4".parse().unwrap()));
        assert_eq!(from("8.8.8.8"), Some("8.8.8.8".parse().unwrap()));
        assert_eq!(
            client_address(Peer(None), &headers, &trusted),
            Some("1.2.3.4".parse().unwrap())
        );
    }
}
