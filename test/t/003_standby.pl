# A session of a hot standby whose caches are warm sees a change made on the primary.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = omni_node('primary', allows_streaming => 1);

omni_setup($primary);
my $standby = omni_standby($primary, 'standby');

my $session = $standby->background_psql('postgres');
my $answer = 'SELECT omnichannel.default_currency()';
is(value($session, $answer), 'PLN', 'the standby answers');

$primary->safe_psql('postgres', "UPDATE omnichannel.company SET currency = 'EUR'");
$primary->wait_for_catchup($standby);
is(value($session, $answer), 'EUR', 'a warm session of the standby sees the change');

# Inside a transaction: as READ COMMITTED and REPEATABLE READ say.
value($session, 'BEGIN');
is(value($session, $answer), 'EUR', 'in a transaction');
$primary->safe_psql('postgres', "UPDATE omnichannel.company SET currency = 'GBP'");
$primary->wait_for_catchup($standby);
is(value($session, $answer), 'GBP', 'READ COMMITTED sees what was committed meanwhile');
value($session, 'COMMIT');
value($session, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(value($session, $answer), 'GBP', 'in a snapshot');
$primary->safe_psql('postgres', "UPDATE omnichannel.company SET currency = 'CHF'");
$primary->wait_for_catchup($standby);
is(value($session, $answer), 'GBP', 'REPEATABLE READ keeps its snapshot');
value($session, 'COMMIT');
is(value($session, $answer), 'CHF', 'and ends with it');

# A change that is rolled back on the primary is never seen, and what follows is.
$primary->safe_psql('postgres', "BEGIN; UPDATE omnichannel.company SET currency = 'XXX'; ROLLBACK; UPDATE omnichannel.company SET currency = 'SEK'");
$primary->wait_for_catchup($standby);
is(value($session, $answer), 'SEK', 'after a rollback on the primary');
is($primary->safe_psql('postgres', 'SELECT currency FROM omnichannel.company'), 'SEK', 'which is what the primary says');

# Writing functions say what they would say of any write.
is(error_of($standby, 'postgres', "SELECT omnichannel.log_contact('email', kind => 'email', value => 'a\@example.com')"),
	'25006', 'log_contact() on a standby');
is(error_of($standby, 'postgres', 'SELECT omnichannel.upgrade()'), '25006', 'upgrade() on a standby');
$primary->safe_psql('postgres', q{CREATE TABLE mail (id int PRIMARY KEY, sender text, sent timestamptz DEFAULT now());
	INSERT INTO mail SELECT i, 'u' || i || '@example.com' FROM generate_series(1, 3) AS i;
	SELECT omnichannel.track('mail', channel => 'forum', customer => '{sender}', kind => 'email', occurred_at => '{sent}')});
$primary->wait_for_catchup($standby);
is(error_of($standby, 'postgres', q{SELECT omnichannel.backfill('mail')}), '25006', 'backfill() of many rows on a standby');

$session->quit;
$standby->promote;
$standby->safe_psql('postgres', "UPDATE omnichannel.company SET currency = 'NOK'");
is($standby->safe_psql('postgres', $answer), 'NOK', 'a promoted standby goes on');

done_testing();
