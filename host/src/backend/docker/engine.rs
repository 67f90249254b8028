//! The connection, and what every answer of the engine means to us.

use std::future::Future;
use std::time::Duration;

use bollard::Docker as Client;
use bollard::errors::Error;

use super::super::BackendError;

/// Within which an answer has to begin; a stop takes its grace besides.
const ANSWER_SECONDS: u64 = 60;

/// The engine knows no such thing.
pub(super) const NOT_FOUND: &str = "container_not_found";

/// There is one already, or somebody is at it.
pub(super) const CONFLICT: &str = "container_conflict";

#[derive(Debug)]
pub(super) struct Engine {
    pub client: Client,
    endpoint: String,
}

impl Engine {
    /// Connects and settles on an API version that both speak.
    pub(super) async fn connect(endpoint: &str) -> Result<Self, BackendError> {
        let Some(path) = endpoint.strip_prefix("unix://").filter(|path| path.starts_with('/')) else {
            let reason = format!("`{endpoint}` is no `unix:///path`");
            return Err(BackendError::refused("backend_endpoint", &reason));
        };
        let unavailable = |error: Error| BackendError::Unavailable {
            endpoint: endpoint.to_owned(),
            source: Box::new(error),
        };
        let client = Client::connect_with_unix(path, ANSWER_SECONDS, bollard::API_DEFAULT_VERSION);
        let client = client.map_err(unavailable)?.negotiate_version().await.map_err(unavailable)?;
        Ok(Self { client, endpoint: endpoint.to_owned() })
    }

    /// Whether the engine has the walls that no container can ask for itself.
    pub(super) async fn check(&self) -> Result<(), BackendError> {
        let info = self.call(self.client.info()).await?;
        let options = info.security_options.unwrap_or_default();
        let seccomp = options.iter().find(|option| option.starts_with("name=seccomp"));
        if seccomp.is_none_or(|option| option.contains("unconfined")) {
            let reason = "the container engine filters no system calls: start it with its seccomp profile";
            return Err(BackendError::refused("backend_seccomp", reason));
        }
        for (there, what) in [
            (info.memory_limit, "memory"),
            (info.swap_limit, "swap"),
            (info.pids_limit, "processes"),
            (info.cpu_cfs_quota, "processor time"),
        ] {
            if there != Some(true) {
                let reason = format!("the container engine cannot limit {what} on this machine");
                return Err(BackendError::refused("backend_limits", &reason));
            }
        }
        Ok(())
    }

    /// Does one call, and tells an engine that is away from one that says no.
    pub(super) async fn call<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, BackendError> {
        work.await.map_err(|error| self.said(error))
    }

    pub(super) fn said(&self, error: Error) -> BackendError {
        match error {
            Error::DockerResponseServerError { status_code: 404, message } => {
                BackendError::refused(NOT_FOUND, &message)
            }
            Error::DockerResponseServerError { status_code: 409, message } => {
                BackendError::refused(CONFLICT, &message)
            }
            // 500 as well: the engine says so of a container that cannot be started.
            Error::DockerResponseServerError { status_code, message } if status_code != 503 => {
                BackendError::refused("backend_refused", &message)
            }
            Error::DockerStreamError { error } => BackendError::refused("backend_refused", &error),
            other => BackendError::Unavailable { endpoint: self.endpoint.clone(), source: Box::new(other) },
        }
    }

    /// The same engine, for an answer that may take long to begin.
    pub(super) fn patient(&self, patience: Duration) -> Client {
        self.client.clone().with_timeout(patience)
    }
}
