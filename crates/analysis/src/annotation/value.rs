//! The values of the annotations whose form matters to injection (Istio's `inject.AnnotationValidation`).

use base::Cidr;

/// Whether the value of the annotation is well-formed; a problem says what is wrong with it.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    match name {
        "sidecar.istio.io/interceptionMode" => mode(value),
        "status.sidecar.istio.io/port" => match value.trim().parse::<u32>() {
            Ok(number) if number <= 65535 => Ok(()),
            _ => Err(format!("{value:?} is no port; write a number from 0 to 65535")),
        },
        "readiness.status.sidecar.istio.io/initialDelaySeconds"
        | "readiness.status.sidecar.istio.io/periodSeconds"
        | "readiness.status.sidecar.istio.io/failureThreshold" => number(value),
        "traffic.sidecar.istio.io/includeOutboundIPRanges" if value == "*" => Ok(()),
        "traffic.sidecar.istio.io/includeOutboundIPRanges" | "traffic.sidecar.istio.io/excludeOutboundIPRanges" => ranges(value),
        "traffic.sidecar.istio.io/includeInboundPorts" | "traffic.sidecar.istio.io/includeOutboundPorts" if value == "*" => Ok(()),
        "traffic.sidecar.istio.io/includeInboundPorts"
        | "traffic.sidecar.istio.io/excludeInboundPorts"
        | "traffic.sidecar.istio.io/includeOutboundPorts"
        | "traffic.sidecar.istio.io/excludeOutboundPorts" => ports(value),
        "prometheus.istio.io/merge-metrics" => boolean(value),
        _ => Ok(()),
    }
}

fn mode(value: &str) -> Result<(), String> {
    match value {
        "REDIRECT" | "TPROXY" | "NONE" => Ok(()),
        _ => Err(format!("interceptionMode invalid: {value:?}; write REDIRECT, TPROXY or NONE")),
    }
}

fn number(value: &str) -> Result<(), String> {
    value.trim().parse::<u32>().map(drop).map_err(|_| format!("strconv.ParseUint: parsing {value:?}: invalid syntax"))
}

fn boolean(value: &str) -> Result<(), String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(()),
        _ => Err(format!("strconv.ParseBool: parsing {value:?}: invalid syntax")),
    }
}

fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn ranges(value: &str) -> Result<(), String> {
    match parts(value).find(|part| part.parse::<Cidr>().is_err() || !part.contains('/')) {
        Some(part) => Err(format!("failed parsing cidr {part:?}; write a range such as 10.0.0.0/8")),
        None => Ok(()),
    }
}

fn ports(value: &str) -> Result<(), String> {
    match parts(value).find(|part| part.parse::<u16>().is_err()) {
        Some(part) => Err(format!("{part:?} is no port; write numbers from 0 to 65535, separated by commas")),
        None => Ok(()),
    }
}
