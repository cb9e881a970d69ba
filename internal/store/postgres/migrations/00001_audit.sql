-- The Merkle log. A leaf is the bytes that are hashed; hashes holds the tree
-- hashes that were stored with it, 32 bytes each: its own first, then those of
-- the subtrees that it completed. The other columns repeat what is in leaf, to
-- search by. Times are nanoseconds since 1970, UTC; 0 is "none".

-- +goose Up
CREATE TABLE events (
    seq        BIGINT PRIMARY KEY,
    time       BIGINT NOT NULL,
    type       TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    grant_id   TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    leaf       TEXT    NOT NULL,
    hashes     BYTEA    NOT NULL
);
-- A query uses a partial index only if it repeats the index's condition.
CREATE INDEX events_by_type ON events (type);
CREATE INDEX events_by_request ON events (request_id) WHERE request_id <> '';
CREATE INDEX events_by_grant ON events (grant_id) WHERE grant_id <> '';
CREATE INDEX events_by_session ON events (session_id) WHERE session_id <> '';
CREATE INDEX events_by_user ON events (user_id, type) WHERE user_id <> '';


-- +goose StatementBegin
CREATE FUNCTION events_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$;
-- +goose StatementEnd
CREATE TRIGGER events_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_only_grow();

CREATE TABLE checkpoints (
    size BIGINT PRIMARY KEY,
    root BYTEA    NOT NULL,
    note TEXT    NOT NULL,
    time BIGINT NOT NULL
);

-- How far each reader of the log (sinks, notifications) has come.
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq  BIGINT NOT NULL
);
