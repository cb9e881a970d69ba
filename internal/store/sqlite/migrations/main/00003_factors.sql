-- Second factors. sealed opens only with a key that is not in this file.

-- +goose Up
CREATE TABLE factors (
    id         TEXT PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    last_step  INTEGER NOT NULL,
    sign_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX factors_by_user ON factors (user_id);

CREATE TABLE factor_attempts (
    user_id      TEXT PRIMARY KEY REFERENCES users (id),
    failures     INTEGER NOT NULL,
    locked_until INTEGER NOT NULL
) STRICT;
