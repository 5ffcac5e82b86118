-- How many images and bytes each storage location has: the kind "location", whose key is the tier and the region.
alter table upload_counts drop constraint if exists upload_counts_kind;
alter table upload_counts drop constraint if exists upload_counts_kinds;
alter table upload_counts add constraint upload_counts_kinds
  check (kind in ('day', 'format', 'model', 'link', 'location'));
insert into upload_counts (kind, key, shard, uploads, bytes)
select 'location', tier || ' ' || region, 0, count(*), sum(size)
from images where removed_at is null group by tier, region
on conflict (kind, key, shard) do nothing;

-- The trace of the upload (W3C Trace Context), so that the worker continues it. Null if it was not traced.
alter table images add column if not exists trace text;
