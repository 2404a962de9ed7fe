-- Random histories of queues beside plain SQL (match_oracle.psql): after each step every agent's verdict, score and place
-- for every open request; and who gets which request, for whatever gives requests away. psql -v seed=0.7 tries another,
-- the same each time: time passes by half minutes, and a multiple of what requests age by is just over.
\if :{?seed}
\set chosen true
\else
\set seed 0.0017
\set chosen false
\endif
\if :{?steps}
\else
\set steps 120
\endif
SELECT plan(6);
SET client_min_messages = error;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET search_path = omnichannel, public, pg_catalog;
\ir match_oracle.psql

INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('urgent', 1, 'resolution', 'urgent', '1 hour'), ('soon', 2, 'resolution', 'soon', '2 hours') ON CONFLICT DO NOTHING;
INSERT INTO customer (customer_id) SELECT generate_series(1, 8) ON CONFLICT DO NOTHING;

-- One of these.
CREATE FUNCTION pg_temp.pick(VARIADIC texts text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT texts[1 + floor(random() * array_length(texts, 1))::int]
$$;
-- A set of some of the skills, at levels up to this.
CREATE FUNCTION pg_temp.some_skills(chance double precision, most integer) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(skill || ':' || 1 + floor(random() * most)::int, ','), '') FROM unnest('{x,y,z}'::text[]) AS skill WHERE random() < chance
$$;
-- One of these ids, whatever order they were found in.
CREATE FUNCTION pg_temp.any_of(ids bigint[]) RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT id FROM unnest(ids) AS id ORDER BY id OFFSET floor(random() * cardinality(ids))::int LIMIT 1
$$;
-- About that long, and so that the clock passed a multiple of it two seconds ago.
CREATE FUNCTION pg_temp.about(length interval) RETURNS interval LANGUAGE sql AS $$
	SELECT length + more * interval '1 microsecond' FROM generate_series(0, 10000) AS more
	WHERE extract(epoch FROM now() - '2000-01-01 00:00Z') % (extract(epoch FROM length) + more / 1000000.0) BETWEEN 1.5 AND 2.5 LIMIT 1
$$;
-- Where everything stands.
CREATE FUNCTION pg_temp.stands() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', q.request_id || ':', q.state, q.agent_id, CASE WHEN w.request_id IS NOT NULL THEN 'waits' END,
		CASE WHEN a.request_id IS NOT NULL THEN 'with ' || a.agent_id || ' for ' || a.cost END), ', ' ORDER BY q.request_id)
	FROM omnichannel.request AS q LEFT JOIN omnichannel.waiting AS w USING (request_id) LEFT JOIN omnichannel.assignment AS a USING (request_id)
	WHERE q.closed_at IS NULL
$$;
-- Where two of these differ.
CREATE FUNCTION pg_temp.difference(have text, want text) RETURNS text LANGUAGE sql AS $$
	SELECT format('have %s; want %s', (SELECT string_agg(h, ', ') FROM string_to_table(have, ', ') AS h WHERE h <> ALL (string_to_array(want, ', '))),
		(SELECT string_agg(w, ', ') FROM string_to_table(want, ', ') AS w WHERE w <> ALL (string_to_array(have, ', '))))
$$;
-- Time passes.
CREATE FUNCTION pg_temp.passes(elapsed interval) RETURNS void LANGUAGE sql AS $$
	UPDATE omnichannel.agent_state SET idle_since = idle_since - elapsed, busy_until = busy_until - elapsed;
	UPDATE omnichannel.refusal SET until = until - elapsed;
	UPDATE omnichannel.kept_place SET until = until - elapsed, entered_at = entered_at - elapsed, queued_at = queued_at - elapsed;
	UPDATE omnichannel.assignment SET expires_at = expires_at - elapsed, entered_at = entered_at - elapsed, queued_at = queued_at - elapsed, offered_at = offered_at - elapsed;
	UPDATE omnichannel.waiting AS w SET queued_at = queued_at - elapsed, entered_at = entered_at - elapsed, rank = pg_temp.risen(entered_at - elapsed, k.age_after) - priority
	FROM omnichannel.lane AS l JOIN omnichannel.queue AS k USING (queue) WHERE l.lane_id = w.lane_id;
	DELETE FROM omnichannel.lane_head AS h WHERE NOT EXISTS (SELECT FROM omnichannel.waiting AS w WHERE w.lane_id = h.lane_id);
	UPDATE omnichannel.lane_head AS h SET rank = w.rank, due_at = w.due_at, entered_at = w.entered_at, request_id = w.request_id
	FROM (SELECT DISTINCT ON (lane_id) * FROM omnichannel.waiting ORDER BY lane_id, rank, due_at, entered_at, request_id) AS w WHERE w.lane_id = h.lane_id
