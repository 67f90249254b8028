//! One assistant at work: imports, calls, replays, exports, waits and cancels, one after the other,
//! until its host is gone or it is told to stop.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use helix_ids::{ArtifactType, Digest, ProjectName, identity};
use serde_json::{Value, json};

use super::journal::{Journal, Kept, Outputs};
use super::random::Random;
use crate::{RpcError, StdioClient, ToolReply};

/// Different samples that are drawn from each file of reads, over all homes.
const SEEDS: u64 = 400;

/// The outputs of each equal call, in whichever home it was made first: they are the same
/// everywhere, however often the host was killed while they were made.
pub(super) type Expected = Arc<Mutex<BTreeMap<String, Outputs>>>;

/// What the assistants of one round share.
#[derive(Clone)]
pub(super) struct Shared {
    pub journal: Arc<Mutex<Journal>>,
    pub expected: Expected,
    pub stop: Arc<AtomicBool>,
    /// Whether a fault may be an answer: a runner is killed in this round, and the host is not.
    pub faults_are_answers: bool,
    /// The export root.
    pub out: PathBuf,
    /// Files of reads in the import root.
    pub reads: Vec<String>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while holding it has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Assistant {
    pub client: StdioClient,
    pub random: Random,
    pub shared: Shared,
}

impl Assistant {
    /// Works until there is nobody to work for.
    ///
    /// # Errors
    /// An answer that contradicts what was acknowledged.
    pub(super) fn work(mut self) -> Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.one() {
                Ok(()) => {}
                Err(Ended::Gone) => return Ok(()),
                Err(Ended::Wrong(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn one(&mut self) -> Result<(), Ended> {
        match self.random.below(10) {
            0 | 1 => self.import_text(),
            2 => self.import_reads().map(drop),
            3 | 4 => self.greet(),
            5 => self.again(),
            6 => self.export(),
            7 => self.filter(json!(20)).map(drop),
            8 => self.filter_and_wait(),
            _ => self.filter_and_cancel(),
        }
    }

    fn import_text(&mut self) -> Result<(), Ended> {
        let number = self.random.next();
        let (text, label) = (format!("note {number}\n"), format!("note-{number}.txt"));
        let arguments = json!({"text": text, "type_hint": "TEXT", "label": label});
        let Some(reply) = self.call("artifact_import", &arguments)? else { return Ok(()) };
        let kept = imported(&reply)?;
        let expected = artifact_id(text.as_bytes(), ArtifactType::Text)?;
        if kept.id != expected || kept.label != label {
            return Err(wrong(format!("the import of {text:?} gave {kept:?}, not {expected}")));
        }
        lock(&self.shared.journal).keep(kept);
        Ok(())
    }

    fn import_reads(&mut self) -> Result<Option<String>, Ended> {
        let path = self.random.one_of(&self.shared.reads).cloned().unwrap_or_default();
        let Some(reply) = self.call("artifact_import", &json!({"root": "data", "path": path}))? else {
            return Ok(None);
        };
        let kept = imported(&reply)?;
        let id = kept.id.clone();
        lock(&self.shared.journal).keep(kept);
        Ok(Some(id))
    }

    /// A short run that nobody made before; what comes of it is known.
    fn greet(&mut self) -> Result<(), Ended> {
        let name = format!("N{}", self.random.next());
        let arguments = json!({"name": name});
        let Some(reply) = self.call("hello", &arguments)? else { return Ok(()) };
        if reply.status() == "succeeded" {
            let expected = artifact_id(format!("Hello, {name}!\n").as_bytes(), ArtifactType::Text)?;
            if reply.output("greeting") != Some(&expected) {
                return Err(wrong(format!("{name} was greeted with {}", reply.structured)));
            }
        }
        self.tell("hello", &arguments, &reply)
    }

    /// A call that succeeded before: its stored answer.
    fn again(&mut self) -> Result<(), Ended> {
        let known = {
            let journal = lock(&self.shared.journal);
            let ended: Vec<_> = journal.runs.values().filter(|told| told.outputs.is_some()).collect();
            self.random.one_of(&ended).map(|told| (told.tool, told.arguments.clone()))
        };
        let Some((tool, arguments)) = known else { return Ok(()) };
        let Some(reply) = self.call(tool, &arguments)? else { return Ok(()) };
        if reply.status() != "succeeded" || !reply.replayed() {
            return Err(wrong(format!("{tool} {arguments} is not answered again: {}", reply.structured)));
        }
        self.tell(tool, &arguments, &reply)
    }

    fn export(&mut self) -> Result<(), Ended> {
        let known = {
            let journal = lock(&self.shared.journal);
            self.random.one_of(&journal.artifacts).cloned()
        };
        let Some(kept) = known else { return Ok(()) };
        let name = format!("e{}", self.random.next());
        let arguments = json!({"artifact_id": kept.id, "root": "out", "name": name});
        let Some(reply) = self.call("artifact_export", &arguments)? else { return Ok(()) };
        if reply.is_error {
            return Err(wrong(format!("no export of {}: {}", kept.id, reply.text())));
        }
        let checksum = kept.checksum.parse().map_err(|error| wrong(format!("{error:?}")))?;
        lock(&self.shared.journal).exports.push((self.shared.out.join(name), checksum));
        Ok(())
    }

    /// Starts or repeats a run of some tens of milliseconds.
    fn filter(&mut self, wait_seconds: Value) -> Result<Option<ToolReply>, Ended> {
        let Some(reads) = self.import_reads()? else { return Ok(None) };
        let mut arguments =
            json!({"reads": [reads], "sample_fraction": 0.1, "seed": self.random.below(SEEDS)});
        let key = arguments.to_string();
        arguments["wait_seconds"] = wait_seconds;
        let Some(reply) = self.call("fastq_filter", &arguments)? else { return Ok(None) };
        self.same_as_everywhere(key, &reply)?;
        self.tell("fastq_filter", &arguments, &reply)?;
        Ok(Some(reply))
    }

    fn filter_and_wait(&mut self) -> Result<(), Ended> {
        let Some(reply) = self.filter(json!(0))? else { return Ok(()) };
        let arguments = json!({"run_id": reply.run_id(), "wait_seconds": 20});
        let Some(waited) = self.call("run_wait", &arguments)? else { return Ok(()) };
        if waited.run_id() != reply.run_id() {
            return Err(wrong(format!("waited for {} and got {}", reply.run_id(), waited.structured)));
        }
        let known = lock(&self.shared.journal).runs.get(reply.run_id()).map(|told| told.arguments.clone());
        self.tell("fastq_filter", &known.unwrap_or_default(), &waited)
    }

    fn filter_and_cancel(&mut self) -> Result<(), Ended> {
        let Some(reply) = self.filter(json!(0))? else { return Ok(()) };
        let arguments = json!({"run_id": reply.run_id(), "reason": "changed my mind"});
        let Some(cancelled) = self.call("run_cancel", &arguments)? else { return Ok(()) };
        if cancelled.is_error {
            return Err(wrong(format!("no cancel of {}: {}", reply.run_id(), cancelled.text())));
        }
        Ok(())
    }

    /// The same call gives the same outputs in every home (I-11).
    fn same_as_everywhere(&self, key: String, reply: &ToolReply) -> Result<(), Ended> {
        if reply.status() != "succeeded" {
            return Ok(());
        }
        let outputs = super::journal::outputs_of(&reply.structured["outputs"]);
        let mut expected = lock(&self.shared.expected);
        let before = expected.entry(key.clone()).or_insert_with(|| outputs.clone());
        if *before == outputs {
            return Ok(());
        }
        Err(wrong(format!("{key} gave {before:?} elsewhere and {outputs:?} here")))
    }

    fn tell(&self, tool: &'static str, arguments: &Value, reply: &ToolReply) -> Result<(), Ended> {
        let status = reply.status();
        let fault = status == "failed" && reply.structured["failure"]["class"] == "fault";
        if status == "failed" && !(fault && self.shared.faults_are_answers) {
            // The fourth try within the hour of a run that was killed thrice is told to wait.
            let code = &reply.structured["failure"]["code"];
            if code != "tried_too_often" && code != "taken_over_too_often" {
                return Err(wrong(format!("{tool} {arguments} failed: {}", reply.structured)));
            }
        }
        if reply.run_id().is_empty() {
            return Ok(());
        }
        lock(&self.shared.journal).tell(tool, arguments, reply).map_err(Ended::Wrong)
    }

    /// `None` when a killed runner was the answer.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<Option<ToolReply>, Ended> {
        match self.client.call(tool, arguments.clone()) {
            Ok(reply) => Ok(Some(reply)),
            Err(error) => match error.downcast_ref::<RpcError>() {
                None => Err(Ended::Gone),
                Some(fault) if fault.code == -32603 && self.shared.faults_are_answers => Ok(None),
                Some(_) => Err(Ended::Wrong(error.context(format!("{tool} {arguments}")))),
            },
        }
    }
}

/// Why an assistant stopped.
enum Ended {
    /// Its host is gone.
    Gone,
    Wrong(anyhow::Error),
}

fn wrong(what: String) -> Ended {
    Ended::Wrong(anyhow::anyhow!(what))
}

fn imported(reply: &ToolReply) -> Result<Kept, Ended> {
    let row = &reply.structured["artifacts"][0];
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let kept = Kept { id: text("artifact_id"), label: text("label"), checksum: text("checksum_sha256") };
    if reply.is_error || kept.id.is_empty() {
        return Err(wrong(format!("an import was refused: {}", reply.text())));
    }
    Ok(kept)
}

fn artifact_id(bytes: &[u8], artifact_type: ArtifactType) -> Result<String, Ended> {
    let name: ProjectName = "default".parse().map_err(|error| wrong(format!("{error:?}")))?;
    let project = identity::project_id(&name);
    Ok(identity::artifact_id(project, Digest::of(bytes), artifact_type).to_string())
}

/// Some reads, the same for every home.
pub(super) fn write_reads(folder: &std::path::Path) -> Result<Vec<String>> {
    let mut random = Random::new(0, 0);
    let mut names = Vec::new();
    for (name, reads) in [("few.fastq", 400), ("some.fastq", 4_000), ("many.fastq", 12_000)] {
        let mut text = String::new();
        for read in 0..reads {
            let (first, second) = (random.next(), random.next());
            let base = |at: u64| match (first >> at & 1, second >> at & 1) {
                (0, 0) => 'A',
                (0, _) => 'C',
                (_, 0) => 'G',
                _ => 'T',
            };
            let sequence: String = (0..64).chain(0..64).map(base).collect();
            let quality = "I".repeat(sequence.len());
            text.push_str(&format!("@r{read}\n{sequence}\n+\n{quality}\n"));
        }
        ensure!(!text.is_empty(), "no reads");
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
        names.push(name.to_owned());
    }
    Ok(names)
}
