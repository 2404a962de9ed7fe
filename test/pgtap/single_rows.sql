-- An ordinary contact is read for and written without SQL. Whatever SQL would do for it is done all the same.
BEGIN;
SELECT plan(51);

CREATE TABLE public.mail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sender text, agent bigint, body text,
	outcome text DEFAULT 'voicemail');
INSERT INTO omnichannel.agent (agent_id, name) VALUES (990001, 'Ewa'), (990002, 'Jan');
SELECT lives_ok($$SELECT omnichannel.track('public.mail', channel => 'email', customer => '{sender}', kind => 'email',
	agent => '{agent}', body => '{body}', outcome => '{outcome}', source => 'mail')$$, 'tracked');
INSERT INTO public.mail (sender, agent, body) VALUES ('a@single.test', 990001, 'the first');
CREATE TABLE public.seen (what text);
CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO public.seen VALUES (TG_TABLE_NAME || ' ' || TG_OP || ' ' || TG_LEVEL); RETURN NEW; END$$;

-- One more from the same customer, to the same agent, which moves no clock; were it plainly received, it would be still, and
-- nothing written but itself: see still_contacts.sql.
CREATE FUNCTION public.write(body text DEFAULT 'one more', agent bigint DEFAULT 990001) RETURNS void LANGUAGE sql AS
	$$INSERT INTO public.mail (sender, agent, body) VALUES (' A@single.test', agent, body)$$;
-- What is logged of the customer
CREATE FUNCTION public.logged(OUT contacts bigint, OUT keys bigint, OUT moments bigint, OUT counted bigint, OUT requests bigint,
	OUT clocks bigint) LANGUAGE sql AS $$
SELECT (SELECT count(*) FROM omnichannel.contact WHERE source = 'mail' AND request_id IS NOT NULL),
	(SELECT count(*) FROM omnichannel.contact_key JOIN omnichannel.contact USING (source, source_key, customer_id, contact_id, occurred_at)),
	(SELECT count(*) FROM omnichannel.sla_moment AS m JOIN omnichannel.contact AS c ON c.contact_id = m.contact_id AND m.at = c.occurred_at),
	(SELECT sum(r.contacts) FROM omnichannel.relationship AS r WHERE agent_id = 990001),
	(SELECT count(DISTINCT request_id) FROM omnichannel.contact WHERE source = 'mail'),
	(SELECT count(*) FROM omnichannel.sla_clock)
$$;

SELECT results_eq('SELECT * FROM public.logged()', $$VALUES (1::bigint, 1::bigint, 1::bigint, 1::bigint, 1::bigint, 1::bigint)$$, 'the first is logged');
SELECT public.write() FROM generate_series(1, 3);
SELECT results_eq('SELECT * FROM public.logged()', $$VALUES (4::bigint, 4::bigint, 4::bigint, 4::bigint, 1::bigint, 1::bigint)$$, 'so are more, of the same request and clock');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE logged_at = now() AND body = 'one more' AND direction = 'inbound'
	AND outcome = 'voicemail' AND agent_id = 990001 AND thread IS NULL AND payload IS NULL), 3::bigint, 'with all columns');

-- Savepoints
SAVEPOINT before;
SELECT public.write();
ROLLBACK TO before;
SELECT is((SELECT contacts FROM public.logged()), 4::bigint, 'nothing is left of a savepoint that was rolled back to');
SELECT public.write();
SELECT is((SELECT (counted, moments)::text FROM public.logged()), '(5,5)', 'and the next is logged');

-- Triggers
SAVEPOINT before;
CREATE TRIGGER see AFTER INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.see();
CREATE TRIGGER see_all BEFORE INSERT ON omnichannel.contact FOR EACH STATEMENT EXECUTE FUNCTION public.see();
CREATE TRIGGER see BEFORE INSERT ON omnichannel.contact_key FOR EACH ROW EXECUTE FUNCTION public.see();
CREATE TRIGGER see AFTER INSERT ON omnichannel.sla_moment FOR EACH STATEMENT EXECUTE FUNCTION public.see();
CREATE TRIGGER see AFTER UPDATE ON omnichannel.relationship FOR EACH ROW EXECUTE FUNCTION public.see();
CREATE TRIGGER see AFTER UPDATE ON omnichannel.sla_customer FOR EACH ROW EXECUTE FUNCTION public.see();
SELECT public.write();
SELECT results_eq('SELECT DISTINCT what FROM public.seen ORDER BY what', $$VALUES ('contact INSERT STATEMENT'), ('contact_default INSERT ROW'),
	('contact_key INSERT ROW'), ('relationship UPDATE ROW'), ('sla_customer UPDATE ROW'), ('sla_moment INSERT STATEMENT')$$, 'triggers fire');
