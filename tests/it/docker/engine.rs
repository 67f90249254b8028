//! An engine that does not do as it was asked, or is not there; and images.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use helixmcp::backend::{Backend, BackendError, Pull, Settings};
use serde_json::Value;

use super::lab::{Lab, engine};

/// One request to the engine itself.
pub fn request(method: &str, path: &str, body: &str) -> Result<Value> {
    let mut socket = UnixStream::connect(socket()?)?;
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (_head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if body.is_empty() { Ok(Value::Null) } else { serde_json::from_str(body).context(answer.clone()) }
}

fn socket() -> Result<PathBuf> {
    Ok(engine()?.strip_prefix("unix://").context("no unix socket")?.into())
}

/// What stands between us and the engine, and changes a text that passes: of a request, or of an
/// answer. Both texts are equally long, so that no header has to change.
struct Proxy {
    path: PathBuf,
    /// The first line of every request.
    asked: Arc<Mutex<Vec<String>>>,
    _keep: tempfile::TempDir,
}

#[derive(Clone, Copy)]
enum Changes {
    Requests,
    Answers,
}

impl Proxy {
    fn start(changes: Changes, from: &'static str, to: &'static str) -> Result<Self> {
        assert_eq!(from.len(), to.len(), "{from}");
        let keep = tempfile::tempdir()?;
        let path = keep.path().join("proxy.sock");
        let listener = UnixListener::bind(&path)?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, upstream) = (Arc::clone(&asked), socket()?);
        // Ends with the process: nobody waits for it.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (log, upstream) = (Arc::clone(&log), upstream.clone());
                std::thread::spawn(move || pass(client, &upstream, &log, changes, from, to));
            }
        });
        Ok(Self { path, asked, _keep: keep })
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    fn was_asked(&self, part: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|line| line.contains(part))
    }
}

fn pass(
    mut client: UnixStream,
    upstream: &Path,
    log: &Mutex<Vec<String>>,
    changes: Changes,
    from: &str,
    to: &str,
) -> Result<()> {
    let mut asked = read_request(&mut client)?;
    log.lock().unwrap().push(asked.lines().next().unwrap_or_default().to_owned());
    // One request a connection, so that the end of the answer is its end.
    asked = asked.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    if matches!(changes, Changes::Requests) {
        asked = asked.replace(from, to);
    }
    let mut engine = UnixStream::connect(upstream)?;
    engine.write_all(asked.as_bytes())?;
    let mut answer = Vec::new();
    engine.read_to_end(&mut answer)?;
    if matches!(changes, Changes::Answers) {
        let text = String::from_utf8_lossy(&answer);
        answer = text.replace(from, to).into_bytes();
    }
    client.write_all(&answer)?;
    Ok(())
}

fn read_request(client: &mut UnixStream) -> Result<String> {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    loop {
        let read = client.read(&mut chunk)?;
        text.push_str(std::str::from_utf8(chunk.get(..read).unwrap_or_default())?);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        if read == 0 || body.len() >= length.unwrap_or(0) {
            return Ok(text);
        }
    }
}

