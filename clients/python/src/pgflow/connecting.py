"""How this package connects."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict, make_conninfo

# A server that is gone without a word is noticed within half a minute; libpq by itself takes hours. JSON comes and goes
# as UTF-8, whatever the database has.
_DEFAULTS: dict[str, str | int] = {
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def complete(conninfo: str, application: str) -> str:
    """The connection string with what this package wants and it does not say."""
    said = conninfo_to_dict(conninfo)
    wanted = {"fallback_application_name": application, **_DEFAULTS}
    return make_conninfo(conninfo, **{name: value for name, value in wanted.items() if name not in said})
