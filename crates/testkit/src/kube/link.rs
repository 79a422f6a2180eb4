//! A wire to the API server that can be cut.

use anyhow::Result;
use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes connections on while it is whole.
pub struct Link {
    /// Where to connect to.
    pub address: SocketAddr,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link to a port of this machine.
    ///
    /// # Errors
    /// If no port can be listened on.
    pub async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let whole = watch::Sender::new(true);
        let state = whole.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // A connection to a cut link is closed at once.
                if *state.borrow() {
                    tokio::spawn(pass(connection, port, state.clone()));
                }
            }
        });
        Ok(Self { address, whole, task })
    }

    /// Closes all connections, and every new one.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn pass(mut connection: TcpStream, port: u16, mut whole: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        // How a connection ended is the matter of its two ends.
        _ = copy_bidirectional(&mut connection, &mut server) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
