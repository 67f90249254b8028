//! All that is only read for a caller: artifacts, previews, runs, explanations.
//!
//! [`crate::call::Host::project`] says which project a caller means; whatever it asks for by id is
//! looked for inside that one, so an id of another project and an id that nobody has give the
//! same answer.

mod artifact;
mod browse;
mod bytes;
mod difference;
mod explain;
mod find;
mod info;
mod logs;
mod preview;
mod run;
mod steps;
pub mod text;

pub use artifact::{
    ArtifactGetArgs, ArtifactGetResult, ArtifactListArgs, ArtifactListResult, ArtifactSummary, artifact_get,
    artifact_list, parse_type,
};
pub use browse::{
    ArtifactBrowseArgs, ArtifactBrowseResult, BrowseEntry, artifact_browse, import_root, path_denied,
    root_required,
};
pub use bytes::{READ_BYTES_MAX, ReadArtifact, ReadContent, blocking, open_proved, read_artifact, refused};
pub use difference::Difference;
pub use explain::{RunExplainArgs, RunExplainResult, RunOrigin, run_explain};
pub use find::{bad, find_artifact, find_run, parse_run_id};
pub use info::{HostInfoArgs, HostInfoResult, host_info};
pub use logs::{LogStream, RunLogsArgs, RunLogsResult, run_logs};
pub use preview::{
    ArtifactPreviewImageArgs, ArtifactPreviewImageResult, ArtifactPreviewTextArgs, ArtifactPreviewTextResult,
    artifact_preview_image, artifact_preview_text,
};
pub use run::{RunGetArgs, RunGetResult, RunListArgs, RunListResult, RunListRow, run_get, run_list};
pub use steps::{CaptureInfo, LogInfo, StepInfo, StepOrigin, StepUsageInfo};

#[cfg(test)]
mod tests;
