-- What waits for a second administrator.

-- +goose Up
CREATE TABLE admin_acts (
    id         TEXT PRIMARY KEY,
    state      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    doc        TEXT    NOT NULL
) STRICT;
CREATE INDEX admin_acts_by_time ON admin_acts (created_at);
