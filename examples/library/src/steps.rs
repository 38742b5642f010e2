//! What the steps do. Each is a plain function from input to output: no database, no clock, no state,
//! so that it may be repeated and tested alone.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Texts are read up to here.
const MAX_BYTES: u64 = 256 * 1024;
/// So many of a text's most frequent words are kept.
const TOP_WORDS: usize = 50;
/// So many of the smallest shingle hashes stand for a text when it is compared with others.
const SKETCH: usize = 64;
/// Texts that share this part of their shingles are called near-identical.
const SIMILAR: f64 = 0.8;

/// Licence families and a phrase, lower case and with single spaces, by which their texts are known.
const LICENCES: &[(&str, &str)] = &[
    ("AGPL", "affero general public license"),
    ("Apache", "apache license"),
    ("Artistic", "artistic license"),
    ("BSD", "redistribution and use in source and binary forms"),
    ("Creative Commons", "creative commons"),
    ("GFDL", "free documentation license"),
    ("GPL", "gnu general public license"),
    ("ISC", "permission to use copy modify and or distribute this software"),
    ("LGPL", "lesser general public license"),
    ("MIT", "permission is hereby granted free of charge"),
    ("MPL", "mozilla public license"),
    ("public domain", "public domain"),
    ("zlib", "altered source versions must be plainly marked"),
];

const STOP_WORDS: &[&str] = &[
    "about", "after", "also", "been", "does", "each", "from", "have", "http", "https", "into", "more",
    "must", "only", "other", "others", "shall", "some", "such", "than", "that", "their", "them", "then",
    "there", "these", "they", "this", "under", "upon", "used", "were", "when", "where", "which", "will",
    "with", "would", "your",
];

/// Why a task failed, and whether another attempt may help.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub retryable: bool,
}

impl Failure {
    fn permanent(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), retryable: false }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure { message: error.to_string(), retryable: true }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::permanent(error.to_string())
    }
}

#[derive(Deserialize)]
struct Payload {
    folders: Vec<PathBuf>,
    max_documents: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    path: PathBuf,
    /// Its first attempt fails on purpose, to show a retry.
    #[serde(default)]
    stumbles: bool,
}

#[derive(Serialize, Deserialize)]
struct Analysis {
    path: String,
    lines: usize,
    words: usize,
    distinct_words: usize,
    top_words: Vec<(String, usize)>,
    licences: BTreeMap<String, usize>,
    sketch: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Vocabulary {
    pub documents: usize,
    pub lines: usize,
    pub words: usize,
    pub top_words: Vec<(String, usize)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Licence {
    pub name: String,
    pub documents: usize,
    pub mentions: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub vocabulary: Vocabulary,
    pub licences: Vec<Licence>,
    /// Groups of near-identical texts, the largest first.
    pub duplicates: Vec<Vec<String>>,
}

/// A single step's input holds the run's payload as `run` and each dep's output under its slug; a
/// map task's input is one `item`.
pub fn perform(step_slug: &str, attempt: i32, input: &Value) -> Result<Value, Failure> {
    let output = match step_slug {
        "scan" => serde_json::to_value(scan(&field(input, "run")?)?),
        "analyse" => serde_json::to_value(analyse(&field(input, "item")?, attempt)?),
        "vocabulary" => serde_json::to_value(vocabulary(&field::<Vec<_>>(input, "analyse")?)),
        "licences" => serde_json::to_value(licences(&field::<Vec<_>>(input, "analyse")?)),
        "duplicates" => serde_json::to_value(duplicates(&field::<Vec<_>>(input, "analyse")?)),
        "report" => serde_json::to_value(Report {
            vocabulary: field(input, "vocabulary")?,
            licences: field(input, "licences")?,
            duplicates: field(input, "duplicates")?,
        }),
        _ => return Err(Failure::permanent(format!("no step \"{step_slug}\" is known here"))),
    };
    Ok(output?)
}

fn field<T: DeserializeOwned>(input: &Value, name: &str) -> Result<T, Failure> {
    T::deserialize(&input[name]).map_err(|error| Failure::permanent(format!("input.{name}: {error}")))
}

/// Lists the texts: all licences, and of the others, if there are too many, every n-th, so that all
/// letters of the alphabet are met.
fn scan(payload: &Payload) -> Result<Vec<Document>, Failure> {
    let (mut paths, mut others) = (Vec::new(), Vec::new());
    for folder in &payload.folders {
        let licences = folder.ends_with("common-licenses");
        collect(folder, &mut |path| {
            if licences {
                paths.push(path);
            } else if is_text_of_interest(&path) {
                others.push(path);
            }
        })?;
    }
    paths.sort();
    others.sort();
    paths.truncate(payload.max_documents);
    let kept = others.len().min(payload.max_documents - paths.len());
    paths.extend((0..kept).map(|i| others[i * others.len() / kept].clone()));
    if paths.is_empty() {
        return Err(Failure::permanent(format!("no texts found under {:?}", payload.folders)));
    }
    let stumbling = paths.len() / 2;
    let document = |(i, path)| Document { path, stumbles: i == stumbling };
    Ok(paths.into_iter().enumerate().map(document).collect())
}

/// Calls `found` for every regular file below the folder. Symbolic links are left out: what they
/// point to is met where it lies.
fn collect(folder: &Path, found: &mut impl FnMut(PathBuf)) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), found)?;
        } else if kind.is_file() {
            found(entry.path());
        }
    }
    Ok(())
}

