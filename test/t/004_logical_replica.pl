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

$session->quit;
done_testing();
