//! The door between what a guest asks and what happens. Nothing of a step starts that was not parsed
//! against the plan (I-1), recorded before any effect (I-8), and admitted by policy of that moment.
//!
//! A guest is a deterministic function of its inputs and of what it is answered here (I-11). So a pass
//! after a crash asks the same again: each ask is compared with the one that stands in the ledger, and
//! answered from the outcome that stands beside it.

mod captures;
mod key;
mod pause;
mod shut;
mod step;

use std::fs::File;
use std::io;
use std::sync::Arc;

use helix_ids::{CanonicalJson, OutputKey, RelName, Role};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) use self::pause::Pause;
pub(super) use self::shut::Shut;
use self::step::{Board, Errand, Known, MountFrom};
use super::flight::Flight;
use super::{Effects, Guest, Still, open_proved, opened};
use crate::contract::raw;
use crate::ledger::{Asked, AttemptId, NewAsk, Seal, StepFile, StepId, StepRow};
use crate::plan::{MountSource, Plan, StepOrder};
use crate::sandbox::protocol::{Ask, Reply};

/// A step of this attempt.
struct Begun {
    order: StepOrder,
    /// The guest waited for it, or opened or published something of it.
    is_wanted: bool,
}

/// An output that is a capture of a step.
#[derive(Clone, Debug)]
pub(super) struct PublishedFile {
    pub role: Role,
    pub key: OutputKey,
    pub file: StepFile,
    pub seal: Seal,
}

struct Publishing {
    role: String,
    key: String,
    step: u32,
    capture: RelName,
}

/// One attempt's door.
pub(super) struct Door {
    effects: Effects,
    flight: Arc<Flight>,
    plan: Plan,
    guest: Guest,
    still: Still,
    reuse: bool,
    pause: Pause,
    /// Known once the attempt stands in the ledger.
    attempt: Option<AttemptId>,
    begun: Vec<Begun>,
    published: Vec<Publishing>,
    shut: Option<Shut>,
    /// Of steps that are carried out at once.
    room: Arc<Semaphore>,
    board: Board,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// The text of an ask, by which two passes are compared.
fn canonical(order: &StepOrder) -> Result<String, Shut> {
    let text = CanonicalJson::of(&order.to_json());
    text.map(|text| text.to_string()).map_err(|error| Shut::gate("step_argv", &error.to_string()))
}

/// What a door is made of.
pub(super) struct Opening<'a> {
    pub effects: Effects,
    pub flight: Arc<Flight>,
    pub plan: &'a Plan,
    pub guest: &'a Guest,
    pub still: Still,
    /// Whether steps may take the outcomes of equal ones.
    pub reuse: bool,
    pub pause: Pause,
    /// The attempt, if it stands in the ledger already.
    pub attempt: Option<AttemptId>,
}

