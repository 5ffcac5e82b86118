-- What else an image tells of itself.
alter table images add column if not exists lens text;
alter table images add column if not exists frames integer; -- where there are several
alter table images add column if not exists duration integer; -- milliseconds, once through
alter table images add column if not exists bit_depth smallint;
alter table images add column if not exists colour_space text;
alter table images add column if not exists has_alpha boolean;
alter table images add column if not exists placeholder text; -- a ThumbHash in Base64

-- A constraint without a name has one name in PostgreSQL and another in CockroachDB.
alter table images drop constraint if exists images_status_check;
alter table images drop constraint if exists check_status;
alter table images drop constraint if exists images_status;
alter table images add constraint images_status
  check (status in ('pending', 'ready', 'corrupt', 'failed', 'rejected', 'removed'));

-- An image waits for a worker as long as it has a due_at, and a ready one does too, to be verified.
create index if not exists images_waiting on images (due_at) where due_at is not null;
drop index if exists images_due;

-- What the admin's list is filtered by. Those with received_at give a page in order; the others are of what is rarer.
create index if not exists images_status_page on images (status, received_at desc, id desc);
create index if not exists images_format_page on images (format, received_at desc, id desc);
create index if not exists images_camera_page on images (camera_model, received_at desc, id desc)
  where camera_model is not null;
create index if not exists images_taken on images (taken_at) where taken_at is not null;
create index if not exists images_place on images (latitude, longitude) where latitude is not null;
create index if not exists uploads_link_image on uploads (link_id, image_id);
