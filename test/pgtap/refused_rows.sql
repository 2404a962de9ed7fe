-- Triggers of one's own on the tables may keep rows from them, or change their keys: a clear error, and nothing is lost or hangs.
BEGIN;
SELECT plan(101);
SET LOCAL statement_timeout = '30s';
INSERT INTO omnichannel.agent (agent_id, name) VALUES (1, 'Ola');
INSERT INTO omnichannel.queue (queue, name) VALUES ('care', 'Care');
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('care', 1);
INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency) VALUES (1, 'chat', 5);
CREATE TABLE public.mail (id int PRIMARY KEY, who text, thread text, at timestamptz DEFAULT '2026-03-01 10:00+00');
CREATE FUNCTION public.track_mail(on_error text) RETURNS text LANGUAGE sql AS $$
	SELECT omnichannel.track('public.mail', channel => 'email', customer => '{who}', kind => 'email', thread => '{thread}', occurred_at => '{at}', on_error => on_error)
$$;
SELECT public.track_mail('error') \g /dev/null
CREATE FUNCTION public.keep_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RETURN NULL;
END
$$;
-- changes what is named in its argument
CREATE FUNCTION public.change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	new := jsonb_populate_record(new, tg_argv[0]::jsonb);
	RETURN new;
END
$$;
CREATE FUNCTION public.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' ', SQLSTATE, SQLERRM, substring(hint FROM '^A trigger or rule of your own on omnichannel.[a-z_]+'));
END
$$;
CREATE FUNCTION public.refused(refusing text) RETURNS text LANGUAGE sql AS $$
	SELECT format('09000 table "%1$s" did not take a row as it was written A trigger or rule of your own on omnichannel.%1$s', refusing)
$$;
CREATE FUNCTION public.one(n int) RETURNS text LANGUAGE sql AS $$
	SELECT format('INSERT INTO public.mail VALUES (%s, ''r%1$s@x.test'', ''t%1$s'')', n)
$$;
CREATE FUNCTION public.many(n int) RETURNS text LANGUAGE sql AS $$
	SELECT format('INSERT INTO public.mail SELECT %s + i, ''r'' || i || ''@x.test'', ''t'' || i FROM generate_series(1, 5) AS i', n)
$$;
CREATE FUNCTION public.nobody(n int) RETURNS text LANGUAGE sql AS $$
	SELECT format('INSERT INTO public.mail VALUES (%s, NULL, ''n%1$s'')', n)
$$;

CREATE TRIGGER keep_out BEFORE INSERT ON omnichannel.identity FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT is(public.refusal(public.one(1)), public.refused('identity'), 'an identity that is kept out');
SELECT is(public.refusal(public.many(10)), public.refused('identity'), 'several');
SELECT is(public.refusal($$SELECT omnichannel.identify('email', 'i@x.test')$$), public.refused('identity'), 'by identify()');
DROP TRIGGER keep_out ON omnichannel.identity;
CREATE TRIGGER change BEFORE INSERT ON omnichannel.identity FOR EACH ROW EXECUTE FUNCTION public.change('{"value": "x@x.test"}');
SELECT is(public.refusal(public.many(10)), public.refused('identity'), 'identities that are changed');
DROP TRIGGER change ON omnichannel.identity;

CREATE TRIGGER keep_out BEFORE INSERT ON omnichannel.customer FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT is(public.refusal(public.nobody(1)), public.refused('customer'), 'a customer nobody knows');
SELECT matches(public.refusal(public.one(1)), '^23503 .*identity', 'of an identity the foreign key says it');
DROP TRIGGER keep_out ON omnichannel.customer;

CREATE TRIGGER keep_out BEFORE INSERT ON omnichannel.thread FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT is(public.refusal(public.one(1)), public.refused('thread'), 'a conversation that is kept out');
SELECT is(public.refusal(public.many(10)), public.refused('thread'), 'several');
DROP TRIGGER keep_out ON omnichannel.thread;
CREATE TRIGGER change BEFORE INSERT ON omnichannel.thread FOR EACH ROW EXECUTE FUNCTION public.change('{"thread": "other"}');
SELECT is(public.refusal(public.one(1)), public.refused('thread'), 'a conversation that is changed');
SELECT is(public.refusal(public.many(10)), public.refused('thread'), 'several');
DROP TRIGGER change ON omnichannel.thread;