ROLLBACK TO before;
CREATE TRIGGER see AFTER INSERT ON omnichannel.contact_default FOR EACH ROW EXECUTE FUNCTION public.see();
SELECT public.write();
SELECT is((SELECT string_agg(what, ',') FROM public.seen), 'contact_default INSERT ROW', 'one of a partition too');
ROLLBACK TO before;
CREATE RULE see AS ON UPDATE TO omnichannel.relationship DO ALSO INSERT INTO public.seen VALUES ('rule');
SELECT public.write();
SELECT is((SELECT string_agg(what, ',') FROM public.seen), 'rule', 'and a rule acts');
ROLLBACK TO before;

-- What SQL runs sees a pinned search_path; the session has its own again, after an error too.
CREATE FUNCTION public.see_path() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO public.seen VALUES (current_setting('search_path')); RETURN NEW; END$$;
CREATE TRIGGER see AFTER INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.see_path();
SET LOCAL search_path = public, omnichannel;
SELECT public.write();
SELECT is((SELECT string_agg(what, ' ') FROM public.seen), 'pg_catalog, pg_temp', 'a trigger sees a pinned search_path');
SELECT is(current_setting('search_path'), 'public, omnichannel', 'the session has its own again');
SELECT throws_ok($$INSERT INTO public.mail (sender, agent) VALUES ('a@single.test', 999999)$$, '23503', NULL, 'an error ends the pinning');
SELECT public.write(agent => NULL);
SELECT is((SELECT count(*) FROM public.seen WHERE what = 'pg_catalog, pg_temp') || ' ' || current_setting('search_path'),
	'2 public, omnichannel', 'and the next row is pinned anew');
ROLLBACK TO before;

