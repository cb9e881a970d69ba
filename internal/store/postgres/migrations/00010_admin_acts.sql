-- What waits for a second administrator.

-- +goose Up
CREATE TABLE admin_acts (
    id         TEXT PRIMARY KEY,
    state      TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    doc        TEXT    NOT NULL,
    rowid BIGINT GENERATED ALWAYS AS IDENTITY -- breaks ties of order
);
CREATE INDEX admin_acts_by_time ON admin_acts (created_at);
