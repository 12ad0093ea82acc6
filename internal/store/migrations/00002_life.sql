-- A session's life: sleeping in memory, what keeps it awake, what its person is
-- told, and which server runs it.

-- +goose Up
ALTER TABLE sessions ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0;         -- asleep, but its sandbox is there
ALTER TABLE sessions ADD COLUMN slept_at INTEGER NOT NULL DEFAULT 0;       -- 0: not asleep, or not known
ALTER TABLE sessions ADD COLUMN keep_awake_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN notice_code TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN notice_text TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN notice_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN lease_holder TEXT NOT NULL DEFAULT '';     -- the server that runs it
ALTER TABLE sessions ADD COLUMN lease_until INTEGER NOT NULL DEFAULT 0;
