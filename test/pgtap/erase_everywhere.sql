-- Customers of whom everything there is is recorded, in every way it can be written; some are erased. Then every column of
-- every table is searched for them, and everybody else has what they had.
BEGIN;
SELECT plan(17);
SELECT setseed(0.17);
SET LOCAL TIME ZONE 'UTC';

INSERT INTO omnichannel.identity_kind (kind, name, normal_form, pattern) VALUES ('card', 'Loyalty card', 'exact', 'C[0-9a-f]+'), ('nick', 'Nickname', 'lower', NULL);
INSERT INTO omnichannel.segment (segment) VALUES ('gold');
INSERT INTO omnichannel.product (product, tax_rate) VALUES ('tee', 23);
INSERT INTO omnichannel.price_list (price_list, kind) VALUES ('retail', 'base');
INSERT INTO omnichannel.price (price_list, product, amount) VALUES ('retail', 'tee', 80);
INSERT INTO omnichannel.promotion (promotion, name, kind, value) VALUES ('tenth', 'Tenth', 'percent', 10);
INSERT INTO omnichannel.queue (queue, name) VALUES ('care', 'Care'), ('night', 'Nobody is there');
INSERT INTO omnichannel.agent (agent_id, name, department, capacity) VALUES (1, 'Ewa', 'care', 1000), (2, 'Tomek', 'care', 1000), (3, 'Ola', 'night', 1000);
INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency) SELECT a, c, 5 FROM generate_series(1, 2) AS a, unnest('{email,phone,chat}'::text[]) AS c;
INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES ('care', 1), ('care', 2), ('night', 3);
SELECT omnichannel.set_presence(1, 'available'), omnichannel.set_presence(2, 'available') \g /dev/null
UPDATE omnichannel.channel SET queue = 'care' WHERE channel = 'chat';

-- Who they are. Each has a word that is nobody else's, and stands in all that is recorded.
CREATE TABLE public.person (n int PRIMARY KEY, word text, digits text, customer_id bigint, fate text);
INSERT INTO public.person (n, word, digits) SELECT n, 'q' || substr(md5('person ' || n), 1, 9), '60' || 1000000 + n * 135791 FROM generate_series(1, 36) AS n;
CREATE FUNCTION public.written(kind text, person public.person) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT (CASE kind
		WHEN 'email' THEN ARRAY['x.' || person.word || '@mail.test', ' ' || upper('x.' || person.word || '@mail.test'), 'Jan ' || person.word || ' <X.' || person.word || '@Mail.Test>']
		WHEN 'phone' THEN ARRAY[person.digits, '+48 ' || person.digits, '0048' || person.digits, regexp_replace(person.digits, '(...)(...)(...)', '\1 \2 \3'), regexp_replace(person.digits, '(...)(...)(...)', '(\1) \2-\3')]
		WHEN 'account' THEN ARRAY['ACC-' || person.word, '  ACC-' || person.word]
		WHEN 'social' THEN ARRAY['net:' || person.word, 'NET:' || upper(person.word)]
		WHEN 'device' THEN ARRAY['device ' || person.word]
		WHEN 'nick' THEN ARRAY[initcap(person.word), person.word]
		WHEN 'card' THEN ARRAY['C' || substr(md5(person.word), 1, 6), ' C' || substr(md5(person.word), 1, 6) || ' ']
	END)[1 + floor(random() * CASE kind WHEN 'email' THEN 3 WHEN 'phone' THEN 5 WHEN 'device' THEN 1 ELSE 2 END)]
$$;
CREATE FUNCTION public.some_kind() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT ('{email,phone,account,social,device,nick,card}'::text[])[1 + floor(random() * 7)]
$$;

CREATE TABLE public.mail (id int PRIMARY KEY, at timestamptz, kind text, who text, target text, direction text, outcome text, agent bigint, thread text, subject text, body text, more jsonb, ref text);
CREATE TABLE public.visit (id int PRIMARY KEY, at timestamptz, customer text, outcome text, body text);
SELECT omnichannel.track('public.mail', channel => 'email', kind => '{kind}', customer => '{who}', recipient => '{target}', direction => '{direction}', outcome => '{outcome}',
		occurred_at => '{at}', agent => '{agent}', thread => '{thread}', subject => '{subject}', body => '{body}', payload => '{more}', source_key => '{ref}',
		on_error => 'quarantine', updates => true),
	omnichannel.track('public.visit', channel => 'branch', customer => '{customer}', outcome => '{outcome}', occurred_at => '{at}', body => '{body}', payload => '{*}',
		on_error => 'quarantine', updates => true) \g /dev/null

