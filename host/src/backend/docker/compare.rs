//! Whether a container is what was asked for. Everything that the engine tells of its walls is
//! looked at: what was asked has to be there as it was asked, and nothing besides.

use std::collections::BTreeSet;

use bollard::models::{ContainerConfig, ContainerInspectResponse, HostConfig};
use serde_json::{Map, Value};

use super::super::BackendError;
use super::body::Body;

/// A difference that is none: the size of a terminal that is not there.
const NO_WALLS: [&str; 1] = ["ConsoleSize"];

/// Compares, before a container is started and before one is adopted.
pub(super) fn compare(asked: &Body, found: &ContainerInspectResponse) -> Result<(), BackendError> {
    let walls = |config: Option<&HostConfig>| to_fields(config);
    same_fields("", &walls(asked.create.host_config.as_ref()), &walls(found.host_config.as_ref()))?;
    same_fields("", &config_of(asked), &config_found(found.config.as_ref()))?;
    same("Image", &Value::from(asked.image_id.clone()), &Value::from(found.image.clone()))?;
    same("Path", &Value::from(asked.path.clone()), &Value::from(found.path.clone()))?;
    let arguments = found.args.clone().unwrap_or_default();
    same("Args", &in_order(&asked.arguments), &in_order(&arguments))?;
    same("Mounts", &mounts_asked(asked), &mounts_found(found))?;
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let networks = networks.map(|networks| networks.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    if networks.iter().any(|network| network != "none") {
        return same("Networks", &Value::from(vec!["none"]), &Value::from(networks));
    }
    Ok(())
}

/// The fields of a configuration that a step depends on; an image may have others (its ports, its
/// shell, labels of its own), which open nothing.
fn config_of(asked: &Body) -> Map<String, Value> {
    let create = &asked.create;
    config_fields(ContainerConfig {
        hostname: create.hostname.clone(),
        domainname: create.domainname.clone(),
        user: create.user.clone(),
        attach_stdin: create.attach_stdin,
        attach_stdout: create.attach_stdout,
        attach_stderr: create.attach_stderr,
        tty: create.tty,
        open_stdin: create.open_stdin,
        stdin_once: create.stdin_once,
        env: Some(asked.environment.clone()),
        cmd: create.cmd.clone(),
        healthcheck: create.healthcheck.clone(),
        image: create.image.clone(),
        working_dir: create.working_dir.clone(),
        entrypoint: create.entrypoint.clone(),
        labels: create.labels.clone(),
        stop_signal: create.stop_signal.clone(),
        ..ContainerConfig::default()
    })
}

fn config_found(found: Option<&ContainerConfig>) -> Map<String, Value> {
    let mut found = found.cloned().unwrap_or_default();
    if let Some(environment) = found.env.as_mut() {
        environment.sort();
    }
    if let Some(labels) = found.labels.as_mut() {
        labels.retain(|name, _value| name.starts_with("helix."));
    }
    config_fields(found)
}

fn config_fields(config: ContainerConfig) -> Map<String, Value> {
    let command = in_order(config.entrypoint.as_deref().unwrap_or_default());
    let others = ContainerConfig { exposed_ports: None, on_build: None, shell: None, ..config };
    let mut fields = to_fields(Some(&others));
    fields.insert("Entrypoint".to_owned(), command);
    fields
}

/// A command is kept from being sorted, and its empty words from being dropped, by being one text.
fn in_order(words: &[String]) -> Value {
    Value::from(Value::from(words.to_vec()).to_string())
}

fn mounts_asked(asked: &Body) -> Value {
    let mounts = asked.create.host_config.as_ref().and_then(|config| config.mounts.as_deref());
    let shown = mounts.unwrap_or_default().iter().map(|mount| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let how = if mount.read_only == Some(true) { "read-only" } else { "writable" };
        format!("bind {} at {} {how} rprivate", text(&mount.source), text(&mount.target))
    });
    Value::from(shown.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())
}

/// What is mounted, whoever asked for it: an image's volumes too.
fn mounts_found(found: &ContainerInspectResponse) -> Value {
    let shown = found.mounts.as_deref().unwrap_or_default().iter().map(|mount| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let how = if mount.rw == Some(false) { "read-only" } else { "writable" };
        let (kind, source) = (text(&mount.typ), text(&mount.source));
        format!("{kind} {source} at {} {how} {}", text(&mount.destination), text(&mount.propagation))
    });
    Value::from(shown.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())
}

fn to_fields<T: serde::Serialize>(config: Option<&T>) -> Map<String, Value> {
    match config.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        Some(_) | None => Map::new(),
    }
}

/// Field by field, of both: a field that only one has is compared with nothing.
fn same_fields(
    within: &str,
    asked: &Map<String, Value>,
    found: &Map<String, Value>,
) -> Result<(), BackendError> {
    let names: BTreeSet<&String> = asked.keys().chain(found.keys()).collect();
    for name in names {
        if !NO_WALLS.contains(&name.as_str()) {
            let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
            same(&format!("{within}{name}"), &of(asked), &of(found))?;
        }
    }
    Ok(())
}

fn same(name: &str, asked: &Value, found: &Value) -> Result<(), BackendError> {
    let (asked, found) = (plain(asked), plain(found));
    if asked == found {
        return Ok(());
    }
    let reason = format!("the container is not as asked: {name} is {found}, not {asked}");
    Err(BackendError::refused("wall_differs", &reason))
}

/// What is empty, zero or off is as good as absent, and no list here has an order that means
/// anything.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), plain(value)));
            let fields: Map<String, Value> = fields.filter(|(_, value)| !value.is_null()).collect();
            // Sorted, so that the text of two equal ones is equal.
            let sorted: std::collections::BTreeMap<_, _> = fields.into_iter().collect();
            if sorted.is_empty() { Value::Null } else { Value::Object(sorted.into_iter().collect()) }
        }
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(plain).filter(|value| !value.is_null()).collect();
            list.sort_by_cached_key(Value::to_string);
            if list.is_empty() { Value::Null } else { Value::Array(list) }
        }
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Bool(false) => Value::Null,
        Value::Number(number) if number.as_i64() == Some(0) => Value::Null,
        other => other.clone(),
    }
}
