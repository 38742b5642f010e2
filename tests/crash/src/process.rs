//! The starter and worker processes: how they are spawned, killed, revived, and told to come to an end.
//!
//! A process listens on its standard input: a line means that nothing new is to be started, its end that the process
//! has to go. So none is left over when this program dies.

use std::io::{BufRead, Write, stdin};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Failure;

/// Which process this is, and where it finds the others.
#[derive(Clone)]
pub struct Place {
    /// The folder of the server's socket.
    pub host: String,
    /// The folder of the journals.
    pub folder: PathBuf,
    pub seed: u64,
    pub starters: usize,
    pub id: usize,
    /// How often it was killed before.
    pub life: usize,
}

impl Place {
    fn to_args(&self) -> [String; 6] {
        let Place { host, folder, seed, starters, id, life } = self;
        let [seed, starters] = [seed.to_string(), starters.to_string()];
        [host.clone(), folder.display().to_string(), seed, starters, id.to_string(), life.to_string()]
    }

    pub fn from_args(args: impl Iterator<Item = String>) -> Result<Place, Failure> {
        let args: Vec<String> = args.collect();
        let [host, folder, seed, starters, id, life] = args.as_slice() else {
            return Err("a worker or starter is run by this program only".into());
        };
        Ok(Place {
            host: host.clone(),
            folder: folder.into(),
            seed: seed.parse()?,
            starters: starters.parse()?,
            id: id.parse()?,
            life: life.parse()?,
        })
    }

    /// Another seed for each life of each process.
    pub fn own_seed(&self) -> u64 {
        let salt = (self.id as u64) << 32 | self.life as u64;
        self.seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Set when nothing new is to be started; when standard input ends, so does the process.
pub fn listen() -> Arc<AtomicBool> {
    let draining = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&draining);
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdin().lock().read_line(&mut line).is_ok_and(|n| n > 0) {
            flag.store(true, Ordering::Relaxed);
        }
        std::process::exit(0);
    });
    draining
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Starter,
    Worker,
}

struct Process {
    role: Role,
    place: Place,
    child: Child,
    stdin: Option<ChildStdin>,
}

fn spawn(role: Role, place: &Place) -> Result<Process, Failure> {
    let name = if role == Role::Starter { "starter" } else { "worker" };
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg(name).args(place.to_args()).stdin(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    Ok(Process { role, place: place.clone(), child, stdin })
}

pub struct Processes {
    all: Vec<Process>,
    pub problems: Vec<String>,
}

impl Processes {
    pub fn spawn(place: &Place, starters: usize, workers: usize) -> Result<Processes, Failure> {
        let mut all = Vec::new();
        for id in 0..starters + workers {
            let role = if id < starters { Role::Starter } else { Role::Worker };
            all.push(spawn(role, &Place { id, ..place.clone() })?);
        }
        Ok(Processes { all, problems: Vec::new() })
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// SIGKILL to one process; another takes its place.
    pub fn kill(&mut self, index: usize) -> Result<Role, Failure> {
        let process = &mut self.all[index];
        process.child.kill()?;
        process.child.wait()?;
        process.place.life += 1;
        *process = spawn(process.role, &process.place)?;
        Ok(process.role)
    }

    /// No process ends by itself while there are kills.
    pub fn look_after(&mut self) -> Result<(), Failure> {
        for process in &mut self.all {
            if let Some(status) = process.child.try_wait()? {
                self.problems.push(format!("{:?} {}: {status}", process.role, process.place.id));
                process.place.life += 1;
                *process = spawn(process.role, &process.place)?;
            }
        }
        Ok(())
    }

    /// Lets starters see their runs to the end, then dismisses the workers. False when that takes too long.
    pub fn drain(&mut self, patience: Duration) -> Result<bool, Failure> {
        let begun = Instant::now();
        for process in &mut self.all {
            if let Some(stdin) = &mut process.stdin {
                stdin.write_all(b"drain\n")?;
            }
        }
        let mut drained = true;
        for process in self.all.iter_mut().filter(|p| p.role == Role::Starter) {
            let status = loop {
                match process.child.try_wait()? {
                    None if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(50)),
                    status => break status,
                }
            };
            drained &= status.is_some();
            if let Some(status) = status.filter(|s| !s.success()) {
                self.problems.push(format!("starter {}: {status}", process.place.id));
            }
        }
        for process in &mut self.all {
            if let Some(status) = process.child.try_wait()?.filter(|s| !s.success()) {
                self.problems.push(format!("{:?} {}: {status}", process.role, process.place.id));
            }
            process.stdin = None;
        }
        for process in &mut self.all {
            process.child.wait()?;
        }
        Ok(drained)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.all {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
