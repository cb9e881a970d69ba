-- What somebody should look at.

-- +goose Up
CREATE TABLE findings (
    id         TEXT PRIMARY KEY,
    code       TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    raised_at  BIGINT NOT NULL,
    acked_at   BIGINT NOT NULL,
    doc        TEXT    NOT NULL,
    rowid BIGINT GENERATED ALWAYS AS IDENTITY -- breaks ties of order
);
CREATE INDEX findings_by_time ON findings (raised_at);
CREATE INDEX findings_open ON findings (raised_at) WHERE acked_at = 0;
CREATE INDEX findings_by_request ON findings (request_id) WHERE request_id <> '';