fn is_text_of_interest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let named = ["copyright", "changelog", "readme"].iter().any(|start| name.starts_with(start));
    let marked_up = [".html", ".htm", ".pdf", ".xz"].iter().any(|end| name.ends_with(end));
    named && !marked_up
}

fn analyse(document: &Document, attempt: i32) -> Result<Analysis, Failure> {
    let path = document.path.display().to_string();
    if document.stumbles && attempt == 1 {
        return Err(Failure { message: format!("stumbled over {path} on purpose"), retryable: true });
    }
    Ok(analyse_text(path, &read(&document.path)?))
}

fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).take(MAX_BYTES).read_to_end(&mut bytes)?;
    } else {
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn analyse_text(path: String, text: &str) -> Analysis {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for &word in &words {
        *counts.entry(word).or_default() += 1;
    }
    let telling = |word: &str| word.len() >= 4 && !STOP_WORDS.contains(&word);
    let frequent = counts.iter().filter(|(word, _)| telling(word)).map(|(&word, &n)| (word.to_owned(), n));

    let prose = words.join(" ");
    let licences = LICENCES
        .iter()
        .map(|&(name, phrase)| (name.to_owned(), prose.matches(phrase).count()))
        .filter(|&(_, mentions)| mentions > 0)
        .collect();

    Analysis {
        path,
        lines: text.lines().count(),
        words: words.len(),
        distinct_words: counts.len(),
        top_words: most_frequent(frequent, TOP_WORDS),
        licences,
        sketch: sketch(&words),
    }
}

fn most_frequent(counts: impl Iterator<Item = (String, usize)>, limit: usize) -> Vec<(String, usize)> {
    let mut sorted: Vec<(String, usize)> = counts.collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sorted.truncate(limit);
    sorted
}

/// The smallest hashes of all runs of five words: a random sample of the text that two copies of it
/// agree on, whatever their order of paragraphs.
fn sketch(words: &[&str]) -> Vec<u32> {
    let mut hashes: Vec<u32> = words.windows(5.min(words.len().max(1))).map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.truncate(SKETCH);
    hashes
}

/// FNV-1a with a last stir: the order of hashes is what a sketch is made of, so the high bits matter.
fn hash(words: &[&str]) -> u32 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([b' ']));
    let sum = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

fn vocabulary(analyses: &[Analysis]) -> Vocabulary {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (word, n) in analyses.iter().flat_map(|analysis| &analysis.top_words) {
        *counts.entry(word).or_default() += n;
    }
    Vocabulary {
        documents: analyses.len(),
        lines: analyses.iter().map(|analysis| analysis.lines).sum(),
        words: analyses.iter().map(|analysis| analysis.words).sum(),
        top_words: most_frequent(counts.into_iter().map(|(word, n)| (word.to_owned(), n)), 12),
    }
}

fn licences(analyses: &[Analysis]) -> Vec<Licence> {
    let named = |name: &str| {
        let mentions: Vec<usize> =
            analyses.iter().filter_map(|analysis| analysis.licences.get(name).copied()).collect();
        Licence { name: name.to_owned(), documents: mentions.len(), mentions: mentions.iter().sum() }
    };
    let mut licences: Vec<Licence> = LICENCES.iter().map(|(name, _)| named(name)).collect();
    licences.retain(|licence| licence.documents > 0);
    licences.sort_by(|a, b| b.documents.cmp(&a.documents).then_with(|| a.name.cmp(&b.name)));
    licences
}

