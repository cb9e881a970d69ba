-- doc is the value as JSON; columns repeat what is searched or compared.

-- +goose Up
CREATE TABLE users (
    id        TEXT PRIMARY KEY,
    name      TEXT COLLATE "C" NOT NULL UNIQUE,
    issuer    TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    scim_id   TEXT    NOT NULL,
    version   BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    doc       TEXT    NOT NULL
);
CREATE UNIQUE INDEX users_by_subject ON users (issuer, subject) WHERE subject <> '';
CREATE UNIQUE INDEX users_by_scim ON users (scim_id) WHERE scim_id <> '';

CREATE TABLE user_keys (
    fingerprint TEXT COLLATE "C" PRIMARY KEY,
    user_id     TEXT    NOT NULL REFERENCES users (id),
    authorized  TEXT    NOT NULL,
    comment     TEXT    NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX user_keys_by_user ON user_keys (user_id);

CREATE TABLE invites (
    id         TEXT PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    code_hash  BYTEA    NOT NULL UNIQUE,
    created_by TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL
);
