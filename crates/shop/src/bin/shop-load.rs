//! A steady load on one address, counted. Prints a line of JSON whenever a line comes in on standard input, and ends with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use hyper::HeaderMap;
use serde::Serialize;
use shop::answer::Answer;
use shop::client::Client;

/// The command line.
#[derive(Parser)]
#[command(name = "shop-load", about = "A steady load on one address, counted")]
struct Options {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// The Host header.
    #[arg(long)]
    host: String,
    /// Requests a second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
}

/// What became of the requests.
#[derive(Default, Serialize)]
struct Counts {
    /// Requests that were answered with status 200, by the version that answered.
    answered: BTreeMap<String, u64>,
    /// Everything else, by what it was.
    lost: BTreeMap<String, u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let counts = Arc::new(Mutex::new(Counts::default()));
    let (to, host, shared) = (options.to, Arc::<str>::from(options.host), counts.clone());
    tokio::spawn(async move {
        let client = Client::new(Duration::from_secs(5));
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / options.rate.max(1));
        loop {
            ticks.tick().await;
            // Each at its time, whether or not the one before has been answered.
            let (client, host, counts) = (client.clone(), host.clone(), shared.clone());
            tokio::spawn(async move {
                let reply = client.get(to, &host, "/", HeaderMap::new()).await;
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                match reply {
                    Ok(reply) if reply.status == 200 => {
                        let version = serde_json::from_slice::<Answer>(&reply.body).map(|answer| answer.version).unwrap_or_default();
                        *counts.answered.entry(version).or_default() += 1;
                    }
                    Ok(reply) => {
                        let text = String::from_utf8_lossy(&reply.body).chars().take(100).collect::<String>();
                        *counts.lost.entry(format!("{} {text}", reply.status)).or_default() += 1;
                    }
                    Err(error) => *counts.lost.entry(format!("{error:#}")).or_default() += 1,
                }
            });
        }
    });
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || ended.send(report(&counts)));
    end.await?
}

/// A line out for each line in.
fn report(counts: &Mutex<Counts>) -> anyhow::Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{}", serde_json::to_string(&*counts)?);
    }
    Ok(())
}
