//! The floor to measure against: a bare axum handler that takes a POST and answers a fixed reply.
//!
//! `cargo bench --bench floor -- --port 8199` runs it until it is killed; load it and the daemon with the same tool, in
//! turn, and compare messages per second and CPU per message. tests/README.md has the commands.

use axum::Router;
use axum::routing::post;

const REPLY: &str = "<xml><ToUserName><![CDATA[o]]></ToUserName><FromUserName><![CDATA[gh_0]]></FromUserName>\
                     <CreateTime>1</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[ok]]></Content></xml>";

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--port");
    // `cargo test --benches` runs this without a port: there is nothing to do then.
    let Some(port) = arguments.nth(1).and_then(|port| port.parse::<u16>().ok()) else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new().route("/wechat", post(|_: String| async { REPLY }));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        axum::serve(listener, router).await
    })
}
