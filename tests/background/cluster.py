"""Throw-away servers, started by scripts/cluster, and sessions, each of which is a psql."""
import atexit
import os
import pathlib
import re
import signal
import subprocess
import time

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"
FIELD, RECORD, NULL = "\x1f", "\x1e", "\x1dnull"


class SqlError(Exception):
    """A statement failed. `sqlstate` is five characters, `message` the first line."""

    def __init__(self, text):
        found = re.search(r"(?:ERROR|FATAL|PANIC):  (\w{5}): (.*)", text)
        self.sqlstate, self.message = found.groups() if found else ("", text)
        super().__init__(text.strip())


class Lost(Exception):
    """The connection is gone."""


def eventually(look, what, within=10.0, pause=0.02):
    """Looks until what it sees is true, and returns it."""
    end = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within} s; last seen {seen!r}")
        time.sleep(pause)


class Session:
    """A connection that lasts. Statements are sent to a psql, and rows are read from it."""

    def __init__(self, cluster, database):
        self.number = 0
        self.heard = []
        self.psql = subprocess.Popen(
            [cluster.folder + "/bin/psql", "-XqAt", "-F", FIELD, "-R", RECORD, "-P", "null=" + NULL, "-v", "VERBOSITY=verbose"],
            env={**os.environ, "PGHOST": cluster.folder, "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": database},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, encoding="utf-8")

    def send(self, text):
        """Sends statements and does not wait for them; `receive` does."""
        self.number += 1
        try:
            self.psql.stdin.write(f"{text}\n;\n\\echo '--end {self.number}--'\n")
            self.psql.stdin.flush()
        except BrokenPipeError:
            raise Lost from None

    def receive(self):
        end = f"--end {self.number}--\n"
        text = ""
        while not text.endswith(end):
            line = self.psql.stdout.readline()
            if not line:
                raise Lost(text)
            text += line
        text = self.without_notifications(text[:-len(end)])
        if re.search(r"^(ERROR|FATAL|PANIC):  ", text, re.M):
            raise SqlError(text)
        return [[None if value == NULL else value for value in row.split(FIELD)] for row in text.rstrip("\n").split(RECORD) if text]

    def without_notifications(self, text):
        """Keeps the payloads of notifications, which psql prints behind results, in `heard`."""
        notification = r'Asynchronous notification "\w+" with payload "(.*)" received from server process with PID \d+\.\n'
        self.heard += re.findall(notification, text)
        return re.sub(notification, "", text)

    def rows(self, text):
        self.send(text)
        return self.receive()

    def one(self, text):
        """The first value of the first row."""
        rows = self.rows(text)
        return rows[0][0] if rows else None

    def refuses(self, text, sqlstate):
        """Runs what must fail, and returns the message."""
        try:
            self.rows(text)
        except SqlError as error:
            assert error.sqlstate == sqlstate, f"{sqlstate} expected: {error}"
            return error.message
        raise AssertionError(f"not refused: {text}")

    def close(self):
        try:
            self.psql.stdin.close()
        except BrokenPipeError:
            pass
        self.psql.stdout.close()
        self.psql.wait()


class Cluster:
    """A server; it is stopped and removed when the program ends."""

    def __init__(self, pg_config, *settings):
        start = 'eval "$("$0/cluster" start "$@")" && printf %s "$PGFLOW_CLUSTER"'
        done = subprocess.run(["bash", "-euc", start, str(SCRIPTS), pg_config, "fsync=off", *settings],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"scripts/cluster start: {done.stderr}")
        self.folder = done.stdout
        atexit.register(self.remove)

    def remove(self):
        subprocess.run([str(SCRIPTS / "cluster"), "stop", self.folder], check=False)

    def session(self, database="postgres"):
        return Session(self, database)

    def pg_ctl(self, *arguments):
        ctl = '. "$0/env.sh"; dir=$1; shift; as_server "$dir/bin/pg_ctl" "$@" -s -w -t 20 -D "$dir/data" -l "$dir/log"'
        done = subprocess.run(["bash", "-euc", ctl, str(SCRIPTS), self.folder, *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, f"pg_ctl {arguments}: {done.stderr}"

    def stop(self, mode="fast"):
        """Stops the server, and returns how long that took."""
        begun = time.monotonic()
        self.pg_ctl("stop", "-m", mode)
        return time.monotonic() - begun

    def start(self):
        self.pg_ctl("start")

    def connects(self):
        """Whether the server takes connections, as it does not while it recovers."""
        try:
            session = self.session()
            session.one("select 1")
            session.close()
            return True
        except (Lost, SqlError):
            return False

    def kill(self, pid):
        """Kills a process of this server in a way that it cannot notice."""
        assert int(pid) in self.children(), f"{pid} is no process of this server"
        os.kill(int(pid), signal.SIGKILL)

    def postmaster(self):
        return int(pathlib.Path(self.folder, "data/postmaster.pid").read_text().split()[0])

    def children(self):
        pid = self.postmaster()
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def configure(self, **settings):
        """Changes settings and has the server read them; pgflow_x is pgflow.x."""
        session = self.session()
        for name, value in settings.items():
            name = name.replace("pgflow_", "pgflow.")
            session.rows(f"alter system reset {name}" if value is None else f"alter system set {name} = '{value}'")
        session.rows("select pg_reload_conf()")
        session.close()

    def log(self, start=0):
        """What the server wrote into its log, from this byte on."""
        with open(self.folder + "/log", encoding="utf-8", errors="replace") as file:
            file.seek(start)
            return file.read()

    def log_size(self):
        return os.path.getsize(self.folder + "/log")
