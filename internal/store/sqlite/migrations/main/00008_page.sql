-- Signed-in browsers and one-time sign-in links: hashes, never the values.

-- +goose Up
CREATE TABLE page_sessions (
    id              TEXT PRIMARY KEY,
    user_id         TEXT    NOT NULL REFERENCES users (id),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    last_seen       INTEGER NOT NULL,
    source          TEXT    NOT NULL,
    key_fingerprint TEXT    NOT NULL
) STRICT;
CREATE INDEX page_sessions_by_user ON page_sessions (user_id);

CREATE TABLE page_links (
    hash       BLOB PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    key_fingerprint TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT;
