//! `run_explain`: why two runs are two, or how one came by its id.

use std::sync::Arc;

use helix_ids::text::escaped_line;
use helix_ids::{CanonicalJson, Digest, RunIdentity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::difference::{DIFFERENCES_MAX, Difference, differences};
use super::find::find_identified;
use crate::call::{CallError, Context, Host};
use crate::ledger::{LedgerError, NewRun};

/// How much of a value the one-sentence summary repeats.
const SUMMARY_VALUE_BYTES: usize = 100;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunExplainArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// A run id.
    pub a: String,
    /// The run to compare with; left out, `a`'s own id is explained.
    #[serde(default)]
    pub b: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunExplainResult {
    /// In one sentence.
    pub summary: String,
    /// Where `a` and `b` differ first; absent when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Difference>,
    /// All of them, `first` included; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    pub a: RunOrigin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<RunOrigin>,
}

/// How a run's id follows: it is the first 128 bits of `run_digest`, the SHA-256 of `preimage`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunOrigin {
    pub run_id: String,
    pub run_digest: String,
    pub preimage: String,
    pub params_hash: String,
    pub policy_hash: String,
    /// What `params_hash` covers. Left out when two runs are compared: the differences say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Value>,
    /// What `policy_hash` covers. Left out when two runs are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<Value>,
}

/// The first field in which two runs differ and all others, or how one run's id came about.
///
/// # Errors
/// `run_unknown`, the same for foreign and unknown ids.
pub async fn run_explain(
    host: &Arc<Host>,
    context: &Context,
    args: RunExplainArgs,
) -> Result<RunExplainResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let a = find_identified(host, &project, "/a", &args.a).await?;
    match args.b {
        None => explain_one(&a).map_err(CallError::fault),
        Some(b) => {
            let b = find_identified(host, &project, "/b", &b).await?;
            explain_two(&a, &b).map_err(CallError::fault)
        }
    }
}

impl RunOrigin {
    /// The origin of a stored run, proved anew: the texts give the hashes, the hashes the digest,
    /// the digest the id (invariant I-6). What does not follow is never explained away.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`].
    pub fn of(run: &NewRun) -> Result<Self, LedgerError> {
        let identity = RunIdentity {
            tool: run.tool.clone(),
            contract: run.contract.clone(),
            policy_hash: run.policy_hash,
            params_hash: run.params_hash,
        };
        let follows = Digest::of(run.envelope.as_bytes()) == run.params_hash
            && Digest::of(run.slice.as_bytes()) == run.policy_hash
            && identity.digest() == run.digest
            && identity.run_id() == run.id;
        if !follows {
            return Err(LedgerError::Damaged { what: format!("{} does not follow from its parts", run.id) });
        }
        Ok(Self {
            run_id: run.id.to_string(),
            run_digest: run.digest.to_string(),
            preimage: identity.to_string(),
            params_hash: run.params_hash.to_string(),
            policy_hash: run.policy_hash.to_string(),
            envelope: Some(value_of(&run.envelope)?),
            slice: Some(value_of(&run.slice)?),
        })
    }

    fn without_texts(self) -> Self {
        Self { envelope: None, slice: None, ..self }
    }
}

fn value_of(text: &str) -> Result<Value, LedgerError> {
    CanonicalJson::from_text(text.as_bytes(), usize::MAX).map(|canonical| canonical.to_value()).map_err(
        |error| LedgerError::Damaged { what: format!("a stored text is not canonical JSON: {error}") },
    )
}

fn explain_one(run: &NewRun) -> Result<RunExplainResult, LedgerError> {
    let a = RunOrigin::of(run)?;
    let summary = format!(
        "{} is the first 128 bits of {}, the SHA-256 of `preimage`; `params_hash` is that of `envelope`, \
         `policy_hash` that of `slice`.",
        a.run_id, a.run_digest
    );
    Ok(RunExplainResult { summary, first: None, differences: Vec::new(), a, b: None })
}

fn explain_two(a: &NewRun, b: &NewRun) -> Result<RunExplainResult, LedgerError> {
    let (origin_a, origin_b) = (RunOrigin::of(a)?, RunOrigin::of(b)?);
    let texts = |origin: &RunOrigin| {
        (origin.envelope.clone().unwrap_or_default(), origin.slice.clone().unwrap_or_default())
    };
    let ((envelope_a, slice_a), (envelope_b, slice_b)) = (texts(&origin_a), texts(&origin_b));

    let mut found = differences("tool", "tool", &json!(a.tool), &json!(b.tool));
    found.extend(differences("contract", "contract", &json!(a.contract), &json!(b.contract)));
    found.extend(differences("envelope", "", &envelope_a, &envelope_b));
    found.extend(differences("slice", "policy", &slice_a, &slice_b));
    found.truncate(DIFFERENCES_MAX);

    let first = found.first().cloned();
    Ok(RunExplainResult {
        summary: summary(first.as_ref(), found.len()),
        first,
        differences: found,
        a: origin_a.without_texts(),
        b: Some(origin_b.without_texts()),
    })
}

fn summary(first: Option<&Difference>, count: usize) -> String {
    let Some(first) = first else {
        return "Nothing differs: it is the same run.".to_owned();
    };
    let more = match count {
        1 => String::new(),
        2 => " (and 1 more)".to_owned(),
        count => format!(" (and {} more)", count - 1),
    };
    format!(
        "{}: {} → {}{more}",
        escaped_line(&first.name, SUMMARY_VALUE_BYTES),
        side(first.a.as_ref()),
        side(first.b.as_ref())
    )
}

