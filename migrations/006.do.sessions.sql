-- The sessions of the console. No column lets a reader of the database sign in, or find a token of the configuration.
create table if not exists sessions (
  id text primary key, -- SHA-256 of the cookie's value, in hex
  -- The access token: of a named token its hash, of a token of the configuration an HMAC with the cookie's value as the key.
  token_hash text,
  proof text,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null
);
create index if not exists sessions_expired on sessions (expires_at);
