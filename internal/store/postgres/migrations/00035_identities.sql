-- What identity providers call users and groups, and what is good for one use.
-- user_name repeats what is in users.doc, in lower case.

-- +goose Up
ALTER TABLE users ADD COLUMN user_name TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX users_by_user_name ON users (user_name) WHERE user_name <> '';

CREATE TABLE scim_groups (
    id          TEXT PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    external_id TEXT    NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL
);

CREATE TABLE once (
    key   TEXT PRIMARY KEY,
    until BIGINT NOT NULL
);
CREATE INDEX once_by_until ON once (until);
