//! A steady load through the gateway.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::HeaderMap;

use super::record::{Record, Records};
use crate::answer::Answer;
use crate::client::Client;

/// The records that load and screen share; both live on one thread.
pub type SharedRecords = Rc<RefCell<Records>>;

/// Sends one request to `gateway` and says what became of it.
pub async fn request(client: &Client, gateway: SocketAddr) -> Record {
    let start = Instant::now();
    let answer = match client.get(gateway, "shop.example.com", "/", HeaderMap::new()).await {
        Err(error) => Answer::failed("gateway", 0, format!("{error:#}")),
        Ok(reply) => serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| Answer::failed("gateway", reply.status, String::from_utf8_lossy(&reply.body).into_owned())),
    };
    Record { at: start, latency: start.elapsed(), answer }
}

/// Sends `rate` requests a second for ever, each at its time whether or not the one before has been answered.
pub async fn run(client: Client, gateway: SocketAddr, rate: u32, records: SharedRecords) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    loop {
        ticks.tick().await;
        let (client, records) = (client.clone(), Rc::clone(&records));
        tokio::task::spawn_local(async move {
            let record = request(&client, gateway).await;
            records.borrow_mut().push(record);
        });
    }
}
