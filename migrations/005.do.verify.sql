-- Why the object of an image is not what was received: missing, or mismatch. Null if no fault is known.
alter table images add column if not exists object_fault text;
create index if not exists images_object_fault on images (received_at desc, id desc) where object_fault is not null;

-- The state of jobs that continue where they stopped, and their last reports.
create table if not exists job_state (
  name text primary key,
  value jsonb not null,
  updated_at timestamptz(3) not null default now()
);
