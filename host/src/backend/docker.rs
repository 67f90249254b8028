//! Steps as containers of a Docker Engine, spoken to by its API over a unix socket.
//!
//! Who may speak to that socket is root on the engine's machine, so nothing of it reaches a
//! container; and what the engine makes is compared with what was asked before it is started.

mod body;
mod compare;
mod engine;
mod image;
mod logs;
mod time;
mod wait;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use tokio::sync::Mutex;

use super::error::io;
use super::folder::{StepFolder, Steps, Writer};
use super::{BackendError, Finished, Found, FoundState, Labels, Order};
use body::Body;
use engine::Engine;

/// How to reach an engine, as policy says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `unix:///path`.
    pub endpoint: String,
    /// The runtime that starts containers, by the engine's name for it: `runc`.
    pub runtime: String,
    pub pull: Pull,
}

/// Whether an image that is not there may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    Never,
    Missing,
}

/// One engine, and where its steps have their folders.
#[derive(Debug)]
pub struct Docker {
    engine: Engine,
    settings: Settings,
    steps: Arc<Steps>,
    /// Held from the look for a container to its making: a second submission of the same step must
    /// not clear the folder that the first has just mounted.
    making: Mutex<()>,
}

impl Docker {
    pub(super) async fn connect(settings: Settings, store_root: &Path) -> Result<Self, BackendError> {
        let engine = Engine::connect(&settings.endpoint).await?;
        engine.check().await?;
        Ok(Self { engine, settings, steps: Arc::new(Steps::open(store_root)?), making: Mutex::new(()) })
    }

    pub(super) async fn probe(&self) -> Result<String, BackendError> {
        self.engine.check().await?;
        let version = self.engine.call(self.engine.client.version()).await?;
        let word = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
        Ok(format!("Docker Engine API {}, server {}", word(version.api_version), word(version.version)))
    }

    pub(super) async fn submit(&self, order: &Order) -> Result<String, BackendError> {
        self.engine.check().await?;
        let image = image::present(&self.engine, &order.image, &order.platform, self.settings.pull).await?;
        let writer = body::writer_of(order)?;
        let body = Body::new(order, writer, &image, &self.steps.of(order), &self.settings.runtime)?;
        let id = {
            let _one_at_a_time = self.making.lock().await;
            match self.find(&order.labels).await? {
                Some(found) => found.id,
                None => self.make(order, writer, &body).await?,
            }
        };
        let started = self.start(&id, &body).await;
        if matches!(started, Err(BackendError::Refused { .. })) {
            // One that differs may have been started by whoever changed it. Nothing of it stays.
            self.remove(&id).await?;
            self.remove_folder(&self.steps.of(order)).await?;
        }
        started.map(|()| id)
    }

    /// Starts what is as it was asked for, unless it was started before.
    async fn start(&self, id: &str, body: &Body) -> Result<(), BackendError> {
        let seen = self.inspect(id).await?;
        compare::compare(body, &seen)?;
        if state_of(seen.state.as_ref()) == FoundState::Created {
            self.engine.call(self.engine.client.start_container(id, None)).await?;
        }
        Ok(())
    }

    /// A container with a new folder. Its name follows from its labels, so that of two that are made
    /// at once one is refused by the engine, and then found.
    async fn make(&self, order: &Order, writer: Writer, body: &Body) -> Result<String, BackendError> {
        self.steps.begin(order, writer)?;
        let name = body::name_of(&order.labels);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let made = self.engine.client.create_container(Some(options), body.create.clone());
        let refused = match self.engine.call(made).await {
            Ok(made) => return Ok(made.id),
            Err(BackendError::Refused { code: engine::CONFLICT, reason }) => {
                if let Some(found) = self.find(&order.labels).await? {
                    return Ok(found.id);
                }
                BackendError::refused("container_name_taken", &reason)
            }
            // Whether it was made is not known: what it mounts stays, for whoever finds it.
            Err(error @ BackendError::Unavailable { .. }) => return Err(error),
            Err(error) => error,
        };
        self.remove_folder(&self.steps.of(order)).await?;
        Err(refused)
    }

