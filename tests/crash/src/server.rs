//! The cluster under test: started by scripts/cluster, killed by its processes' ids, started again by pg_ctl.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, connection};

const PATIENCE: Duration = Duration::from_secs(60);

/// Stops the cluster when this program lets go of its standard input, however it ends, and removes all, unless told
/// before to keep it.
const UNDERTAKER: &str = r#"trap '' INT TERM HUP
read -r word
if [ "${word:-}" != keep ]; then "$0/cluster" stop "$1"; rm -rf "$2"; fi"#;

pub struct Server {
    folder: String,
    undertaker: Child,
}

/// When recovery is interrupted.
pub enum Moment {
    /// This long after it began.
    Any(Duration),
    /// This long after redo began.
    Redo(Duration),
}

/// How far recovery had come.
pub enum Recovery {
    UnderWay,
    Redo,
    Over,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts")
}

fn said(what: &str, output: &Output) -> Failure {
    format!("{what}: {} {}", output.status, String::from_utf8_lossy(&output.stderr)).into()
}

impl Server {
    pub fn start(pg_config: &str, settings: &[String], journals: &Path) -> Result<Server, Failure> {
        let start = r#"eval "$("$0/cluster" start "$@")" && printf %s "$PGFLOW_CLUSTER""#;
        let mut command = Command::new("bash");
        command.arg("-euc").arg(start).arg(scripts()).arg(pg_config).args(settings);
        let output = command.stdin(Stdio::null()).output()?;
        let folder = String::from_utf8(output.stdout.clone())?;
        if !output.status.success() || folder.is_empty() {
            return Err(said("scripts/cluster start", &output));
        }
        let mut command = Command::new("bash");
        command.arg("-c").arg(UNDERTAKER).arg(scripts()).arg(&folder).arg(journals);
        let undertaker = command.stdin(Stdio::piped()).spawn()?;
        Ok(Server { folder, undertaker })
    }

    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Leaves everything where it is, for a look.
    pub fn keep(mut self) {
        if let Some(stdin) = &mut self.undertaker.stdin {
            let _ = stdin.write_all(b"keep\n");
        }
    }

    fn pg_ctl(&self, args: &[&str]) -> Command {
        let ctl = r#". "$0/env.sh"; dir=$1; shift
as_server "$dir/bin/pg_ctl" "$@" -s -w -D "$dir/data" -l "$dir/log""#;
        let mut command = Command::new("bash");
        command.arg("-euc").arg(ctl).arg(scripts()).arg(&self.folder).args(args).stdin(Stdio::null());
        command
    }

    /// Starts the killed server. Its last process may take a moment to let go of the shared memory.
    pub fn start_again(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let output = self.pg_ctl(&["start"]).output()?;
            if output.status.success() {
                return Ok(());
            } else if begun.elapsed() > PATIENCE {
                return Err(said("pg_ctl start", &output));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Starts the killed server, and stops it in immediate mode while it recovers. Says how far it had come.
    pub fn stop_in_recovery(&self, moment: Moment) -> Result<Recovery, Failure> {
        let begun = Instant::now();
        let start = fs::metadata(self.log_path())?.len();
        let awaited = match moment {
            Moment::Any(_) => ["database system was interrupted", "database system shutdown was interrupted"],
            Moment::Redo(_) => ["redo starts", "redo is not required"],
        };
        let has_come = |log: &str| awaited.iter().any(|s| log.contains(s));
        let launch = || self.pg_ctl(&["start"]).stderr(Stdio::null()).spawn();
        let mut launched = launch()?;
        while !has_come(&self.log(start)?) {
            if begun.elapsed() > PATIENCE {
                return Err("recovery did not begin".into());
            } else if launched.try_wait()?.is_some() {
                // It found the dead postmaster not quite gone.
                launched = launch()?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match moment {
            Moment::Any(after) => {
                std::thread::sleep(after);
                self.pg_ctl(&["stop", "-m", "immediate"]).output()?;
            }
            Moment::Redo(after) => {
                // The signal that pg_ctl sends, without the time pg_ctl takes.
                std::thread::sleep(after);
                signal("QUIT", &[self.postmaster()?])?;
            }
        }
        while Path::new(&self.folder).join("data/postmaster.pid").exists() {
            if begun.elapsed() > PATIENCE {
                return Err("the server did not stop".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        launched.wait()?;
        let log = self.log(start)?;
        Ok(match () {
            () if log.contains("ready to accept connections") => Recovery::Over,
            () if log.contains("redo starts") && !log.contains("redo done") => Recovery::Redo,
            () => Recovery::UnderWay,
        })
    }

    pub fn await_connections(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        while let Err(error) = connection::connect(&self.folder, "killer") {
            if begun.elapsed() > PATIENCE {
                return Err(format!("the server did not come back: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn postmaster(&self) -> Result<u32, Failure> {
        let file = fs::read_to_string(Path::new(&self.folder).join("data/postmaster.pid"))?;
        Ok(file.lines().next().unwrap_or_default().parse()?)
    }

    /// The processes of the postmaster; only those that serve clients, if so asked.
    pub fn children(&self, backends_only: bool) -> Result<Vec<u32>, Failure> {
        let parent = self.postmaster()?.to_string();
        let mut children = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(pid) = path.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok()) else { continue };
            // Processes may end while we look. The parent is the second field behind the name in brackets.
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            let of_ours = stat.rsplit(')').next().and_then(|s| s.split_whitespace().nth(1)) == Some(&parent);
            let title = || fs::read_to_string(path.join("cmdline")).unwrap_or_default();
            if of_ours && (!backends_only || title().contains("[local]")) {
                children.push(pid);
            }
        }
        Ok(children)
    }

    fn log_path(&self) -> PathBuf {
        Path::new(&self.folder).join("log")
    }

    /// The server's log, from this byte on.
    fn log(&self, start: u64) -> Result<String, Failure> {
        let mut file = fs::File::open(self.log_path())?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What kills do not explain.
    pub fn complaints(&self) -> Result<Vec<String>, Failure> {
        let bad = |line: &&str| {
            let signal =
                line.contains("terminated by signal") && !line.contains("signal 9") && !line.contains("signal 3");
            signal || line.contains(" PANIC: ") || line.starts_with("TRAP") || line.contains("invalid page")
        };
        Ok(self.log(0)?.lines().filter(bad).take(10).map(str::to_owned).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.undertaker.stdin.take());
        let _ = self.undertaker.wait();
    }
}

/// A signal to processes that may be gone already.
pub fn signal(name: &str, pids: &[u32]) -> Result<(), Failure> {
    let mut command = Command::new("sh");
    command.args(["-c", r#"kill -s "$@""#, "sh", name]).args(pids.iter().map(u32::to_string));
    command.stderr(Stdio::null()).status()?;
    Ok(())
}
