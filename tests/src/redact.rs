//! The one list of what changes from run to run and is hidden before a snapshot is compared.

use serde_json::Value;

/// Fields whose value is hidden wherever they stand, by name.
const FIELDS: [&str; 12] = [
    "at",
    "at_ms",
    "created_at",
    "created_ms",
    "duration_ms",
    "ended_ms",
    "fuel",
    "host_version",
    "peak_rss",
    "pid",
    "started_ms",
    "wall_ms",
];

/// A copy with ids, digests, times and this machine's paths hidden.
pub fn redacted(value: &Value, paths: &[(&str, &str)]) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| {
                let hidden = FIELDS.contains(&name.as_str()) && !field.is_null();
                let field = if hidden { Value::from(format!("[{name}]")) } else { redacted(field, paths) };
                (name.clone(), field)
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| redacted(item, paths)).collect(),
        Value::String(text) => Value::from(redacted_text(text, paths)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Text with ids, digests and this machine's paths hidden.
pub fn redacted_text(text: &str, paths: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (path, name) in paths {
        text = text.replace(path, name);
    }
    for (prefix, length, name) in [
        ("run_", 26, "[run]"),
        ("art_", 26, "[artifact]"),
        ("proj_", 26, "[project]"),
        ("den_", 26, "[denial]"),
        ("sha256:", 64, "[digest]"),
    ] {
        text = hide(&text, prefix, length, name);
    }
    text
}

/// Replaces every `prefix` that is followed by exactly `length` letters and digits.
fn hide(text: &str, prefix: &str, length: usize, name: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(prefix) {
        out.push_str(before);
        let run = after.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if run == length {
            out.push_str(name);
            rest = after.split_at(length).1;
        } else {
            out.push_str(prefix);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hidden_and_words_that_only_look_like_them_stay() {
        let text = "run_4JM8CZP8W8Z52Q94G9GZ9DKGEG of run_wait in /tmp/x";
        assert_eq!(redacted_text(text, &[("/tmp/x", "[home]")]), "[run] of run_wait in [home]");
    }
}
