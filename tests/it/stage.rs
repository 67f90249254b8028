//! A world with guests in it and one assistant attached.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_ids::Digest;
use helix_tests::{StdioClient, ToolReply, World, wait};
use serde_json::{Value, json};

use crate::guests;

/// How long a host may take to read its policy and compile what is new in it.
const DECIDES_WITHIN: Duration = Duration::from_secs(180);

/// A started world. [`Stage::finish`] looks at what must hold after every test.
pub struct Stage {
    pub world: World,
    pub client: StdioClient,
}

/// A refusal as `host_info` tells it.
pub struct Refusal {
    pub code: String,
    pub message: String,
}

impl Stage {
    /// The honest guest `echo` alone.
    pub fn honest() -> Result<Self> {
        Self::with(&[])
    }

    /// The honest guest `echo`, and these toolpacks beside it: (name, component).
    pub fn with(others: &[(&str, &[u8])]) -> Result<Self> {
        Self::prepared(|world| {
            for (name, component) in others {
                world.allow(name, component)?;
            }
            Ok(())
        })
    }

    /// The honest guest `echo`, and what `prepare` does to the world before the host starts.
    pub fn prepared(prepare: impl FnOnce(&mut World) -> Result<()>) -> Result<Self> {
        let mut world = World::new()?;
        world.allow("echo", &guests::honest("echo")?)?;
        prepare(&mut world)?;
        world.start()?;
        let mut client = world.client()?;
        // By its answer the host has everything open that it needs to answer.
        client.call("host_info", json!({}))?;
        world.look()?;
        Ok(Self { world, client })
    }

    /// Allows one more component while the host runs, and waits until the host offers it
    /// (`None`) or says why not.
    pub fn allow(&mut self, name: &str, component: &[u8]) -> Result<Option<Refusal>> {
        let digest = self.world.allow(name, component)?;
        self.world.write_policy()?;
        self.settled(digest)
    }

    /// Waits until the host has decided about a component that policy names.
    pub fn settled(&mut self, digest: Digest) -> Result<Option<Refusal>> {
        let said = digest.to_string();
        let decided = wait::until(DECIDES_WITHIN, || {
            self.world.reload().ok()?;
            let info = self.client.call("host_info", json!({})).ok()?.structured;
            let offered = info["toolpacks"].as_array()?.iter().any(|row| row["digest"] == said.as_str());
            let refused = info["refused"].as_array()?.iter().any(|row| row["digest"] == said.as_str());
            (offered || refused).then_some(())
        });
        decided.context("the host does not decide")?;
        self.refusal(digest)
    }

    /// Calls the honest guest; every world must still be able to.
    pub fn honest_call(&mut self) -> Result<()> {
        let reply = self.client.call("echo", json!({"text": "still here"}))?;
        ensure!(reply.status() == "succeeded", "an honest call failed: {}", reply.text());
        ensure!(reply.structured["result"]["text"] == "still here", "wrong echo: {}", reply.structured);
        Ok(())
    }

    /// Why a toolpack is not offered, if so.
    pub fn refusal(&mut self, digest: Digest) -> Result<Option<Refusal>> {
        let info = self.client.call("host_info", json!({}))?;
        let rows = info.structured["refused"].as_array().context("host_info says nothing of refusals")?;
        let digest = digest.to_string();
        let row = rows.iter().find(|row| row["digest"] == digest.as_str());
        Ok(row.map(|row| Refusal { code: text(&row["code"]), message: text(&row["message"]) }))
    }

    pub fn tool_names(&mut self) -> Result<Vec<String>> {
        Ok(self.client.tools()?.iter().map(|tool| text(&tool["name"])).collect())
    }

    /// How many artifacts the home has that a run made.
    pub fn artifacts_made(&mut self) -> Result<usize> {
        let list = self.client.call("artifact_list", json!({}))?;
        let rows = list.structured["artifacts"].as_array().context("no artifacts in the list")?;
        Ok(rows.iter().filter(|row| !row["created_by_run_id"].is_null()).count())
    }

    /// The states of all runs, newest first, as `tool state`.
    pub fn runs(&mut self) -> Result<Vec<String>> {
        let list = self.client.call("run_list", json!({}))?;
        let rows = list.structured["runs"].as_array().context("no runs in the list")?;
        Ok(rows.iter().map(|row| format!("{} {}", text(&row["tool"]), text(&row["state"]))).collect())
    }

    /// Imports text and gives its artifact id.
    pub fn import_text(&mut self, content: &str) -> Result<String> {
        let reply = self.client.call("artifact_import", json!({"text": content, "type_hint": "TEXT"}))?;
        imported(&reply)
    }

    /// What holds after every attack: an honest call works, and [`World::finish`].
    pub fn finish(mut self) -> Result<()> {
        self.honest_call()?;
        self.close()
    }

    /// The same for a world that allows nothing honest any more.
    pub fn close(self) -> Result<()> {
        self.client.close()?;
        self.world.finish()
    }
}

/// The id of the one artifact that an import gave.
pub fn imported(reply: &ToolReply) -> Result<String> {
    ensure!(!reply.is_error, "the import was refused: {}", reply.text());
    let id = reply.structured["artifacts"][0]["artifact_id"].as_str();
    Ok(id.with_context(|| format!("no artifact in {}", reply.structured))?.to_owned())
}

/// `class/code` of a call that failed.
pub fn failure(reply: &ToolReply) -> String {
    let failure = &reply.structured["failure"];
    format!("{}/{}", text(&failure["class"]), text(&failure["code"]))
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
