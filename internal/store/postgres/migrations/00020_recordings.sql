-- Sealed recordings: how long each is kept, who holds it, where it lies, how
-- it was deleted. Rows follow from the audit log and stay when the bytes go.

-- +goose Up
CREATE TABLE recordings (
    session      TEXT PRIMARY KEY,
    sealed_at    BIGINT NOT NULL,
    retain_until BIGINT NOT NULL, -- 0: for ever
    held         BIGINT NOT NULL, -- 1: by a person
    stored_at    BIGINT NOT NULL, -- in the object store; 0: not
    object_held  BIGINT NOT NULL, -- 1: the object store's own legal hold
    ordered_at   BIGINT NOT NULL, -- deletion; 0: not
    done_at      BIGINT NOT NULL, -- the bytes are gone; 0: not
    doc          TEXT    NOT NULL
);
CREATE INDEX recordings_by_seal ON recordings (sealed_at, session);
CREATE INDEX recordings_local ON recordings (sealed_at, session) WHERE stored_at = 0 AND ordered_at = 0;
CREATE INDEX recordings_due ON recordings (retain_until) WHERE retain_until > 0 AND ordered_at = 0;
CREATE INDEX recordings_ordered ON recordings (sealed_at, session) WHERE ordered_at > 0 AND done_at = 0;
CREATE INDEX recordings_held ON recordings (sealed_at, session) WHERE held = 1;
