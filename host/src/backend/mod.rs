//! Container steps. The set of places where one can run is closed: a new one is a variant here, and
//! the compiler lists what it has to answer.

mod docker;
mod error;
pub mod folder;
mod order;

use std::path::Path;

pub use docker::{Docker, Pull, Settings};
pub use error::BackendError;
pub use folder::{CaptureError, Captured, captured, harvest};
pub use order::{Finished, Found, FoundState, Labels, Order, StepEnded, StepUsage};

/// Where a step runs.
#[derive(Debug)]
pub enum Backend {
    Docker(Docker),
}

impl Backend {
    /// Connects to a container engine. Its steps have their folders in `steps/` of `store_root`,
    /// which is made if need be.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when nobody answers, [`BackendError::Refused`] when the engine
    /// lacks a wall, [`BackendError::Io`].
    pub async fn connect(settings: Settings, store_root: &Path) -> Result<Self, BackendError> {
        Ok(Self::Docker(Docker::connect(settings, store_root).await?))
    }

    /// Creates, inspects and compares, starts. A container with these labels that is there already is
    /// adopted, not made again (invariant I-8). Answers with the container's id.
    ///
    /// # Errors
    /// [`BackendError`]; after [`BackendError::Refused`] nothing of the container is left.
    pub async fn submit(&self, order: &Order) -> Result<String, BackendError> {
        match self {
            Self::Docker(docker) => docker.submit(order).await,
        }
    }

    /// The container with these labels, if there is one.
    ///
    /// # Errors
    /// [`BackendError::Ambiguous`] when there are more, [`BackendError::Unavailable`].
    pub async fn find(&self, labels: &Labels) -> Result<Option<Found>, BackendError> {
        match self {
            Self::Docker(docker) => docker.find(labels).await,
        }
    }

    /// Waits for the end and says what came of it. Kills at the deadline, which counts from the
    /// container's own start: also of one that was adopted. May be called again after an error.
    ///
    /// # Errors
    /// [`BackendError::Lost`] when the container is gone, [`BackendError::Unavailable`].
    pub async fn wait(&self, order: &Order, id: &str) -> Result<Finished, BackendError> {
        match self {
            Self::Docker(docker) => docker.wait(order, id).await,
        }
    }

    /// Stops the container with these labels, for good: it ends as [`StepEnded::Killed`]. None there
    /// is no error.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`], [`BackendError::Io`].
    pub async fn kill(&self, labels: &Labels) -> Result<(), BackendError> {
        match self {
            Self::Docker(docker) => docker.kill(labels).await,
        }
    }

    /// Removes the container, running or not, and the step's folder. Nothing there is no error.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`], [`BackendError::Io`].
    pub async fn clear(&self, labels: &Labels) -> Result<(), BackendError> {
        match self {
            Self::Docker(docker) => docker.clear(labels).await,
        }
    }

    /// Every container of a home, with its id; for the reaper.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`].
    pub async fn of_home(&self, home: &str) -> Result<Vec<(Labels, String)>, BackendError> {
        match self {
            Self::Docker(docker) => docker.of_home(home).await,
        }
    }

    /// What answers, in a few words; for `doctor`.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn probe(&self) -> Result<String, BackendError> {
        match self {
            Self::Docker(docker) => docker.probe().await,
        }
    }
}
