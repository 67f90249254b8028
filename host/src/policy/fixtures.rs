//! What tests of other pure modules need of a policy.

use serde_json::json;

use super::{BackendRule, DockerRule, Grant, GrantedImage, GuestLimits, Pull, RunLimits, Serve, StepLimits};
use crate::contract::DeclaredImage;

/// A grant under the default limits.
pub(crate) fn grant() -> Grant {
    Grant {
        slice: helix_ids::CanonicalJson::of(&json!({ "slice": 1 })).unwrap(),
        limits: GuestLimits::default(),
        images: Vec::new(),
        step_limits: StepLimits::default(),
        run_limits: RunLimits::default(),
        backend: None,
        limit_origins: Vec::new(),
        serve: Serve::Offered,
    }
}

/// Images as a tool declares them, one of each name.
pub(crate) fn images(names: &[&str]) -> Vec<DeclaredImage> {
    let image = |name: &&str| {
        let reference = format!("registry.example/{name}@sha256:{}", "5".repeat(64));
        let (name, reference) = (name.parse().unwrap(), reference.parse().unwrap());
        DeclaredImage { name, reference, platform: "linux/amd64".to_owned() }
    };
    names.iter().map(image).collect()
}

/// A grant of these images, to be run by Docker.
pub(crate) fn grant_of(images: Vec<DeclaredImage>) -> Grant {
    let user = "65534:65534".parse().unwrap();
    let granted = |DeclaredImage { name, reference: image, platform }: DeclaredImage| GrantedImage {
        name,
        image,
        platform,
        user,
    };
    let endpoint = "unix:///run/docker.sock".to_owned();
    Grant {
        images: images.into_iter().map(granted).collect(),
        backend: Some(BackendRule::Docker(DockerRule {
            endpoint,
            runtime: "runc".to_owned(),
            pull: Pull::Never,
        })),
        ..grant()
    }
}
