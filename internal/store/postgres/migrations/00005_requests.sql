-- +goose Up
CREATE TABLE requests (
    id         TEXT PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    filed_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    doc        TEXT    NOT NULL,
    rowid BIGINT GENERATED ALWAYS AS IDENTITY -- breaks ties of order
);
CREATE INDEX requests_by_user ON requests (user_id, filed_at);
CREATE INDEX requests_by_time ON requests (filed_at);
CREATE INDEX requests_pending ON requests (filed_at) WHERE state = 'pending';

CREATE TABLE request_targets (
    request_id TEXT NOT NULL REFERENCES requests (id),
    target     TEXT NOT NULL,
    PRIMARY KEY (target, request_id)
);

-- Who voted when, for the question whether somebody reads what they approve.
CREATE TABLE request_votes (
    request_id TEXT    NOT NULL REFERENCES requests (id),
    user_id    TEXT    NOT NULL,
    filed_at   BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (user_id, at, request_id)
);
CREATE INDEX request_votes_by_request ON request_votes (request_id);

CREATE TABLE grants (
    id           TEXT PRIMARY KEY,
    request_id   TEXT    NOT NULL UNIQUE REFERENCES requests (id),
    user_id      TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    approved_at  BIGINT NOT NULL,
    activated_at BIGINT NOT NULL,
    start_at     BIGINT NOT NULL,
    end_at       BIGINT NOT NULL,
    version      BIGINT NOT NULL,
    doc          TEXT    NOT NULL,
    rowid BIGINT GENERATED ALWAYS AS IDENTITY -- breaks ties of order
);
CREATE INDEX grants_by_user ON grants (user_id, approved_at);
CREATE INDEX grants_by_time ON grants (approved_at);
CREATE INDEX grants_open ON grants (approved_at) WHERE state <> 'ended';

CREATE TABLE grant_targets (
    grant_id TEXT NOT NULL REFERENCES grants (id),
    target   TEXT NOT NULL,
    PRIMARY KEY (target, grant_id)
);
