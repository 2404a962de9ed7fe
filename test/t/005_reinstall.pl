# DROP EXTENSION and CREATE EXTENSION again in one session, whose callbacks, plans and caches know the old OIDs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('reinstall');

omni_setup($node);
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $other = $node->background_psql('postgres', on_error_stop => 0);
my $answer = 'SELECT omnichannel.default_currency()';
is(value($session, $answer), 'PLN', 'warm');
is(value($other, $answer), 'PLN', 'the other session too');

# RESTRICT protects the data: the tables depend on the extension's types and functions.
is(error_of($node, 'postgres', 'DROP EXTENSION omnichannel'), '2BP01', 'DROP EXTENSION without CASCADE is refused');

# CASCADE takes columns and triggers from the tables: nobody is told that they are as they were.
$node->safe_psql('postgres', 'CREATE DATABASE torn');
omni_setup($node, 'torn');
is(error_of($node, 'torn', "UPDATE omnichannel.company SET currency = 'XYZ'"), '23503', 'a company has a currency of ISO 4217');
$node->safe_psql('torn', 'SET client_min_messages = error; DROP EXTENSION omnichannel CASCADE; CREATE EXTENSION omnichannel CASCADE');
foreach my $call ('SELECT omnichannel.upgrade()', "CALL omnichannel.setup('EUR', 'DE', 'Europe/Berlin')")
{
	my (undef, undef, $stderr) = $node->psql('torn', $call);
	like($stderr, qr/the tables of omnichannel in database "torn" are not whole.*HINT:  Restore them from a dump/s, "not whole: $call");
}

foreach my $round (1 .. 3)
{
	my $currency = qw(EUR GBP CHF)[ $round - 1 ];

	$session->query('SET client_min_messages = error; DROP SCHEMA omnichannel CASCADE; DROP EXTENSION IF EXISTS omnichannel CASCADE');
	my ($out, $failed) = $session->query($answer);
	like($session->{stderr}, qr/does not exist/, "round $round: gone");
	$session->{stderr} = '';
	$session->query_safe('CREATE EXTENSION omnichannel CASCADE');
	$session->query($answer);
	like($session->{stderr}, qr/not set up/, "round $round: no tables yet");
	$session->{stderr} = '';
	$session->query_safe("CALL omnichannel.setup('$currency', 'PL', 'Europe/Warsaw')");
	is(value($session, $answer), $currency, "round $round: the new tables answer");
	is(value($other, $answer), $currency, "round $round: in the other session too");
	$node->safe_psql('postgres', "UPDATE omnichannel.company SET currency = 'SEK'");
	is(value($session, $answer), 'SEK', "round $round: and are watched");
	is(value($other, $answer), 'SEK', "round $round: by both");
}

$session->quit;
$other->quit;
done_testing();
