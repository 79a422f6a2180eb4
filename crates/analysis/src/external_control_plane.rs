//! Webhooks that call an istiod outside of the cluster at no address (`IST0163`) or by number (`IST0164`).

use crate::{
    Mesh, code,
    foreign::{ForeignObject, WebhookConfiguration, WebhookKind},
    report::Report,
};
use std::net::IpAddr;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for configuration in mesh.foreign.webhooks.iter().filter(|configuration| is_istios(configuration)) {
        for (index, webhook) in configuration.content.webhooks.iter().enumerate() {
            let (object, name) = (configuration.object_ref(configuration.content.kind.as_str()), &webhook.name);
            let field = format!("webhooks[{index}].clientConfig");
            let (url, problem) = match &webhook.client_config.url {
                Some(url) => match host(url).map(str::parse::<IpAddr>) {
                    Some(Err(_)) => continue,
                    Some(Ok(_)) => {
                        let text = format!(
                            "The address ({url}) that was provided for the webhook ({name}) to reach the ingress gateway on the external \
                             control plane cluster is an IP address. This is not recommended for a production environment."
                        );
                        report.add(code::EXTERNAL_CONTROL_PLANE_ADDRESS_IS_NOT_A_HOSTNAME, object, field, text);
                        continue;
                    }
                    None => (url.as_str(), "was provided in an invalid format"),
                },
                None if webhook.client_config.service.is_some() => continue,
                None => ("", "is blank"),
            };
            let text = format!(
                "The hostname ({url}) that was provided for the webhook ({name}) to reach the ingress gateway on the external control plane \
                 cluster {problem}. Traffic may not flow properly."
            );
            report.add(code::INVALID_EXTERNAL_CONTROL_PLANE_CONFIG, object, field, text);
        }
    }
}

fn is_istios(configuration: &ForeignObject<WebhookConfiguration>) -> bool {
    let name = &*configuration.metadata.name;
    match configuration.content.kind {
        WebhookKind::Mutating => name.starts_with("istio-sidecar-injector"),
        WebhookKind::Validating => name == "istiod-default-validator" || name.starts_with("istio-validator"),
    }
}

/// The host of a URL, without port; `None` if there is none.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let host = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    let plain = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '%');
    plain.then_some(host)
}
