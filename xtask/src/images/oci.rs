//! An image on disk, in the layout that OCI's image specification describes: one layer, one
//! platform, nothing of the day and the machine that made it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use helix_ids::Digest;
use helix_ids::canonical::CanonicalJson;
use serde_json::{Value, json};

use super::layer::Tree;

/// When every image says it was made.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// The name inside the layout.
pub const TAG: &str = "latest";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes an image into a folder, which is made anew, and gives its manifest's digest.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(folder: &Path, tree: &Tree, labels: &BTreeMap<String, String>) -> Result<Digest> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("cannot make {}", blobs.display()))?;
    let unnamed = blobs.join("layer");
    let layer = tree.write(BufWriter::new(File::create(&unnamed)?))?;
    fs::rename(&unnamed, blobs.join(layer.digest.to_hex()))?;

    let config = json!({
        "created": CREATED,
        "architecture": "amd64",
        "os": "linux",
        // No entrypoint: what runs is what a step says, whole.
        "config": {
            "User": super::USER,
            "Env": ["PATH=/usr/bin"],
            "WorkingDir": "/work",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created": CREATED, "created_by": "cargo xtask images"}],
    });
    let (config, config_bytes) = blob(&blobs, &config)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": config_bytes,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer.digest,
            "size": layer.size_bytes,
        }],
    });
    let (manifest, manifest_bytes) = blob(&blobs, &manifest)?;
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": manifest,
            "size": manifest_bytes,
            "platform": {"architecture": "amd64", "os": "linux"},
            "annotations": {"org.opencontainers.image.ref.name": TAG},
        }],
    });
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    fs::write(folder.join("index.json"), canonical(&index)?)?;
    Ok(manifest)
}

/// The digest of the manifest of the image in a folder.
///
/// # Errors
/// There is no whole image.
pub fn manifest(folder: &Path) -> Result<Digest> {
    let text = fs::read(folder.join("index.json"))
        .with_context(|| format!("no image lies in {}", folder.display()))?;
    let index: Value = serde_json::from_slice(&text).context("the index of an image is no JSON")?;
    let digest: Digest = index["manifests"][0]["digest"].as_str().unwrap_or_default().parse()?;
    let manifest = fs::read(folder.join("blobs/sha256").join(digest.to_hex()))?;
    ensure!(Digest::of(&manifest) == digest, "{} is damaged", folder.display());
    Ok(digest)
}

fn blob(blobs: &Path, value: &Value) -> Result<(Digest, u64)> {
    let text = canonical(value)?;
    let digest = Digest::of(text.as_bytes());
    fs::write(blobs.join(digest.to_hex()), &text)?;
    Ok((digest, text.len() as u64))
}

fn canonical(value: &Value) -> Result<String> {
    Ok(CanonicalJson::of(value)?.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_made_twice_has_one_digest_and_every_blob_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        tree.text("etc/passwd", "root\n");
        let labels = BTreeMap::from([("helix.packages".to_owned(), "a=1".to_owned())]);
        let one = write(&folder.path().join("one"), &tree, &labels).unwrap();
        let two = write(&folder.path().join("two"), &tree, &labels).unwrap();
        assert_eq!(one, two);
        assert_eq!(manifest(&folder.path().join("two")).unwrap(), two);
        for blob in fs::read_dir(folder.path().join("one/blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(Digest::of(&fs::read(&path).unwrap()).to_hex(), name);
        }
        let others = BTreeMap::from([("helix.packages".to_owned(), "a=2".to_owned())]);
        assert_ne!(write(&folder.path().join("two"), &tree, &others).unwrap(), one);
    }
}
