-- What sessions have used of a budget that their grant has as a whole.

-- +goose Up
CREATE TABLE budgets (
    grant_id   TEXT PRIMARY KEY REFERENCES grants (id),
    "rows"     BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    statements BIGINT NOT NULL
);
