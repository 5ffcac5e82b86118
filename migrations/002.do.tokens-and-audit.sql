-- Named access tokens. The tokens of the configuration are not here: they have every scope.
create table if not exists tokens (
  id text primary key,
  name text not null,
  hash text not null, -- SHA-256 of the token in hex; the token itself is not stored
  scopes text not null, -- separated by spaces
  created_at timestamptz(3) not null default now(),
  created_by text not null,
  revoked_at timestamptz
);
create unique index if not exists tokens_hash on tokens (hash);
create index if not exists tokens_page on tokens (created_at desc, id desc);

-- What admins did. Entries are deleted after a year.
create table if not exists audit (
  id uuid primary key default gen_random_uuid(),
  at timestamptz(3) not null default now(),
  actor text not null, -- the name of the token
  token_id text, -- null for a token of the configuration, and for the command line
  action text not null, -- the operationId, or the command
  target text, -- the id of the link, image or token
  detail text, -- JSON: the filter, and the names of the changed fields
  address text not null, -- of the client
  status smallint not null -- of the response
);
create index if not exists audit_page on audit (at desc, id desc);
