//! A ledger with as many runs as a laboratory makes in years, without waiting for them: one real
//! run is copied many times, each copy with another text in its params, and so with an identity,
//! a chain of events and outputs of its own. The host cannot tell them from runs of its own, and
//! `fsck` finds nothing; the call with [`text_of`] a number replays that number's copy.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use helix_ids::{Digest, RunIdentity, identity};
use serde_json::{Map, Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

/// What the template's call says, in one of its params; each copy says [`text_of`] its number.
pub const MARKER: &str = "many-runs-template";

/// What the call of the copy with this number says in place of [`MARKER`].
#[must_use]
pub fn text_of(number: u64) -> String {
    format!("many-runs-{number}")
}

/// Copies that are inserted at once.
const BATCH: u64 = 2_000;

/// Columns that hold a moment. Each copy is a second older than the one after it.
const MOMENTS: [&str; 4] = ["at_ms", "created_ms", "started_ms", "ended_ms"];

const SPACING_MS: i64 = 1_000;

/// Columns of an attempt that its events hold by their digests.
const HASHED: [&str; 4] = ["plan", "result", "summary", "log"];

/// Copies the one run whose call says [`MARKER`] until the ledger has `runs` copies of it. The
/// first `own_outputs` of them have output artifacts of their own, with bytes in the store; the
/// others name the template's. `told` hears how many there are.
///
/// # Errors
/// A host owns the home, there is no such run, or the database refuses.
pub fn grow(home: &Path, runs: u64, own_outputs: u64, mut told: impl FnMut(u64)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new()
            .filename(home.join("ledger.sqlite"))
            .foreign_keys(false)
            // A crash while it grows is the end of a test's home and of nothing else.
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-1000000")
            .connect()
            .await
            .context("the ledger cannot be opened alone: does a host run?")?;
        // What holds the host to its rules would ask for each of millions of rows.
        let triggers =
            strings(&mut connection, "SELECT sql FROM sqlite_schema WHERE type = 'trigger'").await?;
        for name in strings(&mut connection, "SELECT name FROM sqlite_schema WHERE type = 'trigger'").await? {
            execute(&mut connection, format!("DROP TRIGGER {name}")).await?;
        }
        let mut template = Template::of(&Source::read(&mut connection).await?, home)?;
        let mut done = 0;
        while done < runs {
            let end = runs.min(done + BATCH);
            let mut rows = Rows::default();
            for number in done..end {
                template.copy(number, runs, number < own_outputs, home, &mut rows)?;
            }
            rows.insert(&mut connection).await?;
            done = end;
            told(done);
        }
        let bytes = "UPDATE projects SET store_bytes = (SELECT COALESCE(SUM(o.size_bytes), 0) FROM objects o
                     WHERE o.digest IN (SELECT a.digest FROM artifacts a WHERE a.project = projects.id))";
        execute(&mut connection, bytes.to_owned()).await?;
        // What the triggers would have kept.
        let standings = "INSERT INTO standings (run, ordinal, state, project, tool, created_ms)
                         SELECT r.id, a.ordinal, a.state, r.project, r.tool, r.created_ms
                         FROM runs r JOIN attempts a ON a.run = r.id
                         WHERE a.ordinal = (SELECT MAX(n.ordinal) FROM attempts n WHERE n.run = r.id)
                           AND r.id NOT IN (SELECT run FROM standings)";
        execute(&mut connection, standings.to_owned()).await?;
        for trigger in triggers {
            execute(&mut connection, trigger).await?;
        }
        execute(&mut connection, "PRAGMA journal_mode = WAL".to_owned()).await?;
        connection.close().await.context("the ledger cannot be closed")
    })
}

async fn execute(connection: &mut SqliteConnection, sql: String) -> Result<()> {
    let shown = sql.lines().next().unwrap_or_default().to_owned();
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await.with_context(|| shown)?;
    Ok(())
}

async fn strings(connection: &mut SqliteConnection, sql: &'static str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(sql).fetch_all(connection).await?)
}

/// The rows of a table that `rest` selects, as JSON objects, whatever columns it has.
async fn select(
    connection: &mut SqliteConnection,
    table: &str,
    rest: &str,
    key: &str,
) -> Result<Vec<Map<String, Value>>> {
    let columns = columns(connection, table).await?;
    let pairs: Vec<String> = columns.iter().map(|name| format!("'{name}', {name}")).collect();
    let sql = format!("SELECT json_object({}) AS row FROM {table} {rest}", pairs.join(", "));
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(key).fetch_all(connection).await?;
    let parse = |row: &sqlx::sqlite::SqliteRow| Ok(serde_json::from_str(&row.try_get::<String, _>("row")?)?);
    rows.iter().map(parse).collect()
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_info($1) ORDER BY cid";
    Ok(sqlx::query_scalar(sql).bind(table).fetch_all(connection).await?)
}