DO $$
DECLARE
	p public.person;
	who bigint;
	request bigint;
	merge bigint;
	k text;
	t timestamptz;
	quiet boolean;
BEGIN
	FOR p IN SELECT * FROM public.person ORDER BY n
	LOOP
		who := omnichannel.identify('email', public.written('email', p));
		UPDATE public.person SET customer_id = who WHERE n = p.n;
		FOREACH k IN ARRAY '{phone,account,social,device,nick,card}'::text[]
		LOOP
			PERFORM omnichannel.link_identity(who, k, public.written(k, p), verified => random() < 0.5);
		END LOOP;
		PERFORM omnichannel.set_customer(who, name => 'Jan ' || p.word, birth_date => '1950-01-01'::date + p.n, language => 'eo', preferred_channel => 'sms');

		-- what is logged directly, and by tables; some of the rows go to the quarantine
		FOR i IN 1..12
		LOOP
			t := timestamptz '2026-01-01 00:00Z' + (p.n * 100 + i) * interval '1 hour';
			k := public.some_kind();
			PERFORM omnichannel.log_contact(('{phone,forum,chat,sms}'::text[])[1 + i % 4], kind => k, value => public.written(k, p), occurred_at => t, agent_id => 1 + i % 2,
				direction => CASE WHEN i % 3 = 0 THEN 'outbound' END, outcome => CASE WHEN i % 4 = 0 THEN 'missed' END,
				thread => CASE WHEN i % 5 = 0 THEN 'thread of ' || p.word END, subject => 'From ' || p.word, body => 'Yours, ' || p.word,
				payload => jsonb_build_object('from', p.word, 'numbers', jsonb_build_array(p.digits)),
				source => ('{desk,pbx}'::text[])[1 + i % 2] || CASE WHEN i % 6 = 0 THEN ' of x.' || p.word || '@mail.test' ELSE '' END,
				source_key => CASE WHEN i % 2 = 0 THEN p.n || '/' || i ELSE i || '.x.' || p.word || '@mail.test' END);
			k := public.some_kind();
			INSERT INTO public.mail (id, at, kind, who, target, direction, outcome, agent, thread, subject, body, more, ref)
			VALUES (p.n * 100 + i, t, k, CASE WHEN i % 4 = 1 THEN 'desk@shop.test' WHEN i % 7 <> 0 THEN public.written(k, p) END, CASE WHEN i % 4 = 1 THEN public.written(k, p) ELSE 'desk@shop.test' END,
				CASE WHEN i % 4 = 1 THEN 'outbound' ELSE 'inbound' END, CASE WHEN i % 3 = 0 THEN 'BOGUS' WHEN i % 4 = 1 THEN 'sent' ELSE 'received' END, 1,
				'mails of ' || p.word, p.word, 'Yours, ' || p.word, to_jsonb(p), CASE WHEN i % 2 = 0 THEN p.n || '/' || i ELSE i || '-' || p.digits END);
			INSERT INTO public.visit (id, at, customer, outcome, body) VALUES (p.n * 100 + i, t, who, CASE WHEN i % 4 = 0 THEN 'BOGUS' ELSE 'answered' END, p.word || ' was here');
		END LOOP;

		PERFORM omnichannel.remember(who, 'pet', to_jsonb('a parrot named ' || p.word), source => p.word), omnichannel.forget(who, 'pet', source => p.word), omnichannel.remember(who, 'seat', '"aisle"'),
			omnichannel.give_consent(who, 'marketing', proof => jsonb_build_object('signed', p.word), source => p.word), omnichannel.withdraw_consent(who, 'marketing', 'sms', proof => to_jsonb(p.word));
		INSERT INTO omnichannel.segment_member (customer_id, segment) VALUES (who, 'gold');
		INSERT INTO omnichannel.coupon (coupon, promotion, batch, customer_id) VALUES ('COUPON' || p.n, 'tenth', 'for x.' || p.word || '@mail.test', who);
		PERFORM omnichannel.reserve_use('tenth', key => 'order of x.' || p.word || '@mail.test', customer_id => who, amount => p.n, coupon => 'COUPON' || p.n), omnichannel.commit_use('order of x.' || p.word || '@mail.test'),
			omnichannel.lock_quote(who, 'tee', quantity => p.n, key => 'basket of ACC-' || p.word), omnichannel.shown_price('app', 'tee', 79.99, customer_id => who, place => 'page of Jan ' || p.word),
			omnichannel.shown_price('app', 'tee', 79.99, customer_id => who, place => 'front page');

		-- requests, waiting, assigned and done
		request := omnichannel.open_request(who, 'wish of ACC-' || p.word, 'email', queue => 'care', data => jsonb_build_object('note', p.word), subject => p.word);
		PERFORM omnichannel.continue_request(request, 'chat', jsonb_build_object('more', jsonb_build_array(p.word)));
		PERFORM omnichannel.open_request(who, 'complaint', 'phone', data => jsonb_build_object('note', p.word));
		CASE omnichannel.route(request) * 0 + p.n % 3
			WHEN 0 THEN PERFORM omnichannel.accept_request(request, agent_id) FROM omnichannel.assignment WHERE request_id = request;
			WHEN 1 THEN PERFORM omnichannel.decline_request(request, agent_id) FROM omnichannel.assignment WHERE request_id = request;
			ELSE NULL;
		END CASE;
		request := omnichannel.open_request(who, 'question', 'chat', queue => 'night');
		PERFORM omnichannel.route(request);
		PERFORM omnichannel.release_request(request, 'cancelled');
	END LOOP;

	-- pairs: 1 to 12 merged for good, 13 to 24 merged and parted, with what was set and said meanwhile
	FOR p IN SELECT * FROM public.person WHERE n <= 24 AND n % 2 = 1 ORDER BY n
	LOOP
		SELECT customer_id INTO who FROM public.person WHERE n = p.n + 1;
		merge := omnichannel.merge_customers(p.customer_id, who, 'says Jan ' || p.word, force => true);
		PERFORM omnichannel.set_customer(who, name => 'Jan ' || (SELECT word FROM public.person WHERE n = p.n + 1) || ' again', birth_date => '1949-01-01'::date - p.n - 1);
		PERFORM omnichannel.log_contact('forum', customer_id => who, body => 'merged ' || (SELECT word FROM public.person WHERE n = p.n + 1));
		IF p.n > 12 THEN
			PERFORM omnichannel.unmerge_customers(merge);
		END IF;
	END LOOP;
