//! The table of debug pages, with Istio's names, and the one way in which all of them answer.

use super::{Window, ca, config_dump, findings, objects, proxies, services};
use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write};

/// The parameters of a request; the last of those with the same name counts.
pub type Parameters = BTreeMap<String, String>;

/// Why a page is not shown.
pub struct Refusal {
    /// The class of the reason.
    pub status: StatusCode,
    /// What to do about it.
    pub message: String,
}

/// What a page shows.
pub type Answer = Result<Value, Refusal>;

/// One page.
struct Page {
    /// Below `/debug/`.
    name: &'static str,
    help: &'static str,
    render: fn(&Window, &Parameters) -> Answer,
}

const fn page(name: &'static str, help: &'static str, render: fn(&Window, &Parameters) -> Answer) -> Page {
    Page { name, help, render }
}

const PAGES: [Page; 14] = [
    page("adsz", "Connected proxies and what they have subscribed to (?proxyID=)", proxies::adsz),
    page("ca", "How far a rotation of the root is, and which proxies it waits for (orders by POST)", ca::ca),
    page("config_dump", "What a proxy is served, as Envoy's own config_dump (?proxyID= and include_eds)", config_dump::config_dump),
    page("configz", "The Istio objects", objects::configz),
    page("connections", "Connected proxies", proxies::connections),
    page("diagnosticsz", "What is wrong with objects, and what to do about it", findings::diagnosticsz),
    page("endpointShardz", "The endpoints of each service, by cluster", services::endpoint_shards),
    page("endpointz", "The same as endpointShardz", services::endpoint_shards),
    page("list", "The names of these pages", list),
    page("mesh", "The mesh-wide settings", objects::mesh),
    page("registryz", "The services", services::registryz),
    page("rejections", "What proxies refuse at present, and the objects behind it", findings::rejections),
    page("resourcesz", "The kinds of objects that are read", objects::resourcesz),
    page("syncz", "What each proxy was sent last, and what it has accepted (?namespace=)", proxies::syncz),
];

/// The routes of all pages.
pub fn routes() -> Router<Window> {
    let index = Router::new().route("/debug", get(index)).route("/debug/", get(index));
    PAGES.iter().fold(index, |router, page| {
        let render = page.render;
        router.route(
            &format!("/debug/{}", page.name),
            get(move |State(window): State<Window>, Query(parameters): Query<Parameters>| answer(render, window, parameters)),
        )
    })
}

/// One line of JSON, or many with `pretty`, as Istio's. Off the threads that serve proxies: a page can be megabytes.
async fn answer(render: fn(&Window, &Parameters) -> Answer, window: Window, parameters: Parameters) -> Response {
    let rendered = tokio::task::spawn_blocking(move || {
        render(&window, &parameters).map(|value| match parameters.contains_key("pretty") {
            true => Text(serde_json::to_string_pretty(&value).unwrap_or_default()),
            false => Text(value.to_string()),
        })
    });
    match rendered.await {
        Ok(Ok(text)) => text.into_response(),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the page ended early: {error}\n")).into_response(),
    }
}

/// Rendered JSON.
struct Text(String);

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.message + "\n").into_response()
    }
}

fn list(_: &Window, _: &Parameters) -> Answer {
    Ok(PAGES.iter().map(|page| page.name).collect())
}

/// The pages with links to them, for browsers.
async fn index() -> Html<String> {
    let mut rows = String::new();
    for page in &PAGES {
        // Writing to a string cannot fail.
        let _ = writeln!(rows, "<tr><td><a href='/debug/{0}?pretty'>{0}</a></td><td>{1}</td></tr>", page.name, page.help);
    }
    Html(format!("<html><head><title>istiod</title></head><body><table>\n{rows}</table></body></html>\n"))
}
