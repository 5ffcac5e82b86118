-- For the search by file name: the name in lower case of all languages, because not every database converts all of them.
-- Null: the upload is older than this column.
alter table uploads add column if not exists search_name text;
-- For the filter of damaged images.
create index if not exists images_damaged_page on images (received_at desc, id desc) where damaged;
