//! The Kubernetes source against a real API server.

use anyhow::Result;
use testkit::kube::ApiServer;

#[test]
fn the_api_server_keeps_what_it_has_when_it_is_killed() -> Result<()> {
    let Some(mut server) = ApiServer::start()? else { return Ok(()) };
    server.kubectl(&["create", "namespace", "kept"])?;
    server.kill_api_server();
    assert!(server.kubectl(&["get", "namespace", "kept"]).is_err());
    server.start_api_server()?;
    assert!(server.kubectl(&["get", "namespace", "kept"])?.contains("Active"));
    Ok(())
}
