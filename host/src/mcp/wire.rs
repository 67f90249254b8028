//! What a line must be before rmcp sees it.
//!
//! rmcp keeps the last of two equal keys, gives garbage no answer and takes malformed requests
//! for unknown methods. So each line is read here first, strictly, and what is wrong with it is
//! answered here (invariant I-9: a line, its depth and its id have their caps).

use helix_ids::canonical::{self, INTEGER_MAX};
use helix_ids::text::escaped_line;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, RequestId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Most bytes in one line. A caller chooses how much it sends before the newline.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Most values in one message, nested ones and members included: each takes many times its two
/// bytes once it is read. As many as the largest params can have.
pub const VALUES_MAX: usize = 32 * 1024;

/// What one value takes in memory, beside its own text.
const VALUE_BYTES: usize = 64;

/// The most that one message weighs.
pub const WEIGHT_MAX: usize = LINE_BYTES_MAX + VALUES_MAX * VALUE_BYTES;

/// Most bytes in a request's id, which we keep while the request is open and send back; and in its
/// progress token, which stands in each of many notifications.
pub const ID_BYTES_MAX: usize = 256;

/// Most bytes of a peer's own words that an error repeats.
const ECHO_BYTES_MAX: usize = 200;

/// The notification with which an attachment says that it relays somebody else's bytes: from
/// then on the connection has no admin requests.
pub const RELAY_METHOD: &str = "helixmcp/relay";

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const INVALID_PARAMS: i32 = -32602;
/// The first of the codes that are the server's own to give a meaning.
const BUSY: i32 = -32000;

/// The members that are read of a message, and of a request's params.
const MESSAGE_MEMBERS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS_MEMBERS: &[&str] = &["name", "arguments", "uri", "cursor", "_meta"];

/// The methods that are offered. When one of these reaches rmcp's catch-all, its params were
/// malformed.
const OFFERED_METHODS: &[&str] = &[
    "initialize",
    "ping",
    "server/discover",
    "subscriptions/listen",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// What a line turned out to be.
#[derive(Debug)]
pub enum Checked {
    /// A request, with the id under which it will be answered.
    Request(RequestId, Box<ClientJsonRpcMessage>),
    /// A notification; never answered.
    Notification(Box<ClientJsonRpcMessage>),
    /// The sender relays: see [`RELAY_METHOD`].
    Relay,
    /// Refused; the answer, as one line without its newline.
    Refused(String),
    /// A blank line, or the answer to a question that was never asked.
    Nothing,
}

/// Reads one line, without its newline.
#[must_use]
pub fn check(line: &[u8]) -> Checked {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().all(u8::is_ascii_whitespace) {
        return Checked::Nothing;
    }
    if values(line) > VALUES_MAX {
        return refuse(None, PARSE_ERROR, &format!("more than {VALUES_MAX} values in one message"));
    }
    match canonical::parse(line, LINE_BYTES_MAX) {
        Ok(Value::Object(message)) => check_message(message),
        Ok(Value::Array(_)) => {
            refuse(None, INVALID_REQUEST, "batches are not part of MCP: send one message a line")
        }
        Ok(_) => refuse(None, INVALID_REQUEST, "a message is a JSON object"),
        Err(error) => {
            let reason = format!("not the JSON that is accepted here: {error}");
            refuse(recovered_id(line), PARSE_ERROR, &reason)
        }
    }
}

/// The answer to a line that was longer than [`LINE_BYTES_MAX`] and was skipped.
#[must_use]
pub fn too_long() -> String {
    error_line(None, PARSE_ERROR, &format!("line longer than {LINE_BYTES_MAX} bytes"))
}

/// The answer to a request whose id is that of another which is still open, or was cancelled.
#[must_use]
pub fn id_in_use() -> String {
    // Without the id: with it, this would pass for the other request's answer.
    error_line(None, INVALID_REQUEST, "the request's id is in use; each request needs an id of its own")
}

/// The answer to a request for which there is no room while so much else waits.
#[must_use]
pub fn no_room(id: &RequestId) -> String {
    let reason = "the host holds as many bytes of unanswered requests as it may: ask again later";
    error_line(Some(id.clone()), BUSY, reason)
}

/// The answer to a small request of a connection that sends too many of them.
#[must_use]
pub fn too_many(id: &RequestId, per_minute: u64, retry_after_ms: u64) -> String {
    let message = format!("more than {per_minute} pings, lists and other small requests a minute");
    let data = json!({"code": "rate_limited", "retry_after_ms": retry_after_ms});
    let error = json!({"code": BUSY, "message": message, "data": data});
    json!({"jsonrpc": "2.0", "id": id.clone().into_json_value(), "error": error}).to_string()
}

/// What stands for an answer that cannot be kept for a peer that does not read.
#[must_use]
pub fn not_kept(id: &RequestId) -> String {
    let reason = "the answer is larger than what may wait to be read: read what was answered, then ask again";
    error_line(Some(id.clone()), BUSY, reason)
}

/// What a message takes in memory while it waits, nearly.
#[must_use]
pub fn weight(line: &[u8]) -> usize {
    line.len().saturating_add(values(line).saturating_mul(VALUE_BYTES))
}

/// How many values a text of JSON has at most: counted without building one of them.
fn values(line: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (1, false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b':' | b'[' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

/// A member that only its case keeps from being read. Its sender means it, and a call without it
/// would be another call than the one that was meant.
fn miscased<'a>(members: &'a Map<String, Value>, known: &[&str]) -> Option<&'a str> {
    let is_near = |key: &&String| known.iter().any(|name| key != name && key.eq_ignore_ascii_case(name));
    members.keys().find(is_near).map(String::as_str)
}

fn check_message(mut message: Map<String, Value>) -> Checked {
    let raw_id = message.get("id");
    let id = raw_id.and_then(request_id);
    if raw_id.is_some() && id.is_none() {
        let reason = format!("id is a string of at most {ID_BYTES_MAX} bytes, or an integer");
        return refuse(None, INVALID_REQUEST, &reason);
    }
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refuse(id, INVALID_REQUEST, "jsonrpc is not \"2.0\"");
    }
    if let Some(member) = miscased(&message, MESSAGE_MEMBERS) {
        return refuse(id, INVALID_REQUEST, &format!("unknown member {member}: names are lower case"));
    }
    let method = match message.get("method") {
        Some(Value::String(method)) => method.clone(),
        Some(_) => return refuse(id, INVALID_REQUEST, "method is not a string"),
        // We ask nothing of a client, so there is nothing that this could answer.
        None if message.contains_key("result") || message.contains_key("error") => return Checked::Nothing,
        None => return refuse(id, INVALID_REQUEST, "no method"),
    };
    if method == RELAY_METHOD {
        return Checked::Relay;
    }
    match message.get("params") {
        None => {}
        Some(Value::Object(params)) if OFFERED_METHODS.contains(&method.as_str()) => {
            if let Some(member) = miscased(params, PARAMS_MEMBERS) {
                let reason = format!("{method}: unknown member {member}: names are lower case");
                return refuse(id, INVALID_PARAMS, &reason);
            }
            if let Some(Value::String(token)) = params.get("_meta").and_then(|meta| meta.get("progressToken"))
                && token.len() > ID_BYTES_MAX
            {
                let reason = format!("{method}: a progress token has at most {ID_BYTES_MAX} bytes");
                return refuse(id, INVALID_PARAMS, &reason);
            }
        }
        Some(Value::Object(_)) => {}
        // Some clients write what they leave out.
        Some(Value::Null) => drop(message.shift_remove("params")),
        Some(_) => return refuse(id, INVALID_PARAMS, "params is not an object"),
    }
    parse(id, &method, message)
}

