-- Histories by chance in which the rules change midway: policies are inserted, deleted, revised and narrowed, memberships
-- begin and end, customers are merged and taken apart, requests wait, end and are deleted. After each step nothing that has
-- stopped may have moved but by what that step concerns, and recompute_sla() and contacts that are logged late and concern
-- nothing move nothing, whichever comes first. `first` and `last` name other histories than the ordinary ones.
\if :{?first}
\else
	\set first 20
	\set last 45
\endif
SELECT plan(3);
SET search_path = public, omnichannel, pg_catalog;
SET timezone = 'UTC';
DELETE FROM sla_policy;
INSERT INTO channel (channel, name, medium, opens_request) VALUES
	('mail', 'Mail', 'mail', false), ('desk', 'Desk', 'mail', true), ('line', 'Line', 'voice', false), ('side', 'Side', 'mail', false);
INSERT INTO segment (segment, name) VALUES ('gold', 'Gold');

CREATE TEMP TABLE flaw (seed int, step int, what text, told text);
CREATE TEMP TABLE tally (what text, times int);
CREATE TEMP TABLE seen (clock_id bigint PRIMARY KEY, stopped boolean, resolution boolean, channel text, story text);

-- What the clocks of both say now, each with what was told of it.
CREATE FUNCTION pg_temp.clocks() RETURNS SETOF seen LANGUAGE sql AS $$
	SELECT c.clock_id, c.stopped_at IS NOT NULL, c.metric = 'resolution', c.channel,
		format('%s %s of %s in %s/%s/%s %s-%s due %s %s %s told %s', c.metric, c.policy, c.customer_id, c.request_id, c.channel, c.thread,
			to_char(c.started_at, 'MM-DD HH24:MI'), to_char(c.stopped_at, 'MM-DD HH24:MI'), to_char(c.due_at, 'MM-DD HH24:MI'), c.outcome, c.pauses,
			(SELECT string_agg(e.event || (e.withdrawn_at IS NOT NULL), ' ' ORDER BY e.event_id) FROM omnichannel.sla_event AS e
			WHERE e.customer_id = c.customer_id AND e.clock_id = c.clock_id))
	FROM omnichannel.sla_clock AS c
$$;
-- Notes what has moved of the clocks of a kind since they were seen; `whole`: a new one is a flaw too.
CREATE PROCEDURE pg_temp.compare(seed int, step int, what text, whole boolean, stopped boolean, resolutions boolean, side boolean) LANGUAGE sql AS $$
	INSERT INTO flaw
	SELECT compare.seed, compare.step, compare.what, coalesce(s.story, 'none') || ' -> ' || coalesce(n.story, 'none')
	FROM seen AS s FULL JOIN pg_temp.clocks() AS n USING (clock_id)
	WHERE s.story IS DISTINCT FROM n.story AND (compare.whole OR s.story IS NOT NULL) AND (NOT compare.stopped OR s.stopped)
		AND (compare.resolutions OR NOT coalesce(s.resolution, n.resolution)) AND (compare.side OR coalesce(s.channel, n.channel) <> 'side')
$$;
CREATE PROCEDURE pg_temp.see() LANGUAGE sql AS $$
	DELETE FROM seen;
	INSERT INTO seen SELECT * FROM pg_temp.clocks();
$$;

CREATE PROCEDURE pg_temp.live(seed int) LANGUAGE plpgsql AS $$
DECLARE
	people bigint[] := ARRAY[omnichannel.identify('account', 'a' || seed), omnichannel.identify('account', 'b' || seed)];
	-- Every other one goes without requests, and mostly without merges: more waits together then.
	loose boolean := seed % 2 = 1;
	channels text[] := CASE WHEN loose THEN '{mail,mail,line,mail,mail}'::text[] ELSE '{mail,desk,line,mail,desk}' END;
	targets interval[] := '{45 min,2 hours,1 day,900 days}';
	draws int := 0;
	chance int[];
	moment timestamptz := '2026-06-01 06:00Z';
	action text;
	who bigint;
	channel text;
	inbound boolean;
	request bigint;
	merge bigint;
	side bigint;
