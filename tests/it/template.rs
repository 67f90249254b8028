//! Attacks that are written once and meant many times: a guest's file stays small though its
//! component is not.
//!
//! - `;;@ each [10, 40]`: the file stands for several guests; `<<each>>` is each value in turn.
//! - `;;@ repeat:NAME [1000, "(func)"]`: `<<NAME>>` is that text so many times; in it `{n}` is the
//!   number of the copy, from 1, and `{p}` the one before. A text may name a later repetition.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What a directive line begins with.
pub const DIRECTIVE: &str = ";;@ ";

/// The texts that a guest's file stands for, each with its value of `each`.
pub fn variants(text: &str) -> Result<Vec<(String, String)>> {
    let Some(list) = text.lines().find_map(|line| line.strip_prefix(";;@ each ")) else {
        return Ok(vec![(String::new(), text.to_owned())]);
    };
    let values: Vec<Value> = serde_json::from_str(list).with_context(|| format!("each {list}"))?;
    ensure!(!values.is_empty(), "`each` of nothing");
    let variant = |value: &Value| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let own = text.replace(list, "[]").replace("<<each>>", &value);
        (value, own)
    };
    Ok(values.iter().map(variant).collect())
}

/// The repetitions of one file.
pub struct Repetitions(Vec<(String, String)>);

impl Repetitions {
    pub fn of(text: &str) -> Result<Self> {
        let mut all = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(";;@ repeat:")) {
            let (name, value) = line.split_once(' ').context("a repetition without a value")?;
            let Ok((count, text)) = serde_json::from_str::<(usize, String)>(value) else {
                bail!("repeat:{name} is not [COUNT, \"TEXT\"]: {value}")
            };
            let numbered = text.contains("{n}") || text.contains("{p}");
            let copy = |n: usize| text.replace("{n}", &n.to_string()).replace("{p}", &(n - 1).to_string());
            let copies = if numbered { (1..=count).map(copy).collect() } else { text.repeat(count) };
            all.push((format!("<<{name}>>"), copies));
        }
        Ok(Self(all))
    }

    /// A text with every repetition written out.
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, copies) in &self.0 {
            if text.contains(name.as_str()) {
                text = text.replace(name.as_str(), copies);
            }
        }
        text
    }

    /// The same for every text in a directive's value.
    pub fn apply_in(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.apply(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.apply_in(item)).collect(),
            other => other,
        }
    }
}