CREATE TRIGGER keep_out BEFORE INSERT ON omnichannel.request FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT is(public.refusal(public.one(1)), public.refused('request'), 'a request that is kept out');
SELECT is(public.refusal(public.many(10)), public.refused('request'), 'several');
SELECT is(public.refusal($$SELECT omnichannel.open_request(omnichannel.identify('email', 'i@x.test'), 'question', 'chat')$$), public.refused('request'), 'by open_request()');
DROP TRIGGER keep_out ON omnichannel.request;

CREATE FUNCTION public.try_log(refusing text, what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT is(public.refusal(public.one(1)), public.refused(refusing), 'a ' || what);
	RETURN NEXT is(public.refusal(public.many(10)), public.refused(refusing), 'several');
	RETURN NEXT is(public.refusal($s$SELECT omnichannel.log_contact('email', kind => 'email', value => 'old@x.test', source => 'desk', source_key => '1')$s$), public.refused(refusing), 'by log_contact()');
	RETURN NEXT is(public.refusal($s$SELECT omnichannel.log_contact('email', kind => 'email', value => 'old@x.test', source => 'desk', source_key => '2', direction => 'outbound')$s$), public.refused(refusing),
		'where nothing else is written');
END
$$;
SELECT omnichannel.log_contact('email', kind => 'email', value => 'old@x.test', source => 'desk', source_key => '0') AS old \gset
CREATE TRIGGER keep_out BEFORE INSERT ON omnichannel.contact_key FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT public.try_log('contact_key', 'key that is kept out');
SELECT is(omnichannel.log_contact('email', kind => 'email', value => 'old@x.test', source => 'desk', source_key => '0'), :old::bigint, 'what is logged stays logged');
DROP TRIGGER keep_out ON omnichannel.contact_key;
CREATE TRIGGER change BEFORE INSERT ON omnichannel.contact_key FOR EACH ROW EXECUTE FUNCTION public.change('{"contact_id": -1}');
SELECT is(public.refusal(public.many(10)), public.refused('contact_key'), 'keys of other contacts');
DROP TRIGGER change ON omnichannel.contact_key;
CREATE TRIGGER keep_out BEFORE INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT public.try_log('contact', 'contact that is kept out');
SELECT is(public.refusal($$SELECT omnichannel.log_contact('email', kind => 'email', value => 'old@x.test')$$), public.refused('contact'), 'without a key too');
DROP TRIGGER keep_out ON omnichannel.contact;

-- By what it is known a contact stays, wherever the trigger stands.
CREATE FUNCTION public.try_change(relation regclass, refusing text, key text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TRIGGER change BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION public.change(%L)', relation, key);
	RETURN NEXT is(public.refusal(public.one(1)), public.refused(refusing), format('%s with %s', relation, key));
	RETURN NEXT is(public.refusal(public.many(10)), public.refused(refusing), 'several');
	EXECUTE format('DROP TRIGGER change ON %s', relation);
END
$$;
SELECT public.try_change('omnichannel.contact', 'contact', key::text)
FROM unnest('{"{\"occurred_at\": \"2026-03-01 00:00+00\"}","{\"contact_id\": -1}","{\"customer_id\": 1}","{\"source\": null}","{\"source_key\": \"1x\"}"}'::jsonb[]) AS key;
SELECT public.try_change('omnichannel.contact_default', 'contact', '{"customer_id": 1}');
SELECT public.try_change('omnichannel.contact_key', 'contact_key', '{"source_key": "1x"}');

SELECT is(public.refusal(public.one(1)), 'nothing', 'and all is well without them');
SELECT is(public.refusal(public.many(10)), 'nothing', 'for several rows');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'public.mail'), 6::bigint, 'each is logged');
SELECT is((SELECT count(*) FROM omnichannel.request), 6::bigint, 'in its conversation''s request');

-- What revises a contact comes to it, or the update ends.
CREATE TABLE public.note (id int PRIMARY KEY, who text, at timestamptz DEFAULT '2026-03-01 10:00+00', body text, other int);
SELECT omnichannel.track('public.note', channel => 'post', customer => '{who}', kind => 'email', body => '{body}', occurred_at => '{at}', updates => true) \g /dev/null
INSERT INTO public.note (id, who, body) VALUES (1, 'r1@x.test', 'a');
CREATE TRIGGER keep_out BEFORE UPDATE ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT is(public.refusal($$UPDATE public.note SET body = 'b'$$), public.refused('contact'), 'a contact that is kept as it was');
SELECT is(public.refusal($$UPDATE public.note SET other = 1$$), 'nothing', 'of no matter where it says the same');
SELECT is(public.refusal($$UPDATE public.note SET id = 2$$), public.refused('contact'), 'nor does it get another key');
DROP TRIGGER keep_out ON omnichannel.contact;
CREATE TRIGGER change BEFORE UPDATE ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.change('{"customer_id": 1}');
SELECT is(public.refusal($$UPDATE public.note SET body = 'b'$$), public.refused('contact'), 'nor another customer');
DROP TRIGGER change ON omnichannel.contact;
SELECT is(public.refusal($$UPDATE public.note SET body = 'b'$$), 'nothing', 'without them it is revised');
SELECT is((SELECT body FROM omnichannel.contact WHERE source = 'public.note'), 'b', 'as it says');

