-- The region whose store has an image's object; empty where the service has none. A link's images go into its region.
alter table links add column if not exists region text not null default '';
alter table images add column if not exists region text not null default '';

-- Nothing is released yet, so this one may take something away: from the first release on a migration only adds.
-- The same content in another region is another image: nothing is served from a region that it was not sent to.
create unique index if not exists images_region_hash on images (region, hash) where removed_at is null;
-- CockroachDB drops a unique index only with cascade; nothing else hangs on it.
drop index if exists images_hash cascade;
