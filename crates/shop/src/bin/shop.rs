//! One service of the shop.

use clap::Parser;
use shop::service::{Settings, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    serve(Settings::parse()).await
}