/// A text with places for what differs from copy to copy.
struct Pattern(Vec<Part>);

enum Part {
    Text(String),
    /// The value of the name with this number.
    Name(usize),
}

impl Pattern {
    fn of(text: &str, names: &[String]) -> Self {
        let mut parts = vec![Part::Text(text.to_owned())];
        for (at, name) in names.iter().enumerate() {
            let mut finer = Vec::with_capacity(parts.len());
            for part in parts {
                let Part::Text(text) = part else {
                    finer.push(part);
                    continue;
                };
                for (place, piece) in text.split(name.as_str()).enumerate() {
                    if place > 0 {
                        finer.push(Part::Name(at));
                    }
                    finer.push(Part::Text(piece.to_owned()));
                }
            }
            parts = finer;
        }
        Self(parts)
    }

    fn with(&self, values: &[String]) -> String {
        let value = |part| match part {
            &Part::Name(at) => values.get(at).map_or("", String::as_str),
            Part::Text(text) => text.as_str(),
        };
        self.0.iter().map(value).collect()
    }
}

/// One column of a template's row.
enum Cell {
    Same(Value),
    Moment(i64),
    Text(Pattern),
}

struct RowPattern(Vec<(String, Cell)>);

impl RowPattern {
    fn of(row: &Map<String, Value>, names: &[String]) -> Self {
        let cell = |name: &str, value: &Value| match value {
            Value::String(text) => Cell::Text(Pattern::of(text, names)),
            Value::Number(number) if MOMENTS.contains(&name) => {
                number.as_i64().map_or_else(|| Cell::Same(value.clone()), Cell::Moment)
            }
            other => Cell::Same(other.clone()),
        };
        Self(row.iter().map(|(name, value)| (name.clone(), cell(name, value))).collect())
    }

    fn with(&self, values: &[String], earlier_ms: i64) -> Value {
        let value = |cell: &Cell| match cell {
            Cell::Same(value) => value.clone(),
            Cell::Moment(at_ms) => json!(at_ms - earlier_ms),
            Cell::Text(pattern) => Value::String(pattern.with(values)),
        };
        Value::Object(self.0.iter().map(|(name, cell)| (name.clone(), value(cell))).collect())
    }
}

/// An output artifact of the template's run.
struct Made {
    id_at: usize,
    digest_at: usize,
    bytes: Vec<u8>,
    project: helix_ids::ProjectId,
    artifact_type: helix_ids::ArtifactType,
    row: RowPattern,
    labels: Vec<RowPattern>,
}

/// A text whose digest the chain holds in place of the text.
struct Hashed {
    at: usize,
    /// The column of an attempt; `None` for an event, whose digest stands as it is.
    column: Option<&'static str>,
    text: Pattern,
}

/// The run that is copied. `names` is what differs from copy to copy, as the template has it; a
/// copy's values are found one after the other, each from those before it.
struct Template {
    names: Vec<String>,
    values: Vec<String>,
    moments: Vec<(usize, i64)>,
    made: Vec<Made>,
    envelope: Pattern,
    identity: RunIdentity,
    identity_at: usize,
    hashed: Vec<Hashed>,
    events: Vec<Hashed>,
    tables: Vec<(&'static str, Vec<RowPattern>)>,
}

fn text<'r>(row: &'r Map<String, Value>, column: &str) -> Result<&'r str> {
    row.get(column).and_then(Value::as_str).with_context(|| format!("no text in column {column}"))
}

/// Adds a name and says where it stands.
fn name(names: &mut Vec<String>, text: impl Into<String>) -> usize {
    names.push(text.into());
    names.len() - 1
}

type Record = Map<String, Value>;

/// Every row of the template's run.
struct Source {
    runs: Vec<Record>,
    attempts: Vec<Record>,
    events: Vec<Record>,
    inputs: Vec<Record>,
    outputs: Vec<Record>,
    artifacts: Vec<Record>,
    /// Of each artifact.
    labels: Vec<Vec<Record>>,
}

