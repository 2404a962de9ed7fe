# Conversations, agents and callers named later stay right under clients who write, change and repeat the same rows at the
# same time, one by one, twenty at once and by backfill(), and nobody locks up. SOAK_SECONDS sets the length.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{SOAK_SECONDS} || 4;
my $node = omni_node('conversation_soak', conf => <<'CONF');
deadlock_timeout = 200ms
CONF

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
INSERT INTO omnichannel.agent (agent_id, name) SELECT n, 'Agent ' || n FROM generate_series(1, 5) AS n;
CREATE TABLE mail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, thread text, agent bigint, at timestamptz DEFAULT now());
INSERT INTO mail (who, thread, agent)
SELECT CASE WHEN i % 4 = 0 THEN 'p' || i % 40 END, 'T' || i % 300, 1 + i % 5 FROM generate_series(1, 3000) AS i;
SELECT omnichannel.track('mail', channel => 'email', customer => '{who}', kind => 'account', thread => '{thread}', agent => '{agent}',
	occurred_at => '{at}', updates => true);
SQL

my %scripts = (
	write => <<'SQL',
\set t random(1, 300)
\set p random(1, 40)
\set n random(1, 3)
\set a random(0, 5)
INSERT INTO mail (who, thread, agent) VALUES (CASE WHEN :n = 1 THEN 'p' || :p END, CASE WHEN :a > 0 THEN 'T' || :t END, nullif(:a, 0));
SQL
	change => <<'SQL',
\set p random(1, 40)
\set a random(0, 5)
\set b random(1, 100000)
UPDATE mail SET agent = nullif(:a, 0), who = coalesce(who, 'p' || :p)
WHERE id = (SELECT id FROM mail WHERE id <= 1 + :b % (SELECT max(id) FROM mail) ORDER BY id DESC LIMIT 1);
SQL
	many => <<'SQL',
\set t random(1, 300)
\set p random(1, 40)
\set r random(1, 1000000)
INSERT INTO mail (who, thread, agent)
SELECT CASE WHEN i % 3 = 0 THEN 'p' || (:p + i) % 40 END, 'T' || (:t + i * 7) % 400, 1 + i % 5 FROM generate_series(1, 20) AS i ORDER BY hashint4(i + :r);
SQL
	again => <<'SQL',
SELECT omnichannel.backfill('mail');
\sleep 500 ms
SQL
);
my @files;
my %weights = (write => 60, change => 30, many => 9, again => 1);
foreach my $name (sort keys %scripts)
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	PostgreSQL::Test::Utils::append_to_file($file, $scripts{$name});
	push @files, '-f', "$file\@$weights{$name}";
}
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', $seconds, @files, 'postgres' ], 'no client failed');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/deadlock detected/, 'nobody locked up');
$node->safe_psql('postgres', q{SELECT omnichannel.backfill('mail')});

sub none
{
	my ($name, $query) = @_;
	is($node->safe_psql('postgres', "SELECT count(*) FROM $query"), '0', $name);
}
my $mine = q{mail AS m JOIN omnichannel.contact AS c ON c.source = 'public.mail' AND c.source_key = m.id::text};
is($node->safe_psql('postgres', 'SELECT count(*) FROM omnichannel.contact'), $node->safe_psql('postgres', 'SELECT count(*) FROM mail'), 'each row is one contact');
none('every contact has its customer', 'omnichannel.contact WHERE customer_id NOT IN (SELECT customer_id FROM omnichannel.customer)');
none('keys name their contacts', q{omnichannel.contact_key AS k WHERE NOT EXISTS (SELECT FROM omnichannel.contact AS c
	WHERE (c.customer_id, c.occurred_at, c.contact_id, c.source_key) = (k.customer_id, k.occurred_at, k.contact_id, k.source_key))});
none('each contact counts once, with the agent it names', q{(SELECT customer_id, agent_id, count(*) AS n FROM omnichannel.contact
	WHERE agent_id IS NOT NULL GROUP BY 1, 2) AS c FULL JOIN omnichannel.relationship AS r USING (customer_id, agent_id) WHERE n IS DISTINCT FROM r.contacts});
none('and that is what its row says', "$mine WHERE c.agent_id IS DISTINCT FROM m.agent AND c.request_id IS NOT NULL");
none('who says nothing is whose conversation it is', qq{$mine JOIN omnichannel.thread AS t ON t.source = c.source AND t.thread = c.thread
	WHERE m.who IS NULL AND omnichannel.customer_root(c.customer_id) <> omnichannel.customer_root(t.customer_id)});
none('a conversation is about one request', q{(SELECT FROM omnichannel.thread AS t JOIN omnichannel.contact AS c ON (c.source, c.thread) = (t.source, t.thread)
	AND omnichannel.customer_root(c.customer_id) = omnichannel.customer_root(t.customer_id) GROUP BY t.thread HAVING count(DISTINCT c.request_id) > 1) AS split});
none('nobody is in the request of somebody else', q{omnichannel.contact AS c JOIN omnichannel.request AS r USING (request_id)
	WHERE omnichannel.customer_root(c.customer_id) <> omnichannel.customer_root(r.customer_id)});
none('no request was opened for nothing', 'omnichannel.request WHERE request_id NOT IN (SELECT request_id FROM omnichannel.contact WHERE request_id IS NOT NULL)');
none('no nameless customer was made for nothing', q{omnichannel.customer AS k
	WHERE NOT EXISTS (SELECT FROM omnichannel.contact AS c WHERE c.customer_id = k.customer_id)
	AND NOT EXISTS (SELECT FROM omnichannel.identity AS i WHERE i.customer_id = k.customer_id)});
none('merged customers are flat', 'omnichannel.customer AS k JOIN omnichannel.customer AS r ON r.customer_id = k.merged_into WHERE r.merged_into IS NOT NULL');
$node->stop;
done_testing();
