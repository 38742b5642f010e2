//! Connections: which addresses a name has, whether they are allowed, and TLS.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::hosts::{AllowedHosts, Refusal};
use super::target::{Host, Target};

pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Names and connections, as far as tests must stand in for them.
pub trait Network: Send + Sync + 'static {
    fn resolve(&self, name: String) -> Pending<io::Result<Vec<IpAddr>>>;
    fn connect(&self, address: SocketAddr) -> Pending<io::Result<TcpStream>>;
}

/// The network of the system.
pub struct System;

impl Network for System {
    /// Asks the system, in a thread of tokio's: the one of the client must not wait.
    fn resolve(&self, name: String) -> Pending<io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    fn connect(&self, address: SocketAddr) -> Pending<io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}

/// TLS that trusts what the system trusts, else what Mozilla trusts.
pub fn tls() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // Some may be of a form that cannot be read; they vouch for nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    tls_trusting(roots)
}

pub fn tls_trusting(roots: RootCertStore) -> io::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("not connected within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Makes the connections of the client's pool.
#[derive(Clone)]
pub struct Connector {
    pub network: Arc<dyn Network>,
    pub tls: Arc<ClientConfig>,
    pub allowed_hosts: Arc<AllowedHosts>,
    pub timeout: Duration,
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection for Box<dyn Stream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<Box<dyn Stream>>, ConnectError> {
        let connected = timeout(self.timeout, self.connect_at_leisure(uri)).await;
        connected.unwrap_or(Err(ConnectError::TimedOut(self.timeout)))
    }

    async fn connect_at_leisure(&self, uri: Uri) -> Result<TokioIo<Box<dyn Stream>>, ConnectError> {
        let Target {
            host, port, secure, ..
        } = Target::new(uri).map_err(|fault| io::Error::other(fault.message))?;
        let stream = self.reach(&host, port).await?;
        // A request goes out as soon as it is written.
        stream.set_nodelay(true)?;
        if !secure {
            return Ok(TokioIo::new(Box::new(stream)));
        }
        let name = match host {
            Host::Name(name) => ServerName::try_from(name).map_err(io::Error::other)?,
            Host::Address(address) => ServerName::from(address),
        };
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await?;
        Ok(TokioIo::new(Box::new(stream)))
    }

    /// Connects to the first address that is allowed and answers.
    async fn reach(&self, host: &Host, port: u16) -> Result<TcpStream, ConnectError> {
        let found = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.network.resolve(name.clone()).await?,
        };
        let mut allowed = Vec::new();
        let mut refusal = None;
        for address in found {
            // The kernel must see the form that was judged.
            let address = address.to_canonical();
            match self.allowed_hosts.check_address(host, address, port) {
                Ok(()) if !allowed.contains(&address) => allowed.push(address),
                Ok(()) => (),
                Err(refused) => refusal = Some(refused),
            }
        }
        if allowed.is_empty() {
            return Err(match refusal {
                Some(refusal) => refusal.into(),
                None => io::Error::new(io::ErrorKind::NotFound, "name has no address").into(),
            });
        }

        // One address that is silent leaves time for the others.
        let end = Instant::now() + self.timeout;
        let mut last = ConnectError::TimedOut(self.timeout);
        for (tried, address) in allowed.iter().enumerate() {
            let now = Instant::now();
            let share = end.saturating_duration_since(now)
                / u32::try_from(allowed.len() - tried).unwrap_or(u32::MAX);
            match timeout_at(
                now + share,
                self.network.connect(SocketAddr::new(*address, port)),
            )
            .await
            {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.into(),
                Err(_) => last = ConnectError::TimedOut(self.timeout),
            }
        }
        Err(last)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = ConnectError;
    type Future = Pending<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
