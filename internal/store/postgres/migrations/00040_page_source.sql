-- The address from which a key asked for a sign-in link: the page binds a grant
-- to that key only for a browser at the same address.

-- +goose Up
ALTER TABLE page_links ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE page_sessions ADD COLUMN key_source TEXT NOT NULL DEFAULT '';
