-- doc is the value as JSON; columns repeat what is searched or compared.

-- +goose Up
CREATE TABLE users (
    id        TEXT PRIMARY KEY,
    name      TEXT    NOT NULL UNIQUE,
    issuer    TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    scim_id   TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    doc       TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_by_subject ON users (issuer, subject) WHERE subject <> '';
CREATE UNIQUE INDEX users_by_scim ON users (scim_id) WHERE scim_id <> '';

CREATE TABLE user_keys (
    fingerprint TEXT PRIMARY KEY,
    user_id     TEXT    NOT NULL REFERENCES users (id),
    authorized  TEXT    NOT NULL,
    comment     TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX user_keys_by_user ON user_keys (user_id);

CREATE TABLE invites (
    id         TEXT PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    code_hash  BLOB    NOT NULL UNIQUE,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT;
