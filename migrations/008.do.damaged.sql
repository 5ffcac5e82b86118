-- A damaged image of which decoders make a picture.
alter table images add column if not exists damaged boolean;
alter table images add column if not exists damage text; -- what is wrong
alter table images add column if not exists present_share double precision; -- from 0 to 1
