//! Container steps: ordered, waited for, and their files, which are promises until then.

use std::rc::Rc;

use crate::ToolError;
use crate::host::{Host, How, Promise, Running, Session};
use crate::io::{Input, Reader};
use crate::manifest::PlannedStep;

/// Most bytes of a step's words that an error of [`Step::wait_ok`] repeats.
const WORDS_BYTES_MAX: usize = 600;

/// Starts container steps. A tool has one in its `Io`, in the field `steps`, where [`crate::tool_io!`]
/// says `steps;`.
///
/// ```
/// use helix_toolpack::prelude::*;
/// use helix_toolpack::types::BAM;
///
/// // In a toolpack: include_str!("../images.txt")
/// const IMAGES: &str = "
///     bwa      registry.example/bwa@sha256:6c3e1c0f5a9b2d47e8016f3b9ad2c4758e1f60b7c9d3a28415e6f70b8c9d0a1e linux/amd64
///     samtools registry.example/samtools@sha256:4a0d7c1f9e2b56830d1c7a94be5f02836d9e1f70a4c2b8d5e6f3a1902b7c8d4e linux/amd64
/// ";
///
/// # #[derive(Deserialize, JsonSchema)]
/// # struct Params {}
/// # #[derive(Serialize, JsonSchema)]
/// # struct Aligned {
/// #     reads: u64,
/// # }
/// tool_io! {
///     /// What `align` reads and writes.
///     struct AlignIo {
///         inputs {
///             reference: [FASTA] 1..=1 "What to align to";
///             reads: [FASTQ] 1..=1 "What to align";
///         }
///         outputs { aligned: BAM "aligned.bam" 1..=1 check whole "The alignments, sorted"; }
///         steps;
///     }
/// }
///
/// struct Align;
///
/// impl Tool for Align {
/// #     type Params = Params;
/// #     type Result = Aligned;
/// #     type Io = AlignIo;
/// #     const NAME: &'static str = "align";
/// #     const TITLE: &'static str = "Align";
/// #     const DESCRIPTION: &'static str = "Aligns reads.";
///     // …
///     fn images() -> Vec<DeclaredImage> {
///         DeclaredImage::pick(IMAGES, &["bwa", "samtools"])
///     }
///
///     fn steps(_params: &Params, _inputs: &[LinkedInput]) -> Vec<PlannedStep> {
///         vec![
///             PlannedStep::new("align", "bwa").cpus(4).memory_bytes(16 << 30).seconds(4 * 3600),
///             PlannedStep::new("sort", "samtools").memory_bytes(4 << 30),
///             PlannedStep::new("count", "samtools"),
///         ]
///     }
///
///     fn run(_params: Params, io: AlignIo, _log: &Log) -> Result<Report<Aligned>, ToolError> {
///         let align = io.steps.step("align")
///             .args(["bwa", "mem", "-o", "out/all.sam", "in/reference.fa", "in/reads.fq"])
///             .mount(io.reference.one()?, "reference.fa")
///             .mount(io.reads.one()?, "reads.fq")
///             .capture("all.sam", helix_toolpack::types::SAM)
///             .start();
///         // Started before the first has ended, with the promise of its file.
///         let all = align.capture("all.sam");
///         let sort = io.steps.step("sort")
///             .args(["samtools", "sort", "-o", "out/sorted.bam", "in/all.sam"])
///             .mount_file(&all, "all.sam")
///             .capture("sorted.bam", BAM)
///             .start();
///         let sorted = sort.capture("sorted.bam");
///         // Becomes an output without passing through here.
///         io.aligned.publish(&sorted)?;
///         let count = io.steps.step("count")
///             .args(["samtools", "view", "-c", "in/sorted.bam"])
///             .mount_file(&sorted, "sorted.bam")
///             .start();
///
///         // One wait for three steps. What goes wrong says why.
///         align.wait_ok()?;
///         sort.wait_ok()?;
///         let counted = count.wait_ok()?;
///         let reads = counted.stdout_tail.trim().parse().map_err(|_| ToolError::failed("no count"))?;
///         Ok(Report::new(Aligned { reads }, format!("{reads} alignments.")))
///     }
/// }
///
/// // Natively functions stand in for the containers.
/// let bench = Bench::new()
///     .input("reference", "FASTA", ">c\nACGT\n")
///     .input("reads", "FASTQ", "@r\nACGT\n+\nIIII\n")
///     .step("align", |order| {
///         assert!(order.mount("reads.fq").starts_with(b"@r"));
///         Played::ok().file("all.sam", "sam")
///     })
///     .step("sort", |order| Played::ok().file("sorted.bam", order.mount("all.sam")))
///     .step("count", |_| Played::ok().stdout("1\n"));
/// let done = bench.run::<Align>("{}").expect("the tool runs");
/// assert_eq!(done.result["reads"], 1);
/// assert_eq!(done.output("aligned"), b"sam");
///
/// let broken = bench.step("align", |_| Played::exit(1).stderr("[E::main] no such index\n"));
/// let error = broken.run::<Align>("{}").unwrap_err();
/// assert_eq!(error.to_string(), "step `align` ended with 1: [E::main] no such index");
/// ```
pub struct Steps {
    host: Rc<dyn Host>,
    planned: Rc<[PlannedStep]>,
}

