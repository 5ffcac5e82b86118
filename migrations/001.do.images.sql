-- A link that takes in images until it expires, is revoked or is used up.
create table if not exists links (
  id text primary key,
  label text,
  max_images bigint,
  max_bytes bigint,
  -- What the link has taken in; kept only for a link with a limit, so that the others have no row that every upload waits for.
  used_images bigint not null default 0,
  used_bytes bigint not null default 0,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index if not exists links_page on links (created_at desc, id desc);

-- One row for each distinct content, which lies in the object store under the image's id.
create table if not exists images (
  id text primary key,
  hash text not null, -- SHA-256 in hex
  size bigint not null,
  status text not null check (status in ('pending', 'ready', 'failed', 'rejected', 'removed')),
  format text not null,
  media_type text not null,
  width integer,
  height integer,
  orientation smallint,
  camera_make text,
  camera_model text,
  taken_at text, -- the camera's own clock: 2026-11-01T12:00:00
  taken_offset text, -- its distance from UTC, where the camera tells it: +02:00
  latitude double precision,
  longitude double precision,
  altitude double precision,
  received_at timestamptz(3) not null default now(),
  removed_at timestamptz, -- the object is gone, or about to go: removed or rejected
  -- The queue of record: a pending image may be leased from due_at on.
  due_at timestamptz default now(),
  lease text,
  attempts smallint not null default 0,
  failure text
);
create unique index if not exists images_hash on images (hash) where removed_at is null;
create index if not exists images_due on images (due_at) where status = 'pending';
create index if not exists images_page on images (received_at desc, id desc);

-- One row for each accepted part; a duplicate is an upload too.
create table if not exists uploads (
  id uuid primary key default gen_random_uuid(),
  link_id text not null references links (id),
  image_id text not null references images (id),
  name text not null, -- the sender's file name; empty where there was none
  duplicate boolean not null,
  received_at timestamptz(3) not null default now()
);
create index if not exists uploads_link_page on uploads (link_id, received_at desc, id desc);
create index if not exists uploads_image on uploads (image_id);

-- The roll-ups of the statistics: how many uploads and bytes by day, format, model and link.
-- A count is the sum of its shards, so that concurrent uploads don't wait for one row.
create table if not exists upload_counts (
  kind text not null check (kind in ('day', 'format', 'model', 'link')),
  key text not null,
  shard smallint not null,
  uploads bigint not null,
  bytes bigint not null,
  primary key (kind, key, shard)
);