impl Door {
    pub fn new(opening: Opening<'_>) -> Self {
        let Opening { effects, flight, plan, guest, still, reuse, pause, attempt } = opening;
        let at_once = usize::try_from(plan.run_limits().concurrent_steps).unwrap_or(usize::MAX);
        Self {
            effects,
            flight,
            plan: plan.clone(),
            guest: guest.clone(),
            still,
            reuse,
            pause,
            attempt,
            begun: Vec::new(),
            published: Vec::new(),
            shut: None,
            room: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))),
            board: Board::default(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Answers an ask. An error ends the attempt, and [`Self::shut`] says why.
    pub async fn ask(&mut self, ask: Ask) -> io::Result<(Reply, Option<File>)> {
        let answered = match ask {
            Ask::Start { step } => self.start(step).await.map(|()| (Reply::Started, None)),
            Ask::Wait { steps } => self.wait(&steps).await.map(|reply| (reply, None)),
            Ask::Open { step, capture } => self.open(step, &capture).await,
            Ask::Publish { role, key, step, capture } => {
                self.publish(role, key, step, &capture).map(|()| (Reply::Published, None))
            }
        };
        answered.map_err(|shut| {
            let message = shut.to_string();
            self.shut.get_or_insert(shut);
            io::Error::other(message)
        })
    }

    /// Why the attempt ended, if it was the door that ended it.
    pub fn shut(&mut self) -> Option<Shut> {
        self.shut.take()
    }

    async fn start(&mut self, asked: raw::Step) -> Result<(), Shut> {
        let earlier: Vec<StepOrder> = self.begun.iter().map(|begun| begun.order.clone()).collect();
        let order =
            self.plan.order(asked, &earlier).map_err(|error| Shut::gate(error.code, &error.message))?;
        let ordinal = u32::try_from(self.begun.len()).map_err(|_more| Shut::out_of_turn())?;
        // The attempt must stand in the ledger before anything happens on its behalf.
        let attempt = match self.attempt {
            Some(attempt) => attempt,
            None => *self.attempt.insert(self.flight.attempt().await),
        };
        let id = StepId { attempt, ordinal };
        let ask = NewAsk {
            kind: "start",
            text: canonical(&order)?,
            name: order.name.to_string(),
            image: order.image.image.to_string(),
            backend: self.plan.backend().map_or_else(String::new, |rule| rule.kind().to_string()),
        };
        let row = match self.effects.ledger.ask(id, &ask).await.map_err(Shut::ledger)? {
            Asked::New => None,
            Asked::Known(row) => Some(*row),
            Asked::Different { expected, came } => {
                return Err(Shut::nondeterministic(ordinal, &expected, &came));
            }
        };
        crash_point!("step_asked");
        let errand = self.errand(id, &order, row)?;
        self.begun.push(Begun { order, is_wanted: false });
        self.board.add();
        let (board, stop) = (self.board.clone(), self.stop.clone());
        self.tasks.spawn(errand.carry(board, stop));
        Ok(())
    }

    fn errand(&self, id: StepId, order: &StepOrder, row: Option<StepRow>) -> Result<Errand, Shut> {
        let rule = self.plan.backend().ok_or_else(Shut::out_of_turn)?.clone();
        let mut mounts = Vec::with_capacity(order.mounts.len());
        for (name, source) in &order.mounts {
            let from = match source {
                MountSource::Input { role, index } => {
                    let is = |input: &&super::JobInput| input.role == role.as_str() && input.index == *index;
                    let input = self.guest.inputs.iter().find(is).ok_or_else(Shut::out_of_turn)?;
                    MountFrom::Object { digest: input.digest, size_bytes: input.size_bytes }
                }
                MountSource::Capture { step, name } => MountFrom::Capture { step: *step, name: name.clone() },
            };
            mounts.push((name.clone(), from));
        }
        Ok(Errand {
            effects: self.effects.clone(),
            id,
            project: self.flight.project,
            order: order.clone(),
            row,
            mounts,
            rule,
            limits: self.plan.step_limits().clone(),
            still: Arc::clone(&self.still),
            room: Arc::clone(&self.room),
            reuse: self.reuse,
            capture_bytes_max: self.plan.limits().output_bytes,
            submitting: None,
        })
    }

    fn wanted(&mut self, step: u32) -> Result<&StepOrder, Shut> {
        let place = usize::try_from(step).map_err(|_more| Shut::out_of_turn())?;
        let begun = self.begun.get_mut(place).ok_or_else(Shut::out_of_turn)?;
        begun.is_wanted = true;
        Ok(&begun.order)
    }

    /// The first of these steps to have ended, in the order in which that became known.
    async fn first_of(&mut self, steps: &[u32]) -> Result<(u32, Arc<Known>), Shut> {
        for step in steps {
            self.wanted(*step)?;
        }
        let attempt = self.attempt.filter(|_| !steps.is_empty()).ok_or_else(Shut::out_of_turn)?;
        let first = self.board.first_of(steps);
        let first = self.pause.during(&self.effects.ledger, &self.flight, attempt, first).await;
        let (step, known) = first.map_err(Shut::ledger)?.map_err(Shut::from)?;
        match &known.failure {
            Some(failure) => Err(Shut::Failed(failure.clone())),
            None => Ok((step, known)),
        }
    }

    async fn wait(&mut self, steps: &[u32]) -> Result<Reply, Shut> {
        let (step, known) = self.first_of(steps).await?;
        Ok(Reply::Ended { step, end: known.end() })
    }

    async fn open(&mut self, step: u32, capture: &str) -> Result<(Reply, Option<File>), Shut> {
        let (_step, known) = self.first_of(&[step]).await?;
        let Some(file) = known.file(capture) else { return Ok((Reply::NotMade, None)) };
        let opened = open_proved(&self.effects.ledger, &self.effects.store, file.digest).await;
        let file = opened.map_err(|error| Shut::input(&error))?;
        Ok((Reply::Opened, Some(file)))
    }

    /// Waits for nothing: what is not there at the end fails the gate.
    fn publish(&mut self, role: String, key: String, step: u32, capture: &str) -> Result<(), Shut> {
        let order = self.wanted(step)?;
        let declared = order.captures.iter().find(|(name, _)| name.as_str() == capture);
        let (capture, _) = declared.cloned().ok_or_else(Shut::out_of_turn)?;
        if self.published.len() as u64 >= self.plan.limits().outputs {
            return Err(Shut::gate("output_count", "published more outputs than policy allows"));
        }
        self.published.push(Publishing { role, key, step, capture });
        Ok(())
    }

    /// The guest returned. Every step that it began has to be one that its answer rests on, every ask
    /// of the pass before was asked again, and what was published has to be there.
    pub async fn returned(&mut self) -> Result<Vec<PublishedFile>, Shut> {
        let Some(attempt) = self.attempt else { return Ok(Vec::new()) };
        let recorded = self.effects.ledger.steps(attempt).await.map_err(Shut::ledger)?;
        if let Some(left) = recorded.get(self.begun.len()) {
            let expected = format!("step {} `{}`", left.id.ordinal, left.name);
            return Err(Shut::nondeterministic(left.id.ordinal, &expected, "the end of the run"));
        }
        self.refuse_unwanted()?;
        for step in (0..).take(self.begun.len()) {
            self.first_of(&[step]).await?;
        }
        let mut files = Vec::with_capacity(self.published.len());
        for one in &self.published {
            files.push(self.published_file(one).await?);
        }
        Ok(files)
    }

    async fn published_file(&self, one: &Publishing) -> Result<PublishedFile, Shut> {
        let Publishing { role, key, step, capture } = one;
        let file = self.board.file(*step, capture).ok_or_else(|| {
            Shut::gate("output_not_made", &format!("published {role}/{key}, which step {step} did not make"))
        })?;
        let (role, key) = (role.parse(), key.parse());
        let role = role.map_err(|_bad| Shut::out_of_turn())?;
        let key = key.map_err(|_bad| Shut::gate("output_key", "published under a bad key"))?;
        let Effects { ledger, store, .. } = &self.effects;
        let (_open, seal) = opened(ledger, store, file.digest).await.map_err(|error| Shut::input(&error))?;
        Ok(PublishedFile { role, key, file, seal })
    }

    /// A step is wanted if the guest waited for it or used something of it, or if a wanted one mounts
    /// from it.
    fn refuse_unwanted(&mut self) -> Result<(), Shut> {
        for place in (0..self.begun.len()).rev() {
            let Some(begun) = self.begun.get(place).filter(|begun| begun.is_wanted) else { continue };
            let sources = begun.order.mounts.iter().filter_map(|(_, source)| match source {
                MountSource::Capture { step, .. } => Some(*step),
                MountSource::Input { .. } => None,
            });
            for step in sources.collect::<Vec<_>>() {
                self.wanted(step)?;
            }
        }
        let unwanted = self.begun.iter().position(|begun| !begun.is_wanted);
        match unwanted.and_then(|place| self.begun.get(place).map(|begun| (place, begun))) {
            None => Ok(()),
            Some((place, begun)) => {
                let name = &begun.order.name;
                let message = format!("started step {place} `{name}`, and neither waited for it nor used it");
                Err(Shut::gate("step_not_waited", &message))
            }
        }
    }

    /// Ends every step that goes on: none outlives its attempt. Waits until the backend has done it.
    pub async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