-- Other triggers may do as they like.
CREATE TRIGGER change BEFORE INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.change('{"subject": "noted"}');
CREATE TRIGGER change BEFORE INSERT ON omnichannel.identity FOR EACH ROW EXECUTE FUNCTION public.change('{"verified_at": "2026-01-01 00:00+00"}');
CREATE TRIGGER change BEFORE INSERT ON omnichannel.request FOR EACH ROW EXECUTE FUNCTION public.change('{"priority": 7}');
CREATE TRIGGER change BEFORE INSERT ON omnichannel.contact_key FOR EACH ROW EXECUTE FUNCTION public.change('{}');
CREATE TRIGGER change BEFORE INSERT ON omnichannel.thread FOR EACH ROW EXECUTE FUNCTION public.change('{}');
SELECT is(public.refusal($$INSERT INTO public.mail VALUES (20, 'c20@x.test', 't20')$$), 'nothing', 'a row whose contact a trigger fills in');
SELECT is(public.refusal($$INSERT INTO public.mail VALUES (21, 'c21@x.test', 't21'), (22, 'c22@x.test', 't22')$$), 'nothing', 'several');
SELECT is((SELECT count(*) FROM omnichannel.contact JOIN omnichannel.request USING (request_id) JOIN omnichannel.identity ON identity.customer_id = contact.customer_id
	WHERE contact.subject = 'noted' AND priority = 7 AND verified_at = '2026-01-01 00:00+00'), 3::bigint, 'is logged as it says');
SELECT is(public.refusal($$INSERT INTO public.mail SELECT * FROM public.mail WHERE false$$), 'nothing', 'none');
CREATE TABLE public.mail_copy AS TABLE public.mail;
TRUNCATE public.mail;
SELECT is(public.refusal($$INSERT INTO public.mail SELECT * FROM public.mail_copy$$), 'nothing', 'and the same rows again are silent');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'public.mail'), 9::bigint, 'each is logged once');

-- With quarantine the application goes on, and the rows wait.
DROP TRIGGER change ON omnichannel.contact;
CREATE TRIGGER keep_out BEFORE INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT public.track_mail('quarantine') \g /dev/null
SELECT is(public.refusal(public.many(30)), 'nothing', 'with quarantine rows are written');
SELECT results_eq('SELECT DISTINCT sqlstate, count(*) FROM omnichannel.contact_reject GROUP BY 1', $$VALUES ('09000', 5::bigint)$$, 'and wait');
DROP TRIGGER keep_out ON omnichannel.contact;
SELECT is(omnichannel.retry_rejects(), 5::bigint, 'until they pass');

