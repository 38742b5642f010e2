//! What a process leaves behind outside the database: one line of JSON for each effect and each acknowledged call.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub struct Journal {
    file: File,
    problems: usize,
}

/// Each life of a process has a file of its own, so that a line torn by SIGKILL is the last of its file.
fn path(folder: &Path, process: &str, life: usize) -> PathBuf {
    folder.join(format!("{process}.{life}"))
}

impl Journal {
    pub fn open(folder: &Path, process: &str, life: usize) -> io::Result<Journal> {
        let file = OpenOptions::new().append(true).create_new(true).open(path(folder, process, life))?;
        Ok(Journal { file, problems: 0 })
    }

    /// In one write: the kernel has it when this returns.
    pub fn write(&mut self, entry: &Value) -> io::Result<()> {
        self.file.write_all(format!("{entry}\n").as_bytes())
    }

    pub fn problem(&mut self, problem: &str) -> io::Result<()> {
        self.problems += 1;
        if self.problems > 20 { Ok(()) } else { self.write(&json!({"kind": "problem", "text": problem})) }
    }
}

/// The whole lines of a journal; a torn last one is left out.
pub fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let mut reader = BufReader::new(File::open(path)?);
    Ok(std::iter::from_fn(move || {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Err(error) => Some(Err(error)),
            Ok(_) if line.pop() == Some('\n') => Some(Ok(line)),
            Ok(_) => None,
        }
    }))
}

/// What the earlier lives of a process wrote.
pub fn earlier(folder: &Path, process: &str, life: usize) -> io::Result<Vec<Value>> {
    let mut entries = Vec::new();
    for life in 0..life {
        let path = path(folder, process, life);
        // Killed before it opened its journal.
        if path.exists() {
            for line in lines(&path)? {
                entries.push(serde_json::from_str(&line?)?);
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_left_out() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("pgflow-crash-journal.{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let mut journal = Journal::open(&folder, "worker-1", 0)?;
        journal.write(&json!({"kind": "effect"}))?;
        journal.file.write_all(b"{\"kind\": \"rec")?;
        let entries = earlier(&folder, "worker-1", 2);
        std::fs::remove_dir_all(&folder)?;
        assert_eq!(entries?, [json!({"kind": "effect"})]);
        Ok(())
    }
}
