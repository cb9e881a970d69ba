-- The full-text index over recordings, which can be dropped and built again
-- from them. words is made by the gateway, so that both stores find the same.

-- +goose Up
CREATE TABLE indexed_sessions (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session    TEXT   NOT NULL UNIQUE,
    user_id    TEXT   NOT NULL,
    user_name  TEXT   NOT NULL,
    target     TEXT   NOT NULL,
    started_at BIGINT NOT NULL
);

CREATE TABLE lines (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session BIGINT   NOT NULL REFERENCES indexed_sessions (id),
    at      BIGINT   NOT NULL,
    kind    TEXT     NOT NULL,
    text    TEXT     NOT NULL,
    words   TSVECTOR NOT NULL
);
CREATE INDEX lines_by_session ON lines (session);
CREATE INDEX lines_by_words ON lines USING gin (words);