-- Whatever they raise is about the row, but for what the transaction or the server cannot go on after.
CREATE FUNCTION public.raise_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'not this one' USING ERRCODE = current_setting('test.state');
END
$$;
CREATE TRIGGER raise_state BEFORE INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.raise_state();
CREATE FUNCTION public.raised(state text, one boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('test.state', raised.state, true);
	DELETE FROM public.mail;
	DELETE FROM omnichannel.contact_reject;
	INSERT INTO public.mail SELECT 100 + i, 'r' || i || '@x.test' FROM generate_series(1, CASE WHEN one THEN 1 ELSE 3 END) AS i;
	RETURN (SELECT string_agg(reject.source_key || ' ' || reject.sqlstate, ', ' ORDER BY reject.source_key) FROM omnichannel.contact_reject AS reject);
EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
	RETURN 'raised ' || SQLSTATE;
END
$$;
SAVEPOINT raised;
SELECT is(public.raised(state, true), '101 ' || state, state || ' is about the row')
FROM unnest('{08006,09000,0A000,21000,22023,23514,2F003,38001,39004,42501,44000,54001,55000,HV000,OC001,P0001,P0002,P0004}'::text[]) AS state;
ROLLBACK TO raised;
SELECT is(public.raised('OC001', false), '101 OC001, 102 OC001, 103 OC001', 'of several rows too');
SELECT is(omnichannel.retry_rejects(), 0::bigint, 'they wait');
SELECT set_config('test.state', 'P0004', true) \g /dev/null
SELECT is(omnichannel.retry_rejects(), 0::bigint, 'also for what is raised otherwise');
SELECT set_config('test.state', '55P03', true) \g /dev/null
SELECT throws_ok('SELECT omnichannel.retry_rejects()', '55P03', 'not this one', 'what is not about a row is for the caller to know');
DROP TRIGGER raise_state ON omnichannel.contact;
SELECT is(omnichannel.retry_rejects(), 3::bigint, 'until it passes');
CREATE TRIGGER raise_state BEFORE INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.raise_state();
ROLLBACK TO raised;
SELECT is(public.raised(state, true), 'raised ' || state, state || ' is not about the row')
FROM unnest('{25006,40001,40P01,53100,55006,55P03,57014,57P01,58030,72000,XX000}'::text[]) AS state;
DROP TRIGGER raise_state ON omnichannel.contact;
-- Somebody who was erased is named by a number that goes on to be known.
SELECT omnichannel.identify('email', 'gone@x.test') AS gone \gset
SELECT omnichannel.erase_customer(:gone) \g /dev/null
CREATE TABLE public.parcel (id int PRIMARY KEY, customer bigint, at timestamptz DEFAULT '2026-03-01 10:00+00');
SELECT omnichannel.track('public.parcel', channel => 'post', customer => '{customer}', occurred_at => '{at}', on_error => 'quarantine') \g /dev/null
SELECT lives_ok(format('INSERT INTO public.parcel VALUES (1, %s), (2, %s)', :gone, omnichannel.identify('email', 'here@x.test')), 'a row of an erased customer is written');
SELECT results_eq($$SELECT source_key, sqlstate FROM omnichannel.contact_reject WHERE tracking = 'public.parcel'$$, $$VALUES ('1', '55000')$$, 'and waits');
SELECT is(omnichannel.retry_rejects('public.parcel'), 0::bigint, 'for good');
SELECT omnichannel.erase_customer(:gone) \g /dev/null
SELECT is_empty($$SELECT FROM omnichannel.contact_reject WHERE tracking = 'public.parcel'$$, 'or until it is erased too');

-- What they see and may do, whoever writes the row
CREATE ROLE refused_app;
GRANT INSERT ON public.mail TO refused_app;
CREATE TABLE public.noted (path text, who text);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.noted VALUES (current_setting('search_path'), current_user);
	RETURN NULL;
END
$$;
CREATE FUNCTION public.note_carelessly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO noted VALUES ('', '');
	RETURN NULL;
END
$$;
SELECT public.track_mail('error') \g /dev/null
CREATE TRIGGER note AFTER INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.note();
SET LOCAL ROLE refused_app;
SELECT lives_ok(public.one(40), 'an application without rights on the log');
RESET ROLE;
SELECT is((SELECT format('%s as %s', path, who) FROM public.noted), (SELECT 'pg_catalog, pg_temp as ' || tableowner FROM pg_tables WHERE schemaname = 'omnichannel' AND tablename = 'contact'),
	'fires triggers with a pinned search_path and the rights of the owner');
CREATE TRIGGER note_carelessly AFTER INSERT ON omnichannel.contact FOR EACH ROW EXECUTE FUNCTION public.note_carelessly();
SELECT throws_ok(public.one(41), '42P01', 'relation "noted" does not exist', 'so names must be qualified');
DROP TRIGGER note_carelessly ON omnichannel.contact;

-- An agent who cannot be taken
SELECT omnichannel.open_request(omnichannel.identify('email', 'i@x.test'), 'question', 'chat', 'care')::text AS request \gset
SELECT omnichannel.set_presence(1, 'available') \g /dev/null
SELECT omnichannel.release_request(request_id, 'done') FROM omnichannel.assignment \g /dev/null
SELECT omnichannel.open_request(omnichannel.identify('email', 'i@x.test'), 'question', 'chat', 'care')::text AS request \gset
SELECT omnichannel.set_presence(1, 'busy') \g /dev/null
SELECT is(omnichannel.route(:request), NULL, 'a request waits');
CREATE TRIGGER keep_out BEFORE UPDATE ON omnichannel.agent_state FOR EACH ROW EXECUTE FUNCTION public.keep_out();
SELECT is(public.refusal('SELECT omnichannel.claim(1)'), public.refused('agent_state'), 'an agent whose state is kept as it is');
DROP TRIGGER keep_out ON omnichannel.agent_state;
SELECT is(omnichannel.claim(1), :request::bigint, 'and gets it without');
SELECT * FROM finish();
ROLLBACK;
