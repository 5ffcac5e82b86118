-- A link accepts images until it expires, is revoked, or reaches a limit.
create table if not exists links (
  id text primary key,
  label text,
  -- The region whose object store keeps the link's images; empty if the service has no regions.
  region text not null default '',
  max_images bigint,
  max_bytes bigint,
  -- The accepted images and bytes. Only counted for a link with a limit: other uploads must not wait for the link's row.
  used_images bigint not null default 0,
  used_bytes bigint not null default 0,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index if not exists links_page on links (created_at desc, id desc);

-- One row for each distinct content. The object store keeps the content under the image's id.
create table if not exists images (
  id text primary key,
  hash text not null, -- SHA-256 in hex; empty once the image is removed
  size bigint not null, -- bytes
  status text not null,
  -- Where the object is: the region, and the object store (hot) or the archive (cold).
  region text not null default '',
  tier text not null default 'hot',
  -- Images with the same content are one image if they are shared (see HIDE_DUPLICATES).
  shared boolean not null default true,
  format text not null,
  media_type text not null,
  width integer,
  height integer,
  orientation smallint,
  camera_make text,
  camera_model text,
  lens text,
  taken_at text, -- the camera's clock: 2026-11-01T12:00:00
  taken_offset text, -- its offset from UTC, if the camera stores it: +02:00
  latitude double precision,
  longitude double precision,
  altitude double precision,
  frames integer, -- null if there is only one
  duration integer, -- milliseconds of one loop
  bit_depth smallint,
  colour_space text,
  has_alpha boolean,
  placeholder text, -- a ThumbHash in Base64
  damaged boolean, -- true: decoders make a picture of a damaged file
  damage text, -- the decoder's message about a damaged file
  present_share double precision, -- of a damaged picture, from 0 to 1
  received_at timestamptz(3) not null default now(),
  last_accessed_at timestamptz not null default now(), -- written at most once a day
  settled_at timestamptz, -- when a worker recorded its verdict
  -- Status removed or rejected: the object is deleted or about to be deleted, and personal data are erased.
  removed_at timestamptz,
  -- The work queue. An image with a due_at waits for a worker; it can be leased from that time on.
  due_at timestamptz default now(),
  lease text,
  attempts smallint not null default 0, -- how many times a decoder failed on it
  delays smallint not null default 0, -- how many times in a row it could not be tried
  failure text,
  constraint images_status check (status in ('pending', 'ready', 'corrupt', 'failed', 'rejected', 'removed')),
  constraint images_tier check (tier in ('hot', 'cold'))
);
create unique index if not exists images_shared_hash on images (region, hash) where removed_at is null and shared;
create index if not exists images_waiting on images (due_at) where due_at is not null;
create index if not exists images_last_accessed on images (tier, last_accessed_at) where status in ('ready', 'failed');
create index if not exists images_corrupt on images (settled_at) where status = 'corrupt';
-- For the filters of the admin's list. Those with received_at return a page in order; the others are for rare values.
create index if not exists images_page on images (received_at desc, id desc);
create index if not exists images_status_page on images (status, received_at desc, id desc);
create index if not exists images_format_page on images (format, received_at desc, id desc);
create index if not exists images_camera_page on images (camera_model, received_at desc, id desc)
  where camera_model is not null;
create index if not exists images_taken on images (taken_at) where taken_at is not null;
create index if not exists images_place on images (latitude, longitude) where latitude is not null;

-- One row for each accepted file; a duplicate is an upload too.
-- There are no foreign keys: to check them, PostgreSQL locks the link's row for each upload, and rows of links and
-- images are never deleted.
create table if not exists uploads (
  id uuid primary key default gen_random_uuid(),
  link_id text not null,
  image_id text not null,
  name text not null, -- the sender's file name; empty if there was none
  duplicate boolean not null,
  received_at timestamptz(3) not null default now()
);
create index if not exists uploads_link_page on uploads (link_id, received_at desc, id desc);
create index if not exists uploads_link_image on uploads (link_id, image_id);
create index if not exists uploads_image on uploads (image_id);

-- How many uploads and bytes there are by day, format, camera model and link.
-- A count is the sum of its shards, so that concurrent uploads do not wait for one row.
create table if not exists upload_counts (
  kind text not null,
  key text not null,
  shard smallint not null,
  uploads bigint not null,
  bytes bigint not null,
  primary key (kind, key, shard),
  constraint upload_counts_kind check (kind in ('day', 'format', 'model', 'link'))
);

-- The summary of the last sweep.
create table if not exists sweeps (
  name text primary key,
  finished_at timestamptz not null,
  summary jsonb not null
);

-- The number of unknown ids and wrong tokens that an address has sent in one window of time. Deleted soon after the window ends.
create table if not exists failed_lookups (
  address text not null, -- the kind of look-up and the address: link 203.0.113.7
  window_start timestamptz not null,
  count bigint not null,
  primary key (address, window_start)
);
create index if not exists failed_lookups_window on failed_lookups (window_start);

-- One row: the id of this installation. Its object stores have the same id.
create table if not exists installation (
  singleton boolean primary key default true,
  id text not null,
  created_at timestamptz(3) not null default now(),
  constraint installation_singleton check (singleton)
);
