-- Session tokens of databases: SCRAM verifiers, never the tokens.

-- +goose Up
CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    grant_id   TEXT    NOT NULL REFERENCES grants (id),
    user_id    TEXT    NOT NULL,
    user_name  TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    salt       BYTEA    NOT NULL,
    stored_key BYTEA    NOT NULL,
    server_key BYTEA    NOT NULL,
    created_at BIGINT NOT NULL,
    dead_at    BIGINT NOT NULL,
    doc        TEXT    NOT NULL,
    rowid BIGINT GENERATED ALWAYS AS IDENTITY -- breaks ties of order
);
CREATE INDEX tokens_live ON tokens (user_name, target, created_at) WHERE dead_at = 0;
CREATE INDEX tokens_live_by_grant ON tokens (grant_id) WHERE dead_at = 0;
