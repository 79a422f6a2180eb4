//! An issuer of tokens that is no cluster (Istio's `JWT_RULE`): its keys are fetched as those of RequestAuthentications are.

use ca::authenticate::{KeyDocument, KeySource, Tokens};
use config::JwksSource;
use futures::future::BoxFuture;
use istio_api::security::request_authentication::JwtRule;
use std::{sync::Arc, time::Duration};

/// How long the issuer may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

struct Issuer {
    fetcher: jwks::Fetcher,
    source: Option<JwksSource>,
    rule: JwtRule,
}

/// Takes tokens of the issuer, too.
pub fn add(tokens: Tokens, rule: JwtRule) -> Tokens {
    let fetcher = jwks::Fetcher::new(&jwks::Options::read(|name| std::env::var(name).ok()));
    let (issuer, audiences) = (rule.issuer.clone(), rule.audiences.clone());
    tokens.with_issuer(issuer, audiences, Arc::new(Issuer { fetcher, source: JwksSource::of(&rule), rule }))
}

impl KeySource for Issuer {
    fn fetch(&self) -> BoxFuture<'_, Result<KeyDocument, String>> {
        Box::pin(async {
            let key_set = match &self.source {
                Some(source) => self.fetcher.keys(source, PATIENCE).await.map_err(|error| error.to_string())?.to_string(),
                None => self.rule.jwks.clone(),
            };
            Ok(KeyDocument { key_set, issuer: Some(self.rule.issuer.clone()) })
        })
    }
}
