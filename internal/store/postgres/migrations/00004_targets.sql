-- Targets that were added or imported rather than configured.

-- +goose Up
CREATE TABLE targets (
    name TEXT PRIMARY KEY,
    doc  TEXT NOT NULL
);
