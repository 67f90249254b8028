-- Where each run stands: the state of its newest attempt, in the order in which runs are listed. It
-- follows from `runs` and `attempts`, and triggers keep it so; without it a list of the runs in one
-- state reads every run of that state, or of all the others.
CREATE TABLE standings (
    run        TEXT   NOT NULL PRIMARY KEY REFERENCES runs (id),
    ordinal    BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    project    TEXT   NOT NULL,
    tool       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
) WITHOUT ROWID;

INSERT INTO standings (run, ordinal, state, project, tool, created_ms)
SELECT r.id, a.ordinal, a.state, r.project, r.tool, r.created_ms
FROM runs r JOIN attempts a ON a.run = r.id
WHERE a.ordinal = (SELECT MAX(n.ordinal) FROM attempts n WHERE n.run = r.id)
ORDER BY r.id;

CREATE INDEX standings_newest ON standings (project, state, created_ms, run);
CREATE INDEX standings_newest_of_tool ON standings (project, tool, state, created_ms, run);

CREATE TRIGGER standings_begin AFTER INSERT ON attempts
BEGIN
    INSERT INTO standings (run, ordinal, state, project, tool, created_ms)
    SELECT r.id, NEW.ordinal, NEW.state, r.project, r.tool, r.created_ms FROM runs r WHERE r.id = NEW.run
    ON CONFLICT (run) DO UPDATE SET ordinal = excluded.ordinal, state = excluded.state
    WHERE excluded.ordinal > ordinal;
END;

CREATE TRIGGER standings_follow AFTER UPDATE OF state ON attempts
WHEN OLD.state <> NEW.state
BEGIN
    UPDATE standings SET state = NEW.state WHERE run = NEW.run AND ordinal = NEW.ordinal;
END;
