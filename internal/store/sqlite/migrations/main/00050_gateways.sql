-- What gateways tell each other: who they are, and what must be the same on all
-- of them, such as the public keys of the CAs.

-- +goose Up
ALTER TABLE instances ADD COLUMN doc TEXT NOT NULL DEFAULT '{}';

CREATE TABLE installation (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
