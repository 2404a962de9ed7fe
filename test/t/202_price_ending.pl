# What a transaction changed can be seen a little before it tells the caches of it. A library that makes that little long
# shows that no answer is made of what was before and what is read then.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir;
append_to_file("$directory/late.c", q{
#include "postgres.h"
#include "access/xact.h"
#include "fmgr.h"

PG_MODULE_MAGIC;
extern PGDLLEXPORT void _PG_init(void);

/* Called once others can see what the transaction did, and before they are told. */
static void
ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		pg_usleep(500000L);
}

/* Called as late in COMMIT PREPARED, which removes the files of tables that were dropped and warns of one that it cannot. */
static void
warned(ErrorData *error)
{
	if (error->elevel == WARNING)
		pg_usleep(250000L);
}

void
_PG_init(void)
{
	RegisterXactCallback(ended, NULL);
	emit_log_hook = warned;
}
});
# The server under test may be a copy without the headers of the one that it was built with.
my ($version) = run_command([ 'pg_config', '--version' ]);
my ($major) = $version =~ /(\d+)/;
my ($include) = grep { -e "$_/postgres.h" } map { (run_command([ $_, '--includedir-server' ]))[0] }
	grep { $_ eq 'pg_config' || -x $_ } ('pg_config', "/usr/lib/postgresql/$major/bin/pg_config");
plan skip_all => 'the headers of the server are not to be found' unless defined $include;
my $compiled = system('gcc', '-std=gnu99', '-O1', '-shared', '-fPIC', "-I$include", '-o', "$directory/late.so", "$directory/late.c");
plan skip_all => "the library could not be compiled with $include" if $compiled != 0;
chmod 0755, $directory, "$directory/late.so";

my $node = omni_node('ending', conf => "fsync = off\nmax_prepared_transactions = 2\n");
omni_setup($node);
$node->safe_psql('postgres', q{
	SET search_path = omnichannel;
	INSERT INTO product (product) VALUES ('p'), ('other');
	INSERT INTO price_list (price_list, priority) VALUES ('x', 1), ('y', 0);
	INSERT INTO price (price_list, product, amount, valid) VALUES ('x', 'p', 100, '[2030-01-01,)'), ('y', 'p', 1, '[2030-01-01,)');
});

# In every committed state the list of priority 1 costs 100 and the other one 1.
my $writer = $node->background_psql('postgres');
my $amount = 1;
my %asked = (
	'quote()' => q{SELECT unit_price FROM omnichannel.quote(NULL, 'p', at => '2031-01-01')},
	'catalogue_prices()' => q{SELECT unit_price FROM omnichannel.catalogue_prices(NULL, at => '2031-01-01') WHERE product = 'p'},
	'lowest_price()' => q{SELECT price FROM omnichannel.lowest_price('p', at => '2031-01-01')},
);
$writer->query_safe("LOAD '$directory/late.so'; SET client_min_messages = error");
foreach my $name (sort keys %asked)
{
	foreach my $case (map { my $level = $_; map { [ $level, $_ ] } 'COMMIT', 'COMMIT PREPARED' } 'READ COMMITTED', 'REPEATABLE READ')
	{
		my ($level, $commit) = @$case;
		my $prepare = '';
		my $reader = $node->background_psql('postgres');

		is(value($reader, $asked{$name}), '100.00', "$name before");
		# From here on the lists are kept, and the product is not.
		value($reader, q{BEGIN; UPDATE omnichannel.product SET name = 'changed' WHERE product = 'other'; ROLLBACK});
		if ($commit eq 'COMMIT PREPARED')
		{
			# What is in a file's place is not removed.
			$writer->query_safe('CREATE TABLE gone ()');
			mkdir $node->data_dir . '/' . value($writer, q{SELECT pg_relation_filepath('gone')}) . '_fsm';
			$prepare = "DROP TABLE gone; PREPARE TRANSACTION 'change';";
			$commit = "COMMIT PREPARED 'change'";
		}
		$writer->query_until(qr/ending/, qq{
BEGIN;
UPDATE omnichannel.price SET amount = 101 - amount;
UPDATE omnichannel.price_list SET priority = 1 - priority;
$prepare
\\echo ending
$commit;
});
		value($reader, qq{DO 'BEGIN WHILE (SELECT amount FROM omnichannel.price WHERE price_list = ''x'') <> $amount LOOP END LOOP; END'});
		is(value($reader, "BEGIN ISOLATION LEVEL $level; $asked{$name}; COMMIT"), '100.00', "$name while it is told, $commit, $level");
		is(value($reader, $asked{$name}), '100.00', "$name afterwards");
		$writer->query_safe('SELECT');
		$amount = 101 - $amount;
		$reader->quit;
	}
}

# Somebody who is still changing prices holds nobody up: whoever waits does so for a second, each time.
$writer->query_safe('BEGIN; UPDATE omnichannel.price SET amount = 101 - amount');
my @asked = map { $node->safe_psql('postgres', q{SELECT (quote).unit_price, clock_timestamp() < now() + '0.5 s' FROM (SELECT omnichannel.quote(NULL, 'p', at => '2031-01-01') OFFSET 0) AS asked}) } 1 .. 5;
is(scalar(grep { /^100\.00\|/ } @asked), 5, 'a change under way is not seen');
cmp_ok(scalar(grep { $_ eq '100.00|t' } @asked), '>', 0, 'nor waited for');
$writer->query_safe('ROLLBACK');
$writer->quit;
$node->stop;
done_testing();