-- Constraints and defaults
ALTER TABLE omnichannel.contact ADD CONSTRAINT c CHECK (body <> 'bad');
SELECT throws_ok($$SELECT public.write('bad')$$, '23514', NULL, 'a check holds');
SELECT lives_ok($$SELECT public.write('good')$$, 'for what it refuses');
ROLLBACK TO before;
ALTER TABLE omnichannel.contact_default ADD CONSTRAINT c CHECK (body <> 'bad');
SELECT throws_ok($$SELECT public.write('bad')$$, '23514', NULL, 'so does that of a partition');
ROLLBACK TO before;
ALTER TABLE omnichannel.contact_key ADD CONSTRAINT c CHECK (source_key::bigint < 0) NOT VALID;
SELECT throws_ok($$SELECT public.write()$$, '23514', NULL, 'that of the keys');
ROLLBACK TO before;
ALTER TABLE omnichannel.relationship ADD CONSTRAINT c CHECK (contacts <= 5);
SELECT throws_ok($$SELECT public.write()$$, '23514', NULL, 'that of relationships');
ROLLBACK TO before;
ALTER TABLE omnichannel.sla_customer ADD CONSTRAINT c CHECK (last_at < now()) NOT VALID;
SELECT throws_ok($$SELECT public.write()$$, '23514', NULL, 'and that of moments');
ROLLBACK TO before;
CREATE FUNCTION public.fits(body text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RETURN body <> 'bad'; END$$;
ALTER TABLE omnichannel.contact ADD CONSTRAINT c CHECK (public.fits(body));
SELECT throws_ok($$SELECT public.write('bad')$$, '23514', NULL, 'a check by a function of the company''s own too');
ROLLBACK TO before;
ALTER TABLE omnichannel.contact ALTER agent_id SET NOT NULL;
SELECT throws_ok($$SELECT public.write(agent => NULL)$$, '23502', NULL, 'NOT NULL holds');
ROLLBACK TO before;
CREATE DOMAIN public.short AS text CHECK (VALUE IS NOT NULL);
ALTER TABLE omnichannel.contact_key ADD note public.short DEFAULT 'given';
ALTER TABLE omnichannel.contact_key ALTER note DROP DEFAULT;
SELECT throws_ok($$SELECT public.write()$$, '23514', NULL, 'and so does a domain');
ROLLBACK TO before;
ALTER TABLE omnichannel.contact_key ADD note text DEFAULT 'x' || 'y';
SELECT public.write('noted');
SELECT is((SELECT k.note FROM omnichannel.contact_key AS k JOIN omnichannel.contact AS c USING (source, source_key) WHERE c.body = 'noted'),
	'xy', 'a column of the company''s own gets its default');
ROLLBACK TO before;
ALTER TABLE omnichannel.contact ALTER logged_at SET DEFAULT '2001-01-01 00:00+00';
SELECT public.write('noted');
SELECT is((SELECT logged_at FROM omnichannel.contact WHERE body = 'noted'), '2001-01-01 00:00+00'::timestamptz, 'a default may be another');
ROLLBACK TO before;
ALTER TABLE omnichannel.sla_moment ADD note text GENERATED ALWAYS AS (channel || '!') STORED;
ALTER TABLE omnichannel.relationship ADD note bigint GENERATED ALWAYS AS (contacts * 2) STORED;
SELECT public.write();
SELECT is((SELECT count(*) FROM omnichannel.sla_moment WHERE note = 'email!') || ' ' || (SELECT note FROM omnichannel.relationship WHERE agent_id = 990001),
	(SELECT count(*) FROM omnichannel.sla_moment) || ' 12', 'generated columns are generated');
ROLLBACK TO before;
ALTER TABLE omnichannel.relationship ALTER contacts TYPE integer;
SELECT public.write();
SELECT is((SELECT counted FROM public.logged()), 6::bigint, 'a column may be of another type');
ROLLBACK TO before;
ALTER TABLE omnichannel.contact DROP COLUMN payload;
SELECT throws_ok($$SELECT public.write()$$, '42703', NULL, 'one that is missing is an error');
ROLLBACK TO before;
ALTER TABLE omnichannel.contact ADD note text;
ALTER TABLE omnichannel.identity DROP COLUMN verified_at CASCADE;
SELECT public.write();
SELECT is((SELECT contacts FROM public.logged()), 6::bigint, 'one more or less that nobody writes is none');
ROLLBACK TO before;

-- Indexes
CREATE INDEX by_body ON omnichannel.contact (lower(body));
CREATE INDEX by_long ON omnichannel.contact_key (source_key) WHERE source > 'm';
CREATE INDEX by_count ON omnichannel.relationship (contacts);
CREATE INDEX by_hash ON omnichannel.sla_moment USING hash (channel);
SELECT public.write('Indexed');
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT is((SELECT count(*) FROM omnichannel.contact AS c JOIN omnichannel.contact_key AS k ON k.source_key = c.source_key AND k.source > 'm'
	WHERE lower(c.body) = 'indexed'), 1::bigint, 'indexes on expressions and of some rows have the row');
SELECT is((SELECT count(*) FROM omnichannel.relationship WHERE contacts = 6), 1::bigint, 'so have those on what changes');
SELECT is((SELECT count(*) FROM omnichannel.sla_moment WHERE channel = 'email' AND contact_id IS NOT NULL), (SELECT moments FROM public.logged()),
	'and those of other kinds');
ROLLBACK TO before;
DROP INDEX omnichannel.sla_clock_open, omnichannel.request_open_customer, omnichannel.sla_moment_said, omnichannel.customer_merged_into;
SELECT public.write();
SELECT is((SELECT (contacts, moments, clocks)::text FROM public.logged()), '(6,6,1)', 'indexes may be gone');
ROLLBACK TO before;
DROP INDEX omnichannel.sla_clock_open, omnichannel.request_open_customer;
CREATE INDEX sla_clock_open ON omnichannel.sla_clock (customer_id) WHERE stopped_at IS NOT NULL;
CREATE INDEX request_open_customer ON omnichannel.request (customer_id, opened_at, request_id) WHERE queue IS NOT NULL;
SELECT public.write();
SELECT is((SELECT (contacts, requests, clocks)::text FROM public.logged()), '(6,1,1)', 'or others under their names');
ROLLBACK TO before;
CREATE UNIQUE INDEX ON omnichannel.sla_moment (customer_id, contact_id) WHERE request_id IS NULL;
SELECT public.write();
SELECT is((SELECT moments FROM public.logged()), 6::bigint, 'a unique index does not trouble the rows that it does not hold');
ROLLBACK TO before;
CREATE UNIQUE INDEX ON omnichannel.contact_default (body) WHERE body IS NOT NULL AND body <> 'one more';
SELECT public.write('twice');
SELECT throws_ok($$SELECT public.write('twice')$$, '23505', NULL, 'a unique key holds');
ROLLBACK TO before;
CREATE UNIQUE INDEX ON omnichannel.contact_default (source, source_key);
DELETE FROM omnichannel.contact_key WHERE source = 'mail';
ALTER SEQUENCE public.mail_id_seq RESTART WITH 1;
CREATE FUNCTION public.write_again() RETURNS void LANGUAGE sql AS
	$$INSERT INTO public.mail (id, sender, agent) OVERRIDING SYSTEM VALUE VALUES (1, 'a@single.test', 990001)$$;
DELETE FROM public.mail WHERE id = 1;
SELECT throws_ok('SELECT public.write_again()', '23505', NULL, 'one of columns too');
ROLLBACK TO before;

-- Clocks: a first answer, a message, a call that is missed, a message that waits with the one before, and an answer
CREATE FUNCTION public.talk() RETURNS void LANGUAGE sql AS $$
SELECT omnichannel.log_contact(channel, kind => 'email', value => 'a@single.test', direction => direction, outcome => outcome,
	occurred_at => now() - make_interval(mins => 1000 - minute), source => 'talk', source_key => minute::text)
FROM (VALUES (1, 'email', 'inbound', 'received'), (2, 'email', 'outbound', 'sent'), (3, 'email', 'inbound', 'received'),
	(4, 'phone', 'inbound', 'missed'), (5, 'email', 'inbound', 'received'), (6, 'email', 'outbound', 'sent'))
	AS t (minute, channel, direction, outcome) ORDER BY minute
$$;
CREATE FUNCTION public.clocks() RETURNS SETOF jsonb LANGUAGE sql AS
	$$SELECT to_jsonb(c) - 'clock_id' - 'moment_id' FROM omnichannel.sla_clock AS c ORDER BY started_at, metric$$;
-- What was logged now would come after all of them.
DELETE FROM omnichannel.sla_clock;
DELETE FROM omnichannel.sla_moment;
DELETE FROM omnichannel.sla_customer;
UPDATE omnichannel.request SET opened_at = now() - interval '2 days', state_since = now() - interval '2 days';
SAVEPOINT silent;
SELECT public.talk();
SELECT results_eq('SELECT metric, outcome, notice_at IS NOT NULL, calendar FROM omnichannel.sla_clock ORDER BY started_at',
	$$VALUES ('first_response', 'met', false, 'office'), ('next_response', 'met', false, 'office'), ('callback', NULL, true, 'office')$$,
	'clocks start and stop');
CREATE TEMP TABLE direct ON COMMIT DROP AS SELECT public.clocks() AS clock;
SELECT results_eq('SELECT count(*) FROM omnichannel.sla_clock WHERE notice_at > ''-infinity'' AND metric = ''callback''', 'VALUES (1::bigint)',
	'their indexes have what is generated');
SELECT results_eq('SELECT metric FROM omnichannel.sla_clock WHERE customer_id IS NOT NULL AND stopped_at IS NULL AND metric = ''callback''',
	$$VALUES ('callback')$$, 'and what they select');
CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM direct;
SAVEPOINT talked;
-- SQL writes them where there is a trigger.
DELETE FROM omnichannel.sla_clock;
DELETE FROM omnichannel.sla_moment;
DELETE FROM omnichannel.sla_customer;
DELETE FROM omnichannel.contact WHERE source = 'talk';
DELETE FROM omnichannel.contact_key WHERE source = 'talk';
CREATE TRIGGER see AFTER INSERT OR UPDATE ON omnichannel.sla_clock FOR EACH ROW EXECUTE FUNCTION public.see();
SELECT public.talk();
SELECT results_eq('SELECT what, count(*) FROM public.seen GROUP BY 1 ORDER BY 1',
	$$VALUES ('sla_clock INSERT ROW', 3::bigint), ('sla_clock UPDATE ROW', 2)$$, 'a trigger on clocks fires');
SELECT set_eq('SELECT public.clocks()', 'SELECT clock FROM kept', 'and they are the same');
ROLLBACK TO silent;
ALTER TABLE omnichannel.sla_clock ADD CONSTRAINT c CHECK (outcome IS DISTINCT FROM 'met');
SELECT throws_ok('SELECT public.talk()', '23514', NULL, 'a check on clocks holds');
ROLLBACK TO before;

-- Partitions
CREATE TABLE omnichannel.contact_now (gone int, LIKE omnichannel.contact INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE omnichannel.contact_now DROP gone;
ALTER TABLE omnichannel.contact DETACH PARTITION omnichannel.contact_default;
SELECT throws_ok($$SELECT public.write()$$, '23514', NULL, 'without a partition it is an error');
ALTER TABLE omnichannel.contact ATTACH PARTITION omnichannel.contact_now FOR VALUES FROM ('2020-01-01') TO ('2300-01-01');
SELECT public.write('there');
SELECT public.write('there');
SELECT is((SELECT count(*) FROM omnichannel.contact_now WHERE body = 'there' AND source = 'mail' AND agent_id = 990001), 2::bigint,
	'a partition whose columns lie otherwise takes the row');
ALTER TABLE omnichannel.contact DETACH PARTITION omnichannel.contact_now;
ALTER TABLE omnichannel.contact ATTACH PARTITION omnichannel.contact_default DEFAULT;
SELECT public.write('back');
SELECT is((SELECT count(*) FROM omnichannel.contact_default WHERE body = 'back'), 1::bigint, 'then the default one again');
ROLLBACK TO before;

-- Rights, of a role that logs by itself
CREATE ROLE regress_single;
SELECT omnichannel.grant_access('regress_single', 'app');
SET LOCAL ROLE regress_single;
SELECT isnt(omnichannel.log_contact('email', kind => 'email', value => 'a@single.test', source => 'own', source_key => '1', agent_id => 990001),
	NULL, 'who may log');
RESET ROLE;
SAVEPOINT allowed;
REVOKE INSERT ON omnichannel.contact_key FROM regress_single;
SET LOCAL ROLE regress_single;
SELECT throws_ok($$SELECT omnichannel.log_contact('email', kind => 'email', value => 'a@single.test', source => 'own', source_key => '2')$$,
	'42501', NULL, 'may not once the right is gone');
RESET ROLE;
ROLLBACK TO allowed;
REVOKE SELECT ON omnichannel.identity FROM regress_single;
SET LOCAL ROLE regress_single;
SELECT throws_ok($$SELECT omnichannel.identify('email', 'a@single.test', false)$$, '42501', NULL, 'nor find a customer');
RESET ROLE;
ROLLBACK TO allowed;
ALTER TABLE omnichannel.identity ENABLE ROW LEVEL SECURITY;
SET LOCAL ROLE regress_single;
SELECT is(omnichannel.identify('email', 'a@single.test', false), NULL, 'whom row security hides');
RESET ROLE;
ROLLBACK TO allowed;
ALTER TABLE omnichannel.contact ENABLE ROW LEVEL SECURITY;
CREATE POLICY none ON omnichannel.contact FOR INSERT TO regress_single WITH CHECK (body <> 'bad');
SET LOCAL ROLE regress_single;
SELECT throws_ok($$SELECT omnichannel.log_contact('email', kind => 'email', value => 'a@single.test', source => 'own', source_key => '2', body => 'bad')$$,
	'42501', NULL, 'nor log what row security refuses');
RESET ROLE;
ROLLBACK TO allowed;

SET LOCAL transaction_read_only = on;
SELECT throws_ok($$SELECT omnichannel.log_contact('email', kind => 'email', value => 'a@single.test', source => 'own', source_key => '2')$$,
	'25006', NULL, 'nobody may in a transaction that reads only');

SELECT * FROM finish();
ROLLBACK;