fn parse(id: Option<RequestId>, method: &str, message: Map<String, Value>) -> Checked {
    let parsed: ClientJsonRpcMessage = match serde_json::from_value(Value::Object(message)) {
        Ok(parsed) => parsed,
        Err(error) => {
            return match id {
                Some(id) => refuse(Some(id), INVALID_PARAMS, &format!("{method}: {error}")),
                None => Checked::Nothing,
            };
        }
    };
    match (id, parsed) {
        (Some(id), JsonRpcMessage::Request(request)) => {
            if matches!(request.request, ClientRequest::CustomRequest(_)) && OFFERED_METHODS.contains(&method)
            {
                return refuse(
                    Some(id),
                    INVALID_PARAMS,
                    &format!("{method}: a field is missing or of another type"),
                );
            }
            Checked::Request(id, Box::new(JsonRpcMessage::Request(request)))
        }
        (None, parsed @ JsonRpcMessage::Notification(_)) => Checked::Notification(Box::new(parsed)),
        (id, _) => refuse(id, INVALID_REQUEST, "neither a request nor a notification"),
    }
}

/// The id, if it is of a kind and a size that may be used.
fn request_id(value: &Value) -> Option<RequestId> {
    match value {
        Value::String(text) if text.len() <= ID_BYTES_MAX => Some(RequestId::String(text.as_str().into())),
        Value::Number(number) => {
            number.as_i64().filter(|id| (-INTEGER_MAX..=INTEGER_MAX).contains(id)).map(RequestId::Number)
        }
        _ => None,
    }
}

/// The id of a line that is JSON, but not JSON that we accept. A client that asked with a number
/// too large is then told so, where it would else wait for an answer that never comes.
fn recovered_id(line: &[u8]) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Envelope {
        id: Option<Value>,
    }
    let envelope: Envelope = serde_json::from_slice(line).ok()?;
    envelope.id.as_ref().and_then(request_id)
}

fn refuse(id: Option<RequestId>, code: i32, reason: &str) -> Checked {
    Checked::Refused(error_line(id, code, reason))
}

