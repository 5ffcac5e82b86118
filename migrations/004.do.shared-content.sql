-- Images with the same content are one image only if they are served by the same rules. This is a file of its own,
-- because CockroachDB does not use a new column in the transaction that adds it.
create unique index if not exists images_shared_content on images (region, hash, private, strip_metadata)
  where removed_at is null and shared;
drop index if exists images_shared_hash;
