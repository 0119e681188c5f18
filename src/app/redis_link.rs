//! The configured Redis: one link to it, whatever stands behind.

use crate::config::{Redis, RedisServers, Secret};
use crate::store::StoreError;
use crate::store::redis::{Link, Servers};
use std::sync::Arc;

/// A link that is not connected yet; `None`: the configuration names no Redis.
///
/// # Errors
/// An address of `redis.urls` cannot be read.
pub fn redis_link(redis: &Redis) -> Result<Option<Arc<Link>>, StoreError> {
    let Some(servers) = &redis.servers else { return Ok(None) };
    let expose = |urls: &[Secret]| urls.iter().map(|url| url.expose().to_owned()).collect();
    let servers = match servers {
        RedisServers::Standalone(url) => Servers::Standalone(url.expose().to_owned()),
        RedisServers::Sentinel {
            sentinels,
            primary,
            user,
            password,
        } => Servers::Sentinels {
            sentinels: expose(sentinels),
            primary: primary.clone(),
            user: user.clone(),
            password: password.expose().to_owned(),
        },
        RedisServers::Cluster(seeds) => Servers::Cluster(expose(seeds)),
    };
    let link = Link::open(&servers, &redis.prefix, redis.deadline)?;
    Ok(Some(Arc::new(link)))
}