$$;

-- What the plain SQL makes of what is about to be done; undone, but for the answer.
CREATE FUNCTION pg_temp.foretell(what text, asked bigint, agent bigint, whither text, OUT told text) LANGUAGE plpgsql AS $$
DECLARE
	one record;
	late bigint[];
	idle bigint[];
	freed bigint[] := '{}';
BEGIN
	SET LOCAL session_replication_role = replica;
	CASE what
	WHEN 'route' THEN
		CALL pg_temp.route_or_wait(asked);
	WHEN 'claim' THEN
		CALL pg_temp.serve(agent, true);
	WHEN 'come on' THEN
		UPDATE omnichannel.agent_state AS s SET state = 'available', busy_until = '-infinity', idle_since = CASE WHEN s.state <> 'available' THEN now() ELSE idle_since END WHERE agent_id = agent;
		INSERT INTO omnichannel.agent_state (agent_id, idle_since, state, used) SELECT agent, now(), 'available', (SELECT coalesce(sum(a.cost), 0) FROM omnichannel.assignment AS a WHERE a.agent_id = agent) WHERE NOT EXISTS (SELECT FROM omnichannel.agent_state AS s WHERE s.agent_id = agent);
		CALL pg_temp.serve(agent, false);
	WHEN 'leave' THEN
		UPDATE omnichannel.agent_state AS s SET state = whither WHERE agent_id = agent;
		FOR one IN SELECT a.request_id FROM omnichannel.assignment AS a WHERE a.agent_id = agent AND a.accepted_at IS NULL ORDER BY a.lane_id, a.request_id LOOP
			CALL pg_temp.take_back(one.request_id, false);
			CALL pg_temp.route_or_wait(one.request_id);
		END LOOP;
	WHEN 'decline' THEN
		CALL pg_temp.take_back(asked, true);
		CALL pg_temp.route_or_wait(asked);
		CALL pg_temp.serve(agent, false);
	WHEN 'transfer' THEN
		IF agent IS NOT NULL THEN
			CALL pg_temp.take_back(asked, true);
		END IF;
		UPDATE omnichannel.waiting AS w SET lane_id = 0, queued_at = CASE WHEN q.queue <> whither THEN now() ELSE w.queued_at END FROM omnichannel.request AS q WHERE q.request_id = asked AND w.request_id = asked;
		UPDATE omnichannel.request AS q SET queue = whither, agent_id = NULL WHERE q.request_id = asked;
		CALL pg_temp.route_or_wait(asked);
		CALL pg_temp.serve(agent, false);
	WHEN 'release' THEN
		CALL pg_temp.take_back(asked, false);
		DELETE FROM omnichannel.waiting AS w WHERE w.request_id = asked;
		UPDATE omnichannel.request AS q SET state = whither, agent_id = agent, closed_at = CASE WHEN whither = 'done' THEN now() END WHERE q.request_id = asked;
		CALL pg_temp.serve(agent, false);
	WHEN 'call back' THEN
		UPDATE omnichannel.request AS q SET current_channel = nullif(whither, channel) WHERE q.request_id = asked;
		UPDATE omnichannel.waiting AS w SET lane_id = 0 WHERE w.request_id = asked;
		CALL pg_temp.route_or_wait(asked);
	WHEN 'sweep' THEN
		SELECT array_agg(w.request_id ORDER BY w.queued_at, w.request_id) INTO late
		FROM omnichannel.waiting AS w JOIN omnichannel.request AS q USING (request_id) JOIN omnichannel.queue AS k USING (queue) WHERE w.queued_at <= now() - k.overflow_after;
		SELECT array_agg(s.agent_id ORDER BY s.idle_since, s.agent_id) INTO idle FROM omnichannel.agent_state AS s;
		FOR one IN SELECT a.request_id, a.agent_id, a.expires_at <= now() AS expired FROM omnichannel.assignment AS a JOIN omnichannel.agent AS g USING (agent_id)
			WHERE a.accepted_at IS NULL AND (a.expires_at <= now() OR NOT g.active) ORDER BY a.expires_at, a.request_id
		LOOP
			CALL pg_temp.take_back(one.request_id, one.expired);
			CALL pg_temp.route_or_wait(one.request_id);
			freed := freed || one.agent_id;
		END LOOP;
		FOREACH asked IN ARRAY coalesce(late, '{}') LOOP
			IF pg_temp.stands_waiting(asked) THEN
				UPDATE omnichannel.waiting AS w SET queued_at = now(), lane_id = 0 WHERE w.request_id = asked;
				UPDATE omnichannel.request AS q SET queue = k.overflow_queue FROM omnichannel.queue AS k WHERE q.request_id = asked AND k.queue = q.queue;
				CALL pg_temp.route_or_wait(asked);
			END IF;
		END LOOP;
		FOREACH agent IN ARRAY freed || idle LOOP
			CALL pg_temp.serve_best(agent);
		END LOOP;
	END CASE;
	told := pg_temp.stands();
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN;
END
$$;

