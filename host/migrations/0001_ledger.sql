-- Only TEXT and BIGINT columns: ids and digests as their canonical text, times as milliseconds
-- UTC, JSON as TEXT, truth as 0 or 1. The triggers are what makes the invariants hold against a
-- mistake of ours; the code asks in the same words.

-- `store_bytes` counts each digest of the project's artifacts once: every import asks for it.
CREATE TABLE projects (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    created_ms  BIGINT NOT NULL,
    store_bytes BIGINT NOT NULL
);

-- Bytes, once for each digest; the seal is JSON of what the file system said when they were proved.
CREATE TABLE objects (
    digest     TEXT   NOT NULL PRIMARY KEY,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    seal       TEXT
);

CREATE TABLE artifacts (
    id         TEXT   NOT NULL PRIMARY KEY,
    project    TEXT   NOT NULL REFERENCES projects (id),
    digest     TEXT   NOT NULL REFERENCES objects (digest),
    type       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT   REFERENCES runs (id)
);
CREATE INDEX artifacts_newest ON artifacts (project, created_ms, id);
CREATE INDEX artifacts_newest_of_type ON artifacts (project, type, created_ms, id);
CREATE INDEX artifacts_by_digest ON artifacts (digest);

CREATE TABLE labels (
    artifact TEXT   NOT NULL REFERENCES artifacts (id),
    seq      BIGINT NOT NULL,
    label    TEXT   NOT NULL,
    given_by TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (artifact, seq)
);

CREATE TABLE policies (
    digest TEXT NOT NULL PRIMARY KEY,
    text   TEXT NOT NULL
);

CREATE TABLE components (
    digest   TEXT NOT NULL PRIMARY KEY,
    manifest TEXT NOT NULL
);

CREATE TABLE runs (
    id          TEXT   NOT NULL PRIMARY KEY,
    digest      TEXT   NOT NULL UNIQUE,
    project     TEXT   NOT NULL REFERENCES projects (id),
    tool        TEXT   NOT NULL,
    contract    TEXT   NOT NULL,
    component   TEXT   NOT NULL,
    params_hash TEXT   NOT NULL,
    policy_hash TEXT   NOT NULL,
    envelope    TEXT   NOT NULL,
    slice       TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL
);
CREATE INDEX runs_newest ON runs (project, created_ms, id);
CREATE INDEX runs_newest_of_tool ON runs (project, tool, created_ms, id);

CREATE TABLE inputs (
    run      TEXT   NOT NULL REFERENCES runs (id),
    place    BIGINT NOT NULL,
    role     TEXT   NOT NULL,
    position BIGINT NOT NULL,
    sample   TEXT,
    artifact TEXT   NOT NULL REFERENCES artifacts (id),
    PRIMARY KEY (run, place),
    UNIQUE (run, role, position)
);

