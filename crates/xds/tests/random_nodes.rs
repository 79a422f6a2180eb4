//! Random metadata of nodes, which any peer of the plaintext port may send. `make fuzz` runs this for minutes.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::time::{Duration, Instant};
use xds_api::{
    envoy::config::core::v3::{Locality, Node},
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};

struct Random(u64);

const KEYS: [&str; 12] = [
    "NAMESPACE",
    "LABELS",
    "INSTANCE_IPS",
    "CLUSTER_ID",
    "INTERCEPTION_MODE",
    "IDLE_TIMEOUT",
    "HTTP_PROXY_PORT",
    "SERVICE_ACCOUNT",
    "DNS_CAPTURE",
    "ISTIO_VERSION",
    "UNPRIVILEGED_POD",
    "",
];

const TEXTS: [&str; 12] =
    ["", "~", "sidecar", "sidecar~1.2.3.4~a.b~c", "1.2.3.4,::1,x", "true", "\u{0}", "../..", "99999999999999999999", "-1", "5s", "💥"];

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }

    fn text(&mut self) -> String {
        let repeated = if self.below(50) == 0 { 10_000 } else { 1 + self.below(2) };
        TEXTS.get(self.below(TEXTS.len())).copied().unwrap_or_default().repeat(repeated)
    }

    fn structure(&mut self, depth: usize) -> Struct {
        let fields = (0..self.below(8)).map(|_| {
            let key =
                if self.below(4) == 0 { self.text() } else { KEYS.get(self.below(KEYS.len())).copied().unwrap_or_default().to_owned() };
            (key, self.value(depth))
        });
        Struct { fields: fields.collect() }
    }

    fn value(&mut self, depth: usize) -> Value {
        let kind = match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => None,
            1 => Some(Kind::BoolValue(self.below(2) == 0)),
            2 => Some(Kind::NumberValue([f64::NAN, -1.0, 1e300, 0.0].get(self.below(4)).copied().unwrap_or_default())),
            3 => Some(Kind::StringValue(self.text())),
            4 => Some(Kind::StructValue(self.structure(depth - 1))),
            _ => Some(Kind::ListValue(ListValue { values: (0..self.below(4)).map(|_| self.value(depth - 1)).collect() })),
        };
        Value { kind }
    }
}

#[test]
fn no_node_stops_the_one_that_reads_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(1));
    let mut random = Random(number("FUZZ_SEED").unwrap_or(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut served, mut refused) = (0_u64, 0_u64);
    while Instant::now() < until {
        let id = match random.below(3) {
            0 => random.text(),
            1 => (0..random.below(6)).map(|_| random.text()).collect::<Vec<_>>().join("~"),
            _ => "sidecar~10.0.0.1~a.shop~shop.svc.cluster.local".to_owned(),
        };
        let locality = Some(Locality { region: random.text(), ..Locality::default() });
        let node = Node { id, metadata: Some(random.structure(4)), locality, ..Node::default() };
        match xds::parse_node(&node) {
            Ok(_) => served += 1,
            Err(error) => {
                assert!(error.0.len() < 1_000, "a peer makes us repeat {} bytes", error.0.len());
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
}