-- Where the extension and the plain SQL see it differently: verdicts, scores, places.
CREATE FUNCTION pg_temp.disagreements(OUT wrong text, OUT compared integer, OUT kept integer) LANGUAGE plpgsql AS $$
DECLARE
	judged pg_temp.judgement[] := pg_temp.judge();
BEGIN
	WITH fits AS MATERIALIZED (
		SELECT j.*, a.agent_id IS NOT NULL AND a.agent_id = j.agent_id AS has_it, a.accepted_at IS NOT NULL AS accepted, a.request_id IS NOT NULL AS taken,
			j.may AND b.request_id <> 0 AND NOT b.fits AS keeps
		FROM unnest(judged) AS j LEFT JOIN omnichannel.assignment AS a USING (request_id)
		LEFT JOIN LATERAL (SELECT * FROM pg_temp.before(judged, j.request_id, j.agent_id, '{}') OFFSET 0) AS b ON j.may AND j.used > 0 AND EXISTS (SELECT FROM unnest(judged) AS k WHERE k.kept_long)
	), want AS MATERIALIZED ( -- nobody but the owner where he keeps his room and is waited for
		SELECT f.request_id, f.agent_id, f.verdict, f.score, f.parts, f.idle_since, f.owner, f.has_it, f.accepted, f.taken, f.may AND (f.owner OR o.request_id IS NULL) AS may,
			f.keeps AND (f.owner OR o.request_id IS NULL) AS keeps, f.may AND NOT f.owner AND o.request_id IS NOT NULL AS held_beside
		FROM fits AS f LEFT JOIN (SELECT k.request_id FROM fits AS k WHERE k.keeps AND k.owner AND k.held) AS o USING (request_id)
	), ranked AS MATERIALIZED (
		SELECT w.*, CASE WHEN has_it THEN CASE WHEN accepted THEN 'assigned' ELSE 'offered' END WHEN held_beside THEN 'held_for_owner' WHEN coalesce(keeps, false) THEN 'keeps_room' WHEN may THEN 'may' ELSE verdict END AS said,
			CASE WHEN may AND NOT coalesce(keeps, false) THEN rank() OVER (PARTITION BY w.request_id, may AND NOT coalesce(keeps, false) ORDER BY owner DESC, score DESC, idle_since, agent_id) END AS place
		FROM want AS w
	), explained AS MATERIALIZED (
		SELECT q.request_id, e.*, row_number() OVER (PARTITION BY q.request_id) AS line FROM (SELECT DISTINCT request_id FROM ranked) AS q CROSS JOIN LATERAL omnichannel.explain_match(q.request_id) AS e
	), matched AS MATERIALIZED (
		SELECT q.request_id, m.agent_id, m.score, m.place FROM (SELECT DISTINCT request_id FROM ranked) AS q
		CROSS JOIN LATERAL omnichannel.match_agents(q.request_id, 100) WITH ORDINALITY AS m (agent_id, score, relationship, fluency, skill, idle, load, reason, place)
	)
	SELECT string_agg(d, '; '), (SELECT count(*) FROM ranked), (SELECT count(*) FROM ranked WHERE keeps) INTO wrong, compared, kept FROM (
		SELECT format('request %s: agent %s is %s (%s), expected %s', r.request_id, r.agent_id, e.verdict, e.reason, r.said) AS d FROM explained AS e FULL JOIN ranked AS r USING (request_id, agent_id)
		WHERE CASE WHEN e.verdict IN ('best', 'lower_score') THEN 'may' ELSE e.verdict END IS DISTINCT FROM r.said
			OR (e.verdict = 'best') IS DISTINCT FROM coalesce(r.place = 1 AND NOT r.taken, false)
		UNION ALL SELECT format('request %s: agent %s has %s, expected %s', r.request_id, r.agent_id, ARRAY[e.relationship, e.fluency, e.skill, e.idle, e.load], r.parts)
		FROM explained AS e JOIN ranked AS r USING (request_id, agent_id) WHERE e.score IS NOT NULL AND (abs(e.score - r.score) > 1e-6
			OR EXISTS (SELECT FROM unnest(ARRAY[e.relationship, e.fluency, e.skill, e.idle, e.load], r.parts) AS p (have, want) WHERE abs(p.have - p.want) > 1e-6))
		UNION ALL SELECT format('request %s: agent %s has no score', request_id, agent_id) FROM explained AS e WHERE (e.score IS NULL) <> (e.verdict IN ('inactive', 'not_in_queue', 'channel', 'skill'))
			AND e.verdict NOT IN ('offered', 'assigned') OR (e.score IS NULL AND e.reason LIKE '%idle%')
		UNION ALL SELECT format('request %s: place %s is agent %s with %s, expected %s with %s', request_id, place, m.agent_id, m.score, r.agent_id, r.score)
		FROM matched AS m FULL JOIN (SELECT * FROM ranked WHERE place IS NOT NULL) AS r USING (request_id, place) WHERE m.agent_id IS DISTINCT FROM r.agent_id
		UNION ALL SELECT format('request %s: %s before %s', request_id, e.verdict, f.verdict) FROM explained AS e JOIN explained AS f USING (request_id)
		WHERE e.line < f.line AND f.verdict = 'best' AND e.verdict NOT IN ('offered', 'assigned', 'keeps_room')
		UNION ALL SELECT format('request %s: place %s in the queue, expected %s', w.request_id, p.place, w.place) FROM (
			SELECT j.request_id, rank() OVER (PARTITION BY l.queue ORDER BY j.level DESC, j.due_at, j.entered_at, j.request_id) AS place FROM unnest(judged) AS j
			JOIN omnichannel.waiting USING (request_id) JOIN omnichannel.lane AS l USING (lane_id) WHERE j.in_place AND j.agent_id = 1
				AND NOT EXISTS (SELECT FROM omnichannel.arrival)) AS w CROSS JOIN LATERAL omnichannel.queue_position(w.request_id) AS p WHERE p.place <> w.place
		UNION ALL SELECT format('request %s: rank %s, expected %s', w.request_id, w.rank, pg_temp.risen(w.entered_at, k.age_after) - w.priority)
		FROM omnichannel.waiting AS w JOIN omnichannel.lane AS l USING (lane_id) JOIN omnichannel.queue AS k USING (queue) WHERE w.rank <> pg_temp.risen(w.entered_at, k.age_after) - w.priority
		UNION ALL SELECT format('agent %s has %s', agent_id, used) FROM omnichannel.agent_state AS s WHERE used <> (SELECT coalesce(sum(cost), 0) FROM omnichannel.assignment AS a WHERE a.agent_id = s.agent_id)
	) AS differences;
