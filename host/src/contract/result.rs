//! A guest's report, held to what its tool promised.

use helix_ids::name::is_invisible;
use serde_json::Value;

use super::text::shown;
use super::{Tool, raw};

/// Most bytes of a report's result (invariant I-9).
pub const RESULT_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a report's summary.
pub const SUMMARY_BYTES_MAX: usize = 2 * 1024;

/// A report that satisfies its tool's result schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub result: Value,
    /// The guest's own words, capped; whoever shows them escapes them.
    pub summary: String,
}

/// Why a report is no answer: the toolpack author's turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReportError {
    /// Lower `snake_case`, listed in docs/errors.md.
    pub code: &'static str,
    pub message: String,
}

impl Report {
    /// Checks a guest's report.
    ///
    /// # Errors
    /// `result_too_large`, `result_invalid`, `summary_too_large`, `extra_not_supported`.
    pub fn parse(raw: raw::Report, tool: &Tool) -> Result<Self, ReportError> {
        if !raw.extra.is_empty() {
            let message = "the report's `extra` is for later versions and must be empty".to_owned();
            return Err(ReportError { code: "extra_not_supported", message });
        }
        if raw.summary.len() > SUMMARY_BYTES_MAX {
            let message = format!("the report's summary is larger than {SUMMARY_BYTES_MAX} bytes");
            return Err(ReportError { code: "summary_too_large", message });
        }
        Ok(Self { result: parse(tool, &raw.result)?, summary: raw.summary })
    }
}

/// Reads a report's result and holds it to the tool's result schema.
///
/// # Errors
/// `result_too_large`, `result_invalid`.
pub fn parse(tool: &Tool, text: &str) -> Result<Value, ReportError> {
    if text.len() > RESULT_BYTES_MAX {
        let message = format!("the report's result is larger than {RESULT_BYTES_MAX} bytes");
        return Err(ReportError { code: "result_too_large", message });
    }
    let invalid = |reason: &str| {
        let message = format!("the report's result: {}", shown(reason, 400));
        ReportError { code: "result_invalid", message }
    };
    let result = helix_ids::canonical::parse(text.as_bytes(), RESULT_BYTES_MAX)
        .map_err(|error| invalid(&error.to_string()))?;
    if !is_visible(&result) {
        return Err(invalid("holds characters that a person does not see"));
    }
    match tool.schemas.result.validate(&result) {
        Ok(()) => Ok(result),
        Err(error) => Err(invalid(&format!("at `{}`: {}", error.instance_path(), error.masked()))),
    }
}

/// Whether a person sees all that programs and models will read. JSON keeps text as it is, and
/// to escape it afterwards would break the schema's promise; so such a result is none.
fn is_visible(value: &Value) -> bool {
    let visible = |text: &str| text.chars().all(|c| matches!(c, '\n' | '\t') || !is_invisible(c));
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => visible(text),
        Value::Array(items) => items.iter().all(is_visible),
        Value::Object(members) => members.iter().all(|(key, value)| visible(key) && is_visible(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures;
    use super::*;

    #[test]
    fn a_report_keeps_its_promise() {
        let tool = fixtures::tool();
        let large = format!(r#"{{"reads":1,"note":"{}"}}"#, "x".repeat(RESULT_BYTES_MAX));
        let cases = [
            (r#"{"reads": 7}"#, Ok(())),
            (r#"{"reads": "7"}"#, Err("result_invalid")),
            (r#"{"reads": 1.5}"#, Err("result_invalid")),
            (r#"{"reads": 7, "reads": 8}"#, Err("result_invalid")),
            (r#"{"reads": 7, "more": 1}"#, Err("result_invalid")),
            ("{}", Err("result_invalid")),
            ("[]", Err("result_invalid")),
            ("", Err("result_invalid")),
            (&large, Err("result_too_large")),
        ];
        for (text, expected) in cases {
            let found = parse(&tool, text).map(|_| ()).map_err(|error| error.code);
            assert_eq!(found, expected, "{}", shown(text, 60));
        }
    }

    #[test]
    fn a_result_holds_nothing_that_a_person_does_not_see() {
        let note = |note: &str| json!({ "a": [{ "note": note }] });
        for good in ["", "größer", "a\tb\n", "日本"] {
            assert!(is_visible(&note(good)), "{good:?}");
        }
        for bad in ["\u{1b}[2J", "\u{9b}2J", "a\u{202e}b", "a\u{200b}b", "\u{e0041}", "\r"] {
            assert!(!is_visible(&note(bad)), "{bad:?}");
            assert!(!is_visible(&json!({ bad: 1 })), "{bad:?}");
        }
        let tool = fixtures::tool();
        let refused = parse(&tool, "{\"reads\":1,\"note\":\"\u{202e}\"}").map_err(|error| error.message);
        assert!(refused.unwrap_err().contains("does not see"));
    }

    #[test]
    fn summary_and_extra_are_bounded() {
        let tool = fixtures::tool();
        let report = |summary: String, extra: &str| raw::Report {
            result: r#"{"reads":1}"#.to_owned(),
            summary,
            extra: extra.to_owned(),
        };
        let code = |raw| Report::parse(raw, &tool).map_err(|error| error.code);
        assert_eq!(code(report("fine".to_owned(), "")).unwrap().summary, "fine");
        assert_eq!(code(report("x".repeat(2049), "")), Err("summary_too_large"));
        assert_eq!(code(report(String::new(), "{}")), Err("extra_not_supported"));
    }
}
