//! Whether the image that a step names is here, as what it was pinned.

use std::time::Duration;

use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use helix_ids::PinnedImage;

use super::super::BackendError;
use super::Pull;
use super::engine::{Engine, NOT_FOUND};

/// Within which an image has to be here, once it is fetched.
const PULL: Duration = Duration::from_secs(3600);

/// What stands for many manifests, one a platform.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// An image that is here.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// As the engine names it: the digest of its configuration.
    pub id: String,
    /// What it sets in the environment of its containers.
    pub environment: Vec<String>,
}

/// Finds the image, or fetches it where policy lets us, and holds it to its pin.
pub(super) async fn present(
    engine: &Engine,
    pinned: &PinnedImage,
    platform: &str,
    pull: Pull,
) -> Result<Image, BackendError> {
    let name = pinned.to_string();
    let seen = match engine.call(engine.client.inspect_image(&name)).await {
        Err(BackendError::Refused { code: NOT_FOUND, .. }) => match pull {
            Pull::Never => {
                let reason = format!("the image {name} is not on this machine, and may not be fetched");
                return Err(BackendError::refused("image_missing", &reason));
            }
            Pull::Missing => {
                fetch(engine, pinned, platform).await?;
                engine.call(engine.client.inspect_image(&name)).await?
            }
        },
        seen => seen?,
    };
    check(&seen, &name, platform)?;
    let config = seen.config.unwrap_or_default();
    Ok(Image { id: seen.id.unwrap_or_default(), environment: config.env.unwrap_or_default() })
}

fn check(seen: &ImageInspect, name: &str, platform: &str) -> Result<(), BackendError> {
    let differs = |reason: String| Err(BackendError::refused("image_differs", &reason));
    let digests = seen.repo_digests.as_deref().unwrap_or_default();
    if !digests.iter().any(|digest| digest == name) {
        return differs(format!("the engine has no image of the digest in {name}"));
    }
    let media_type = seen.descriptor.as_ref().and_then(|found| found.media_type.as_deref());
    if media_type.is_some_and(|media_type| INDEXES.contains(&media_type)) {
        let manifests = seen.manifests.as_deref().unwrap_or_default();
        let stands_for: Vec<&str> = manifests.iter().map(|one| one.id.as_str()).collect();
        return Err(index(name, &stands_for.join(", ")));
    }
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let variant = word(&seen.variant);
    let plain = format!("{}/{}", word(&seen.os), word(&seen.architecture));
    let full = if variant.is_empty() { plain.clone() } else { format!("{plain}/{variant}") };
    if platform != plain && platform != full {
        return differs(format!("{name} is for {full}, not {platform}"));
    }
    // A volume is a place to write that nobody asked for, without a limit.
    let volumes = seen.config.as_ref().and_then(|config| config.volumes.as_deref()).unwrap_or_default();
    if !volumes.is_empty() {
        let shown = volumes.join(", ");
        return Err(BackendError::refused("image_volumes", &format!("{name} declares volumes: {shown}")));
    }
    Ok(())
}

fn index(name: &str, stands_for: &str) -> BackendError {
    let reason = format!("{name} is an index, not an image; it stands for {stands_for}: name the one meant");
    BackendError::refused("image_index", &reason)
}

/// Asks the registry first what the digest is: once fetched, an engine no longer tells an index from
/// the image that it took for it.
async fn fetch(engine: &Engine, pinned: &PinnedImage, platform: &str) -> Result<(), BackendError> {
    let name = pinned.to_string();
    let client = engine.patient(PULL);
    match engine.call(client.inspect_registry_image(&name, None)).await {
        Ok(there) => {
            let media_type = there.descriptor.media_type.unwrap_or_default();
            if INDEXES.contains(&media_type.as_str()) {
                let word = |text: &Option<String>| text.clone().unwrap_or_default();
                let platforms: Vec<String> = there
                    .platforms
                    .iter()
                    .map(|one| format!("{}/{}", word(&one.os), word(&one.architecture)))
                    .collect();
                return Err(index(&name, &platforms.join(", ")));
            }
        }
        Err(BackendError::Refused { reason, .. }) => {
            return Err(BackendError::refused(
                "image_missing",
                &format!("{name} cannot be fetched: {reason}"),
            ));
        }
        Err(error) => return Err(error),
    }
    let options = CreateImageOptionsBuilder::default()
        .from_image(pinned.repository())
        .tag(&pinned.digest().to_string())
        .platform(platform)
        .build();
    let pulling = client.create_image(Some(options), None, None).try_for_each(|_progress| async { Ok(()) });
    match tokio::time::timeout(PULL, pulling).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => match engine.said(error) {
            BackendError::Refused { reason, .. } => {
                let reason = format!("{name} cannot be fetched: {reason}");
                Err(BackendError::refused("image_missing", &reason))
            }
            other => Err(other),
        },
        Err(_elapsed) => {
            let reason = format!("{name} was not here after {} s of fetching", PULL.as_secs());
            Err(BackendError::refused("image_missing", &reason))
        }
    }
}
