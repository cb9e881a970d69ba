-- +goose Up
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    grant_id   TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    gateway    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    cause      TEXT    NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,
    doc        TEXT    NOT NULL,
    rowid BIGINT GENERATED ALWAYS AS IDENTITY -- breaks ties of order
);
CREATE INDEX sessions_by_time ON sessions (started_at);
CREATE INDEX sessions_by_user ON sessions (user_id, started_at);
CREATE INDEX sessions_by_target ON sessions (target, started_at);
CREATE INDEX sessions_by_grant ON sessions (grant_id, started_at);
CREATE INDEX sessions_open ON sessions (started_at) WHERE state = 'open';
CREATE INDEX sessions_open_by_gateway ON sessions (gateway, started_at) WHERE state = 'open';

-- What was minted. A row is written before the minting and stays: dead_at is
-- set only after the check that it is dead.
CREATE TABLE credentials (
    id         TEXT PRIMARY KEY,
    session_id TEXT    NOT NULL,
    grant_id   TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    dead_at    BIGINT NOT NULL,
    tries      BIGINT NOT NULL,
    last_error TEXT    NOT NULL,
    doc        TEXT    NOT NULL,
    rowid BIGINT GENERATED ALWAYS AS IDENTITY -- breaks ties of order
);
CREATE INDEX credentials_live ON credentials (session_id) WHERE dead_at = 0;
CREATE INDEX credentials_live_by_grant ON credentials (grant_id) WHERE dead_at = 0;

-- Gateways and when each was last known to be alive.
CREATE TABLE instances (
    id   TEXT PRIMARY KEY,
    beat BIGINT NOT NULL
);

-- The newest time that was ever seen: a clock behind it is wrong.
CREATE TABLE clock (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    high BIGINT NOT NULL
);
INSERT INTO clock (id, high) VALUES (1, 0);