/// Every text joins the first group whose first member it resembles.
fn duplicates(analyses: &[Analysis]) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<&Analysis>> = Vec::new();
    for analysis in analyses.iter().filter(|analysis| !analysis.sketch.is_empty()) {
        let alike = |group: &&mut Vec<&Analysis>| similarity(&group[0].sketch, &analysis.sketch) >= SIMILAR;
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(analysis),
            None => groups.push(vec![analysis]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups.iter().map(|group| group.iter().map(|analysis| analysis.path.clone()).collect()).collect()
}

/// Which part of the smallest hashes of both together is in both: an estimate of the shared part.
fn similarity(a: &[u32], b: &[u32]) -> f64 {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let (mut seen, mut shared) = (0, 0);
    while seen < SKETCH && (a.peek().is_some() || b.peek().is_some()) {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x == y => {
                shared += 1;
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x > y => drop(b.next()),
            (None, _) => drop(b.next()),
            _ => drop(a.next()),
        }
        seen += 1;
    }
    f64::from(shared) / seen.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MIT: &str = "Permission is hereby granted, free of charge,\nto any person obtaining a copy of \
                       this software and associated documentation files (the \"Software\")";

    #[test]
    fn counts_words_and_knows_licences_across_line_ends() {
        let analysis = analyse_text("x".into(), "The Apache\n   License. The licence, the LICENCE!\n");
        assert_eq!((analysis.lines, analysis.words, analysis.distinct_words), (2, 7, 4));
        assert_eq!(analysis.top_words[0], ("licence".to_owned(), 2));
        assert_eq!(analysis.licences, BTreeMap::from([("Apache".to_owned(), 1)]));
        assert!(analyse_text("y".into(), MIT).licences.contains_key("MIT"));
    }

    #[test]
    fn a_text_without_words_is_no_duplicate_of_another() {
        let empty = [analyse_text("x".into(), ""), analyse_text("y".into(), "--- 123 ---")];
        assert!(duplicates(&empty).is_empty());
    }

    #[test]
    fn near_identical_texts_share_a_group() {
        let numbered = |n: usize| {
            let letters =
                |i: usize| i.to_string().bytes().map(|b| char::from(b - b'0' + b'a')).collect::<String>();
            (0..500).map(|i| if i == n { "changed ".into() } else { letters(i) + "w " }).collect::<String>()
        };
        let texts = [("a", numbered(3)), ("b", MIT.to_owned()), ("c", numbered(400))];
        let analyses: Vec<Analysis> =
            texts.iter().map(|(path, text)| analyse_text((*path).to_owned(), text)).collect();
        assert_eq!(duplicates(&analyses), [["a", "c"]]);
    }

    #[test]
    fn the_steps_fit_together() {
        let folder = std::env::temp_dir().join(format!("library-steps-{}", std::process::id()));
        let docs = folder.join("doc/package");
        fs::create_dir_all(&docs).unwrap();
        for name in ["copyright", "README", "README.html", "notes"] {
            fs::write(docs.join(name), MIT).unwrap();
        }
        let payload = json!({"folders": [folder.join("doc"), folder.join("none")], "max_documents": 9});
        let found = perform("scan", 1, &json!({ "run": payload })).unwrap();
        let items = found.as_array().unwrap();
        assert_eq!(items.len(), 2);

        let stumbling = json!({"item": items[1], "index": 1});
        assert!(perform("analyse", 1, &stumbling).unwrap_err().retryable);
        let analyses: Vec<Value> =
            items.iter().map(|item| perform("analyse", 2, &json!({ "item": item })).unwrap()).collect();
        fs::remove_dir_all(&folder).unwrap();

        let joined = json!({"run": payload, "analyse": analyses});
        let mut last = json!({ "run": payload });
        for step in ["vocabulary", "licences", "duplicates"] {
            last[step] = perform(step, 1, &joined).unwrap();
        }
        let report: Report = serde_json::from_value(perform("report", 1, &last).unwrap()).unwrap();
        assert_eq!(report.vocabulary.documents, 2);
        assert_eq!((report.licences[0].name.as_str(), report.licences[0].documents), ("MIT", 2));
        assert_eq!(report.duplicates[0].len(), 2);
    }

    #[test]
    fn what_cannot_get_better_is_not_retried() {
        assert!(!perform("unknown", 1, &json!({})).unwrap_err().retryable);
        assert!(!perform("analyse", 1, &json!({"item": 7})).unwrap_err().retryable);
        assert!(
            !perform("scan", 1, &json!({"run": {"folders": [], "max_documents": 1}})).unwrap_err().retryable
        );
    }
}
