//! When a cluster is asked about a token, and when not.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod mesh;

use ca::{
    PeerLimits,
    authenticate::{ReviewError, ReviewedToken, TokenIssuer, TokenReviewer},
};
use futures::future::BoxFuture;
use mesh::{HOUR, Mesh, csr, now, root};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tonic::Code;

/// Answers as it is told to, and counts.
struct Reviewer {
    answer: Mutex<Result<ReviewedToken, ReviewError>>,
    asked: AtomicUsize,
}

impl TokenReviewer for Reviewer {
    fn review<'a>(&'a self, _: &'a str, audiences: &'a [String]) -> BoxFuture<'a, Result<ReviewedToken, ReviewError>> {
        assert_eq!(audiences, ["istio-ca"]);
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { self.answer.lock().unwrap().clone() })
    }
}

fn reviewed(username: &str) -> Result<ReviewedToken, ReviewError> {
    Ok(ReviewedToken { username: username.to_owned(), pod: None })
}

#[tokio::test]
async fn only_tokens_with_an_unknown_key_are_reviewed() {
    let reviewer = Arc::new(Reviewer { answer: Mutex::new(reviewed("system:serviceaccount:shop:cart")), asked: AtomicUsize::new(0) });
    let mesh = Mesh::with(&root(), PeerLimits::default(), Some(reviewer.clone()));
    let (csr, asked) = (csr(), || reviewer.asked.load(Ordering::Relaxed));
    mesh.ask(&csr, &mesh.token("shop", "cart")).await.unwrap();
    let expired = mesh.issuer.issue("shop", "cart", "istio-ca", HOUR, now() - 7_200).unwrap();
    mesh.ask(&csr, &expired).await.unwrap_err();
    assert_eq!(asked(), 0, "the keys decide");

    let unknown = TokenIssuer::generate().unwrap().issue("shop", "cart", "istio-ca", HOUR, now()).unwrap();
    mesh.ask(&csr, &unknown).await.unwrap();
    mesh.ask(&csr, &unknown).await.unwrap();
    assert_eq!(asked(), 1, "then it is remembered");

    let other = || TokenIssuer::generate().unwrap().issue("shop", "cart", "istio-ca", HOUR, now()).unwrap();
    for (answer, code) in [
        (Err(ReviewError::Refused), Code::Unauthenticated),
        (Err(ReviewError::Failed("no route".into())), Code::Unavailable),
        (reviewed("system:node:one"), Code::Unauthenticated),
    ] {
        *reviewer.answer.lock().unwrap() = answer;
        assert_eq!(mesh.ask(&csr, &other()).await.unwrap_err().0, code);
    }
}

#[tokio::test]
async fn a_new_key_of_the_cluster_is_fetched_when_a_token_names_it() {
    let mesh = Mesh::new();
    let csr = csr();
    mesh.ask(&csr, &mesh.token("shop", "cart")).await.unwrap();
    let fetched = mesh.keys.fetched.load(Ordering::Relaxed);
    mesh.ask(&csr, &mesh.token("shop", "other")).await.unwrap();
    assert_eq!(mesh.keys.fetched.load(Ordering::Relaxed), fetched, "known keys are not fetched again");
    let next = TokenIssuer::generate().unwrap();
    mesh.keys.document.lock().unwrap().key_set = next.key_set();
    mesh.ask(&csr, &next.issue("shop", "cart", "istio-ca", HOUR, now()).unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_issuer_counts_where_it_is_known() {
    let mesh = Mesh::new();
    mesh.keys.document.lock().unwrap().issuer = Some("https://kubernetes.default.svc".into());
    let (code, message) = mesh.ask(&csr(), &mesh.token("shop", "cart")).await.unwrap_err();
    assert_eq!(code, Code::Unauthenticated);
    assert!(message.contains("issuer"), "{message}");
}

#[tokio::test]
async fn memory_is_bounded_and_keeps_what_is_used() {
    let mesh = Mesh::new();
    let csr = csr();
    let token = mesh.token("shop", "cart");
    for _ in 0..3 {
        mesh.ask(&csr, &token).await.unwrap();
    }
    assert_eq!(mesh.counted("istiod_tokens_accepted", "keys"), 1.0);
    assert_eq!(mesh.counted("istiod_tokens_accepted", "memory"), 2.0);
}