BEGIN
	FOR metric IN 0 .. 3 LOOP
		INSERT INTO omnichannel.sla_policy (policy, rank, metric, target)
		SELECT 'p' || metric, 50, (ARRAY['first_response', 'next_response', 'resolution', 'callback'])[metric + 1], targets[1 + abs(hashtext(seed || 'p' || metric)) % 4]
		WHERE abs(hashtext(seed || 'has' || metric)) % 4 > 0 OR metric < 2;
	END LOOP;
	COMMIT;
	PERFORM omnichannel.tick_sla();
	COMMIT;
	FOR step IN 1 .. 26 LOOP
		chance := ARRAY(SELECT abs(hashtext(format('%s/%s/%s', seed, step, n))) FROM generate_series(1, 12) AS n);
		moment := moment + make_interval(mins => 20 + chance[1] % 90);
		who := people[CASE WHEN loose AND chance[2] % 4 > 0 THEN 1 ELSE 1 + chance[2] % 2 END];
		action := CASE
			WHEN chance[3] % 100 < 60 THEN 'contact'
			WHEN chance[3] % 100 < CASE WHEN loose THEN 90 ELSE 75 END THEN 'policy'
			WHEN chance[3] % 100 < CASE WHEN loose THEN 95 ELSE 80 END THEN 'membership'
			WHEN loose THEN 'merge'
			WHEN chance[3] % 100 < 87 THEN 'merge'
			WHEN chance[3] % 100 < 90 THEN 'deletion'
			ELSE 'state' END;
		CALL pg_temp.see();
		CASE action
		WHEN 'contact' THEN
			channel := channels[1 + chance[4] % 5];
			inbound := chance[5] % 5 < 3;
			request := NULL;
			IF chance[6] % 4 = 0 THEN
				SELECT r.request_id INTO request FROM omnichannel.request AS r
				WHERE r.customer_id = ANY (omnichannel.customer_group(who)) AND r.closed_at IS NULL ORDER BY r.request_id LIMIT 1 OFFSET chance[7] % 3;
			END IF;
			PERFORM omnichannel.log_contact(channel, who, direction => CASE WHEN inbound THEN 'inbound' ELSE 'outbound' END, occurred_at => moment,
				outcome => CASE WHEN channel = 'line' THEN CASE WHEN inbound THEN (ARRAY['missed', 'answered', 'voicemail'])[1 + chance[8] % 3] ELSE 'answered' END
					WHEN inbound THEN 'received' ELSE 'sent' END,
				thread => CASE WHEN channel = 'line' THEN NULL ELSE (CASE WHEN inbound THEN '{a,b,NULL,NULL}' ELSE '{a,c,d,NULL}'::text[] END)[1 + chance[9] % 4] || seed || '-' || who END, source => 'histories', request_id => request);
		WHEN 'policy' THEN
			CASE chance[4] % 8
			WHEN 0, 1 THEN
				INSERT INTO omnichannel.sla_policy (policy, rank, metric, channel, target)
				VALUES ('q' || step, chance[5] % 100, (ARRAY['first_response', 'next_response', 'resolution', 'callback'])[1 + chance[6] % 4],
					CASE WHEN chance[7] % 2 = 0 THEN channels[1 + chance[8] % 3] END, targets[1 + chance[9] % 4]);
			WHEN 2, 7 THEN
				DELETE FROM omnichannel.sla_policy AS p WHERE p.policy = (SELECT o.policy FROM omnichannel.sla_policy AS o ORDER BY hashtext(o.policy || chance[5]) LIMIT 1);
			WHEN 3 THEN
				UPDATE omnichannel.sla_policy AS p SET target = targets[1 + chance[6] % 4]
				WHERE p.policy = (SELECT o.policy FROM omnichannel.sla_policy AS o ORDER BY hashtext(o.policy || chance[5]) LIMIT 1);
			WHEN 4 THEN
				UPDATE omnichannel.sla_policy AS p SET channel = channels[1 + chance[6] % 3]
				WHERE p.policy = (SELECT o.policy FROM omnichannel.sla_policy AS o ORDER BY hashtext(o.policy || chance[5]) LIMIT 1);
			WHEN 5 THEN
				UPDATE omnichannel.sla_policy AS p SET segment = CASE WHEN p.segment IS NULL THEN 'gold' END
				WHERE p.policy = (SELECT o.policy FROM omnichannel.sla_policy AS o ORDER BY hashtext(o.policy || chance[5]) LIMIT 1);
			ELSE
				UPDATE omnichannel.sla_policy AS p SET valid = tstzrange(moment, NULL)
				WHERE p.policy = (SELECT o.policy FROM omnichannel.sla_policy AS o ORDER BY hashtext(o.policy || chance[5]) LIMIT 1);
			END CASE;
		WHEN 'membership' THEN
			DELETE FROM omnichannel.segment_member AS m WHERE m.customer_id = who;
			IF NOT FOUND THEN
				INSERT INTO omnichannel.segment_member (customer_id, segment, valid) VALUES (who, 'gold', tstzrange(moment - make_interval(hours => chance[5] % 12), NULL));
			END IF;
		WHEN 'merge' THEN
			SELECT m.merge_id INTO merge FROM omnichannel.customer_merge AS m WHERE m.kept_id = ANY (people) AND m.unmerged_at IS NULL;
			IF FOUND THEN
				PERFORM omnichannel.unmerge_customers(merge);
				action := 'unmerge';
			ELSE
				PERFORM omnichannel.merge_customers(people[1 + chance[4] % 2], people[2 - chance[4] % 2]);
			END IF;
		WHEN 'deletion' THEN
			DELETE FROM omnichannel.request AS r
			WHERE r.request_id = (SELECT o.request_id FROM omnichannel.request AS o WHERE o.customer_id = ANY (people) ORDER BY o.request_id LIMIT 1 OFFSET chance[5] % 3);
		ELSE
			UPDATE omnichannel.request AS r SET state = s.state, state_since = moment, closed_at = CASE WHEN s.state = 'done' THEN moment END, version = r.version + 1
			FROM (SELECT (ARRAY['waiting_customer', 'waiting_agent', 'done'])[1 + chance[4] % 3]) AS s (state)
			WHERE r.request_id = (SELECT o.request_id FROM omnichannel.request AS o WHERE o.customer_id = ANY (people) ORDER BY o.request_id LIMIT 1 OFFSET chance[5] % 3)
				AND r.state <> s.state;
		END CASE;
		COMMIT;
		INSERT INTO tally VALUES (action, 1);
		PERFORM omnichannel.tick_sla();
		COMMIT;
		IF action <> 'unmerge' THEN
			CALL pg_temp.compare(seed, step, action || ' moves what has stopped', false, true, action <> 'state', true);
		END IF;
		CALL pg_temp.see();
		IF chance[10] % 2 = 0 THEN
			PERFORM count(*) FROM omnichannel.recompute_sla();
			COMMIT;
			CALL pg_temp.compare(seed, step, 'recompute_sla() after ' || action, true, false, true, true);
			CALL pg_temp.see();
		END IF;
		-- What says nothing, or is of a conversation of its own.
		PERFORM omnichannel.log_contact('branch', who, direction => 'outbound', outcome => 'failed', thread => 'zz', occurred_at => '2026-06-01 05:00Z');
		side := omnichannel.log_contact('side', who, direction => CASE chance[11] % 2 WHEN 0 THEN 'inbound' ELSE 'outbound' END, thread => 'side' || who, source => 'side',
			occurred_at => moment - make_interval(hours => chance[12] % 24, mins => 1));
		COMMIT;
		PERFORM omnichannel.tick_sla();
		COMMIT;
		-- The log may have put the latter into a request.
		IF EXISTS (SELECT FROM omnichannel.contact AS c WHERE c.contact_id = side AND c.request_id IS NULL) THEN
			CALL pg_temp.compare(seed, step, 'a late contact after ' || action, true, false, true, false);
		END IF;
		CALL pg_temp.see();
		PERFORM count(*) FROM omnichannel.recompute_sla();
		COMMIT;
		CALL pg_temp.compare(seed, step, 'recompute_sla() after a late contact after ' || action, true, false, true, true);
	END LOOP;
	INSERT INTO tally SELECT 'clocks', count(*) FROM pg_temp.clocks();
	INSERT INTO tally SELECT 'withdrawn', count(*) FROM omnichannel.sla_event WHERE withdrawn_at IS NOT NULL;
	-- The next one begins with nothing.
	DELETE FROM omnichannel.sla_policy;
	DELETE FROM omnichannel.segment_member;
	DELETE FROM omnichannel.request AS r WHERE r.customer_id = ANY (people);
	DELETE FROM omnichannel.sla_clock;
	DELETE FROM omnichannel.sla_event;
	DELETE FROM omnichannel.sla_moment;
	DELETE FROM omnichannel.sla_customer;
	DELETE FROM omnichannel.sla_behind;
	DELETE FROM omnichannel.sla_stale;
	UPDATE omnichannel.contact SET still = NULL WHERE still;
	COMMIT;
END
$$;
SELECT format('CALL pg_temp.live(%s)', seed) FROM generate_series(:first, :last) AS seed \gexec
SELECT is((SELECT string_agg(format(E'%s/%s %s: %s', seed, step, what, told), E'\n' ORDER BY seed, step, what) FROM flaw), NULL, 'nothing moves that nothing concerns');
SELECT is((SELECT count(DISTINCT what) FROM tally WHERE what <> 'clocks' AND what <> 'withdrawn' AND times > 0), 7::bigint, 'all sorts of steps were taken');
SELECT cmp_ok((SELECT sum(times) FROM tally WHERE what = 'clocks'), '>', 5 * (SELECT count(*) FROM tally WHERE what = 'clocks'), 'and there were clocks to move');
SELECT * FROM finish();
