-- What a link says to senders, what it accepts and what it asks for.
alter table links add column if not exists description text;
alter table links add column if not exists accept text; -- media types, separated by commas; null: all that the service accepts
alter table links add column if not exists max_file_size bigint; -- bytes
alter table links add column if not exists opens_at timestamptz; -- null: it is open at once
alter table links add column if not exists password_hash text; -- scrypt, see services/links/passwords.ts
alter table links add column if not exists ask_sender text not null default 'no'; -- no, optional or required

-- What the sender of a file says. Both are erased with the image.
alter table uploads add column if not exists sender text;
alter table uploads add column if not exists message text;