CREATE TABLE attempts (
    run               TEXT   NOT NULL REFERENCES runs (id),
    ordinal           BIGINT NOT NULL CHECK (ordinal >= 1),
    state             TEXT   NOT NULL CHECK (state IN
        ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'blocked')),
    owner             TEXT   NOT NULL,
    caller            TEXT   NOT NULL,
    takeovers         BIGINT NOT NULL,
    policy_file       TEXT   NOT NULL REFERENCES policies (digest),
    engine            TEXT   NOT NULL,
    host_version      TEXT   NOT NULL,
    plan              TEXT   NOT NULL,
    created_ms        BIGINT NOT NULL,
    started_ms        BIGINT,
    ended_ms          BIGINT,
    result            TEXT,
    summary           TEXT,
    failure_class     TEXT,
    failure_code      TEXT,
    failure_message   TEXT,
    failure_advice    TEXT,
    failure_is_answer BIGINT,
    cancelled_by      TEXT,
    fuel              BIGINT NOT NULL,
    memory_bytes      BIGINT NOT NULL,
    wall_ms           BIGINT NOT NULL,
    log_dropped_bytes BIGINT NOT NULL,
    log               TEXT   NOT NULL,
    PRIMARY KEY (run, ordinal),
    -- What a terminal state promises.
    CHECK ((ended_ms IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled', 'blocked'))),
    CHECK ((result IS NOT NULL AND summary IS NOT NULL) = (state = 'succeeded')),
    CHECK ((failure_class IS NOT NULL AND failure_code IS NOT NULL AND failure_message IS NOT NULL
            AND failure_advice IS NOT NULL AND failure_is_answer IS NOT NULL)
           = (state IN ('failed', 'blocked'))),
    CHECK ((cancelled_by IS NOT NULL) = (state = 'cancelled'))
);
-- At most one attempt of a run is not terminal.
CREATE UNIQUE INDEX attempts_one_open ON attempts (run) WHERE state IN ('queued', 'running', 'waiting');
CREATE INDEX attempts_unfinished ON attempts (state, run) WHERE state <> 'succeeded';

CREATE TABLE outputs (
    run      TEXT   NOT NULL,
    attempt  BIGINT NOT NULL,
    place    BIGINT NOT NULL,
    role     TEXT   NOT NULL,
    output_key TEXT NOT NULL,
    artifact TEXT   NOT NULL REFERENCES artifacts (id),
    label    TEXT,
    PRIMARY KEY (run, attempt, place),
    UNIQUE (run, attempt, role, output_key),
    FOREIGN KEY (run, attempt) REFERENCES attempts (run, ordinal)
);
CREATE INDEX outputs_by_artifact ON outputs (artifact);

-- Chains: of a run, or of a project for what belongs to no run. `text` is what was hashed.
CREATE TABLE events (
    chain  TEXT   NOT NULL,
    seq    BIGINT NOT NULL,
    at_ms  BIGINT NOT NULL,
    kind   TEXT   NOT NULL,
    prev   TEXT,
    text   TEXT   NOT NULL,
    digest TEXT   NOT NULL,
    UNIQUE (chain, seq)
);

CREATE TABLE denials (
    id      TEXT   NOT NULL PRIMARY KEY,
    at_ms   BIGINT NOT NULL,
    project TEXT,
    caller  TEXT   NOT NULL,
    tool    TEXT,
    rule    TEXT   NOT NULL,
    line    BIGINT,
    code    TEXT   NOT NULL,
    message TEXT   NOT NULL
);

-- I-7: a state moves only along the one list, and terminal is final.
CREATE TRIGGER attempts_begin_queued BEFORE INSERT ON attempts
WHEN NEW.state <> 'queued'
BEGIN
    SELECT RAISE(ABORT, 'an attempt begins queued');
END;

CREATE TRIGGER attempts_terminal_is_final BEFORE UPDATE ON attempts
WHEN OLD.state IN ('succeeded', 'failed', 'cancelled', 'blocked')
BEGIN
    SELECT RAISE(ABORT, 'a terminal attempt is final');
END;

CREATE TRIGGER attempts_follow_the_list BEFORE UPDATE OF state ON attempts
WHEN OLD.state <> NEW.state AND NOT (
       (OLD.state = 'queued'  AND NEW.state IN ('running', 'failed', 'cancelled', 'blocked'))
    OR (OLD.state = 'running' AND NEW.state IN ('waiting', 'succeeded', 'failed', 'cancelled', 'blocked'))
    OR (OLD.state = 'waiting' AND NEW.state IN ('running', 'failed', 'cancelled', 'blocked')))
BEGIN
    SELECT RAISE(ABORT, 'no such transition');
END;

CREATE TRIGGER attempts_keep_what_began BEFORE UPDATE ON attempts
WHEN OLD.run <> NEW.run OR OLD.ordinal <> NEW.ordinal OR OLD.caller <> NEW.caller OR OLD.plan <> NEW.plan
    OR OLD.policy_file <> NEW.policy_file OR OLD.engine <> NEW.engine
    OR OLD.host_version <> NEW.host_version OR OLD.created_ms <> NEW.created_ms
BEGIN
    SELECT RAISE(ABORT, 'what an attempt began with stays');
END;

CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts
BEGIN
    SELECT RAISE(ABORT, 'attempts stay');
END;

CREATE TRIGGER outputs_of_open_attempts BEFORE INSERT ON outputs
WHEN (SELECT state FROM attempts WHERE run = NEW.run AND ordinal = NEW.attempt) IS NOT 'running'
BEGIN
    SELECT RAISE(ABORT, 'outputs are committed with the end of their attempt');
END;

CREATE TRIGGER outputs_stay_as_they_are BEFORE UPDATE ON outputs
BEGIN
    SELECT RAISE(ABORT, 'outputs stay');
END;

CREATE TRIGGER outputs_stay BEFORE DELETE ON outputs
BEGIN
    SELECT RAISE(ABORT, 'outputs stay');
END;

CREATE TRIGGER runs_stay_as_they_are BEFORE UPDATE ON runs
BEGIN
    SELECT RAISE(ABORT, 'a run is its identity');
END;

CREATE TRIGGER runs_stay BEFORE DELETE ON runs
BEGIN
    SELECT RAISE(ABORT, 'a run is its identity');
END;

CREATE TRIGGER inputs_stay_as_they_are BEFORE UPDATE ON inputs
BEGIN
    SELECT RAISE(ABORT, 'a run is its identity');
END;

CREATE TRIGGER inputs_stay BEFORE DELETE ON inputs
BEGIN
    SELECT RAISE(ABORT, 'a run is its identity');
END;

-- Events and denials are only ever appended, and an event continues its chain.
CREATE TRIGGER events_continue_their_chain BEFORE INSERT ON events
WHEN NEW.seq <> (SELECT COALESCE(MAX(seq) + 1, 0) FROM events WHERE chain = NEW.chain)
    OR NEW.prev IS NOT (SELECT digest FROM events WHERE chain = NEW.chain AND seq = NEW.seq - 1)
BEGIN
    SELECT RAISE(ABORT, 'an event continues its chain');
END;

CREATE TRIGGER events_stay_as_they_are BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are only appended');
END;

CREATE TRIGGER events_stay BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are only appended');
END;

CREATE TRIGGER denials_stay_as_they_are BEFORE UPDATE ON denials
BEGIN
    SELECT RAISE(ABORT, 'denials are only appended');
END;

CREATE TRIGGER denials_stay BEFORE DELETE ON denials
BEGIN
    SELECT RAISE(ABORT, 'denials are only appended');
END;
