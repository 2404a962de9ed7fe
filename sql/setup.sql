-- The database that all the other cases use.
\set SHOW_CONTEXT never
CREATE EXTENSION ltree;
CREATE EXTENSION btree_gist;
CREATE EXTENSION omnichannel;
SELECT omnichannel.default_currency();
CALL omnichannel.setup(currency => 'PLN', country => 'PL', time_zone => 'Europe/Warsaw');
SELECT currency, country, calling_code, time_zone, rounding, version FROM omnichannel.company;
CALL omnichannel.setup(currency => 'EUR', country => 'DE', time_zone => 'Europe/Berlin');
SELECT omnichannel.upgrade();
