-- Times are Unix microseconds. Hashes are 32 bytes of SHA-256.

-- +goose Up
CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT,                        -- argon2id; NULL until the invite is accepted
    admin         INTEGER NOT NULL DEFAULT 0,
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL
) STRICT;

-- A row here outlives its user: AUTOINCREMENT gives no number twice, so no new
-- user ever owns an old user's leftover files.
CREATE TABLE uid_ranges (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL
) STRICT;

CREATE TABLE workstations (
    id        TEXT PRIMARY KEY,
    user_id   TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    uid_range INTEGER NOT NULL UNIQUE REFERENCES uid_ranges (n)
) STRICT;

CREATE TABLE logins (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX logins_user ON logins (user_id);

CREATE TABLE api_tokens (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    scopes     TEXT NOT NULL,                  -- JSON array
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    used_at    INTEGER
) STRICT;
CREATE INDEX api_tokens_user ON api_tokens (user_id);

CREATE TABLE links (
    hash       BLOB PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('setup', 'invite', 'reset')),
    user_id    TEXT REFERENCES users (id) ON DELETE CASCADE,  -- NULL for setup
    expires_at INTEGER,                        -- NULL: until used
    used_at    INTEGER
) STRICT;
CREATE INDEX links_user ON links (user_id);

CREATE TABLE tickets (
    hash        BLOB PRIMARY KEY,
    id          TEXT NOT NULL,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id  TEXT NOT NULL,
    tab_id      TEXT NOT NULL,
    scope       TEXT NOT NULL,
    role        TEXT NOT NULL,
    issuer_kind TEXT NOT NULL,
    issuer_id   TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER
) STRICT;
CREATE INDEX tickets_expiry ON tickets (expires_at);

CREATE TABLE devices (
    hash    BLOB NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (hash, user_id)
) STRICT;
CREATE INDEX devices_user ON devices (user_id);

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    class      TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    active_at  INTEGER NOT NULL,
    UNIQUE (user_id, name)
) STRICT;