END
$$;
SELECT omnichannel.tick() \g /dev/null
-- 1, 5, 9 with whom they were merged; one of each pair that was parted, now the kept one and now the other; and half of the rest
UPDATE public.person SET fate = 'erased' WHERE n IN (1, 2, 5, 6, 9, 10, 13, 16, 17, 20, 21, 24) OR n > 24 AND n % 2 = 0;

SELECT cmp_ok((SELECT count(*) FROM omnichannel.contact_reject), '>', 150::bigint, 'many rows are in quarantine');
SELECT cmp_ok((SELECT count(*) FROM omnichannel.sla_event), '>', 20::bigint, 'breaches were told');
SELECT cmp_ok((SELECT count(*) FROM omnichannel.assignment), '>', 5::bigint, 'requests are assigned');
SELECT is_empty($$SELECT relation FROM omnichannel.personal_data() AS data, LATERAL (SELECT query_to_xml(format('SELECT 1 FROM omnichannel.%I LIMIT 1', relation), true, true, '')::text AS found) AS rows
	WHERE of_customer IS NOT NULL AND found !~ '<row' AND relation NOT IN ('erasure', 'price_correction', 'sla_behind', 'waiting')$$, 'each table of customers has rows');

-- Nobody's work is left open.
UPDATE omnichannel.request SET state = 'done' WHERE closed_at IS NULL AND customer_id IN (SELECT customer_id FROM public.person WHERE fate = 'erased');
SELECT count(omnichannel.release_request(request_id)) FROM omnichannel.assignment JOIN public.person USING (customer_id) WHERE fate = 'erased' \g /dev/null

CREATE FUNCTION public.portrait() RETURNS TABLE (n int, portrait jsonb) LANGUAGE sql AS $$
	SELECT n, omnichannel.export_customer(customer_id) - 'exported_at' #- '{data,customer_merge}' FROM public.person WHERE fate IS NULL
$$;
CREATE FUNCTION public.counts() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_object_agg(relation, (xpath('/row/count/text()', query_to_xml(format('SELECT count(*) FROM omnichannel.%I', relation), false, true, '')))[1]::text)
	FROM omnichannel.personal_data() WHERE on_erasure <> 'delete' AND relation NOT IN ('erasure', 'erased_source')
$$;
CREATE TABLE public.before AS SELECT * FROM public.portrait();
CREATE TABLE public.counted AS SELECT public.counts() AS counts, (SELECT sum(amount) FROM omnichannel.promotion_use) AS used, (SELECT sum(line_total) FROM omnichannel.locked_quote) AS quoted,
	(SELECT jsonb_agg(row_to_json(r)) FROM (SELECT channel, direction, outcome, agent_id, count(*) FROM omnichannel.contact GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4) AS r) AS contacts,
	(SELECT jsonb_agg(row_to_json(r)) FROM (SELECT state, channel, disposition, count(*) FROM omnichannel.request GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) AS r) AS requests;

