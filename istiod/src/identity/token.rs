//! `istiod token`: what Kubernetes does for a pod, by hand.

use anyhow::Context;
use ca::authenticate::TokenIssuer;
use clap::Args;
use istio_api::Duration;
use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The flags of `token`.
#[derive(Args, Debug, Clone)]
#[command(rename_all = "camelCase")]
pub struct TokenArguments {
    /// Folder of token-key.pem and jwks.json; both are made if they are not there
    #[arg(long)]
    pub key_folder: PathBuf,
    /// The namespace of the workload
    #[arg(long)]
    pub namespace: String,
    /// Its service account
    #[arg(long, default_value = "default")]
    pub service_account: String,
    /// Who the token is for
    #[arg(long, default_value = "istio-ca")]
    pub audience: String,
    /// How long it is valid
    #[arg(long, default_value = "12h")]
    pub ttl: Duration,
}

/// Prints a token.
pub fn print_token(arguments: &TokenArguments) -> anyhow::Result<()> {
    let issuer = issuer(&arguments.key_folder)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let TokenArguments { namespace, service_account, audience, ttl, .. } = arguments;
    println!("{}", issuer.issue(namespace, service_account, audience, **ttl, i64::try_from(now)?)?);
    Ok(())
}

fn issuer(folder: &Path) -> anyhow::Result<TokenIssuer> {
    let (key, keys) = (folder.join("token-key.pem"), folder.join("jwks.json"));
    if key.exists() {
        let text = fs::read_to_string(&key).with_context(|| key.display().to_string())?;
        return TokenIssuer::from_pem(&text).with_context(|| key.display().to_string());
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let issuer = TokenIssuer::generate()?;
    // Made by this call or not at all: of two at a time, one must not use a key that the other has replaced.
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key);
    file.and_then(|mut file| file.write_all(issuer.to_pem().as_bytes())).with_context(|| key.display().to_string())?;
    fs::write(&keys, issuer.key_set()).with_context(|| keys.display().to_string())?;
    Ok(issuer)
}
