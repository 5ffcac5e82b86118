-- With HIDE_DUPLICATES, equal images are separate. The search by hash needs an index of these too.
create index if not exists images_unshared_hash on images (hash) where removed_at is null and not shared;