impl Steps {
    #[doc(hidden)]
    #[must_use]
    pub fn new(session: &Session) -> Self {
        Self { host: Rc::clone(&session.host), planned: Rc::clone(&session.planned) }
    }

    /// An order of one of the steps that [`crate::Tool::steps`] names, with all the processors, memory
    /// and time that it has there.
    #[must_use]
    pub fn step(&self, name: &str) -> Order<'_> {
        let planned = self.planned.iter().find(|planned| planned.name == name);
        Order {
            host: Rc::clone(&self.host),
            name: name.to_owned(),
            argv: Vec::new(),
            environment: Vec::new(),
            mounts: Vec::new(),
            captures: Vec::new(),
            cpus: planned.map_or(1, |planned| planned.cpus_max),
            memory_bytes: planned.map_or(0, |planned| planned.memory_bytes_max),
            seconds: planned.map_or(0, |planned| planned.seconds_max),
        }
    }

    /// Waits for the first of some steps to end, and gives its place among them. Of several that have
    /// ended, the earliest.
    ///
    /// An empty list ends the run: there is nothing to wait for.
    #[must_use = "the step that ended is the one at this place"]
    pub fn wait_any(&self, steps: &[&Step]) -> usize {
        let running: Vec<&dyn Running> = steps.iter().map(|step| &*step.running).collect();
        self.host.wait_any(&running)
    }
}

/// A step that is about to be started.
#[must_use = "an order does nothing until it is started"]
pub struct Order<'a> {
    host: Rc<dyn Host>,
    pub(crate) name: String,
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) mounts: Vec<(Mounted<'a>, String)>,
    pub(crate) captures: Vec<(String, &'static str)>,
    pub(crate) cpus: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) seconds: u64,
}

/// Where a mount's bytes come from.
pub(crate) enum Mounted<'a> {
    Input { role: String, index: u32 },
    File(&'a dyn Promise),
}

impl<'a> Order<'a> {
    /// One more argument. The first is the program; no shell looks at any.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.argv.push(argument.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment, one of those that the planned step names.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Shows the step an input, read-only at `/work/in/` and this name. So it is read.
    pub fn mount(mut self, input: &Input, name: &str) -> Self {
        let linked = input.linked();
        let source = Mounted::Input { role: linked.role.clone(), index: linked.index };
        self.mounts.push((source, name.to_owned()));
        self
    }

    /// Shows the step a file that another will make, read-only at `/work/in/` and this name. The host
    /// starts it once that one has ended; if that one does not end with 0, this one is skipped.
    pub fn mount_file(mut self, file: &'a StepFile, name: &str) -> Self {
        self.mounts.push((Mounted::File(&*file.promise), name.to_owned()));
        self
    }

    /// Keeps the file that the step leaves at `/work/out/` and this name. The type is one of the constants
    /// of [`crate::types`]. A step that ends with 0 and lacks it fails the run.
    pub fn capture(mut self, name: &str, artifact_type: &'static str) -> Self {
        self.captures.push((name.to_owned(), artifact_type));
        self
    }

