-- Pictures made from images: one row for each set of parameters. The object store has them beside the image.
create table if not exists variants (
  image_id text not null,
  spec text not null, -- the parameters: 320x-inside-webp-75
  -- The key of the object in the hot store of the image's region; null until the variant is made.
  object_key text,
  size bigint, -- bytes
  hash text, -- SHA-256 in hex
  media_type text,
  created_at timestamptz(3) not null default now(),
  -- The process that makes it, and until when. After a failure, nobody makes it until then.
  lease text,
  due_at timestamptz not null,
  attempts smallint not null default 0, -- how many times a process failed on it
  failure text, -- why it could not be made
  failure_kind text, -- unrenderable, undecodable or failed
  primary key (image_id, spec)
);
create unique index if not exists variants_object on variants (object_key) where object_key is not null;
