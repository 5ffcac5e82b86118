/** Features of PostgreSQL that CockroachDB lacks, or that work in another way there. */
export interface Rule {
  what: string
  /** Finds it in a statement as `readStatements` gives it. */
  pattern: RegExp
  /** Where CockroachDB, or one of its developers, says so. */
  source: string
  /** Statements that it is to find. */
  finds: [string, ...string[]]
  /** Statements that look alike, and that CockroachDB runs as PostgreSQL does. */
  passes?: string[]
}

const docs = (page: string) => `https://www.cockroachlabs.com/docs/stable/${page}`
const issue = (number: number) => `https://github.com/cockroachdb/cockroach/issues/${number}`

export const rules: Rule[] = [
  {
    what: 'LISTEN and NOTIFY',
    pattern: /^(un)?listen\b|^notify\b|\bpg_notify\b/,
    source: issue(41522),
    finds: ['listen uploads', 'notify uploads', 'unlisten *', "select pg_notify('uploads', $1)"],
    passes: ["select id from links where label = 'notify'"],
  },
  {
    what: 'advisory locks, which are there and lock nothing',
    pattern: /\bpg_(try_)?advisory_/,
    source: docs('postgresql-compatibility#other-unsupported-features'),
    finds: [
      'select pg_advisory_lock(1)',
      'select pg_try_advisory_xact_lock($1)',
      'select pg_advisory_unlock(1)',
    ],
  },
  {
    what: 'LOCK TABLE',
    pattern: /^lock\b/,
    source: issue(43654),
    finds: ['lock table images in exclusive mode', 'lock images'],
    passes: ['select lock from doors', 'select id from images for update skip locked'],
  },
  {
    what: 'weaker row locks, which are aliases of the stronger ones',
    pattern: /\bfor (key share|no key update)\b/,
    source: issue(52420),
    finds: ['select id from links where id = $1 for key share', 'select 1 from links for no key update'],
    // Under SERIALIZABLE this one locks nothing either, but there a transaction that it would hold off is retried.
    passes: ['select id from images where hash = $1 for share'],
  },
  {
    what: 'triggers, of which parts are there',
    pattern: /\b(create|alter|drop)( or replace)?( constraint)? trigger\b|\bcreate event trigger\b/,
    source: docs('known-limitations#triggers'),
    finds: [
      'create trigger counts after insert on uploads execute function count()',
      'create or replace trigger counts before update on images execute function count()',
      'create constraint trigger counts after insert on uploads execute function count()',
    ],
  },
  {
    what: 'rules',
    pattern: /\bcreate( or replace)? rule\b/,
    source: 'https://github.com/cockroachdb/cockroach/blob/master/pkg/sql/parser/parse_test.go',
    finds: ['create rule keep as on delete to uploads do instead nothing'],
  },
  {
    what: 'extensions',
    pattern: /\b(create|alter|drop) extension\b/,
    source: docs('sql-feature-support#miscellaneous'),
    finds: ['create extension if not exists pg_trgm', 'create extension "uuid-ossp"'],
  },
  {
    what: 'functions, procedures and PL/pgSQL, of which parts are there',
    pattern: /^do\b|\bcreate( or replace)? (function|procedure|aggregate)\b|\blanguage \w+|^call\b/,
    source: docs('known-limitations#functions-and-procedures'),
    finds: [
      'do $$ begin perform 1; end $$',
      'create or replace function count() returns int language sql as $$ select 1 $$',
      'create procedure sweep() language plpgsql as $$ begin end $$',
      'call sweep()',
    ],
    passes: [
      'insert into links (id) values ($1) on conflict do nothing',
      'insert into links (id) values ($1) on conflict (id) do update set id = excluded.id',
    ],
  },
  {
    what: 'numbers in a row: they are neither without gaps nor in the order of the commits',
    pattern:
      /\b(small|big)?serial\d?\b|\bgenerated (always|by default) as identity\b|\b(next|curr|set)val\b|\bcreate sequence\b/,
    source: docs('serial'),
    finds: [
      'create table events (id bigserial primary key)',
      'create table events (id serial)',
      'create table events (id bigint generated always as identity)',
      "select nextval('ids')",
      'create sequence ids',
    ],
    passes: ['create table events (id uuid primary key default gen_random_uuid(), serialised text)'],
  },
  {
    what: 'deferrable constraints',
    pattern: /\bdeferrable\b|\binitially (deferred|immediate)\b|^set constraints\b/,
    source: issue(31632),
    finds: [
      'create table uploads (link_id text references links (id) deferrable initially deferred)',
      'set constraints all deferred',
    ],
  },
  {
    what: 'exclusion constraints',
    pattern: /\bexclude (using \w+ )?\(/,
    source: issue(46657),
    finds: ['create table bookings (room int, exclude using gist (room with =))'],
    passes: ['insert into links (id) values ($1) on conflict (id) do update set label = excluded.label'],
  },
  {
    what: "PostgreSQL's system columns",
    pattern: /\b(ctid|xmin|xmax|cmin|cmax)\b/,
    source: 'https://github.com/OtterMind/Chat2DB/issues/2483',
    finds: [
      'delete from uploads where ctid in (select ctid from uploads limit 10)',
      'select xmin from images',
    ],
  },
  {
    what: 'inheritance of tables',
    pattern: /\b(no )?inherits?\b/,
    source: issue(22456),
    finds: ['create table photos () inherits (images)', 'alter table photos no inherit images'],
  },
  {
    what: "PostgreSQL's partitions",
    pattern: /\bpartition of\b|\) partition by (range|list|hash)\b/,
    source: docs('partitioning#known-limitations'),
    finds: [
      'create table uploads_2026 partition of uploads for values from ($1) to ($1)',
      'create table uploads (at date) partition by range (at)',
    ],
    passes: ['select count(*) over (partition by link_id) from uploads'],
  },
  {
    what: 'temporary tables, which are off unless a setting has them on',
    pattern: /\btemp(orary)? (table|view|sequence)\b/,
    source: docs('temporary-tables'),
    finds: ['create temp table batch (id text)', 'create temporary table batch as select id from images'],
  },
  {
    what: 'cursors, of which parts are there',
    pattern: /^declare\b|\bcursor\b|\bwith hold\b|^fetch\b/,
    source: docs('known-limitations#sql-cursor-support'),
    finds: ['declare pages cursor with hold for select id from images', 'fetch 100 from pages'],
    passes: ['select id from images order by id fetch first 10 rows only'],
  },
  {
    what: 'COPY, of which parts are there',
    pattern: /^copy\b/,
    source: docs('known-limitations#copy-syntax-not-supported-by-cockroachdb'),
    finds: ['copy uploads from stdin', 'copy (select 1) to stdout'],
  },
  {
    what: 'large objects',
    pattern: /\blo_\w+\(|\bloread\b|\blowrite\b/,
    source: issue(26725),
    finds: ['select lo_create(0)', 'select lo_import($1)'],
  },
  {
    what: 'index methods',
    pattern: /\busing (hash|brin|spgist|gist|gin) ?\(|\b\w+_ops\b/,
    source: docs('create-index#parameters'),
    finds: [
      'create index images_hash on images using hash (hash)',
      'create index images_names on images using gin (name gin_trgm_ops)',
      'create index images_at on images using brin (received_at)',
    ],
    passes: ['create index images_format on images using btree (format)'],
  },
  {
    what: 'the place of NULL in an index',
    pattern: /\bcreate( unique)? index\b.*\bnulls (first|last)\b/,
    source: issue(6224),
    finds: ['create index images_due on images (due_at desc nulls last)'],
    passes: ['select id from images order by due_at desc nulls last'],
  },
  {
    what: 'CONCURRENTLY, which says nothing there and fails here, in a file of several statements',
    pattern: /\bindex concurrently\b/,
    source: docs('create-index#parameters'),
    finds: ['create index concurrently images_size on images (size)', 'drop index concurrently images_size'],
  },
  {
    what: 'full-text search, of which parts are there',
    pattern: /\b(tsvector|tsquery|to_tsvector|(plainto_|phraseto_|websearch_)?to_tsquery|ts_rank)\b|@@/,
    source: docs('known-limitations#unsupported-full-text-search-features'),
    finds: ['select id from images where to_tsvector(name) @@ plainto_tsquery($1)'],
  },
  {
    what: 'types',
    pattern:
      /\b(int[48]|num|ts|tstz|date)(multi)?range\b|\b(xml|money|cidr|macaddr8?|pg_lsn|txid_snapshot|lseg|circle|polygon)\b|\bcreate domain\b/,
    source: docs('postgresql-compatibility#postgresql-range-types'),
    finds: [
      'create table bookings (during tstzrange)',
      'create table prices (amount money)',
      'create table documents (body xml)',
      "create domain hash as text check (value ~ '^[0-9a-f]+$')",
    ],
  },
  {
    what: 'a change of the type of a column',
    pattern: /\balter (column )?\w+ (set data )?type\b/,
    source: docs('known-limitations#alter-column-limitations'),
    finds: [
      'alter table images alter column size type numeric',
      'alter table images alter size set data type text',
    ],
    passes: [
      'alter table images add column colours integer',
      'alter table images alter column size drop not null',
    ],
  },
  {
    what: 'MERGE',
    pattern: /\bmerge into\b/,
    source: issue(51373),
    finds: ['merge into images using uploads on true when matched then do nothing'],
  },
  {
    what: 'GROUPING SETS, ROLLUP and CUBE',
    pattern: /\bgrouping sets\b|\b(rollup|cube) ?\(/,
    source: issue(46280),
    finds: ['select format, count(*) from images group by rollup (format)'],
  },
  {
    what: 'TABLESAMPLE',
    pattern: /\btablesample\b/,
    source: issue(7030),
    finds: ['select id from images tablesample system (1)'],
  },
  {
    what: 'two changes of one table in one statement',
    pattern:
      /\bas (?:materialized )?\( ?(?:insert into|update|delete from) (\w+)\b.*\b(?:insert into|update|delete from) \1\b/,
    source: docs(
      'known-limitations#statements-containing-multiple-modification-subqueries-of-the-same-table-are-disallowed',
    ),
    finds: ['with gone as (delete from images where id = $1 returning id) update images set size = 0'],
    passes: [
      'with gone as (delete from uploads returning image_id) update images set size = 0 where id in (select image_id from gone)',
    ],
  },
  {
    what: 'the division of whole numbers, which is a decimal there',
    pattern: /[\w)\]] ?\/ ?[\w($]/,
    source: docs('postgresql-compatibility#integer-division'),
    finds: ['select size / 1024 from images', 'select (size + $1)/$1 from images'],
  },
  {
    what: 'a value without a type beside an interval: it is taken for an interval',
    pattern: /\$1 ?[*/] ?interval\b|\binterval '' ?[*/] ?\$1(?! ?::)/,
    source: 'https://github.com/cockroachdb/cockroach/blob/master/pkg/sql/sem/tree/overload.go',
    finds: [
      "select now() + $1 * interval '1 second'",
      "select now() - interval '1 second' * $1",
      "select now() - $1*interval '1 second'",
    ],
    passes: [
      "select now() + $1::float8 * interval '1 second'",
      "select now() - interval '1 second' * $1::float8",
      "select now() + 2 * interval '1 second'",
    ],
  },
]
