-- Session tokens of databases: SCRAM verifiers, never the tokens.

-- +goose Up
CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    grant_id   TEXT    NOT NULL REFERENCES grants (id),
    user_id    TEXT    NOT NULL,
    user_name  TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    salt       BLOB    NOT NULL,
    stored_key BLOB    NOT NULL,
    server_key BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    dead_at    INTEGER NOT NULL,
    doc        TEXT    NOT NULL
) STRICT;
CREATE INDEX tokens_live ON tokens (user_name, target, created_at) WHERE dead_at = 0;
CREATE INDEX tokens_live_by_grant ON tokens (grant_id) WHERE dead_at = 0;
