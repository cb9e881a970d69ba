-- What sessions have used of a budget that their grant has as a whole.

-- +goose Up
CREATE TABLE budgets (
    grant_id   TEXT PRIMARY KEY REFERENCES grants (id),
    "rows"     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    statements INTEGER NOT NULL
) STRICT;
