-- Images with the same content are one where they are shared. One that is not stays by itself, so that its sender does
-- not learn of the others.
alter table images add column if not exists shared boolean not null default true;
create unique index if not exists images_shared_hash on images (region, hash) where removed_at is null and shared;
drop index if exists images_region_hash cascade;
