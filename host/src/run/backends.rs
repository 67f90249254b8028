//! The backends that policy names, connected when they are first needed.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::backend::{Backend, BackendError, Pull, Settings};
use crate::ledger::{AttemptId, StepId};
use crate::policy::{self, BackendRule};

/// Of one home.
pub struct Backends {
    /// Stands in a label of all that this home starts.
    home: String,
    /// Steps have their folders here.
    store_root: PathBuf,
    connected: Mutex<Vec<(BackendRule, Arc<Backend>)>>,
}

impl Backends {
    #[must_use]
    pub fn new(home: String, store_root: PathBuf) -> Self {
        Self { home, store_root, connected: Mutex::default() }
    }

    #[must_use]
    pub fn home(&self) -> &str {
        &self.home
    }

    /// The backend of this rule.
    ///
    /// # Errors
    /// [`BackendError`]; asked again, it connects anew.
    pub async fn of(&self, rule: &BackendRule) -> Result<Arc<Backend>, BackendError> {
        let mut connected = self.connected.lock().await;
        if let Some((_, backend)) = connected.iter().find(|(of, _)| of == rule) {
            return Ok(Arc::clone(backend));
        }
        let backend = Arc::new(Backend::connect(settings(rule), &self.store_root).await?);
        connected.push((rule.clone(), Arc::clone(&backend)));
        Ok(backend)
    }

    /// Ends and removes what no open step owns: a host that was killed between an outcome and its
    /// clearing leaves such containers.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn reap(
        &self,
        rule: &BackendRule,
        is_open: impl Fn(StepId) -> bool,
    ) -> Result<u64, BackendError> {
        let backend = self.of(rule).await?;
        let mut reaped = 0;
        for (labels, _container) in backend.of_home(&self.home).await? {
            let attempt = AttemptId { run: labels.run, ordinal: labels.attempt };
            if !is_open(StepId { attempt, ordinal: labels.step }) {
                backend.clear(&labels).await?;
                reaped += 1;
            }
        }
        Ok(reaped)
    }
}

fn settings(rule: &BackendRule) -> Settings {
    let BackendRule::Docker(docker) = rule;
    Settings {
        endpoint: docker.endpoint.clone(),
        runtime: docker.runtime.clone(),
        pull: match docker.pull {
            policy::Pull::Never => Pull::Never,
            policy::Pull::Missing => Pull::Missing,
        },
    }
}
