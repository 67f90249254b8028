-- Container steps. An ask is what a guest asked of the host, by ordinal, and is committed before any
-- effect; a step is what came of it. A run that is carried on later asks the same again, and is
-- answered from here.
CREATE TABLE asks (
    run     TEXT   NOT NULL,
    attempt BIGINT NOT NULL,
    ordinal BIGINT NOT NULL CHECK (ordinal >= 0),
    kind    TEXT   NOT NULL,
    text    TEXT   NOT NULL,
    digest  TEXT   NOT NULL,
    at_ms   BIGINT NOT NULL,
    PRIMARY KEY (run, attempt, ordinal),
    FOREIGN KEY (run, attempt) REFERENCES attempts (run, ordinal)
);

CREATE TABLE steps (
    run               TEXT   NOT NULL,
    attempt           BIGINT NOT NULL,
    ordinal           BIGINT NOT NULL,
    state             TEXT   NOT NULL CHECK (state IN
        ('intended', 'submitted', 'running', 'done', 'failed', 'skipped', 'cancelled', 'lost')),
    name              TEXT   NOT NULL,
    image             TEXT   NOT NULL,
    backend           TEXT   NOT NULL,
    step_key          TEXT,
    -- Which submission it is; 0 before the first.
    try               BIGINT NOT NULL CHECK (try >= 0),
    container         TEXT,
    intended_ms       BIGINT NOT NULL,
    submitted_ms      BIGINT,
    running_ms        BIGINT,
    ended_ms          BIGINT,
    -- The order in which the outcomes of an attempt became known.
    outcome_seq       BIGINT,
    exit_code         BIGINT,
    stdout_tail       TEXT   NOT NULL,
    stderr_tail       TEXT   NOT NULL,
    failure_class     TEXT,
    failure_code      TEXT,
    failure_message   TEXT,
    failure_advice    TEXT,
    failure_is_answer BIGINT,
    wall_ms           BIGINT NOT NULL,
    cpu_ms            BIGINT NOT NULL,
    peak_memory_bytes BIGINT NOT NULL,
    queue_ms          BIGINT NOT NULL,
    reused_run        TEXT,
    reused_attempt    BIGINT,
    reused_ordinal    BIGINT,
    PRIMARY KEY (run, attempt, ordinal),
    FOREIGN KEY (run, attempt, ordinal) REFERENCES asks (run, attempt, ordinal),
    FOREIGN KEY (reused_run, reused_attempt, reused_ordinal) REFERENCES steps (run, attempt, ordinal),
    -- What a state promises.
    CHECK ((ended_ms IS NOT NULL) = (state IN ('done', 'failed', 'skipped', 'cancelled', 'lost'))),
    CHECK ((outcome_seq IS NOT NULL) = (ended_ms IS NOT NULL)),
    CHECK ((submitted_ms IS NOT NULL) = (try > 0)),
    CHECK ((running_ms IS NOT NULL) = (container IS NOT NULL)),
    CHECK (try > 0 OR state IN ('intended', 'skipped', 'cancelled') OR reused_run IS NOT NULL),
    CHECK (step_key IS NOT NULL OR state IN ('intended', 'skipped', 'cancelled')),
    CHECK (container IS NOT NULL OR state <> 'running'),
    CHECK (exit_code IS NOT NULL OR state <> 'done'),
    CHECK (exit_code IS NULL OR state IN ('done', 'failed')),
    CHECK ((failure_class IS NOT NULL AND failure_code IS NOT NULL AND failure_message IS NOT NULL
            AND failure_advice IS NOT NULL AND failure_is_answer IS NOT NULL)
           = (state IN ('failed', 'lost'))),
    CHECK (reused_run IS NULL OR (state = 'done' AND try = 0)),
    CHECK ((reused_run IS NULL) = (reused_attempt IS NULL AND reused_ordinal IS NULL))
);
-- Those that must be looked after, and those whose outcome may be used again.
CREATE INDEX steps_open ON steps (run, attempt, ordinal) WHERE state IN ('intended', 'submitted', 'running');
CREATE INDEX steps_by_key ON steps (step_key, ended_ms) WHERE state = 'done' AND reused_run IS NULL;
CREATE UNIQUE INDEX steps_in_order ON steps (run, attempt, outcome_seq) WHERE outcome_seq IS NOT NULL;

-- What a step left: the files that were captured, and its whole stdout and stderr where they are kept.
CREATE TABLE step_files (
    run     TEXT   NOT NULL,
    attempt BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    place   BIGINT NOT NULL,
    kind    TEXT   NOT NULL CHECK (kind IN ('capture', 'stdout', 'stderr')),
    name    TEXT   NOT NULL,
    type    TEXT   NOT NULL,
    digest  TEXT   NOT NULL REFERENCES objects (digest),
    PRIMARY KEY (run, attempt, ordinal, place),
    UNIQUE (run, attempt, ordinal, kind, name),
    FOREIGN KEY (run, attempt, ordinal) REFERENCES steps (run, attempt, ordinal)
);
CREATE INDEX step_files_by_digest ON step_files (digest);

CREATE TRIGGER asks_of_open_attempts BEFORE INSERT ON asks
WHEN (SELECT state IN ('running', 'waiting') FROM attempts WHERE run = NEW.run AND ordinal = NEW.attempt) IS NOT 1
BEGIN
    SELECT RAISE(ABORT, 'only a guest that runs asks');
END;

