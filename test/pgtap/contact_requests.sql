-- Into which of several open requests a contact without a conversation goes: what plain SQL says that knows where each was
-- opened and where its customer is by now, however the contact is written, and whatever was known of the one before.
\if :{?seed}
\else
\set seed 0.42
\endif
BEGIN;
SELECT plan(9);
SET LOCAL client_min_messages = error;
SET LOCAL search_path = omnichannel, public, pg_catalog;
SELECT setseed(:seed);

UPDATE channel SET opens_request = channel IN ('chat', 'email', 'phone');
INSERT INTO sla_policy (policy, rank, metric, channel, target) VALUES ('first', 1, 'first_response', NULL, '6 hours'), ('next', 1, 'next_response', NULL, '6 hours');
INSERT INTO customer (customer_id) SELECT generate_series(1, 3);
CREATE TABLE public.message (message_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint, channel text, thread text, at timestamptz DEFAULT clock_timestamp());
SELECT track('public.message', channel => '{channel}', customer => '{customer_id}', thread => '{thread}', occurred_at => '{at}');

-- Where a message of the customer in that channel goes, 0 for a request of its own.
CREATE FUNCTION pg_temp.expected(customer_id bigint, channel text) RETURNS bigint LANGUAGE sql AS $$
	SELECT coalesce((SELECT q.request_id FROM omnichannel.request AS q JOIN omnichannel.customer AS c USING (customer_id)
		WHERE q.closed_at IS NULL AND coalesce(c.merged_into, c.customer_id)
			= (SELECT coalesce(merged_into, one.customer_id) FROM omnichannel.customer AS one WHERE one.customer_id = expected.customer_id)
		ORDER BY coalesce(q.current_channel, q.channel) = expected.channel DESC, expected.channel IN (q.channel, coalesce(q.current_channel, '')) DESC,
			q.customer_id = expected.customer_id AND expected.channel IN (q.channel, coalesce(q.current_channel, '')) DESC, q.opened_at DESC, q.request_id DESC LIMIT 1), 0)
$$;

-- Requests of one person who is two customers, moved and closed at random, and messages between; returns which went astray.
CREATE FUNCTION pg_temp.history(steps integer, OUT wrong text, OUT messages integer, OUT moved integer) LANGUAGE plpgsql AS $$
DECLARE
	die double precision;
	whose bigint;
	place text;
	asked bigint;
	went bigint;
	other bigint;
BEGIN
	messages := 0;
	moved := 0;
	FOR step IN 1 .. steps LOOP
		die := random();
		whose := 1 + floor(random() * 3);
		place := (ARRAY['chat', 'email', 'phone'])[1 + floor(random() * 3)::int];
		SELECT q.request_id INTO asked FROM omnichannel.request AS q WHERE q.closed_at IS NULL ORDER BY random() LIMIT 1;
		IF die < 0.12 THEN
			PERFORM omnichannel.open_request(whose, 'question', place, opened_at => clock_timestamp());
		ELSIF die < 0.24 THEN
			PERFORM omnichannel.continue_request(asked, place) WHERE asked IS NOT NULL;
		ELSIF die < 0.30 THEN
			UPDATE omnichannel.request SET state = 'cancelled' WHERE request_id = asked;
		ELSIF die < 0.33 THEN
			UPDATE omnichannel.request SET channel = place WHERE request_id = asked;
		ELSIF die < 0.36 THEN
			IF EXISTS (SELECT FROM omnichannel.customer WHERE merged_into IS NOT NULL) THEN
				PERFORM omnichannel.unmerge_customers(m.merge_id) FROM omnichannel.customer_merge AS m WHERE m.unmerged_at IS NULL;
			ELSE
				PERFORM omnichannel.merge_customers(1, 2, 'one person');
			END IF;
		ELSIF die < 0.42 THEN
			-- turns a conversation to a request, and the request to the channel
			PERFORM omnichannel.log_contact(place, customer_id => q.customer_id, request_id => asked, thread => 't' || asked, source => 'threads',
				occurred_at => clock_timestamp()) FROM omnichannel.request AS q WHERE q.request_id = asked;
		ELSE
			asked := pg_temp.expected(whose, place);
			SELECT max(request_id) INTO other FROM omnichannel.request;
			IF die < 0.6 THEN
				PERFORM omnichannel.log_contact(place, customer_id => whose, occurred_at => clock_timestamp());
			ELSIF die < 0.8 THEN
				INSERT INTO public.message (customer_id, channel) VALUES (whose, place);
			ELSE
				INSERT INTO public.message (customer_id, channel) VALUES (whose, place), (3 - whose % 3, 'forum');
			END IF;
			SELECT c.request_id INTO went FROM omnichannel.contact AS c WHERE c.customer_id = whose AND c.channel = place ORDER BY c.occurred_at DESC, c.contact_id DESC LIMIT 1;
			messages := messages + 1;
			moved := moved + CASE WHEN EXISTS (SELECT FROM omnichannel.request WHERE request_id = went AND channel <> place) THEN 1 ELSE 0 END;
			IF went IS DISTINCT FROM asked AND NOT (asked = 0 AND went > coalesce(other, 0)) THEN
				wrong := format('step %s: %s of customer %s went to %s, not %s', step, place, whose, went, asked);
				RETURN;
			END IF;
		END IF;
	END LOOP;
