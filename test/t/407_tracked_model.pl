# Rows that are written, changed, renumbered, moved up, left out, spoilt, mended and deleted at random, by clients at once, while what
# waits is tried again: each row that can be logged has its contact, which says what it says, and no contact what another
# row says. SOAK_STEPS sets the length.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $steps = $ENV{SOAK_STEPS} || 800;
my $node = omni_node('tracked_model', conf => "deadlock_timeout = 200ms\n");

omni_setup($node);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE note (id int PRIMARY KEY DEFERRABLE, no int, who text, channel text, direction text, body text, at timestamptz);
CREATE SEQUENCE numbers;
SELECT omnichannel.track('note', channel => '{channel}', kind => 'account', customer => '{who}', direction => '{direction}', body => '{body}',
	occurred_at => '{at}', updates => true, on_error => 'quarantine', value_maps => '{"direction": {"draft": null}}');
CREATE FUNCTION pick(VARIADIC texts text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT texts[1 + floor(random() * array_length(texts, 1))::int]
$$;
-- One write of a client, among sixty keys of its own, which come again; what a key has already is nobody's fault.
CREATE PROCEDURE write_one(client int) LANGUAGE plpgsql AS $$
DECLARE
	new_no int := nextval('numbers');
	key int := client * 1000 + floor(random() * 60);
	other int := client * 1000 + floor(random() * 60);
BEGIN
	CASE pick('insert', 'insert', 'insert', 'update', 'update', 'update', 'update', 'several', 'renumber', 'renumber', 'move up', 'delete', 'retry')
	WHEN 'insert' THEN
		INSERT INTO note SELECT key, new_no, 'a' || new_no, pick('forum', 'forum', 'telex'), pick('inbound', 'inbound', 'outbound', 'draft', 'sideways'),
			format('%s: new', new_no), timestamptz '2026-01-01 00:00Z' + new_no * interval '1 minute'
		WHERE NOT EXISTS (SELECT FROM note WHERE id = key);
	WHEN 'update' THEN
		UPDATE note SET channel = pick('forum', 'forum', 'telex'), direction = pick('inbound', 'outbound', 'draft', 'internal'), body = format('%s: %s', no, new_no)
		WHERE id = key;
	WHEN 'several' THEN
		UPDATE note SET channel = pick('forum', 'telex'), body = format('%s: %s', no, new_no) WHERE id BETWEEN key AND key + 4;
	WHEN 'renumber' THEN
		UPDATE note SET id = other, channel = pick(channel, 'forum', 'telex'), direction = pick(direction, 'inbound', 'draft'), body = format('%s: %s', no, new_no)
		WHERE id = key AND NOT EXISTS (SELECT FROM note WHERE id = other);
	WHEN 'move up' THEN
		UPDATE note SET id = id + 1, channel = pick(channel, 'forum', 'telex'), direction = pick(direction, direction, 'inbound', 'draft'),
			body = format('%s: %s', no, new_no)
		WHERE id BETWEEN key AND key + 3 AND NOT EXISTS (SELECT FROM note WHERE id = key + 4);
	WHEN 'delete' THEN
		DELETE FROM note WHERE id = key;
	ELSE
		PERFORM omnichannel.retry_rejects(max_rows => 20);
	END CASE;
	IF random() < 0.1 THEN
		RAISE EXCEPTION 'taken back' USING ERRCODE = 'restrict_violation';
	END IF;
EXCEPTION WHEN restrict_violation OR deadlock_detected THEN
	NULL;
END
$$;
CREATE VIEW said AS
SELECT contact.source_key, contact.body, split_part(contact.body, ':', 1) AS no, identity.value AS who
FROM omnichannel.contact JOIN omnichannel.identity USING (customer_id);
CREATE VIEW waits AS SELECT source_key, sqlstate, data ->> 'no' AS no FROM omnichannel.contact_reject;
SQL
my $file = "$PostgreSQL::Test::Utils::tmp_check/write_one.sql";
PostgreSQL::Test::Utils::append_to_file($file, 'CALL write_one(:client_id);');
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-j', '2', '-t', $steps, '-f', $file, 'postgres' ], 'clients write at once');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM said'), '>', 50, 'and are logged');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM waits'), '>', 10, 'or wait');
is($node->safe_psql('postgres', q(SELECT * FROM said WHERE who <> 'a' || no)), '', 'no contact says what another row says');
is($node->safe_psql('postgres', <<'SQL'), '', 'each row that can be logged has its contact, or waits');
SELECT note.*, said.body FROM note LEFT JOIN said ON said.source_key = note.id::text AND said.who = note.who
WHERE channel = 'forum' AND direction IN ('inbound', 'outbound', 'internal') AND said.body IS DISTINCT FROM note.body
	AND NOT EXISTS (SELECT FROM waits WHERE waits.source_key = note.id::text AND waits.no = note.no::text AND waits.sqlstate = '23505')
SQL
is($node->safe_psql('postgres', 'SELECT waits.* FROM waits JOIN note ON note.no::text = waits.no WHERE note.id::text <> waits.source_key'),
	'', 'no row waits under a key that it had');
$node->safe_psql('postgres', q(INSERT INTO omnichannel.channel (channel, name, medium) VALUES ('telex', 'Telex', 'text'); SELECT omnichannel.retry_rejects()));
is($node->safe_psql('postgres', <<'SQL'), '', 'and what waits is logged once it can be');
SELECT note.*, waits.* FROM note JOIN waits ON waits.no = note.no::text WHERE direction NOT IN ('draft', 'sideways') AND sqlstate <> '23505'
SQL
$node->stop;
done_testing();