END
$$;
CREATE TEMP TABLE tally (what text, told integer, happened integer);
CREATE TEMP TABLE sum (wrong text, compared integer, kept integer, given integer, steps integer);

-- One history, step by step, each in a transaction of its own.
CREATE PROCEDURE pg_temp.history(seed double precision, steps integer) LANGUAGE plpgsql AS $$
DECLARE
	what text;
	asked bigint;
	whom bigint;
	whither text;
	told text;
	stood text;
	idle text;
	stands text;
	seen record;
	wrong text;
	compared integer := 0;
	kept integer := 0;
	given integer := 0;
	step integer := 0;
	minute text := pg_temp.about('1 minute');
	minutes text := pg_temp.about('10 minutes');
BEGIN
	PERFORM setseed(seed);
	DELETE FROM omnichannel.assignment; DELETE FROM omnichannel.waiting; DELETE FROM omnichannel.request; DELETE FROM omnichannel.arrival; DELETE FROM omnichannel.refusal;
	DELETE FROM omnichannel.kept_place; DELETE FROM omnichannel.agent_state; DELETE FROM omnichannel.presence; DELETE FROM omnichannel.relationship;
	DELETE FROM omnichannel.agent; DELETE FROM omnichannel.lane; DELETE FROM omnichannel.lane_head; UPDATE omnichannel.queue SET overflow_queue = NULL, overflow_after = NULL; DELETE FROM omnichannel.queue;
	PERFORM omnichannel.unmerge_customers(merge_id) FROM omnichannel.customer_merge WHERE unmerged_at IS NULL;
	COMMIT;
	INSERT INTO omnichannel.queue (queue, hold_for_owner, prefer_for, age_after, offer_for, decline_for, wrap_up, keep_room_after, weight_relationship, weight_fluency, weight_skill, weight_idle, weight_load)
	SELECT queue, pg_temp.pick('0', '2 minutes', '5 minutes')::interval, pg_temp.pick('0', '1 minute', '3 minutes')::interval, nullif(pg_temp.pick('none', minute, minutes), 'none')::interval,
		pg_temp.pick('30 seconds', '3 minutes')::interval, pg_temp.pick('0', '2 minutes', '10 minutes')::interval, pg_temp.pick('0', '0', '1 minute')::interval,
		nullif(pg_temp.pick('none', '0', '0', '1 minute'), 'none')::interval, pg_temp.pick('0', '50', '1')::double precision, pg_temp.pick('0', '20')::double precision,
		pg_temp.pick('0', '15')::double precision, pg_temp.pick('0', '10', '100')::double precision, pg_temp.pick('0', '5')::double precision
	FROM unnest('{a,b,c}'::text[]) AS queue;
	UPDATE omnichannel.queue SET overflow_queue = 'b', overflow_after = '6 minutes' WHERE queue = 'c' AND random() < 0.7;
	INSERT INTO omnichannel.agent (agent_id, name, capacity, department, skills)
	SELECT n, 'Agent ' || n, 3 + floor(random() * 10), nullif(pg_temp.pick('none', 'care', 'sales'), 'none'), pg_temp.some_skills(0.7, 10)::omnichannel.skill_set FROM generate_series(1, 7) AS n;
	INSERT INTO omnichannel.agent_channel (agent_id, channel, fluency) SELECT n, channel, 1 + floor(random() * 10) FROM generate_series(1, 7) AS n, unnest('{chat,phone,email}'::text[]) AS channel WHERE random() < 0.8;
	INSERT INTO omnichannel.queue_member (queue, agent_id, join_after) SELECT queue, n, pg_temp.pick('0', '0', '0', '1 minute')::interval FROM generate_series(1, 7) AS n, unnest('{a,b,c}'::text[]) AS queue WHERE random() < 0.6;
	INSERT INTO omnichannel.queue_department (queue, department, join_after) SELECT queue, 'care', pg_temp.pick('0', '2 minutes')::interval FROM unnest('{a,b,c}'::text[]) AS queue WHERE random() < 0.4;
	INSERT INTO omnichannel.relationship (customer_id, agent_id, contacts, strength, aged_at) SELECT c, n, 3, random() * 5, now() - floor(random() * 3) * interval '90 days'
	FROM generate_series(1, 8) AS c, generate_series(1, 7) AS n WHERE random() < 0.25;
	COMMIT;
	PERFORM omnichannel.set_presence(n, 'available') FROM generate_series(1, 6) AS n;
	COMMIT;
	WHILE step < steps AND wrong IS NULL LOOP
		step := step + 1;
		whom := 1 + floor(random() * 7);
		asked := NULL;
		whither := NULL;
		told := NULL;
		idle := NULL;
		what := pg_temp.pick('route', 'route', 'route', 'route', 'open', 'accept', 'accept', 'decline', 'release', 'release', 'come on', 'come on', 'leave', 'claim', 'claim', 'transfer',
			'call back', 'abandon', 'another channel', 'time', 'time', 'sweep', 'sweep', 'next offer', 'set up', 'merge', 'changed', 'contact');
		IF EXISTS (SELECT FROM omnichannel.arrival) AND random() < 0.6 THEN
			what := 'sweep';
		END IF;
		-- what it is about
		IF what IN ('accept', 'decline', 'release', 'transfer') THEN
			asked := pg_temp.any_of(array_agg(a.request_id)) FROM omnichannel.assignment AS a WHERE what NOT IN ('accept', 'decline') OR (a.accepted_at IS NULL AND a.expires_at > now());
			SELECT a.agent_id INTO whom FROM omnichannel.assignment AS a WHERE a.request_id = asked;
		ELSIF what IN ('call back', 'abandon') THEN
			asked := pg_temp.any_of(array_agg(w.request_id)) FROM omnichannel.waiting AS w;
		ELSIF what IN ('route', 'open') THEN
			IF what = 'route' AND random() < 0.3 THEN
				asked := pg_temp.any_of(array_agg(q.request_id)) FROM omnichannel.request AS q WHERE q.closed_at IS NULL;
			END IF;
			IF asked IS NULL THEN
				asked := omnichannel.open_request(1 + floor(random() * 8)::int, pg_temp.pick('question', 'question', 'urgent', 'soon'), pg_temp.pick('chat', 'phone', 'email'), pg_temp.pick('a', 'b', 'c'), floor(random() * 3)::int,
					pg_temp.some_skills(0.2, 6), pg_temp.some_skills(0.2, 6), agent_id => CASE WHEN what = 'open' AND random() < 0.3 THEN whom END);
				-- What is opened and routed in two transactions is noted for the sweep.
				IF random() < 0.3 THEN
					COMMIT;
				END IF;
			END IF;
		ELSIF what IN ('another channel', 'changed') THEN
			asked := pg_temp.any_of(array_agg(q.request_id)) FROM omnichannel.request AS q WHERE q.closed_at IS NULL;
		END IF;
		IF what IN ('another channel', 'call back', 'contact') THEN
			whither := pg_temp.pick('chat', 'phone', 'email');
		ELSIF what = 'transfer' THEN
			whither := pg_temp.pick('a', 'b', 'c');
		ELSIF what = 'leave' THEN
			whither := pg_temp.pick('break', 'busy', 'busy');
		ELSIF what = 'release' THEN
			whither := pg_temp.pick('done', 'waiting_customer');
		END IF;
		CONTINUE WHEN asked IS NULL AND what IN ('accept', 'decline', 'release', 'transfer', 'call back', 'abandon', 'another channel', 'changed');
		-- What is noted for the sweep is not foretold, nor who is served then.
		stood := pg_temp.stands();
		IF what IN ('route', 'claim', 'come on', 'leave', 'decline', 'transfer', 'release', 'call back', 'sweep')
			AND NOT EXISTS (SELECT FROM omnichannel.arrival AS n WHERE what <> 'route' OR n.request_id <> asked)
			AND (what <> 'route' OR EXISTS (SELECT FROM omnichannel.request AS q WHERE q.request_id = asked AND q.state IN ('new', 'waiting_agent', 'waiting_customer')))
		THEN
			told := pg_temp.foretell(what, asked, whom, whither);
		END IF;
		BEGIN
			CASE what
			WHEN 'route' THEN PERFORM omnichannel.route(asked);
			WHEN 'open' THEN NULL;
			WHEN 'accept' THEN PERFORM omnichannel.accept_request(asked, whom);
			WHEN 'decline' THEN PERFORM omnichannel.decline_request(asked, whom);
			WHEN 'release' THEN PERFORM omnichannel.release_request(asked, whither);
			WHEN 'come on' THEN PERFORM omnichannel.set_presence(whom, 'available');
			WHEN 'leave' THEN PERFORM omnichannel.set_presence(whom, whither);
			WHEN 'claim' THEN PERFORM omnichannel.claim(whom);
			WHEN 'transfer' THEN PERFORM omnichannel.transfer_request(asked, whither);
			WHEN 'call back' THEN PERFORM omnichannel.request_callback(asked, whither);
			WHEN 'abandon' THEN PERFORM omnichannel.abandon_request(asked);
			WHEN 'another channel' THEN PERFORM omnichannel.continue_request(asked, whither);
			WHEN 'contact' THEN PERFORM omnichannel.log_contact(whither, customer_id => 1 + floor(random() * 8)::int, agent_id => CASE WHEN random() < 0.5 THEN whom END);
			WHEN 'time' THEN PERFORM pg_temp.passes((1 + floor(random() * 4)) * interval '30 seconds');
			WHEN 'sweep' THEN PERFORM omnichannel.tick_queues();
			WHEN 'next offer' THEN PERFORM omnichannel.next_offer(whom);
			WHEN 'set up' THEN
				CASE floor(random() * 6)::int
				WHEN 0 THEN UPDATE omnichannel.agent SET capacity = 2 + floor(random() * 10) WHERE agent_id = whom;
				WHEN 1 THEN UPDATE omnichannel.agent SET skills = pg_temp.some_skills(0.7, 10)::omnichannel.skill_set WHERE agent_id = whom;
				WHEN 2 THEN UPDATE omnichannel.agent SET active = random() < 0.8 WHERE agent_id = whom;
				WHEN 3 THEN DELETE FROM omnichannel.queue_member WHERE agent_id = whom AND random() < 0.3;
				WHEN 4 THEN INSERT INTO omnichannel.queue_member (queue, agent_id) VALUES (pg_temp.pick('a', 'b', 'c'), whom) ON CONFLICT DO NOTHING;
				ELSE UPDATE omnichannel.queue SET age_after = nullif(pg_temp.pick('none', minute, minutes), 'none')::interval WHERE queue = pg_temp.pick('a', 'b', 'c');
				END CASE;
			WHEN 'merge' THEN
				IF EXISTS (SELECT FROM omnichannel.customer WHERE merged_into IS NOT NULL) THEN
					PERFORM omnichannel.unmerge_customers(m.merge_id) FROM omnichannel.customer_merge AS m WHERE m.unmerged_at IS NULL;
				ELSE
					PERFORM omnichannel.merge_customers(1, 2, 'one person');
				END IF;
			ELSE
				CASE floor(random() * 4)::int
				WHEN 0 THEN UPDATE omnichannel.request SET priority = floor(random() * 4) WHERE request_id = asked;
				WHEN 1 THEN UPDATE omnichannel.request SET state = 'cancelled' WHERE request_id = asked;
				WHEN 2 THEN UPDATE omnichannel.request SET prefers = pg_temp.some_skills(0.3, 6)::omnichannel.skill_set WHERE request_id = asked;
				ELSE UPDATE omnichannel.request SET queue = pg_temp.pick('a', 'b', 'c') WHERE request_id = asked;
				END CASE;
			END CASE;
			stands := pg_temp.stands();
			IF what = 'sweep' AND told IS NOT NULL THEN
				idle := string_agg(format('request %s waits after the sweep beside agent %s', w.request_id, m.agent_id), '; ') FROM omnichannel.waiting AS w CROSS JOIN LATERAL omnichannel.match_agents(w.request_id, 1) AS m;
			END IF;
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			stands := NULL;
		END;
		IF told IS NOT NULL AND stands IS NOT NULL THEN
			INSERT INTO pg_temp.tally VALUES (what, 1, (stands IS DISTINCT FROM stood)::int);
			given := given + (stands IS DISTINCT FROM stood)::int;
			IF stands IS DISTINCT FROM told THEN
				wrong := pg_temp.difference(stands, told);
			END IF;
			wrong := coalesce(wrong, idle);
		END IF;
		COMMIT;
		IF wrong IS NULL THEN
			SELECT * INTO seen FROM pg_temp.disagreements();
			compared := compared + coalesce(seen.compared, 0);
			kept := kept + coalesce(seen.kept, 0);
			wrong := seen.wrong;
		END IF;
		IF wrong IS NOT NULL THEN
			wrong := format('seed %s, step %s, %s of request %s, agent %s, to %s: %s', seed, step, what, asked, whom, whither, wrong);
		END IF;
		COMMIT;
	END LOOP;
	INSERT INTO pg_temp.sum VALUES (wrong, compared, kept, given, step);
	COMMIT;
END
$$;
-- by rows, as the tables are made; and by statements, where somebody has triggers of his own
CALL pg_temp.history(:seed, :steps);
CALL pg_temp.history(1 - :seed, :steps);
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER mine AFTER UPDATE ON request FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE TRIGGER mine AFTER DELETE ON waiting FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE TRIGGER mine AFTER INSERT ON assignment FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CREATE TRIGGER mine AFTER UPDATE ON agent_state FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
CALL pg_temp.history(:seed, :steps);
CALL pg_temp.history(1 - :seed, :steps);
SELECT is(wrong, NULL, 'history ' || row_number() OVER () || ': the extension says and does what plain SQL does') FROM sum;
SELECT ok(:chosen OR sum(compared) > 20 * :steps, 'many verdicts were compared') FROM sum;
SELECT ok(:chosen OR (SELECT count(DISTINCT what) FROM tally WHERE happened > 0) >= 4, 'whatever gives requests away was foretold');
SELECT * FROM finish();
