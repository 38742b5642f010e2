//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use tracing::Level;

/// Watch runs of pgflow in a browser.
///
/// Serves a page, server-sent events, a WebSocket for @supabase/realtime-js, and the functions of schema pgflow over
/// HTTP. Who may see and do what is up to the database: each request acts there as the role that its token names.
#[derive(Debug, Parser)]
#[command(name = "pgflow-live", version, max_term_width = 100)]
pub struct Options {
    /// The database, as a URL or as key=value pairs: that of a login role that may SET ROLE to the roles of tokens, and
    /// no pooler in transaction mode.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database: String,

    /// The address to listen on. There is no TLS here: put a reverse proxy before anything that is not this machine.
    #[arg(
        long,
        env = "PGFLOW_LIVE_LISTEN",
        default_value = "127.0.0.1:4711",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: SocketAddr,

    /// The secret that tokens are signed with (HS256, HS384, HS512), of at least 32 bytes.
    #[arg(
        long,
        env = "PGFLOW_LIVE_JWT_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub jwt_secret: Option<String>,

    /// A JWK set: a file, or an https URL that is read again every ten minutes and when a token names an unknown key.
    #[arg(long, env = "PGFLOW_LIVE_JWKS", value_name = "FILE|URL")]
    pub jwks: Option<String>,

    /// Take only tokens for this audience (claim aud).
    #[arg(long, env = "PGFLOW_LIVE_JWT_AUDIENCE", value_name = "AUDIENCE")]
    pub jwt_audience: Option<String>,

    /// The role of requests without a token; without it they are refused.
    #[arg(long, env = "PGFLOW_LIVE_ANON_ROLE", value_name = "ROLE")]
    pub anon_role: Option<String>,

    /// An origin, such as https://app.example, whose pages may ask without a token; * for all. The own page may anyway.
    #[arg(
        long,
        env = "PGFLOW_LIVE_ANON_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub anon_origin: Vec<String>,

    /// Connections to the database that requests and watchers share; one more listens.
    #[arg(long, env = "PGFLOW_LIVE_CONNECTIONS", default_value_t = 8, value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,

    /// How many connections of clients there may be; further ones are closed at once.
    #[arg(long, env = "PGFLOW_LIVE_MAX_CONNECTIONS", default_value_t = 20_000, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// How many runs may be watched at once, counting each watcher.
    #[arg(
        long,
        env = "PGFLOW_LIVE_MAX_WATCHERS",
        default_value_t = 10_000,
        value_name = "NUMBER"
    )]
    pub max_watchers: usize,

    /// How many of them may be of one user, as role and sub of the token name it: all who have no sub are one for each
    /// role. A tenth of --max-watchers if nothing is said.
    #[arg(long, env = "PGFLOW_LIVE_MAX_WATCHERS_PER_USER", value_name = "NUMBER")]
    pub max_watchers_per_user: Option<usize>,

    /// The largest output that is part of a message, as text, in bytes; of a larger one the message says "fetch".
    #[arg(long, env = "PGFLOW_LIVE_MAX_OUTPUT_BYTES", default_value_t = 65_536, value_name = "BYTES",
          value_parser = clap::value_parser!(i64).range(0..=1 << 30))]
    pub max_output_bytes: i64,

    /// A file of the certificates to trust for the database, in PEM, instead of those of the system.
    #[arg(long, env = "PGFLOW_LIVE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Log also each connection of a watcher.
    #[arg(long, short)]
    pub verbose: bool,
}

impl Options {
    pub fn max_watchers_per_user(&self) -> usize {
        let tenth = (self.max_watchers / 10).max(1);
        self.max_watchers_per_user.unwrap_or(tenth)
    }

    pub fn log_level(&self) -> Level {
        if self.verbose {
            Level::DEBUG
        } else {
            Level::INFO
        }
    }
}

/// How long a client may stay silent on a WebSocket; those of Phoenix say something every 25 to 30 seconds.
pub const SOCKET_TIMEOUT: Duration = Duration::from_secs(60);

/// How often something is sent on an idle stream, so that proxies do not end it.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client may take to send a body, or to take what is sent to it.
pub const SLOWEST: Duration = Duration::from_secs(60);

/// How long a client may take to send the headers of a request, also of the next one on a connection that it keeps. Proxies
/// give up idle connections earlier, nginx after a minute, so that none is closed here that one sends a request on.
pub const HEADERS: Duration = Duration::from_secs(75);

/// The largest headers of a request, in bytes, and what is buffered of a response.
pub const MAX_HEADERS: usize = 64 << 10;

/// The largest body of a request, in bytes.
pub const MAX_BODY: usize = 16 << 20;

/// How many runs one WebSocket may watch.
pub const MAX_CHANNELS: usize = 100;
