-- Uploads in several requests, by tus or by the IETF draft. A finished one is kept until it expires, so that a client that
-- lost the last response can read the result.
create table if not exists resumable_uploads (
  id text primary key,
  link_id text not null,
  method text not null,
  -- The key of the object, which becomes the id of the image.
  image_id text not null,
  region text not null default '',
  name text not null,
  sender text,
  message text,
  metadata text, -- the Upload-Metadata field of tus, as it was sent
  digests jsonb, -- the digests of the whole file that the sender declared, in Base64 by algorithm
  length bigint, -- bytes; null if the sender does not know it yet
  size bigint not null default 0, -- the acknowledged bytes: they are durable
  details jsonb, -- what the object store needs to continue
  writer text, -- the request that may append now
  completing_until timestamptz, -- until then no other request may take over: the image is being checked
  started_at timestamptz(3) not null default now(),
  expires_at timestamptz not null,
  finished_at timestamptz,
  answer jsonb, -- the response to the finished upload
  constraint resumable_uploads_method check (method in ('tus', 'draft'))
);
create index if not exists resumable_uploads_unfinished on resumable_uploads (link_id) where finished_at is null;
create index if not exists resumable_uploads_image on resumable_uploads (image_id) where finished_at is null;
create index if not exists resumable_uploads_expiry on resumable_uploads (expires_at);