END
$$;
CREATE TEMP TABLE lived AS SELECT * FROM pg_temp.history(600);
SELECT is(wrong, NULL, 'all messages of a history went where they belong') FROM lived;
SELECT cmp_ok(moved, '>', 20, 'many to where their customer was by then') FROM lived;

-- the plainest cases, by themselves
UPDATE request SET state = 'cancelled' WHERE closed_at IS NULL;
INSERT INTO customer (customer_id) SELECT generate_series(11, 19);
CREATE FUNCTION pg_temp.goes(customer_id bigint, channel text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	logged bigint := omnichannel.log_contact(goes.channel, customer_id => goes.customer_id, occurred_at => clock_timestamp());
BEGIN
	RETURN (SELECT c.request_id FROM omnichannel.contact AS c WHERE c.contact_id = logged);
END
$$;
CREATE FUNCTION pg_temp.opened(customer_id bigint, channel text) RETURNS bigint LANGUAGE sql AS
	'SELECT omnichannel.open_request(customer_id, ''question'', channel, opened_at => clock_timestamp())';
SELECT pg_temp.opened(11, 'phone') AS called, pg_temp.opened(11, 'email') AS mailed \gset
SELECT continue_request(:called, 'chat'), continue_request(:mailed, 'phone');
SELECT is(pg_temp.goes(11, 'phone'), :mailed::bigint, 'who calls goes on with what he is on the phone about');
SELECT is(pg_temp.goes(11, 'chat'), :called::bigint, 'and who chats with what he chats about');
SELECT pg_temp.opened(12, 'phone') AS called, pg_temp.opened(12, 'email') AS mailed \gset
SELECT continue_request(:called, 'chat');
SELECT is(pg_temp.goes(12, 'phone'), :called::bigint, 'where there is no such, with what was opened so');

-- what is known of who waits
SELECT pg_temp.opened(13, 'email') AS mailed, pg_temp.opened(13, 'phone') AS called \gset
SELECT pg_temp.goes(13, 'email'), pg_temp.goes(13, 'email'), pg_temp.goes(13, 'email');
SELECT is((SELECT waits_request_id FROM sla_customer WHERE customer_id = 13), :mailed::bigint, 'who has written is known to wait');
SELECT continue_request(:called, 'email');
SELECT is(pg_temp.goes(13, 'email'), :called::bigint, 'until a newer request goes on in that channel');
SELECT pg_temp.opened(14, 'email') AS mailed, pg_temp.opened(14, 'phone') AS called \gset
SELECT pg_temp.goes(14, 'email'), pg_temp.goes(14, 'email'), pg_temp.goes(14, 'email');
SELECT log_contact('email', customer_id => 14, request_id => :called, thread => 't', occurred_at => clock_timestamp());
SELECT is(pg_temp.goes(14, 'email'), :called::bigint, 'or a conversation goes on there');
DELETE FROM sla_policy;
SELECT pg_temp.goes(14, 'email'), continue_request(:mailed, 'chat');
SELECT is(pg_temp.goes(14, 'chat'), :mailed::bigint, 'also where nothing is promised');

SELECT * FROM finish();
ROLLBACK;
