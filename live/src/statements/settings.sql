-- Of each connection: times are told in UTC, names mean what they say, and no question lasts for ever.
set timezone = 'UTC';
set search_path = '';
set statement_timeout = '30s'