fn error_line(id: Option<RequestId>, code: i32, reason: &str) -> String {
    let id = id.map_or(Value::Null, RequestId::into_json_value);
    let message = escaped_line(reason, ECHO_BYTES_MAX);
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id and code of the refusal; or what else the line was.
    fn summary(line: &[u8]) -> String {
        match check(line) {
            Checked::Request(id, _) => format!("request {id}"),
            Checked::Notification(_) => "notification".to_owned(),
            Checked::Relay => "relay".to_owned(),
            Checked::Nothing => "nothing".to_owned(),
            Checked::Refused(line) => {
                let answer: Value = serde_json::from_str(&line).unwrap();
                format!("{} {}", answer["id"], answer["error"]["code"])
            }
        }
    }

    #[test]
    fn garbage_is_answered_and_goes_no_further() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}{}}}}}"#,
            "[".repeat(70),
            "]".repeat(70)
        );
        let deeper = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let many = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":[{}0]}}}}"#,
            "0,".repeat(VALUES_MAX)
        );
        let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(257));
        let cases: &[(&[u8], &str)] = &[
            (b"", "nothing"),
            (b" \t\r", "nothing"),
            (b"garbage", "null -32700"),
            (b"{\"jsonrpc\":", "null -32700"),
            (b"\xff\xfe{\x00}\x00", "null -32700"),
            ("\u{feff}{}".as_bytes(), "null -32700"),
            (b"[]", "null -32600"),
            (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "null -32600"),
            (b"7", "null -32600"),
            (b"{}", "null -32600"),
            (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "null -32600"),
            (br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "null -32600"),
            (br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, "null -32600"),
            (br#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, "null -32600"),
            (br#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, "null -32600"),
            (long_id.as_bytes(), "null -32600"),
            (br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "1 -32600"),
            (br#"{"id":1,"method":"ping"}"#, "1 -32600"),
            (br#"{"jsonrpc":"2.0","id":1}"#, "1 -32600"),
            (br#"{"jsonrpc":"2.0","id":1,"method":5}"#, "1 -32600"),
            (br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, "null -32700"),
            (br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#, "1 -32700"),
            (br#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t","arguments":{"x":1,"\u0078":2}}}"#, "\"a\" -32700"),
            (br#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"t","arguments":{"seed":9007199254740993}}}"#, "3 -32700"),
            (br#"{"jsonrpc":"2.0","id":3,"method":"ping","params":{"a":"\ud800"}}"#, "3 -32700"),
            (deep.as_bytes(), "1 -32700"),
            (deeper.as_bytes(), "null -32700"),
            (many.as_bytes(), "null -32700"),
            (br#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#, "1 -32600"),
            (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","Params":{"name":"t"}}"#, "1 -32600"),
        ];
        for (line, expected) in cases {
            assert_eq!(summary(line), *expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn malformed_known_requests_are_invalid_params() {
        let cases: &[(&[u8], &str)] = &[
            (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, "1 -32602"),
            (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, "1 -32602"),
            (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#, "1 -32602"),
            (
                br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":[]}}"#,
                "1 -32602",
            ),
            (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, "1 -32602"),
            (br#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"Uri":"x"}}"#, "1 -32602"),
            (br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#, "1 -32602"),
            (
                br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","Arguments":{}}}"#,
                "1 -32602",
            ),
            (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"t"}}"#, "1 -32602"),
        ];
        for (line, expected) in cases {
            assert_eq!(summary(line), *expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn good_lines_pass() {
        let cases: &[(&[u8], &str)] = &[
            (br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request 1"),
            (b"{\"jsonrpc\":\"2.0\",\"id\":-7,\"method\":\"ping\"}\r", "request -7"),
            (br#"{"jsonrpc":"2.0","id":"","method":"tools/list","params":null}"#, "request "),
            (br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t"}}"#, "request 2"),
            (br#"{"jsonrpc":"2.0","id":2,"method":"no/such","params":{"x":1}}"#, "request 2"),
            (br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification"),
            (br#"{"jsonrpc":"2.0","method":"whatever","params":{"x":1}}"#, "notification"),
            (br#"{"jsonrpc":"2.0","method":"helixmcp/relay"}"#, "relay"),
            (br#"{"jsonrpc":"2.0","id":9,"result":{}}"#, "nothing"),
        ];
        for (line, expected) in cases {
            assert_eq!(summary(line), *expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn i9_values_are_counted_before_they_are_built() {
        let cases: &[(&str, usize)] = &[
            ("7", 1),
            ("[1,2,3]", 4),
            (r#"{"a":1,"b":[null,true]}"#, 6),
            (r#"{"text":"a,b:[c","\\":"\",\\"}"#, 4),
        ];
        for (line, expected) in cases {
            assert_eq!(values(line.as_bytes()), *expected, "{line}");
        }
        let text = format!(r#"{{"text":"{}"}}"#, ",".repeat(1000));
        assert!(weight(text.as_bytes()) < text.len() + 4 * VALUE_BYTES, "text weighs more than it is");
    }

    #[test]
    fn a_refusal_is_one_short_line() {
        let line =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","{0}":1,"{0}":2}}"#, "k\\n".repeat(10_000));
        let Checked::Refused(answer) = check(line.as_bytes()) else { panic!("must be refused") };
        assert!(answer.len() < 400, "{answer}");
        assert!(!answer.contains('\n'), "{answer}");
    }
}
