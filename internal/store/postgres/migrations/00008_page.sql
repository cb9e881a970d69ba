-- Signed-in browsers and one-time sign-in links: hashes, never the values.

-- +goose Up
CREATE TABLE page_sessions (
    id              TEXT PRIMARY KEY,
    user_id         TEXT    NOT NULL REFERENCES users (id),
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    last_seen       BIGINT NOT NULL,
    source          TEXT    NOT NULL,
    key_fingerprint TEXT    NOT NULL
);
CREATE INDEX page_sessions_by_user ON page_sessions (user_id);

CREATE TABLE page_links (
    hash       BYTEA PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    key_fingerprint TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL
);