impl Source {
    async fn read(connection: &mut SqliteConnection) -> Result<Self> {
        let like = format!("%{MARKER}%");
        let runs = select(connection, "runs", "WHERE envelope LIKE $1", &like).await?;
        ensure!(runs.len() == 1, "{} runs have a call that says {MARKER}; it must be one", runs.len());
        let id = text(runs.first().context("no run")?, "id")?.to_owned();
        let artifacts = select(connection, "artifacts", "WHERE created_by = $1", &id).await?;
        let mut labels = Vec::new();
        for row in &artifacts {
            labels.push(select(connection, "labels", "WHERE artifact = $1", text(row, "id")?).await?);
        }
        Ok(Self {
            attempts: select(connection, "attempts", "WHERE run = $1", &id).await?,
            events: select(connection, "events", "WHERE chain = $1 ORDER BY seq", &id).await?,
            inputs: select(connection, "inputs", "WHERE run = $1", &id).await?,
            outputs: select(connection, "outputs", "WHERE run = $1", &id).await?,
            runs,
            artifacts,
            labels,
        })
    }

    /// Names every moment, and says where each stands.
    fn moments(&self, names: &mut Vec<String>) -> Vec<(usize, i64)> {
        let mut moments: Vec<(usize, i64)> = Vec::new();
        for row in self.runs.iter().chain(&self.attempts).chain(&self.events) {
            for at_ms in MOMENTS.iter().filter_map(|moment| row.get(*moment)?.as_i64()) {
                if moments.iter().all(|(_, known)| *known != at_ms) {
                    moments.push((name(names, moment(at_ms)), at_ms));
                }
            }
        }
        moments
    }
}

impl Template {
    fn of(source: &Source, home: &Path) -> Result<Self> {
        let Source { runs, attempts, events, inputs, outputs, artifacts, labels } = source;
        let run = runs.first().context("no run")?;
        let id = text(run, "id")?;
        let mut names = Vec::new();
        name(&mut names, MARKER);
        let moments = source.moments(&mut names);
        let mut hashed = Vec::new();
        for row in attempts {
            for column in HASHED {
                if let Ok(long) = text(row, column) {
                    let at = name(&mut names, hash_said(column, long));
                    hashed.push((at, column, long));
                }
            }
        }
        let mut places = Vec::new();
        for row in artifacts {
            places.push((name(&mut names, text(row, "id")?), name(&mut names, text(row, "digest")?)));
        }
        let identity_at = name(&mut names, id);
        name(&mut names, text(run, "digest")?);
        name(&mut names, text(run, "params_hash")?);
        let mut links = Vec::new();
        for row in events {
            links.push((name(&mut names, text(row, "digest")?), text(row, "text")?));
        }

        let pattern = |at, column, long| Hashed { at, column, text: Pattern::of(long, &names) };
        let hashed = hashed.iter().map(|(at, column, long)| pattern(*at, Some(*column), long)).collect();
        let events_hashed = links.iter().map(|(at, long)| pattern(*at, None, long)).collect();
        let rows = |rows: &[Record]| -> Vec<RowPattern> {
            rows.iter().map(|row| RowPattern::of(row, &names)).collect()
        };
        let mut made = Vec::new();
        for ((row, labels), (id_at, digest_at)) in artifacts.iter().zip(labels).zip(places) {
            made.push(Made {
                id_at,
                digest_at,
                bytes: fs::read(object(home, text(row, "digest")?)?)?,
                project: text(row, "project")?.parse()?,
                artifact_type: text(row, "type")?.parse()?,
                row: RowPattern::of(row, &names),
                labels: rows(labels),
            });
        }
        Ok(Self {
            moments,
            made,
            envelope: Pattern::of(text(run, "envelope")?, &names),
            identity: RunIdentity {
                tool: text(run, "tool")?.parse()?,
                contract: text(run, "contract")?.parse()?,
                policy_hash: text(run, "policy_hash")?.parse()?,
                params_hash: text(run, "params_hash")?.parse()?,
            },
            identity_at,
            hashed,
            events: events_hashed,
            tables: vec![
                ("runs", rows(runs)),
                ("inputs", rows(inputs)),
                ("attempts", rows(attempts)),
                ("outputs", rows(outputs)),
                ("events", rows(events)),
            ],
            values: names.clone(),
            names,
        })
    }

