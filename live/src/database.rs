//! Asking the database as somebody: a transaction each, in which the role and the claims of the caller hold.
//!
//! Connections are shared by all callers. Role and claims are set for the transaction only; one that is given up midway, as
//! when a client goes away, is rolled back before the connection is used again.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts, Transaction,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::{Config, IsolationLevel, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::failure::Failure;
use crate::options::Options;
use crate::token::Caller;

const BECOME: &str = include_str!("statements/become.sql");

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// How transactions of a caller begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Write,
    /// Reads, and sees one moment of the database.
    Read,
}

/// The database.
pub struct Database {
    pool: Pool,
    config: Config,
    tls: MakeRustlsConnect,
}

impl Database {
    /// Takes the options; connects when it is asked something.
    pub fn new(options: &Options) -> Result<Self, AnyError> {
        let mut config =
            Config::from_str(&options.database).map_err(|error| format!("--database: {error}"))?;
        if config.get_application_name().is_none() {
            config.application_name("pgflow-live");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        config.keepalives_idle(Duration::from_secs(30));
        // Times are told in UTC, and nobody's question holds a connection for ever.
        let given = config.get_options().unwrap_or_default();
        config.options(format!(
            "-c timezone=UTC -c statement_timeout=30s -c search_path= {given}"
        ));
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
            .build()?;
        Ok(Self { pool, config, tls })
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

    /// What a statement that everybody may ask returns.
    ///
    /// # Errors
    ///
    /// 503 when the database cannot be asked.
    pub async fn ask(&self, statement: &str) -> Result<Vec<Row>, Failure> {
        let client = self
            .pool
            .get()
            .await
            .map_err(|error| Failure::of_connection(&error))?;
        client
            .query(statement, &[])
            .await
            .map_err(|error| Failure::of_connection(&error))
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
        let mut client = self
            .pool
            .get()
            .await
            .map_err(|error| Failure::of_connection(&error))?;
        let begin = client.build_transaction();
        let begin = match mode {
            Mode::Write => begin,
            Mode::Read => begin
                .read_only(true)
                .isolation_level(IsolationLevel::RepeatableRead),
        };
        let transaction = begin
            .start()
            .await
            .map_err(|error| Failure::of_statement(caller, &error))?;
        let refused = |error| Failure::of_statement(caller, &error);
        let statement = transaction.prepare_cached(BECOME).await.map_err(refused)?;
        transaction
            .query(&statement, &[&caller.role, &caller.claims])
            .await
            .map_err(refused)?;
        let done = work(&transaction).await?;
        transaction.commit().await.map_err(refused)?;
        Ok(done)
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