CREATE TRIGGER asks_are_numbered BEFORE INSERT ON asks
WHEN NEW.ordinal <> (SELECT COALESCE(MAX(ordinal) + 1, 0) FROM asks WHERE run = NEW.run AND attempt = NEW.attempt)
BEGIN
    SELECT RAISE(ABORT, 'asks are numbered one by one');
END;

CREATE TRIGGER asks_stay_as_they_are BEFORE UPDATE ON asks
BEGIN
    SELECT RAISE(ABORT, 'asks stay');
END;

CREATE TRIGGER asks_stay BEFORE DELETE ON asks
BEGIN
    SELECT RAISE(ABORT, 'asks stay');
END;

-- I-7: a state moves only along the one list, and terminal is final.
CREATE TRIGGER steps_begin_intended BEFORE INSERT ON steps
WHEN NEW.state <> 'intended' OR NEW.try <> 0 OR NEW.step_key IS NOT NULL OR NEW.container IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a step begins intended');
END;

CREATE TRIGGER steps_terminal_is_final BEFORE UPDATE ON steps
WHEN OLD.state IN ('done', 'failed', 'skipped', 'cancelled', 'lost')
BEGIN
    SELECT RAISE(ABORT, 'a terminal step is final');
END;

CREATE TRIGGER steps_follow_the_list BEFORE UPDATE OF state ON steps
WHEN OLD.state <> NEW.state AND NOT (
       (OLD.state = 'intended'  AND NEW.state IN ('submitted', 'done', 'skipped', 'cancelled'))
    OR (OLD.state = 'submitted' AND NEW.state IN ('running', 'done', 'failed', 'cancelled', 'lost'))
    OR (OLD.state = 'running'   AND NEW.state IN ('done', 'failed', 'cancelled', 'lost')))
BEGIN
    SELECT RAISE(ABORT, 'no such transition');
END;

-- I-8: what is known of a step is written once. A try is only counted when it is submitted.
CREATE TRIGGER steps_keep_what_began BEFORE UPDATE ON steps
WHEN OLD.run <> NEW.run OR OLD.attempt <> NEW.attempt OR OLD.ordinal <> NEW.ordinal OR OLD.name <> NEW.name
    OR OLD.image <> NEW.image OR OLD.backend <> NEW.backend OR OLD.intended_ms <> NEW.intended_ms
    OR (OLD.step_key IS NOT NULL AND OLD.step_key IS NOT NEW.step_key)
    OR (OLD.container IS NOT NULL AND OLD.container IS NOT NEW.container)
    OR (OLD.try <> NEW.try AND NOT (OLD.state = 'intended' AND NEW.state = 'submitted'))
    OR (OLD.submitted_ms IS NOT NULL AND OLD.submitted_ms IS NOT NEW.submitted_ms)
    OR (OLD.running_ms IS NOT NULL AND OLD.running_ms IS NOT NEW.running_ms)
BEGIN
    SELECT RAISE(ABORT, 'what a step began with stays');
END;

-- One that is reused was done, and under the same key.
CREATE TRIGGER steps_reuse_what_is_done BEFORE UPDATE ON steps
WHEN NEW.reused_run IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM steps s JOIN runs theirs ON theirs.id = s.run JOIN runs mine ON mine.id = NEW.run
    WHERE s.run = NEW.reused_run AND s.attempt = NEW.reused_attempt AND s.ordinal = NEW.reused_ordinal
      AND s.state = 'done' AND s.step_key = NEW.step_key AND theirs.project = mine.project)
BEGIN
    SELECT RAISE(ABORT, 'only what is done under the same key is used again');
END;

CREATE TRIGGER steps_end_in_order BEFORE UPDATE ON steps
WHEN NEW.outcome_seq IS NOT NULL AND NEW.outcome_seq <>
    (SELECT COALESCE(MAX(outcome_seq) + 1, 0) FROM steps WHERE run = NEW.run AND attempt = NEW.attempt)
BEGIN
    SELECT RAISE(ABORT, 'outcomes are numbered as they become known');
END;

CREATE TRIGGER steps_stay BEFORE DELETE ON steps
BEGIN
    SELECT RAISE(ABORT, 'steps stay');
END;

CREATE TRIGGER step_files_of_open_steps BEFORE INSERT ON step_files
WHEN (SELECT state IN ('intended', 'submitted', 'running') FROM steps
      WHERE run = NEW.run AND attempt = NEW.attempt AND ordinal = NEW.ordinal) IS NOT 1
BEGIN
    SELECT RAISE(ABORT, 'files are committed with the end of their step');
END;

CREATE TRIGGER step_files_stay_as_they_are BEFORE UPDATE ON step_files
BEGIN
    SELECT RAISE(ABORT, 'files of steps stay');
END;

CREATE TRIGGER step_files_stay BEFORE DELETE ON step_files
BEGIN
    SELECT RAISE(ABORT, 'files of steps stay');
END;

-- A cancel goes through to the container: an attempt ends after its steps.
CREATE TRIGGER attempts_end_after_their_steps BEFORE UPDATE OF state ON attempts
WHEN NEW.state IN ('succeeded', 'failed', 'cancelled', 'blocked') AND EXISTS (
    SELECT 1 FROM steps WHERE run = NEW.run AND attempt = NEW.ordinal
      AND state IN ('intended', 'submitted', 'running'))
BEGIN
    SELECT RAISE(ABORT, 'an attempt ends after its steps');
END;
