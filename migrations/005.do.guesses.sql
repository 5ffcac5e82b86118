-- How many unknown ids and wrong tokens came from an address, in one window of time; forgotten soon after.
create table if not exists guesses (
  address text not null, -- its kind and the address: link 203.0.113.7
  window_start timestamptz not null,
  count bigint not null,
  primary key (address, window_start)
);
create index if not exists guesses_window on guesses (window_start);
