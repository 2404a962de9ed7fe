-- Corners of the log in which something was once lost: each of these failed before it was mended.
BEGIN;
SELECT plan(12);

-- A column with the name that stands for the whole row elsewhere.
CREATE TABLE public.archive (id int PRIMARY KEY, t bigint, t_ timestamptz, body text);
INSERT INTO public.archive VALUES (1, 42, '2026-01-05 10:00+01', 'a'), (2, 43, '2026-01-06 10:00+01', 'b');
SELECT lives_ok($$SELECT omnichannel.track('public.archive', channel => 'forum', body => '{body}', occurred_at => '{t_}')$$, 'tracked');
SELECT is(omnichannel.backfill('public.archive'), 2::bigint, 'a column named t is no row');
SELECT results_eq($$SELECT body, occurred_at FROM omnichannel.contact WHERE source = 'public.archive' ORDER BY source_key$$,
	$$VALUES ('a', '2026-01-05 10:00+01'::timestamptz), ('b', '2026-01-06 10:00+01')$$, 'and the rows are logged as they are');

-- A reply with a source's key stops the clock, in a statement of its own.
INSERT INTO omnichannel.agent (agent_id, name) VALUES (990001, 'Ewa');
SELECT isnt(omnichannel.log_contact('email', kind => 'email', value => 'corner@example.com', thread => 'c1', source => 'corner', source_key => '1',
	occurred_at => now() - interval '1 minute'), NULL, 'asked');
SELECT is((SELECT count(*) FROM omnichannel.sla_clock WHERE metric = 'first_response' AND stopped_at IS NULL
	AND customer_id = omnichannel.identify('email', 'corner@example.com')), 1::bigint, 'the clock runs');
SELECT isnt(omnichannel.log_contact('email', kind => 'email', value => 'corner@example.com', thread => 'c1', source => 'corner', source_key => '2',
	direction => 'outbound', agent_id => 990001), NULL, 'answered');
SELECT is((SELECT count(*) FROM omnichannel.sla_clock WHERE metric = 'first_response' AND stopped_at IS NOT NULL
	AND customer_id = omnichannel.identify('email', 'corner@example.com')), 1::bigint, 'and stops');

-- A conversation that nobody is named in, whose first row was logged before by someone else: its customer exists.
CREATE TABLE public.board (mid text PRIMARY KEY, th text, txt text, at timestamptz DEFAULT '2026-01-05 10:00+01');
SELECT omnichannel.log_contact('forum', source => 'board', source_key => 'm1', body => 'x', occurred_at => '2026-01-05 10:00+01') \g /dev/null
SELECT omnichannel.track('public.board', channel => 'forum', thread => '{th}', body => '{txt}', occurred_at => '{at}', source => 'board') \g /dev/null
SELECT lives_ok($$INSERT INTO public.board VALUES ('m1', 'TH', 'a'), ('m2', 'TH', 'b'), ('m3', 'TH', 'c')$$, 'written');
SELECT is_empty($$SELECT FROM omnichannel.contact LEFT JOIN omnichannel.customer USING (customer_id) WHERE customer.customer_id IS NULL$$,
	'every contact has its customer');

-- History that is put into the log by hand, with its keys, is not logged again.
SELECT omnichannel.identify('account', 'history') AS who \gset
INSERT INTO omnichannel.contact (customer_id, channel, source, source_key, occurred_at) VALUES (:who, 'forum', 'history', '1', '2020-01-01') RETURNING contact_id AS put \gset
INSERT INTO omnichannel.contact_key (source, source_key, customer_id, contact_id, occurred_at)
SELECT source, source_key, customer_id, contact_id, occurred_at FROM omnichannel.contact WHERE source = 'history';
SELECT is(omnichannel.log_contact('forum', :who, source => 'history', source_key => '1', occurred_at => '2020-02-02'), :put::bigint, 'its key is claimed');
SELECT is((SELECT count(*) FROM omnichannel.contact WHERE source = 'history'), 1::bigint, 'and logged once');
SELECT is_empty(format('SELECT FROM omnichannel.sla_clock WHERE customer_id = %s UNION ALL SELECT FROM omnichannel.request WHERE customer_id = %1$s', :who), 'without effects');
SELECT * FROM finish();
ROLLBACK;
