# A session of a logical replica whose caches are warm sees rows that the apply worker writes and truncates.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = omni_node('publisher', allows_streaming => 'logical');
my $subscriber = omni_node('subscriber', allows_streaming => 'logical');

omni_setup($publisher);
omni_setup($subscriber);
$subscriber->safe_psql('postgres', 'DELETE FROM omnichannel.company');
$publisher->safe_psql('postgres', 'CREATE PUBLICATION config FOR TABLE omnichannel.company');
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION config CONNECTION '$connection' PUBLICATION config");
$subscriber->wait_for_subscription_sync($publisher, 'config');

my $session = $subscriber->background_psql('postgres');
my $answer = 'SELECT omnichannel.default_currency()';
is(value($session, $answer), 'PLN', 'the replica answers');

$publisher->safe_psql('postgres', "UPDATE omnichannel.company SET currency = 'EUR'");
$publisher->wait_for_catchup('config');
is(value($session, $answer), 'EUR', 'a warm session of the replica sees an update');

$publisher->safe_psql('postgres', "BEGIN; CREATE TABLE saved AS SELECT * FROM omnichannel.company; TRUNCATE omnichannel.company; INSERT INTO omnichannel.company (currency, country, calling_code, time_zone, rounding, version) SELECT 'GBP', country, calling_code, time_zone, rounding, version FROM saved; COMMIT");
$publisher->wait_for_catchup('config');
is(value($session, $answer), 'GBP', 'and a TRUNCATE with a row after it');
is($subscriber->safe_psql('postgres', 'SELECT currency FROM omnichannel.company'), 'GBP', 'which is what the table says');

# Contacts that are logged without SQL are decoded like any row, and so are the relationships that they change.
$publisher->safe_psql('postgres', 'CREATE PUBLICATION log FOR TABLE omnichannel.contact, omnichannel.contact_key, omnichannel.relationship');
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION log CONNECTION '$connection' PUBLICATION log");
$subscriber->wait_for_subscription_sync($publisher, 'log');
$publisher->safe_psql('postgres', q{
	INSERT INTO omnichannel.agent (agent_id, name) VALUES (7, 'Ewa');
	CREATE TABLE mail (id int PRIMARY KEY, sender text);
	SELECT omnichannel.track('mail', channel => 'forum', customer => '{sender}', kind => 'email', agent => '7');
	INSERT INTO mail SELECT i, 'u' || i % 10 || '@example.com' FROM generate_series(1, 300) AS i;
	INSERT INTO mail SELECT 1000 + i, 'u' || i % 10 || '@example.com' FROM generate_series(1, 300) AS i;
});
$publisher->wait_for_catchup('log');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.contact JOIN omnichannel.contact_key USING (contact_id)'),
	'600', 'contacts of many rows and their keys arrive');
is($subscriber->safe_psql('postgres', 'SELECT count(*), min(contacts), max(contacts) FROM omnichannel.relationship'),
	'10|60|60', 'and their relationships');

# Rows that are written again, one by one and among others, change nothing: what is decoded of a key that is there would
# break the replica.
$publisher->safe_psql('postgres', q{
	CREATE TABLE call (id int PRIMARY KEY, caller text, at timestamptz);
	SELECT omnichannel.track('call', channel => 'phone', customer => '{caller}', kind => 'phone', occurred_at => '{at}');
	CREATE VIEW calls AS SELECT i AS id, '60123456' || i % 10 AS caller, timestamptz '2026-01-01 00:00+00' + make_interval(mins => i) AS at
		FROM generate_series(1, 60) AS i;
	INSERT INTO call SELECT * FROM calls WHERE id <= 40;
	SELECT pg_create_logical_replication_slot('keys', 'test_decoding');
	DELETE FROM call;
});
$publisher->safe_psql('postgres', "INSERT INTO call SELECT * FROM calls WHERE id = $_") foreach 1 .. 3;
$publisher->safe_psql('postgres', q{
	INSERT INTO call SELECT * FROM calls WHERE id BETWEEN 4 AND 20;
	INSERT INTO call SELECT * FROM calls WHERE id BETWEEN 21 AND 60 AND (id > 40 OR id % 7 = 5);
});
is($publisher->safe_psql('postgres', q{
		SELECT split_part(data, ':', 2), count(*) FROM pg_logical_slot_get_changes('keys', NULL, NULL)
		WHERE data LIKE 'table omnichannel.contact_key:%' GROUP BY 1}),
	' INSERT|20', 'of keys that are there nothing is decoded');
$publisher->safe_psql('postgres', q{SELECT pg_drop_replication_slot('keys')});
$publisher->wait_for_catchup('log');
is($subscriber->safe_psql('postgres', 'SELECT count(*), count(DISTINCT (source, source_key)) FROM omnichannel.contact_key'),
	'660|660', 'and the replica goes on');

$session->quit;
done_testing();