    /// Processors, if not as many as planned.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// Memory, if not as much as planned.
    pub fn memory_bytes(mut self, memory_bytes: u64) -> Self {
        self.memory_bytes = memory_bytes;
        self
    }

    /// Time, if not as much as planned.
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// Starts it, and returns at once. What is beside the plan ends the run.
    pub fn start(self) -> Step {
        let running = Rc::clone(&self.host).start(&self);
        Step { name: self.name, running }
    }
}

/// A step that was started. The run must wait for it, or for one that mounts from it.
#[must_use = "a run that returns before its steps have ended fails"]
pub struct Step {
    name: String,
    running: Box<dyn Running>,
}

impl Step {
    /// The promise of one of its files, by the name of the capture. At once: it can be mounted and
    /// published before the step has ended.
    ///
    /// A name that the order does not capture ends the run.
    #[must_use]
    pub fn capture(&self, name: &str) -> StepFile {
        StepFile { step: self.name.clone(), name: name.to_owned(), promise: self.running.capture(name) }
    }

    /// Waits until it has ended.
    #[must_use]
    pub fn wait(&self) -> Ended {
        self.running.wait()
    }

    /// Waits until it has ended with 0.
    ///
    /// # Errors
    /// [`ToolError::Failed`] with the code and the last that the program said, or that it was skipped.
    pub fn wait_ok(&self) -> Result<Exited, ToolError> {
        match self.wait() {
            Ended::Exited(exited) if exited.code == 0 => Ok(exited),
            Ended::Exited(exited) => {
                let said = if exited.stderr_tail.trim().is_empty() {
                    &exited.stdout_tail
                } else {
                    &exited.stderr_tail
                };
                let (name, code) = (&self.name, exited.code);
                Err(ToolError::failed(match last(said) {
                    "" => format!("step `{name}` ended with {code} and said nothing"),
                    words => format!("step `{name}` ended with {code}: {words}"),
                }))
            }
            Ended::Skipped => Err(ToolError::failed(format!(
                "step `{}` was skipped: one that it mounts from did not end with 0",
                self.name
            ))),
        }
    }
}

/// The last words of a stream.
fn last(said: &str) -> &str {
    let said = said.trim_end();
    let from = said.len().saturating_sub(WORDS_BYTES_MAX);
    let from = (from..=said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or_default();
    said.get(from..).unwrap_or_default()
}

/// How a step ended. One that hits a limit or is cancelled ends the run instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The program returned.
    Exited(Exited),
    /// It mounts from a step that did not end with 0, and was never started.
    Skipped,
}

/// What a program left besides its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exited {
    /// 0 is success; the meaning of the others is the program's.
    pub code: i32,
    /// The end of what it printed, at most 64 KiB.
    pub stdout_tail: String,
    /// The same of its other stream.
    pub stderr_tail: String,
}

/// A file that a step makes, or will.
pub struct StepFile {
    step: String,
    name: String,
    pub(crate) promise: Box<dyn Promise>,
}

impl StepFile {
    /// Waits for the step and opens what it made from its start, with gzip or BGZF undone by the host.
    ///
    /// # Errors
    /// When the step did not end with 0.
    pub fn open(&self) -> Result<Reader, ToolError> {
        self.open_as(How::Decoded)
    }

    /// Waits for the step and opens what it made from its start, as it is.
    ///
    /// # Errors
    /// When the step did not end with 0.
    pub fn open_raw(&self) -> Result<Reader, ToolError> {
        self.open_as(How::Raw)
    }

    fn open_as(&self, how: How) -> Result<Reader, ToolError> {
        let not_made = || {
            let Self { step, name, .. } = self;
            ToolError::failed(format!("step `{step}` did not end with 0, so there is no `{name}`"))
        };
        self.promise.open(how).map(Reader::new).ok_or_else(not_made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_step_are_words() {
        assert_eq!(last("a\nb\n\n"), "a\nb");
        let long = "ä".repeat(WORDS_BYTES_MAX);
        assert!(last(&long).chars().all(|letter| letter == 'ä') && last(&long).len() <= WORDS_BYTES_MAX);
    }
}
