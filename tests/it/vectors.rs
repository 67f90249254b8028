//! The vectors that docs/provenance.md publishes.

use anyhow::{Context, Result};
use helix_ids::canonical::CanonicalJson;
use helix_ids::identity::{RunIdentity, artifact_id, project_id};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/provenance.md");

fn vectors() -> Result<Value> {
    let (_before, rest) = PAGE.split_once("```json\n").context("the page has no vectors")?;
    let (json, _after) = rest.split_once("```").context("the vectors do not end")?;
    Ok(serde_json::from_str(json)?)
}

fn text<'a>(case: &'a Value, key: &str) -> Result<&'a str> {
    case[key].as_str().with_context(|| format!("no {key}"))
}

fn cases<'a>(vectors: &'a Value, key: &str) -> Result<&'a [Value]> {
    let cases = vectors[key].as_array().with_context(|| format!("no {key}"))?;
    assert!(!cases.is_empty(), "no {key}");
    Ok(cases)
}

#[test]
fn i6_the_published_vectors_hold() -> Result<()> {
    let vectors = vectors()?;
    for case in cases(&vectors, "projects")? {
        assert_eq!(project_id(&text(case, "name")?.parse()?).to_string(), text(case, "id")?);
    }
    for case in cases(&vectors, "artifacts")? {
        let (digest, of_type) = (text(case, "digest")?.parse()?, text(case, "type")?.parse()?);
        let id = artifact_id(text(case, "project")?.parse()?, digest, of_type);
        assert_eq!(id.to_string(), text(case, "id")?);
    }
    for case in cases(&vectors, "envelopes")? {
        // Through the strict door, as a call's params come: 20.0 and 20 are one value.
        let envelope = CanonicalJson::from_text(case["envelope"].to_string().as_bytes(), 64 * 1024)?;
        assert_eq!(envelope.digest().to_string(), text(case, "params_hash")?);
    }
    for case in cases(&vectors, "runs")? {
        let identity = RunIdentity {
            tool: text(case, "tool")?.parse()?,
            contract: text(case, "contract")?.parse()?,
            policy_hash: text(case, "policy_hash")?.parse()?,
            params_hash: text(case, "params_hash")?.parse()?,
        };
        assert_eq!(identity.digest().to_string(), text(case, "run_digest")?);
        assert_eq!(identity.run_id().to_string(), text(case, "id")?);
    }
    Ok(())
}