    pub(super) async fn find(&self, labels: &Labels) -> Result<Option<Found>, BackendError> {
        let filters = body::labels_of(labels).into_iter().map(|(key, value)| format!("{key}={value}"));
        let ids = self.list(filters.collect()).await?;
        match ids.as_slice() {
            [] => Ok(None),
            [(id, _)] => match self.inspect(id).await {
                Ok(seen) => Ok(Some(Found { id: id.clone(), state: state_of(seen.state.as_ref()) })),
                Err(BackendError::Lost { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            many => Err(BackendError::Ambiguous {
                run: labels.run.to_string(),
                step: labels.step,
                count: many.len(),
            }),
        }
    }

    pub(super) async fn wait(&self, order: &Order, id: &str) -> Result<Finished, BackendError> {
        wait::wait(self, order, id).await
    }

    pub(super) async fn kill(&self, labels: &Labels) -> Result<(), BackendError> {
        if let Some(step) = self.steps.find(labels)? {
            step.note_killed()?;
        }
        match self.find(labels).await? {
            Some(found) if found.state == FoundState::Running => self.stop(&found.id).await,
            // Never started: it is not to be either.
            Some(found) if found.state == FoundState::Created => self.remove(&found.id).await,
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn clear(&self, labels: &Labels) -> Result<(), BackendError> {
        let filters = body::labels_of(labels).into_iter().map(|(key, value)| format!("{key}={value}"));
        for (id, _) in self.list(filters.collect()).await? {
            self.remove(&id).await?;
        }
        match self.steps.find(labels)? {
            Some(step) => self.remove_folder(&step).await,
            None => Ok(()),
        }
    }

    pub(super) async fn of_home(&self, home: &str) -> Result<Vec<(Labels, String)>, BackendError> {
        let found = self.list(vec![format!("{}={home}", body::HOME)]).await?;
        let parsed = found.into_iter().filter_map(|(id, labels)| {
            let parsed = body::parse_labels(&labels);
            if parsed.is_none() {
                tracing::warn!(id, "a container has this home's label and not the others");
            }
            Some((parsed?, id))
        });
        Ok(parsed.collect())
    }

    /// Containers in any state that carry all of these labels.
    async fn list(
        &self,
        labels: Vec<String>,
    ) -> Result<Vec<(String, HashMap<String, String>)>, BackendError> {
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.engine.call(self.engine.client.list_containers(Some(options))).await?;
        Ok(found.into_iter().filter_map(|one| Some((one.id?, one.labels.unwrap_or_default()))).collect())
    }

    async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, BackendError> {
        match self.engine.call(self.engine.client.inspect_container(id, None)).await {
            Err(BackendError::Refused { code: engine::NOT_FOUND, .. }) => {
                Err(BackendError::Lost { id: id.to_owned() })
            }
            seen => seen,
        }
    }

    /// Asks a container to end, and makes it end when it does not.
    async fn stop(&self, id: &str) -> Result<(), BackendError> {
        let options = bollard::query_parameters::StopContainerOptionsBuilder::default();
        let options = options.t(STOP_SECONDS).build();
        absent(self.engine.call(self.engine.client.stop_container(id, Some(options))).await)
    }

    async fn remove(&self, id: &str) -> Result<(), BackendError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.engine.call(self.engine.client.remove_container(id, Some(options))).await;
        match removed {
            // Somebody is at it already: gone is gone.
            Err(BackendError::Refused { code: engine::CONFLICT, .. }) => Ok(()),
            removed => absent(removed),
        }
    }

    async fn remove_folder(&self, step: &StepFolder) -> Result<(), BackendError> {
        let (steps, step) = (Arc::clone(&self.steps), step.clone());
        let removed = tokio::task::spawn_blocking(move || steps.remove(&step)).await;
        removed.map_err(|error| io("remove a step's folder")(std::io::Error::other(error)))?
    }
}

/// What a container has after it is asked to end, before it is made to.
const STOP_SECONDS: i32 = 5;

/// One that is gone needs no more.
fn absent(done: Result<(), BackendError>) -> Result<(), BackendError> {
    match done {
        Err(BackendError::Refused { code: engine::NOT_FOUND, .. }) => Ok(()),
        done => done,
    }
}

fn state_of(state: Option<&ContainerState>) -> FoundState {
    match state.and_then(|state| state.status) {
        Some(ContainerStateStatusEnum::CREATED) => FoundState::Created,
        Some(
            ContainerStateStatusEnum::RUNNING
            | ContainerStateStatusEnum::PAUSED
            | ContainerStateStatusEnum::RESTARTING,
        ) => FoundState::Running,
        // `removing` and `dead` too: nothing of it runs, and its exit code is what it is.
        Some(_) | None => FoundState::Ended,
    }
}