-- Where something of the erased is found: their word, their digits however they are separated, their birth date.
CREATE FUNCTION public.traces() RETURNS TABLE (place text, found text) LANGUAGE plpgsql AS $$
DECLARE
	words text;
	digits text;
	searched record;
BEGIN
	SELECT string_agg(concat_ws('|', word, '1950-01-01'::date + n, '1949-01-01'::date - n, 'c' || substr(md5(word), 1, 6)), '|'), string_agg(p.digits, '|')
	INTO words, digits FROM public.person AS p WHERE fate = 'erased';
	FOR searched IN
		SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
		WHERE relnamespace = 'omnichannel'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition ORDER BY 1, 2
	LOOP
		RETURN QUERY EXECUTE format('SELECT %L, min(t.%I::text) FROM omnichannel.%I AS t
			WHERE lower(t.%2$I::text) ~ %4$L OR regexp_replace(t.%2$I::text, ''[^0-9]'', '''', ''g'') ~ %5$L HAVING count(*) > 0',
			searched.relname || '.' || searched.attname, searched.attname, searched.relname, words, digits);
	END LOOP;
END
$$;
SELECT cmp_ok((SELECT count(DISTINCT place) FROM public.traces()), '>', 25::bigint, 'they are found in many columns before');

-- by a supervisor, who owns nothing
CREATE ROLE erasing_supervisor;
SELECT omnichannel.grant_access('erasing_supervisor', 'supervisor') \g /dev/null
GRANT SELECT ON public.person TO erasing_supervisor;
SET LOCAL ROLE erasing_supervisor;
SELECT count(omnichannel.erase_customer(customer_id)) FROM public.person WHERE fate = 'erased' \g /dev/null
RESET ROLE;
SELECT is_empty('SELECT * FROM public.traces()', 'and nowhere after');
SELECT set_eq('SELECT * FROM public.portrait()', 'SELECT * FROM public.before', 'nobody else has lost anything');
SELECT is(public.counts(), counts, 'what is counted is the same') FROM public.counted;
SELECT is((SELECT sum(amount) FROM omnichannel.promotion_use), used, 'so are the uses of promotions') FROM public.counted;
SELECT is((SELECT sum(line_total) FROM omnichannel.locked_quote), quoted, 'and what was quoted') FROM public.counted;
SELECT is((SELECT jsonb_agg(row_to_json(r)) FROM (SELECT channel, direction, outcome, agent_id, count(*) FROM omnichannel.contact GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4) AS r), contacts,
	'contacts by channel, outcome and agent') FROM public.counted;
SELECT is((SELECT jsonb_agg(row_to_json(r)) FROM (SELECT state, channel, disposition, count(*) FROM omnichannel.request GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) AS r), requests,
	'and requests') FROM public.counted;
SELECT is((SELECT count(*) FROM omnichannel.contact_reject AS r, public.person AS p WHERE p.fate IS NULL AND strpos(r.data::text, p.word) > 0), 
	(SELECT sum(jsonb_array_length(portrait #> '{data,contact_reject}')) FROM public.before WHERE n NOT IN (4, 8, 12))::bigint, 'all rows in quarantine are of who is left');

-- What the applications still hold changes nothing, whatever they do with it; rows that never were logged they erase.
DELETE FROM public.mail WHERE outcome = 'BOGUS';
DELETE FROM public.visit WHERE outcome = 'BOGUS';
UPDATE public.mail SET body = body || '!', agent = 2 FROM public.person WHERE fate = 'erased' AND mail.id / 100 = n;
UPDATE public.visit SET body = body || '!' FROM public.person WHERE fate = 'erased' AND visit.id / 100 = n;
SELECT omnichannel.backfill('public.mail') + omnichannel.backfill('public.visit') AS logged \gset
SELECT is(:logged, 0, 'nothing is logged again');
SELECT is_empty('SELECT * FROM public.traces()', 'and nobody is back');
SELECT set_eq('SELECT * FROM public.portrait()', 'SELECT * FROM public.before', 'nor has anybody else changed');
SET LOCAL ROLE erasing_supervisor;
SELECT is((SELECT sum(omnichannel.tick_erasure()) FROM generate_series(1, 3)), 0::numeric, 'the sweep finds nothing');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
