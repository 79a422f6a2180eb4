//! Generated policies and requests: a real Envoy lets in whom the simulator lets in.

use super::{
    certificates::{Authority, Certificate},
    client::Caller,
    in_network,
    network::Network,
    room::Room,
    session::{Session, Variation},
    upstream::Upstream,
    workload::Workload,
};
use crate::{case::Case, mesh, policies, random::Random};
use anyhow::{Context, Result, ensure};
use simulation::{Call, Direction, End, Failure, Protocol, Security, simulate};
use std::net::SocketAddr;

/// The workload's ports.
const HTTP: u16 = 9080;
const TCP: u16 = 7000;

/// What was asked and decided.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decisions {
    /// Requests and connections that were let in.
    pub allowed: usize,
    /// Those that were refused.
    pub denied: usize,
}

/// Generates policies, and `requests` requests of each client; counts what was decided.
///
/// # Errors
/// If Envoy decides otherwise than the simulator.
pub fn check(case: &Case, round: u64, requests: usize, network: &Network) -> Result<Decisions> {
    let mut random = Random::seeded("decisions", round);
    let case = Case { more: policies::policies(&mut random), ..case.clone() };
    let checked = in_network(network, || run(&case, &mut random, requests));
    checked.with_context(|| format!("in round {round}, with the policies {}", case.more))
}

async fn run(case: &Case, random: &mut Random, requests: usize) -> Result<Decisions> {
    let (_, view) = mesh::build(case)?;
    let workload = Workload::new(&case.file.proxy, view, Room::of_case())?;
    let upstream = Upstream::new()?;
    for port in [HTTP, TCP] {
        upstream.listen(SocketAddr::new(case.file.proxy.ip, port), &workload.room)?;
    }
    let (scratch, authority) = (tempfile::tempdir()?, Authority::new()?);
    let mut running = workload.start(&authority, scratch.path()).await?;
    let mut decisions = Decisions::default();
    for identity in policies::IDENTITIES {
        let certificate = identity.map(|identity| authority.issue(identity)).transpose()?;
        let client = Client { workload: &workload, certificate: certificate.as_ref(), identity: identity.unwrap_or_default() };
        client.connect(&mut decisions).await?;
        client.requests((0..requests).map(|_| policies::request(random)).collect(), &mut decisions).await?;
    }
    running.envoy.stop().await;
    let refusals = running.served.refusals();
    ensure!(refusals.is_empty(), "Envoy refused its configuration: {refusals}");
    Ok(decisions)
}

struct Client<'a> {
    workload: &'a Workload<'a>,
    certificate: Option<&'a Certificate>,
    identity: &'a str,
}

impl Client<'_> {
    fn call(&self, protocol: Protocol) -> Call {
        let tcp = protocol == Protocol::Tcp;
        let alpn: &[&str] = match (self.identity, tcp) {
            ("", _) => &[],
            (_, true) => &["istio-peer-exchange", "istio"],
            (_, false) => &["istio-http/1.1", "istio", "http/1.1"],
        };
        Call {
            direction: Direction::Inbound,
            address: self.workload.proxy.ip,
            port: if tcp { TCP } else { HTTP },
            source: crate::call::CALLER.into(),
            protocol,
            security: if self.identity.is_empty() { Security::Plaintext } else { Security::MutualTls },
            server_name: if self.identity.is_empty() { String::new() } else { "catalog".to_owned() },
            application_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
            principal: self.identity.to_owned(),
            ..Call::default()
        }
    }

    async fn connect(&self, decisions: &mut Decisions) -> Result<()> {
        let call = self.call(Protocol::Tcp);
        self.compare(&mut self.session(&call), &call, &Variation::default(), decisions).await
    }

    /// Over one connection for each method and authority.
    async fn requests(&self, requests: Vec<policies::Request>, decisions: &mut Decisions) -> Result<()> {
        for (method, host) in policies::heads() {
            let base = Call { method: method.to_owned(), authority: host.to_owned(), ..self.call(Protocol::Http) };
            let mut session = self.session(&base);
            for request in requests.iter().filter(|request| (request.method, request.host) == (method, host)) {
                let full = Call { path: request.path.to_owned(), headers: request.headers.iter().cloned().collect(), ..base.clone() };
                let variation = Variation { headers: request.headers.clone(), path: Some(request.path.to_owned()), source: None };
                self.compare(&mut session, &full, &variation, decisions).await?;
            }
        }
        Ok(())
    }

    fn session<'s>(&'s self, call: &'s Call) -> Session<'s> {
        Session::new(call, Caller { room: &self.workload.room, certificate: self.certificate, version: None })
    }

    async fn compare(&self, session: &mut Session<'_>, full: &Call, variation: &Variation, decisions: &mut Decisions) -> Result<()> {
        let outcome = simulate(&self.workload.resources, full);
        let wanted = match &outcome.end {
            End::Forwarded(_) => true,
            End::Response { status: 403, .. } | End::Failure(Failure::Denied) => false,
            _ => anyhow::bail!("{full:?} goes to {outcome}"),
        };
        let answer = session.call(variation).await;
        let found = match (full.protocol, answer.status, &answer.failure) {
            (Protocol::Tcp, _, failure) => failure.is_none(),
            (_, Some(200), _) => true,
            (_, Some(403), _) => false,
            _ => anyhow::bail!("{full:?} is answered with {answer:?}"),
        };
        ensure!(
            found == wanted,
            "{full:?}: Envoy {}, and the simulator goes to {outcome}",
            if found { "lets it in" } else { "refuses it" }
        );
        if found {
            decisions.allowed += 1
        } else {
            decisions.denied += 1
        }
        Ok(())
    }
}
