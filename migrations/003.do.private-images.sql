-- Images that arrive by a private link need a token or a signed URL. Images of a link with strip_metadata are served
-- without Exif, XMP and IPTC.
alter table links add column if not exists private boolean not null default false;
alter table links add column if not exists strip_metadata boolean not null default false;
alter table images add column if not exists private boolean not null default false;
alter table images add column if not exists strip_metadata boolean not null default false;

-- The key that signs URLs of private images, if SIGNING_KEY is not set.
create table if not exists secrets (
  name text primary key,
  value text not null, -- hex
  created_at timestamptz(3) not null default now()
);
