//! How an endpoint is chosen (Istio's `validateLoadBalancer`).

use crate::{
    amount::duration,
    report::{Field, Report, each},
};
use base::LARGEST_HASH_RING;
use istio_api::networking::destination_rule::{
    ConsistentHashLb, Failover, HashAlgorithm, HashKey, LoadBalancerSettings, LocalityLoadBalancerSetting, SimpleLb, WarmupConfiguration,
    ZoneAwareLoadBalancerSetting,
};

pub(crate) fn validate(report: &mut Report, at: &Field<'_>, settings: &LoadBalancerSettings, has_outlier_detection: bool) {
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(report, &at.key("consistentHash"), hash);
    }
    if let Some(warmup) = &settings.warmup {
        warmup_settings(report, &at.key("warmup"), warmup);
        if !matches!(settings.simple, None | Some(SimpleLb::RoundRobin | SimpleLb::LeastRequest | SimpleLb::Unspecified)) {
            report.warning(&at.key("warmup"), "warmup works with ROUND_ROBIN and LEAST_REQUEST only");
        }
    }
    if settings.locality_lb_setting.is_some() && settings.zone_aware_lb_setting.is_some() {
        report.error(at, "only one of localityLbSetting and zoneAwareLbSetting can be set");
    }
    if let Some(locality) = &settings.locality_lb_setting {
        locality_setting(report, &at.key("localityLbSetting"), locality, has_outlier_detection);
    }
    if let Some(zone) = &settings.zone_aware_lb_setting {
        zone_aware_setting(report, &at.key("zoneAwareLbSetting"), zone);
    }
}

fn consistent_hash(report: &mut Report, at: &Field<'_>, hash: &ConsistentHashLb) {
    match hash.hash_key() {
        Some(HashKey::HttpCookie(cookie)) if cookie.name.is_empty() => {
            report.error(&at.key("httpCookie").key("name"), "name required for HttpCookie");
        }
        Some(HashKey::HttpHeaderName("")) => report.error(&at.key("httpHeaderName"), "header name cannot be empty"),
        _ => {}
    }
    if hash.minimum_ring_size != 0 {
        report.warning(
            &at.key("minimumRingSize"),
            "consistent hash MinimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead",
        );
    }
    let ring_hash = at.key("ringHash");
    let ring = match hash.hash_algorithm() {
        Some(HashAlgorithm::RingHash(ring)) => Some((ring_hash.key("minimumRingSize"), ring.minimum_ring_size)),
        Some(HashAlgorithm::MagLev(_)) => None,
        None => Some((at.key("minimumRingSize"), hash.minimum_ring_size)),
    };
    if let Some((at, size)) = ring.filter(|(_, size)| *size > LARGEST_HASH_RING) {
        report.warning(
            &at,
            format!("a ring of {size} entries is larger than Envoy makes, so that one of {LARGEST_HASH_RING} is made; set a smaller size"),
        );
    }
    if let Some(HashAlgorithm::MagLev(maglev)) = hash.hash_algorithm()
        && maglev.table_size != 0
    {
        let maglev_at = at.key("maglev");
        let at = maglev_at.key("tableSize");
        // Envoy's upper bound; also keeps the test for primes short.
        if maglev.table_size >= 5_000_011 {
            report.error(&at, "tableSize must be less than 5000011 for maglev");
        } else if !is_prime(maglev.table_size) {
            report.error(&at, "tableSize must be a prime number for maglev");
        }
    }
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

fn warmup_settings(report: &mut Report, at: &Field<'_>, warmup: &WarmupConfiguration) {
    if warmup.duration.is_none() {
        report.error(&at.key("duration"), "duration is required");
    }
    duration(report, &at.key("duration"), warmup.duration);
    if warmup.minimum_percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        report.error(&at.key("minimumPercent"), "minimumPercent value should be between 0 and 100");
    }
    if warmup.aggression.is_some_and(|aggression| aggression < 1.0) {
        report.error(&at.key("aggression"), "aggression should be greater than or equal to 1");
    }
}

pub(crate) fn locality_setting(report: &mut Report, at: &Field<'_>, setting: &LocalityLoadBalancerSetting, has_outlier_detection: bool) {
    if !setting.distribute.is_empty() && !setting.failover.is_empty() {
        report.error(at, "can not simultaneously specify 'distribute' and 'failover'");
    }
    if !setting.distribute.is_empty() && !setting.failover_priority.is_empty() {
        report.error(at, "can not simultaneously specify 'distribute' and 'failoverPriority'");
    }
    each(report, at, "distribute", &setting.distribute, |report, at, share| {
        let to = at.key("to");
        for (locality, weight) in &share.to {
            if !(1..=100).contains(weight) {
                report.error(&to.key(locality), format!("locality weight must be in range [1, 100], found {weight}"));
            }
        }
        let total: u64 = share.to.values().map(|weight| u64::from(*weight)).sum();
        if total != 100 {
            report.error(&to, format!("total locality weight {total} != 100"));
        }
        localities(report, &to, share.to.keys());
    });
    localities(report, &at.key("distribute"), setting.distribute.iter().map(|share| &share.from));
    failovers(report, at, &setting.failover);
    if !setting.failover.is_empty() && !has_outlier_detection {
        report.warning(at, "outlier detection policy must be provided for failover");
    }
}

/// Regions are tiers by themselves, and zones are Envoy's.
pub(crate) fn zone_aware_setting(report: &mut Report, at: &Field<'_>, setting: &ZoneAwareLoadBalancerSetting) {
    failovers(report, at, &setting.failover);
    each(report, at, "failoverPriority", &setting.failover_priority, |report, at, label| {
        let key = label.split('=').next().unwrap_or_default();
        if matches!(key, "topology.kubernetes.io/region" | "topology.kubernetes.io/zone" | "topology.istio.io/subzone") {
            report.error(at, format!("zone-aware load balancing takes care of {key} by itself; leave it out of failoverPriority"));
        }
    });
}

fn failovers(report: &mut Report, at: &Field<'_>, failovers: &[Failover]) {
    each(report, at, "failover", failovers, |report, at, failover| {
        if failover.from == failover.to {
            report.error(at, format!("locality lb failover settings must specify different regions, found {:?} twice", failover.from));
        }
        if failover.from.contains('*') || failover.to.contains('*') {
            report.error(at, "locality lb failover region should not contain '*' wildcard");
        }
        if failover.from.contains('/') || failover.to.contains('/') {
            report.error(at, "locality lb failover only specify region");
        }
    });
}

/// Localities of one level: well formed and none within another.
fn localities<'a>(report: &mut Report, at: &Field<'_>, names: impl Iterator<Item = &'a String>) {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        let (stem, wild) = name.strip_suffix('*').map_or((name.as_str(), false), |stem| (stem, true));
        if name.is_empty() {
            report.error(at, "locality must not be empty; write region/zone/subzone, or * at the end");
        } else if stem.contains('*') {
            report.error(at, format!("locality {name} wildcard '*' can only be at the end, once"));
        } else if wild && !stem.is_empty() && !stem.ends_with('/') {
            report.error(at, format!("locality {name} wildcard '*' must be a whole part, region/*"));
        } else if name.split('/').count() > 3 {
            report.error(at, format!("locality {name} has more parts than region/zone/subzone"));
        }
        if let Some(other) = seen.iter().find(|other| overlap(other, name)) {
            report.error(at, format!("locality {name} overlap with {other}"));
        }
        seen.push(name);
    }
}

fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| match outer.strip_suffix('*') {
        Some(stem) => inner.starts_with(stem),
        None => inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/')),
    };
    within(one, other) || within(other, one)
}
