-- The full-text index over recordings. It can be dropped and built again from
-- them, so it lies in a file of its own and need not survive a power cut.

-- +goose Up
CREATE TABLE indexed_sessions (
    id         INTEGER PRIMARY KEY,
    session    TEXT    NOT NULL UNIQUE,
    user_id    TEXT    NOT NULL,
    user_name  TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

CREATE TABLE lines (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES indexed_sessions (id),
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    text    TEXT    NOT NULL
) STRICT;
CREATE INDEX lines_by_session ON lines (session);

CREATE VIRTUAL TABLE line_words USING fts5 (
    text, content = 'lines', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
