//! The demo for people: load, screen, page and keys until somebody ends it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::istiod::free_address;
use super::keyboard::Keyboard;
use super::load::{self, SharedRecords};
use super::log_lines::LogLines;
use super::mesh::Mesh;
use super::outage::{Outage, Totals};
use super::page::{self, SharedPicture};
use super::record::Records;
use super::screen::Screen;
use super::state::{IstiodState, State, summaries};
use super::{Options, ended_by_signal, gateway};
use crate::client::Client;

/// How often the screen is redrawn.
const REDRAW: Duration = Duration::from_millis(500);

/// The port of the page, unless it is taken.
const PAGE_PORT: u16 = 8090;

struct Live {
    mesh: Mesh,
    gateway: String,
    page: String,
    records: SharedRecords,
    picture: SharedPicture,
    warnings: LogLines,
    outage: Outage,
}

/// Runs until Ctrl-C, SIGTERM or the key `q`, and ends everything it started.
///
/// # Errors
/// If not everything can be started.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let parts = options.parts()?;
    println!("starting istiod, the services and their Envoys (logs in {})", parts.scratch.display());
    // A signal while it starts ends it as well: dropping what was started kills it.
    let mesh = tokio::select! {
        mesh = Mesh::start(&parts) => mesh?,
        signal = ended_by_signal() => return signal,
    };
    let gateway = gateway(&mesh.pods)?;
    let (records, picture) = (Rc::new(RefCell::new(Records::default())), Rc::new(RefCell::new(Bytes::from_static(b"{}"))));
    let page_address = free_address(PAGE_PORT)?;
    page::serve(page_address, Rc::clone(&picture)).await?;
    tokio::task::spawn_local(load::run(Client::new(Duration::from_secs(5)), gateway, options.rate, Rc::clone(&records)));
    let warnings = LogLines::new(mesh.istiod.log().clone());
    let mut live = Live {
        mesh,
        gateway: format!("http://{gateway}/"),
        page: format!("http://{page_address}/"),
        records,
        picture,
        warnings,
        outage: Outage::default(),
    };
    println!("gateway {}  page {}", live.gateway, live.page);
    let outcome = live.until_ended(&options.config.to_string_lossy()).await;
    // Before the stop: requests that are cut off by it are no failures.
    let (total, failed) = live.records.borrow().totals();
    live.mesh.stop().await;
    println!("ended; {total} requests, {failed} failed");
    outcome
}

impl Live {
    async fn until_ended(&mut self, config: &str) -> anyhow::Result<()> {
        let mut keyboard = Keyboard::open();
        let mut screen = Screen::new(config);
        let mut ticks = tokio::time::interval(REDRAW);
        let signal = ended_by_signal();
        tokio::pin!(signal);
        loop {
            tokio::select! {
                ended = &mut signal => return ended,
                _ = ticks.tick() => {
                    let state = self.picture().await;
                    *self.picture.borrow_mut() = serde_json::to_vec(&state)?.into();
                    screen.show(&state);
                }
                key = next_key(&mut keyboard) => match key {
                    b'k' => self.mesh.istiod.kill().await,
                    b's' => self.mesh.istiod.start()?,
                    b'q' => return Ok(()),
                    _ => {}
                },
            }
        }
    }

    async fn picture(&mut self) -> State {
        let received = self.mesh.received().await;
        let envoys = Totals::of(&received);
        let now = Instant::now();
        let (total, failed) = self.records.borrow().totals();
        let (last_second, last_ten_seconds, seconds) = summaries(&self.records.borrow(), now);
        let is_running = self.mesh.istiod.is_running();
        let istiod = &self.mesh.istiod;
        let istiod = IstiodState {
            pid: istiod.id().filter(|_| is_running),
            command: istiod.command(),
            log: istiod.log().display().to_string(),
            debug: format!("http://{}/debug", istiod.addresses.http),
        };
        State {
            gateway: self.gateway.clone(),
            page: self.page.clone(),
            istiod,
            total,
            failed,
            last_second,
            last_ten_seconds,
            seconds,
            envoys,
            istiod_return: self.outage.observe(envoys, now),
            warnings: self.warnings.refresh(),
            lost: self.mesh.lost().into_iter().map(|(name, log)| format!("{name} (log {})", log.display())).collect(),
        }
    }
}

async fn next_key(keyboard: &mut Option<Keyboard>) -> u8 {
    match keyboard {
        Some(keyboard) => match keyboard.key().await {
            Some(key) => key,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