#[tokio::test]
async fn a_container_that_is_not_as_asked_is_never_started() -> Result<()> {
    for (from, to) in [
        (r#""NetworkMode":"none""#, r#""NetworkMode":"host""#),
        (r#""Privileged":false"#, r#""Privileged":true "#),
        (r#""ReadonlyRootfs":true"#, r#""ReadonlyRootfs":null"#),
        (r#""CapDrop":["ALL"]"#, r#""CapDrop":["FOO"]"#),
        (r#""CapAdd":null"#, r#""CapAdd":["A"]"#),
        (r#""no-new-privileges""#, r#""seccomp=unconfine""#),
        (r#""User":"65534:65534""#, r#""User":"0:000000000""#),
        (r#""MemorySwap":67108864"#, r#""MemorySwap":67108865"#),
        (r#""PidsLimit":64"#, r#""PidsLimit":65"#),
        (r#""PidMode":"""#, r#""PidMode":0 "#),
        (r#""Devices":null"#, r#""Devices":[{}]"#),
        (r#""RW":false"#, r#""RW":true "#),
        (r#"nosuid,nodev"#, r#"nosuid,,,dev"#),
        (r#""LC_ALL=C.UTF-8""#, r#""LC_ALL=C.UTF-9""#),
        (r#""Runtime":"runc""#, r#""Runtime":"runx""#),
        (r#""Name":"core","Hard":0"#, r#""Name":"core","Hard":1"#),
        (r#""Propagation":"rprivate""#, r#""Propagation":"rshared"  "#),
        (r#""Path":"sh""#, r#""Path":"hs""#),
    ] {
        // `PidMode` of a wrong type is no answer at all, and started no more than the others.
        let refused = tampered(Changes::Answers, from, to).await.with_context(|| from.to_owned())?;
        let expected = if to.contains(":0 ") { "away" } else { "wall_differs" };
        assert_eq!(refused, expected, "{from}");
    }
    Ok(())
}

#[tokio::test]
async fn what_changes_an_order_on_its_way_is_found_out() -> Result<()> {
    for (from, to) in [
        (r#""NetworkMode":"none""#, r#""NetworkMode":"host""#),
        (r#""Privileged":false"#, r#""Privileged":true "#),
        (r#""ReadOnly":true"#, r#""ReadOnly":null"#),
        (r#""CapDrop":["ALL"]"#, r#""CapAdd" :["ALL"]"#),
        (r#""User":"65534:65534""#, r#""User":"00000:00000""#),
        (r#""Entrypoint":["sh","#, r#""Entrypoint":["ls","#),
        (r#""Target":"/work/out""#, r#""Target":"/work/OUT""#),
    ] {
        let refused = tampered(Changes::Requests, from, to).await.with_context(|| from.to_owned())?;
        assert_eq!(refused, "wall_differs", "{from}");
    }
    Ok(())
}

/// Submits through a proxy that changes things, and answers with how that was refused. Nothing was
/// started, and nothing is left.
async fn tampered(changes: Changes, from: &'static str, to: &'static str) -> Result<&'static str> {
    let proxy = Proxy::start(changes, from, to)?;
    let lab = Lab::behind(&proxy.endpoint()).await?;
    let (_digest, path) = lab.object(b"reads\n")?;
    let mut order = lab.order("true")?;
    order.mounts = vec![("a.txt".parse()?, path)];
    let code = match lab.backend.submit(&order).await {
        Err(BackendError::Refused { code, reason }) => {
            assert!(reason.contains("not as asked"), "{reason}");
            code
        }
        Err(BackendError::Unavailable { .. }) => "away",
        other => panic!("{from}: {other:?}"),
    };
    assert!(proxy.was_asked("/create"), "nothing was tampered with");
    assert!(!proxy.was_asked("/start"), "it was started");
    if code == "wall_differs" {
        assert!(lab.is_clear().await?, "something of it is left");
    }
    Ok(code)
}

/// Also what runs already: whoever changed it while no host was there is not followed.
#[tokio::test]
async fn a_container_that_was_changed_is_not_adopted() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order("sleep 60")?;
    let id = lab.backend.submit(&order).await?;
    let update = r#"{"Memory": 134217728, "MemorySwap": 134217728}"#;
    request("POST", &format!("/containers/{id}/update"), update)?;
    let refused = lab.again().await?.submit(&order).await;
    assert!(matches!(&refused, Err(BackendError::Refused { code: "wall_differs", .. })), "{refused:?}");
    assert!(lab.is_clear().await?, "it still runs");
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_away_is_told_from_one_that_refuses() -> Result<()> {
    let keep = tempfile::tempdir()?;
    let settings = |endpoint: String| Settings { endpoint, runtime: "runc".to_owned(), pull: Pull::Never };
    let nowhere = format!("unix://{}", keep.path().join("none.sock").display());
    let away = Backend::connect(settings(nowhere), keep.path()).await;
    assert!(matches!(&away, Err(BackendError::Unavailable { .. })), "{away:?}");
    let tcp = Backend::connect(settings("tcp://127.0.0.1:2375".to_owned()), keep.path()).await;
    assert!(matches!(&tcp, Err(BackendError::Refused { code: "backend_endpoint", .. })), "{tcp:?}");
    // One without a filter of system calls is not used at all.
    let proxy =
        Proxy::start(Changes::Answers, "name=seccomp,profile=default", "name=seccomp,unconfined......")?;
    let open = Backend::connect(settings(proxy.endpoint()), keep.path()).await;
    assert!(matches!(&open, Err(BackendError::Refused { code: "backend_seccomp", .. })), "{open:?}");
    let lab = Lab::open().await?;
    assert!(lab.backend.probe().await?.starts_with("Docker Engine API 1."));
    Ok(())
}

#[tokio::test]
async fn an_image_is_what_its_digest_says_or_nothing_runs() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order("true")?;
    lab.run(&order).await?;
    lab.backend.clear(&order.labels).await?;
    let mut missing = order.clone();
    let other = helix_ids::Digest::of(b"no image");
    missing.image = format!("{}@{other}", order.image.repository()).parse()?;
    let mut foreign = order.clone();
    foreign.platform = "linux/riscv64".to_owned();
    let mut elsewhere = order.clone();
    elsewhere.image = format!("registry.example/other@{}", order.image.digest()).parse()?;
    let mut root = order.clone();
    root.user = "host".parse()?;
    for (order, expected) in [
        (missing, "image_missing"),
        (foreign, "image_differs"),
        (elsewhere, "image_missing"),
        (root, "image_user_root"),
    ] {
        if expected == "image_user_root" && !is_root()? {
            continue;
        }
        match lab.pulling(Pull::Never).await?.submit(&order).await {
            Err(BackendError::Refused { code, .. }) => assert_eq!(code, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert!(lab.is_clear().await?);
    Ok(())
}

/// What stands for many images pins none of them on a machine of another kind.
#[tokio::test]
async fn an_index_is_refused_and_says_what_it_stands_for() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order("true")?;
    let (registry, repository) = order.image.repository().split_once('/').context("no registry")?;
    let (registry, repository) = (registry.to_owned(), repository.to_owned());
    let manifest = at_registry(&registry, "GET", &repository, &order.image.digest().to_string(), "")?;
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": order.image.digest(),
            "size": manifest.len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        }],
    });
    let kind: Value = serde_json::from_str(&manifest)?;
    let mut index = index;
    index["manifests"][0]["mediaType"] = kind["mediaType"].clone();
    let index = index.to_string();
    let digest = helix_ids::Digest::of(index.as_bytes());
    at_registry(&registry, "PUT", &repository, &digest.to_string(), &index)?;
    order.image = format!("{}@{digest}", order.image.repository()).parse()?;
    match lab.backend.submit(&order).await {
        Err(BackendError::Refused { code: "image_index", reason }) => {
            assert!(reason.contains("it stands for linux/amd64"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(lab.is_clear().await?);
    Ok(())
}

const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// One request for a manifest to the registry that the image came from.
fn at_registry(
    registry: &str,
    method: &str,
    repository: &str,
    reference: &str,
    body: &str,
) -> Result<String> {
    let mut socket = std::net::TcpStream::connect(registry)?;
    let kinds =
        "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
    let length = body.len();
    write!(
        socket,
        "{method} /v2/{repository}/manifests/{reference} HTTP/1.1\r\nHost: {registry}\r\nConnection: close\r\n\
         Accept: {kinds}\r\nContent-Type: {INDEX}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
    Ok(body.to_owned())
}

fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
