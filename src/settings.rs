//! Settings, each behind a getter. They are registered when the library is loaded; the prefix is reserved, so that a
//! misspelt one is noticed. docs/background.md describes them for users.

use std::ffi::CString;
use std::time::Duration;

use crate::http;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

static WORKER_DATABASES: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"*"));
static WORKERS_PER_DATABASE: GucSetting<i32> = GucSetting::<i32>::new(2);

/// Seconds; see [`event_retention`].
static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * 86_400);

static MAX_FLOW_DEPTH: GucSetting<i32> = GucSetting::<i32>::new(32);

/// Who makes the requests of executor `http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum HttpTransport {
    #[name = c"background"]
    Background,
    #[name = c"pg_net"]
    PgNet,
}

static HTTP_TRANSPORT: GucSetting<HttpTransport> =
    GucSetting::<HttpTransport>::new(HttpTransport::Background);

static REALTIME_MAX_BYTES: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);

static HTTP_ALLOWED_HOSTS: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c""));
static HTTP_MAX_REQUESTS: GucSetting<i32> = GucSetting::<i32>::new(200);
static HTTP_MAX_REQUESTS_PER_HOST: GucSetting<i32> = GucSetting::<i32>::new(50);
static HTTP_CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static HTTP_MAX_RESPONSE: GucSetting<i32> = GucSetting::<i32>::new(10 * 1024);

pub fn register() {
    GucRegistry::define_string_guc(
        c"pgflow.worker_databases",
        c"The databases in which background workers run.",
        c"Names separated by commas; * is every database that has the extension, nothing is none. Counts where the library is preloaded.",
        &WORKER_DATABASES,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgflow.workers_per_database",
        c"How many background workers of a database do SQL tasks.",
        c"Each does one at a time. One process more looks after everything else.",
        &WORKERS_PER_DATABASE,
        0,
        128,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"pgflow.http_allowed_hosts",
        c"The hosts that steps of executor http may call.",
        c"Names, *.names, addresses and ranges of addresses, each with or without a port, separated by commas; nothing is none. Private addresses must be listed themselves.",
        &HTTP_ALLOWED_HOSTS,
        // Not of the server alone: where it cannot be configured, a database can.
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"pgflow.http_transport",
        c"Who makes the requests of steps of executor http.",
        c"With background it is the background worker. With pg_net the transaction that makes a task ready has extension pg_net send it to its endpoint, whose answer is not read.",
        &HTTP_TRANSPORT,
        GucContext::Suset,
        GucFlags::default(),
    );
    let integer = |name, short, long, setting, least, most, flags| {
        GucRegistry::define_int_guc(
            name,
            short,
            long,
            setting,
            least,
            most,
            GucContext::Sighup,
            flags,
        );
    };
    integer(
        c"pgflow.http_max_requests",
        c"How many HTTP requests a database has under way at once.",
        c"",
        &HTTP_MAX_REQUESTS,
        1,
        10_000,
        GucFlags::default(),
    );
    integer(
        c"pgflow.http_max_requests_per_host",
        c"How many HTTP requests a database has under way at one host.",
        c"",
        &HTTP_MAX_REQUESTS_PER_HOST,
        1,
        10_000,
        GucFlags::default(),
    );
    integer(
        c"pgflow.http_connect_timeout",
        c"How long connecting may take, in milliseconds.",
        c"Looking up the name and the TLS handshake count.",
        &HTTP_CONNECT_TIMEOUT,
        1,
        3_600_000,
        GucFlags::UNIT_MS,
    );
    integer(
        c"pgflow.http_max_response",
        c"How large a response may be, in kilobytes.",
        c"As much memory may be in use for each request under way.",
        &HTTP_MAX_RESPONSE,
        1,
        250 * 1024,
        GucFlags::UNIT_KB,
    );
    // Set by the server's configuration only: a role that could stretch it would take events that others rely on to
    // be gone.
    integer(
        c"pgflow.event_retention",
        c"How long events are kept for steps that begin to wait later.",
        c"0 keeps none.",
        &EVENT_RETENTION,
        0,
        i32::MAX,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pgflow.max_flow_depth",
        c"How deep child runs may be nested.",
        c"A task of executor flow whose child would be nested in more runs than this fails for good.",
        &MAX_FLOW_DEPTH,
        0,
        1000,
        GucContext::Suset,
        GucFlags::default(),
    );
    // Superusers may set it for a database too, so that not all databases of a server need the same.
    GucRegistry::define_int_guc(
        c"pgflow.realtime_max_bytes",
        c"How large an output may be to be part of a realtime message.",
        c"As text. A larger one is left out, and the message says so.",
        &REALTIME_MAX_BYTES,
        0,
        100 * 1024 * 1024,
        GucContext::Suset,
        GucFlags::UNIT_BYTE,
    );
    crate::store::reserve_settings_prefix();
}

/// `pgflow.worker_databases`.
pub struct Databases(String);

impl Databases {
    pub fn includes(&self, name: &str) -> bool {
        (self.0.split(',').map(str::trim)).any(|listed| listed == "*" || listed == name)
    }
}

pub fn worker_databases() -> Databases {
    let list = WORKER_DATABASES.get().unwrap_or_default();
    Databases(list.to_string_lossy().into_owned())
}

pub fn workers_per_database() -> usize {
    usize::try_from(WORKERS_PER_DATABASE.get()).unwrap_or(0)
}

/// For how many seconds events are kept for steps that begin to wait later; 0 for not at all.
pub fn event_retention() -> i32 {
    EVENT_RETENTION.get()
}

/// How many runs a child may be nested in.
pub fn max_flow_depth() -> i32 {
    MAX_FLOW_DEPTH.get()
}

/// Who makes the requests of executor `http`.
pub fn http_transport() -> HttpTransport {
    HTTP_TRANSPORT.get()
}

/// Tells of a list of hosts that cannot be read.
pub fn warn_of_hosts(problem: &str) {
    pgrx::warning!("pgflow.http_allowed_hosts allows nothing: {problem}");
}

/// How many bytes an output may have that is part of a message to the outside.
pub fn realtime_max_bytes() -> i32 {
    REALTIME_MAX_BYTES.get()
}

/// What the HTTP client is to keep to. A list of hosts that cannot be read allows none, and is told of.
pub fn http() -> (http::Settings, Option<String>) {
    let list = HTTP_ALLOWED_HOSTS.get().unwrap_or_default();
    let (allowed_hosts, problem) = match http::AllowedHosts::parse(&list.to_string_lossy()) {
        Ok(hosts) => (hosts, None),
        Err(problem) => (http::AllowedHosts::default(), Some(problem)),
    };
    let number = |setting: &GucSetting<i32>| usize::try_from(setting.get()).unwrap_or(1);
    let settings = http::Settings {
        max_in_flight: number(&HTTP_MAX_REQUESTS),
        max_per_host: number(&HTTP_MAX_REQUESTS_PER_HOST),
        connect_timeout: Duration::from_millis(number(&HTTP_CONNECT_TIMEOUT) as u64),
        max_response_bytes: number(&HTTP_MAX_RESPONSE) * 1024,
        allowed_hosts,
    };
    (settings, problem)
}
