//! Asking the database as somebody: a transaction each, in which the role and the claims of the caller hold.
//!
//! Connections are shared by all callers. Role and claims are set for the transaction only. When one is given up midway, as
//! when a client goes away, what it does is cancelled and its connection is not used again.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
    Timeouts, Transaction,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::{Config, IsolationLevel, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::failure::Failure;
use crate::options::Options;
use crate::token::Caller;

const BECOME: &str = include_str!("statements/become.sql");

const SETTINGS: &str = include_str!("statements/settings.sql");

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a transaction may take; the server itself ends a statement after 30 s. A connection that is silent for longer is
/// given up.
const LONGEST: Duration = Duration::from_secs(40);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// How transactions of a caller begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Write,
    /// Reads, and sees one moment of the database.
    Read,
    /// The same for a watcher, for whom some connections are kept free.
    Look,
}

/// The database.
pub struct Database {
    pool: Pool,
    /// What is left of the pool for requests.
    requests: Semaphore,
    config: Config,
    tls: MakeRustlsConnect,
}

impl Database {
    /// Takes the options; connects when it is asked something.
    pub fn new(options: &Options) -> Result<Self, AnyError> {
        let mut config = Config::from_str(&options.database)?;
        if config.get_application_name().is_none() {
            config.application_name("pgflow-live");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        config.keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(Duration::from_secs(60));
        let tls = tls(options.ca.as_deref())?;
        let manager = Manager::from_config(
            config.clone(),
            tls.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(options.connections.into())
            .timeouts(Timeouts {
                wait: Some(PATIENCE),
                create: Some(PATIENCE),
                recycle: Some(PATIENCE),
            })
            .runtime(Runtime::Tokio1)
            // Not as options of the connection, which poolers refuse.
            .post_create(Hook::async_fn(|client: &mut ClientWrapper, _| {
                Box::pin(async move {
                    let set = client.batch_execute(SETTINGS).await;
                    set.map_err(HookError::Backend)
                })
            }))
            .build()?;
        let connections = usize::from(options.connections);
        let requests = Semaphore::new((connections - connections / 4).max(1));
        Ok(Self {
            pool,
            requests,
            config,
            tls,
        })
    }

    /// A connection beside the pool.
    pub async fn connect(
        &self,
    ) -> Result<
        (
            tokio_postgres::Client,
            tokio_postgres::Connection<
                tokio_postgres::Socket,
                <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<
                    tokio_postgres::Socket,
                >>::Stream,
            >,
        ),
        tokio_postgres::Error,
    > {
        self.config.connect(self.tls.clone()).await
    }

    async fn hold(&self) -> Result<Held, Failure> {
        let client = self.pool.get().await;
        Ok(Held {
            client: Some(client.map_err(|error| Failure::of_connection(&error))?),
            tls: self.tls.clone(),
        })
    }

    /// What a statement that everybody may ask returns.
    ///
    /// # Errors
    ///
    /// 503 when the database cannot be asked.
    pub async fn ask(&self, statement: &str) -> Result<Vec<Row>, Failure> {
        let mut held = self.hold().await?;
        let Some(client) = &mut held.client else {
            return Err(silent());
        };
        let asked = timeout(LONGEST, client.query(statement, &[])).await;
        let rows = asked.map_err(|_| silent())?;
        held.give_back();
        rows.map_err(|error| Failure::of_connection(&error))
    }

    /// Does something as the caller, in a transaction that is committed if that goes well.
    ///
    /// # Errors
    ///
    /// Those of the work; 503 when the database cannot be reached, or has too much to do.
    pub async fn act<T, F>(&self, caller: &Caller, mode: Mode, work: F) -> Result<T, Failure>
    where
        F: for<'t> FnOnce(
            &'t Transaction<'_>,
        ) -> Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 't>>,
    {
        let _permit = match mode {
            Mode::Look => None,
            Mode::Read | Mode::Write => match timeout(PATIENCE, self.requests.acquire()).await {
                Ok(permit) => permit.ok(),
                Err(_) => return Err(Failure::Unavailable("too many requests".to_owned())),
            },
        };
        let mut held = self.hold().await?;
        let Some(client) = &mut held.client else {
            return Err(silent());
        };
        let done = timeout(LONGEST, transact(client, caller, mode, work)).await;
        let done = done.map_err(|_| silent())?;
        held.give_back();
        done
    }
}

fn silent() -> Failure {
    Failure::Unavailable("the database does not answer".to_owned())
}

async fn transact<T, F>(
    client: &mut ClientWrapper,
    caller: &Caller,
    mode: Mode,
    work: F,
) -> Result<T, Failure>
where
    F: for<'t> FnOnce(
        &'t Transaction<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 't>>,
{
    let refused = |error| Failure::of_statement(caller, &error);
    let begin = client.build_transaction();
    let begin = match mode {
        Mode::Write => begin,
        Mode::Read | Mode::Look => begin
            .read_only(true)
            .isolation_level(IsolationLevel::RepeatableRead),
    };
    let transaction = begin.start().await.map_err(refused)?;
    let statement = transaction.prepare_cached(BECOME).await.map_err(refused)?;
    let row = transaction
        .query_one(&statement, &[&caller.role, &caller.claims])
        .await
        .map_err(refused)?;
    if row.try_get("is_login").map_err(refused)? {
        return Err(Failure::token(
            "the role of the token is the one that logs in here",
        ));
    }
    let done = work(&transaction).await?;
    transaction.commit().await.map_err(refused)?;
    Ok(done)
}

/// A connection in use. Who drops it without giving it back has given up midway: then it is closed, and what it does is
/// cancelled, so that nobody waits for what nobody wants.
struct Held {
    client: Option<Object>,
    tls: MakeRustlsConnect,
}

impl Held {
    fn give_back(mut self) {
        self.client = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let (cancel, tls) = (client.cancel_token(), self.tls.clone());
        // Out of the pool: a late cancellation would else meet who has the connection next.
        drop(Object::take(client));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = timeout(PATIENCE, cancel.cancel_query(tls)).await;
            });
        }
    }
}

fn tls(ca: Option<&Path>) -> Result<MakeRustlsConnect, AnyError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            for certificate in certificates {
                roots.add(certificate.map_err(|error| format!("{}: {error}", file.display()))?)?;
            }
        }
        // A system that has none still knows those of Mozilla.
        None => {
            return Ok(MakeRustlsConnect::with_native_certs().map_or_else(
                |_| MakeRustlsConnect::with_webpki_roots(),
                |(system, _)| system,
            ));
        }
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_root_certificates(roots)
    .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
