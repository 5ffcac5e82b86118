-- A corrupt image is kept apart: its head is an image's, its body does not decode.
-- The first two names are those that PostgreSQL and CockroachDB gave to the check of 001.
alter table images drop constraint if exists images_status_check;
alter table images drop constraint if exists check_status;
alter table images drop constraint if exists images_status;
alter table images add constraint images_status
  check (status in ('pending', 'ready', 'failed', 'corrupt', 'rejected', 'removed'));

-- When the worker gave its verdict.
alter table images add column if not exists settled_at timestamptz;

-- Where the object lies: in the object store, or archived in the cold one.
alter table images add column if not exists tier text not null default 'hot' check (tier in ('hot', 'cold'));

-- When somebody last asked for the image, to about a day. What was there before counts as asked for now.
alter table images add column if not exists last_accessed_at timestamptz not null default now();

create index if not exists images_last_accessed on images (tier, last_accessed_at) where status in ('ready', 'failed');
create index if not exists images_corrupt on images (settled_at) where status = 'corrupt';

-- What the last sweep did.
create table if not exists sweeps (
  name text primary key,
  finished_at timestamptz not null,
  summary jsonb not null
);