    /// The rows of one copy.
    fn copy(&mut self, number: u64, of: u64, own_outputs: bool, home: &Path, rows: &mut Rows) -> Result<()> {
        let earlier_ms = SPACING_MS * i64::try_from(of - number)?;
        self.values.clone_from(&self.names);
        set(&mut self.values, 0, text_of(number));
        for (at, at_ms) in &self.moments {
            set(&mut self.values, *at, moment(at_ms - earlier_ms));
        }
        if own_outputs {
            for made in &self.made {
                let bytes = replaced(&made.bytes, &text_of(number));
                let digest = Digest::of(&bytes);
                let id = identity::artifact_id(made.project, digest, made.artifact_type);
                set(&mut self.values, made.id_at, id.to_string());
                set(&mut self.values, made.digest_at, digest.to_string());
                rows.add("objects", json!({"digest": digest, "size_bytes": bytes.len(), "seal": null}));
                put(home, &digest.to_string(), &bytes)?;
            }
        }
        let envelope = Digest::of(self.envelope.with(&self.values).as_bytes());
        let identity = RunIdentity { params_hash: envelope, ..self.identity.clone() };
        set(&mut self.values, self.identity_at, identity.run_id().to_string());
        set(&mut self.values, self.identity_at + 1, identity.digest().to_string());
        set(&mut self.values, self.identity_at + 2, envelope.to_string());
        // An event's text holds the digest of the one before it, which therefore comes first.
        for Hashed { at, column, text } in self.hashed.iter().chain(&self.events) {
            let text = text.with(&self.values);
            let said = match column {
                Some(column) => hash_said(column, &text),
                None => Digest::of(text.as_bytes()).to_string(),
            };
            set(&mut self.values, *at, said);
        }
        for (table, patterns) in &self.tables {
            for pattern in patterns {
                rows.add(table, pattern.with(&self.values, earlier_ms));
            }
        }
        for made in self.made.iter().filter(|_| own_outputs) {
            rows.add("artifacts", made.row.with(&self.values, earlier_ms));
            for label in &made.labels {
                rows.add("labels", label.with(&self.values, earlier_ms));
            }
        }
        Ok(())
    }
}

fn set(values: &mut [String], at: usize, value: String) {
    if let Some(place) = values.get_mut(at) {
        *place = value;
    }
}

/// A moment as it stands in an event's text.
fn moment(at_ms: i64) -> String {
    format!("_ms\":{at_ms}")
}

/// A digest as it stands in an event's text. With its key, since an output may have the same bytes.
fn hash_said(column: &str, text: &str) -> String {
    format!("\"{column}\":\"{}\"", Digest::of(text.as_bytes()))
}

fn replaced(bytes: &[u8], with: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace(MARKER, with).into_bytes(),
        // What is no text differs by what follows it.
        Err(_) => [bytes, with.as_bytes()].concat(),
    }
}

/// Where the store keeps an object.
fn object(home: &Path, digest: &str) -> Result<std::path::PathBuf> {
    let hex = digest.strip_prefix("sha256:").context("no digest")?;
    let (first, rest) = hex.split_at_checked(2).context("no digest")?;
    let (second, _) = rest.split_at_checked(2).context("no digest")?;
    Ok(home.join("objects").join(first).join(second).join(hex))
}

fn put(home: &Path, digest: &str, bytes: &[u8]) -> Result<()> {
    let path = object(home, digest)?;
    fs::create_dir_all(path.parent().context("no folder")?)?;
    fs::write(&path, bytes).with_context(|| path.display().to_string())
}

/// Rows that wait to be inserted, by table; parents before their children.
#[derive(Default)]
struct Rows(Vec<(&'static str, Vec<Value>)>);

impl Rows {
    fn add(&mut self, table: &'static str, row: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == table) {
            Some((_, rows)) => rows.push(row),
            None => self.0.push((table, vec![row])),
        }
    }

    /// One statement a table: the rows travel as one JSON text.
    async fn insert(self, connection: &mut SqliteConnection) -> Result<()> {
        let mut transaction = connection.begin().await?;
        for (table, rows) in self.0 {
            let columns = columns(&mut transaction, table).await?;
            let values: Vec<String> =
                columns.iter().map(|name| format!("json_extract(j.value, '$.{name}')")).collect();
            // Two copies may make the same bytes; one object is enough, as it is for the host.
            let sql = format!(
                "INSERT OR IGNORE INTO {table} ({}) SELECT {} FROM json_each($1) j",
                columns.join(", "),
                values.join(", ")
            );
            let rows = Value::Array(rows).to_string();
            sqlx::query(AssertSqlSafe(sql)).bind(rows).execute(&mut *transaction).await.context(table)?;
        }
        transaction.commit().await.context("the rows cannot be committed")
    }
}
