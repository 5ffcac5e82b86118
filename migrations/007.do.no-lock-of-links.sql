-- To check that a link and an image are there, each upload locked their rows: that of a link for all uploads by it, which
-- PostgreSQL keeps a list of lockers for. Rows of links and images are never deleted, so there is nothing to check.
alter table uploads drop constraint if exists uploads_link_id_fkey;
alter table uploads drop constraint if exists uploads_image_id_fkey;