fn side(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| escaped_line(&value.to_string(), SUMMARY_VALUE_BYTES))
}

#[cfg(test)]
mod tests {
    use helix_ids::{ProjectId, RunId};

    use super::*;

    fn run(tool: &str, contract: &str, envelope: &Value, slice: &Value) -> NewRun {
        let (envelope, slice) = (CanonicalJson::of(envelope).unwrap(), CanonicalJson::of(slice).unwrap());
        let identity = RunIdentity::new(tool.parse().unwrap(), contract.parse().unwrap(), &slice, &envelope);
        NewRun {
            id: identity.run_id(),
            digest: identity.digest(),
            project: ProjectId::from_digest(&Digest::of(b"p")),
            tool: identity.tool.clone(),
            contract: identity.contract.clone(),
            component: Digest::of(b"c"),
            params_hash: identity.params_hash,
            policy_hash: identity.policy_hash,
            envelope: envelope.to_string(),
            slice: slice.to_string(),
            inputs: Vec::new(),
        }
    }

    fn envelope() -> Value {
        json!({
            "envelope": 1,
            "project": "proj_0",
            "component": "sha256:c",
            "engine": {"profile": 1, "wit": "1.0.0", "nan": "canonical", "features": []},
            "params": {"min_quality": 20},
            "inputs": [{"role": "reads", "index": 0, "sample": "s1", "type": "FASTQ", "digest": "sha256:d", "size_bytes": 7}],
            "backend": null,
            "images": [{"name": "fastqc", "digest": "sha256:i", "platform": "linux/amd64"}],
        })
    }

    fn slice() -> Value {
        json!({"slice": 1, "component": "sha256:c", "tool": "t", "images": []})
    }

    /// Flips each leaf of a value in turn.
    fn flips(value: &Value, pointer: &str, whole: &Value, out: &mut Vec<(String, Value)>) {
        let mut deeper = |key: String, member: &Value| flips(member, &format!("{pointer}/{key}"), whole, out);
        match value {
            Value::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(key, member)| deeper(key.clone(), member));
            }
            Value::Array(items) if !items.is_empty() => {
                items.iter().enumerate().for_each(|(at, item)| deeper(at.to_string(), item));
            }
            _ => {
                let mut flipped = whole.clone();
                *flipped.pointer_mut(pointer).unwrap() = json!("another");
                out.push((pointer.to_owned(), flipped));
            }
        }
    }

    #[test]
    fn i6_each_field_flips_the_id_and_is_named() {
        let base = run("t", "v1", &envelope(), &slice());
        let mut changed = Vec::new();
        flips(&envelope(), "", &envelope(), &mut changed);
        assert_eq!(changed.len(), 18, "a field was added: is it in the envelope for a reason?");
        for (pointer, flipped) in changed {
            let other = run("t", "v1", &flipped, &slice());
            assert_ne!(other.id, base.id, "{pointer}");
            let explained = explain_two(&base, &other).unwrap();
            let first = explained.first.unwrap();
            // What names an item is its key: another key is another item.
            let is_key = ["/role", "/index", "/name"].iter().any(|key| pointer.ends_with(key));
            assert!(is_key || first.pointer == pointer, "{pointer}: {first:?}");
            assert!(pointer.starts_with(&first.pointer), "{pointer}: {first:?}");
            assert_eq!(first.part, "envelope");
        }
    }

    #[test]
    fn i6_the_other_three_flip_the_id_and_are_named() {
        let base = run("t", "v1", &envelope(), &slice());
        let mut narrower = slice();
        narrower["tool"] = json!("u");
        let cases = [
            (run("u", "v1", &envelope(), &slice()), "tool: \"t\" → \"u\""),
            (run("t", "v2", &envelope(), &slice()), "contract: \"v1\" → \"v2\""),
            (run("t", "v1", &envelope(), &narrower), "policy.tool: \"t\" → \"u\""),
        ];
        for (other, summary) in cases {
            assert_ne!(other.id, base.id);
            assert_eq!(explain_two(&base, &other).unwrap().summary, summary);
        }
        let same = explain_two(&base, &base).unwrap();
        assert_eq!((same.first, same.differences.len()), (None, 0));
    }

    #[test]
    fn the_summary_names_the_param() {
        let mut stricter = envelope();
        stricter["params"]["min_quality"] = json!(25);
        let (a, b) = (run("t", "v1", &envelope(), &slice()), run("t", "v1", &stricter, &slice()));
        assert_eq!(explain_two(&a, &b).unwrap().summary, "params.min_quality: 20 → 25");
        stricter["params"]["\u{202e}x"] = json!("\u{1b}]");
        let c = run("t", "v1", &stricter, &slice());
        let all = explain_two(&b, &c).unwrap();
        assert_eq!(all.summary, "params.\\u{202e}x: absent → \"\\u001b]\"");
    }

    #[test]
    fn i6_a_run_that_does_not_follow_is_a_fault() {
        let good = run("t", "v1", &envelope(), &slice());
        assert!(RunOrigin::of(&good).is_ok());
        let bad = [
            NewRun { id: RunId::from_digest(&Digest::of(b"x")), ..good.clone() },
            NewRun { digest: Digest::of(b"x"), ..good.clone() },
            NewRun { envelope: "{}".to_owned(), ..good.clone() },
            NewRun { slice: "{}".to_owned(), ..good.clone() },
            NewRun { tool: "u".parse().unwrap(), ..good.clone() },
        ];
        for run in bad {
            assert!(matches!(RunOrigin::of(&run), Err(LedgerError::Damaged { .. })), "{run:?}");
        }
    }
}
