-- Second factors. sealed opens only with a key that is not in this file.

-- +goose Up
CREATE TABLE factors (
    id         TEXT PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    sealed     BYTEA    NOT NULL,
    last_step  BIGINT NOT NULL,
    sign_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX factors_by_user ON factors (user_id);

CREATE TABLE factor_attempts (
    user_id      TEXT PRIMARY KEY REFERENCES users (id),
    failures     BIGINT NOT NULL,
    locked_until BIGINT NOT NULL
);
