-- Offers are written without SQL where nothing asks for SQL. Both ways leave the same; and whatever asks for SQL is heard.
BEGIN;
SELECT plan(64);
SET LOCAL client_min_messages = error;
SET LOCAL search_path = omnichannel, public, pg_catalog;

INSERT INTO queue (queue, hold_for_owner, prefer_for, age_after, wrap_up) VALUES ('a', '30 seconds', '0', '1 minute', '0'), ('b', '0', '1 minute', NULL, '1 minute');
INSERT INTO agent (agent_id, name, skills, capacity)
SELECT n, 'Agent ' || n, CASE n % 3 WHEN 0 THEN 'billing:5' WHEN 1 THEN 'billing:8, lang.pl' ELSE '' END::skill_set, 2 + n % 5 FROM generate_series(1, 20) AS n;
INSERT INTO agent_channel (agent_id, channel, fluency) SELECT n, channel, 1 + n % 10 FROM generate_series(1, 20) AS n, unnest('{chat,email}'::text[]) AS channel;
INSERT INTO queue_member (queue, agent_id, join_after) SELECT q, n, CASE WHEN n % 7 = 0 THEN '1 minute' ELSE '0' END::interval
FROM generate_series(1, 20) AS n, unnest('{a,b}'::text[]) AS q WHERE q = 'a' OR n % 2 = 0;
INSERT INTO customer (customer_id, merged_into) SELECT n, CASE WHEN n > 40 THEN n - 40 END FROM generate_series(1, 50) AS n ORDER BY n;
INSERT INTO relationship (customer_id, agent_id, contacts, strength, aged_at)
SELECT n, 1 + n * m % 20, m, m, now() - m * interval '30 days' FROM generate_series(1, 50) AS n, generate_series(1, 3) AS m ON CONFLICT DO NOTHING;
INSERT INTO request (request_id, customer_id, kind, state, channel, queue, priority, requires, prefers, data, opened_at, state_since, agent_id)
SELECT n, 1 + n % 50, 'question', CASE WHEN n % 5 = 0 THEN 'new' ELSE 'waiting_agent' END, CASE WHEN n % 3 = 0 THEN 'email' ELSE 'chat' END,
	CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, n % 4, CASE WHEN n % 4 = 0 THEN 'billing:4'::skill_set END, CASE WHEN n % 6 = 0 THEN 'lang.pl'::skill_set END,
	jsonb_build_object('long', repeat(md5(n::text), CASE WHEN n % 10 = 0 THEN 500 ELSE 1 END)), now() - n * interval '10 seconds', now() - n * interval '10 seconds',
	CASE WHEN n % 11 = 0 THEN 1 + n % 20 END
FROM generate_series(1, 300) AS n;
INSERT INTO agent_state (agent_id, idle_since, state) SELECT n, now() - n * interval '1 minute', (ARRAY['available', 'busy', 'available', 'offline'])[1 + n % 4] FROM generate_series(1, 18) AS n;

SET CONSTRAINTS ALL IMMEDIATE;

-- It is done, as the tables are made, and with foreign keys on what does not change: no statement was planned for it.
CREATE TABLE public.remark (request_id bigint, customer_id bigint, FOREIGN KEY (request_id, customer_id) REFERENCES omnichannel.request);
CREATE TABLE public.seat (agent_id bigint PRIMARY KEY REFERENCES omnichannel.agent_state);
CREATE FUNCTION pg_temp.offers() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	answer := omnichannel.route(100);
	PERFORM omnichannel.accept_request(100, answer::bigint);
	EXECUTE format('UPDATE omnichannel.%I SET used = used + 1000', 'agent_state');
	answer := concat_ws(' ', answer, coalesce(omnichannel.route(104)::text, 'waits'));
	EXECUTE format('UPDATE omnichannel.%I SET used = used - 1000', 'agent_state');
	DELETE FROM omnichannel.waiting;
	INSERT INTO omnichannel.lane (queue, channel, prefers) VALUES ('a', 'email', 'lang.pl');
	INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, entered_at, priority)
	SELECT 102, 3, lane_id, 0, now(), 2 FROM omnichannel.lane WHERE channel = 'email';
	answer := concat_ws(' ', answer, (SELECT string_agg(omnichannel.claim(n)::text, ' ') FROM generate_series(1, 18) AS n));
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN answer;
END
$$;
SELECT matches(pg_temp.offers(), '^\d+ waits 102$', 'an offer that is accepted, a request that waits and a claim');
SELECT is_empty($$SELECT ident FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident ~ '(UPDATE|DELETE FROM|INSERT INTO) omnichannel.(agent_state|assignment|request) '$$, 'without SQL');
SELECT is_empty($$SELECT ident FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident ~ '^WITH waits AS'$$, 'and what waits');

-- So does who asks for the agents only, and sees what the statement sees that asks.
CREATE TEMP TABLE matches AS SELECT * FROM match_agents(100, 20);
SELECT isnt_empty('SELECT * FROM matches', 'there are agents');
SELECT is_empty($$SELECT ident FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident ~ 'FROM omnichannel.relationship AS r WHERE r.customer_id = ANY'$$, 'found without SQL');
SELECT bag_eq($$WITH busy AS (UPDATE omnichannel.agent_state SET used = 1000 RETURNING 1), all_busy AS MATERIALIZED (SELECT count(*) FROM busy)
	SELECT m.* FROM all_busy, omnichannel.match_agents(100, 20) AS m$$, 'SELECT * FROM matches', 'not what the same statement does');
UPDATE omnichannel.agent_state SET used = 0;

-- Many things that happen, always the same; what stands in the tables then.
CREATE FUNCTION pg_temp.live() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text := '';
	one bigint;
	request bigint;
	agent bigint;
BEGIN
	PERFORM setseed(0.3);
	FOR step IN 1 .. 600 LOOP
		agent := 1 + floor(random() * 20);
		SELECT request_id INTO request FROM omnichannel.assignment ORDER BY request_id OFFSET floor(random() * 20) LIMIT 1;
		BEGIN
			CASE floor(random() * 10)::int
				WHEN 0, 1, 2 THEN one := omnichannel.route(1 + (random() * 299)::int);
				WHEN 3 THEN one := omnichannel.claim(agent);
				WHEN 4 THEN one := omnichannel.set_presence(agent, (ARRAY['available', 'busy', 'offline'])[1 + floor(random() * 3)::int]);
				WHEN 5 THEN one := omnichannel.release_request(request, (ARRAY['done', 'waiting_customer'])[1 + floor(random() * 2)::int]);
				WHEN 6 THEN one := omnichannel.decline_request(request, (SELECT a.agent_id FROM omnichannel.assignment AS a WHERE a.request_id = request));
				WHEN 7 THEN UPDATE omnichannel.request SET state = 'waiting_customer' WHERE request_id = (SELECT w.request_id FROM omnichannel.waiting AS w ORDER BY w.request_id LIMIT 1);
				WHEN 8 THEN PERFORM omnichannel.accept_request(request, (SELECT a.agent_id FROM omnichannel.assignment AS a WHERE a.request_id = request));
				ELSE one := omnichannel.transfer_request(request, (ARRAY['a', 'b'])[1 + floor(random() * 2)::int]);
			END CASE;
			answer := concat_ws(' ', answer, one);
		EXCEPTION WHEN SQLSTATE '55000' OR SQLSTATE '22023' THEN
			answer := concat_ws(' ', answer, SQLERRM);
		END;
	END LOOP;
	RETURN md5(concat_ws(E'\n', answer, (SELECT string_agg(format('%s %s %s %s %s', request_id, state, agent_id, version, state_since > now()), ',' ORDER BY request_id) FROM omnichannel.request),
		(SELECT string_agg((to_jsonb(a) - '{lane_id,offered_at,expires_at,accepted_at}'::text[])::text || (offered_at > now()) || coalesce(accepted_at >= offered_at, false), ',' ORDER BY request_id) FROM omnichannel.assignment AS a),
		(SELECT string_agg((to_jsonb(w) - 'lane_id')::text, ',' ORDER BY request_id) FROM omnichannel.waiting AS w),
		(SELECT string_agg(s::text, ',' ORDER BY agent_id) FROM (SELECT agent_id, state, used, rank() OVER (ORDER BY idle_since), busy_until > now() FROM omnichannel.agent_state) AS s),
		(SELECT string_agg(concat_ws(' ', request_id, agent_id, until > now()), ',' ORDER BY request_id, agent_id) FROM omnichannel.refusal AS f),
		(SELECT count(*) || ' ' || sum(agent_id) FROM omnichannel.assignment_history))) || ' after ' || (SELECT count(*) FROM omnichannel.assignment_history);
END
$$;
-- The same, undone, after a change of the tables.
CREATE FUNCTION pg_temp.after(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE change;
	answer := pg_temp.live();
	RAISE EXCEPTION USING ERRCODE = 'RT000';
EXCEPTION WHEN SQLSTATE 'RT000' THEN
	RETURN answer;
END
$$;
-- Twice: the first time lanes and caches are made.
CREATE TEMP TABLE lives AS SELECT pg_temp.after('SELECT') AS by_rows FROM generate_series(1, 2) AS n WHERE n = 1 OR pg_temp.after('SELECT') IS NOT NULL;
DELETE FROM lives WHERE ctid = '(0,1)';
SELECT cmp_ok((SELECT substring(by_rows FROM '\d+$')::int FROM lives), '>', 100, 'a lot happens');
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT is(pg_temp.after(format('CREATE TRIGGER mine AFTER INSERT OR UPDATE OR DELETE ON omnichannel.%I FOR EACH ROW EXECUTE FUNCTION public.nothing()', t)),
	(SELECT by_rows FROM lives), 'with a trigger on ' || t || ': the same by SQL') FROM unnest('{request,agent_state,assignment,waiting}'::text[]) AS t;
SELECT is(pg_temp.after('CREATE INDEX ON omnichannel.request (state); CREATE INDEX ON omnichannel.agent_state (used)'), (SELECT by_rows FROM lives), 'with indexes on what changes');
SELECT is(pg_temp.after('ALTER TABLE omnichannel.request SET (fillfactor = 100); ALTER TABLE omnichannel.agent_state SET (fillfactor = 100)'), (SELECT by_rows FROM lives), 'with full pages');
SELECT is(pg_temp.after('DROP INDEX omnichannel.request_open_customer, omnichannel.waiting_order'), (SELECT by_rows FROM lives), 'without the indexes');
SELECT is(pg_temp.after('ALTER TABLE omnichannel.request ADD COLUMN mine int DEFAULT 7'), (SELECT by_rows FROM lives), 'with a column more');

CREATE FUNCTION pg_temp.offer(request_id bigint) RETURNS bigint LANGUAGE sql AS $$
	UPDATE omnichannel.agent_state SET used = 0, state = 'available' WHERE agent_id = 2;
	DELETE FROM omnichannel.assignment;
	UPDATE omnichannel.request SET queue = 'a', state = 'waiting_agent', agent_id = 2, requires = NULL WHERE request.request_id = $1;
	SELECT omnichannel.route($1)
$$;
-- What a statement would do is done, what it would raise is raised; each change is undone.
CREATE FUNCTION pg_temp.outcome(change text, call text, look text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	BEGIN
		EXECUTE change;
		EXECUTE call;
		EXECUTE look INTO answer;
		RAISE EXCEPTION USING ERRCODE = 'RT000', MESSAGE = coalesce(answer, 'NULL');
	EXCEPTION WHEN OTHERS THEN
		RETURN CASE SQLSTATE WHEN 'RT000' THEN SQLERRM ELSE SQLSTATE END;
	END;
END
$$;
CREATE TABLE public.seen (what text);
CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (tg_table_name || '' '' || tg_op); RETURN NULL; END';
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''ZZ001''; END';
CREATE ROLE rows_role;
SELECT grant_access('rows_role', 'app');
GRANT SELECT, INSERT ON public.seen TO rows_role;
INSERT INTO waiting (request_id, customer_id, lane_id, rank, entered_at) SELECT 300, 1, lane_id, 0, now() FROM lane WHERE false;

SELECT is(pg_temp.outcome('SELECT', 'SELECT pg_temp.offer(2)', 'SELECT format(''%s %s'', agent_id, cost) FROM omnichannel.assignment'), '2 2', 'an offer');
SELECT is(pg_temp.outcome('SELECT', 'SELECT pg_temp.offer(2)', 'SELECT format(''%s %s %s %s'', state, agent_id, version, state_since > now()) FROM omnichannel.request WHERE request_id = 2'), 'offered 2 3 t', 'and its request');
SELECT is(pg_temp.outcome('CREATE TRIGGER mine AFTER INSERT ON omnichannel.assignment FOR EACH ROW EXECUTE FUNCTION public.see()', 'SELECT pg_temp.offer(2)', 'SELECT string_agg(what, '','') FROM public.seen'),
	'assignment INSERT', 'a trigger on assignments fires');
SELECT is(pg_temp.outcome('CREATE TRIGGER mine AFTER UPDATE OF used ON omnichannel.agent_state FOR EACH ROW EXECUTE FUNCTION public.see(); SELECT pg_temp.offer(4); DELETE FROM public.seen', 'SELECT omnichannel.route(2)', 'SELECT string_agg(what, '','') FROM public.seen'),
	'agent_state UPDATE', 'one on presence and load');
SELECT is(pg_temp.outcome('CREATE TRIGGER mine BEFORE UPDATE ON omnichannel.request FOR EACH ROW WHEN (new.state = ''offered'') EXECUTE FUNCTION public.refuse()', 'SELECT pg_temp.offer(2)', 'SELECT'),
	'ZZ001', 'one on requests refuses');
SELECT is(pg_temp.outcome('CREATE TRIGGER mine BEFORE INSERT ON omnichannel.assignment FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()', 'SELECT pg_temp.offer(2)', 'SELECT'),
	'ZZ001', 'one for statements');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.request DISABLE TRIGGER guard_request', 'SELECT pg_temp.offer(2)', 'SELECT version FROM omnichannel.request WHERE request_id = 2'),
	'1', 'a trigger that is switched off does nothing');
SELECT is(pg_temp.outcome('SET LOCAL session_replication_role = replica', 'SELECT pg_temp.offer(2)', 'SELECT version FROM omnichannel.request WHERE request_id = 2'), '1', 'nor all of them');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.assignment ADD CHECK (cost < 2)', 'SELECT pg_temp.offer(2)', 'SELECT'), '23514', 'a check of assignments');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.request ADD CHECK (state <> ''offered'')', 'SELECT pg_temp.offer(2)', 'SELECT'), '23514', 'of requests');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.agent_state ADD CHECK (used < 2)', 'SELECT pg_temp.offer(2)', 'SELECT'), '23514', 'of presence and load');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.assignment ADD COLUMN mine text DEFAULT ''x''', 'SELECT pg_temp.offer(2)', 'SELECT mine FROM omnichannel.assignment'), 'x', 'a default');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.request ADD COLUMN mine text GENERATED ALWAYS AS (state || ''!'') STORED', 'SELECT pg_temp.offer(2)', 'SELECT mine FROM omnichannel.request WHERE request_id = 2'), 'offered!', 'a generated column');
SELECT is(pg_temp.outcome('CREATE UNIQUE INDEX ON omnichannel.assignment ((1))', 'SELECT pg_temp.offer(2); INSERT INTO omnichannel.assignment SELECT 1000, 1, 2, 1, 2, 0, now(), now(), now(), now(), now()', 'SELECT'), '23505', 'a unique index on an expression');
SELECT is(pg_temp.outcome('CREATE INDEX mine ON omnichannel.request (state); SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off', 'SELECT pg_temp.offer(2)', 'SELECT request_id FROM omnichannel.request WHERE state = ''offered'''), '2', 'finds the new version');
CREATE TABLE public.desk (desk bigint PRIMARY KEY);
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.assignment ADD FOREIGN KEY (agent_id) REFERENCES public.desk', 'SELECT pg_temp.offer(2)', 'SELECT'), '23503', 'a foreign key of assignments');
SELECT is(pg_temp.outcome('UPDATE omnichannel.agent_state SET used = 0, state = ''available''; ALTER TABLE omnichannel.request ADD FOREIGN KEY (agent_id) REFERENCES public.desk NOT VALID', 'SELECT omnichannel.route(2)', 'SELECT'), '23503', 'of requests, to their agent');
SELECT is(pg_temp.outcome('CREATE TABLE public.one (state text UNIQUE); INSERT INTO public.one SELECT DISTINCT state FROM omnichannel.request UNION SELECT ''waiting_agent''; ALTER TABLE omnichannel.request ADD FOREIGN KEY (state) REFERENCES public.one (state)', 'SELECT pg_temp.offer(2)', 'SELECT'), '23503', 'to their state');
SELECT is(pg_temp.outcome('UPDATE omnichannel.agent_state SET used = 0; ALTER TABLE omnichannel.agent_state ADD UNIQUE (agent_id, used); CREATE TABLE public.load (agent_id bigint, used int, FOREIGN KEY (agent_id, used) REFERENCES omnichannel.agent_state (agent_id, used) ON UPDATE CASCADE); INSERT INTO public.load VALUES (2, 0)',
	'SELECT pg_temp.offer(2)', 'SELECT used > 0 FROM public.load'), 'true', 'one to presence and load');
SELECT is(pg_temp.outcome('CREATE RULE mine AS ON INSERT TO omnichannel.assignment DO ALSO INSERT INTO public.seen VALUES (''rule'')', 'SELECT pg_temp.offer(2)', 'SELECT'), '0A000', 'a rule is not for such statements');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.agent_state REPLICA IDENTITY NOTHING; CREATE PUBLICATION mine FOR TABLE omnichannel.agent_state', 'SELECT omnichannel.route(2)', 'SELECT'), '55000', 'a publication without replica identity');
SELECT is(pg_temp.outcome('UPDATE omnichannel.agent_state SET used = 0, state = ''available''; REVOKE ' || revoked || ' FROM rows_role; SET LOCAL ROLE rows_role', 'SELECT omnichannel.route(2)', 'SELECT'), '42501', 'without ' || revoked)
FROM unnest(ARRAY['INSERT ON omnichannel.assignment', 'UPDATE ON omnichannel.request', 'UPDATE ON omnichannel.agent_state', 'SELECT ON omnichannel.relationship', 'SELECT ON omnichannel.refusal']) AS revoked;
SELECT is(pg_temp.outcome('UPDATE omnichannel.agent_state SET used = 0, state = ''available''; SET LOCAL ROLE rows_role', 'SELECT omnichannel.route(2)', 'SELECT count(*) FROM omnichannel.assignment'), '1', 'with all rights');
SELECT is(pg_temp.outcome('UPDATE omnichannel.agent_state SET used = 0, state = ''available''; ALTER TABLE omnichannel.assignment ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON omnichannel.assignment USING (true) WITH CHECK (agent_id < 0); SET LOCAL ROLE rows_role',
	'SELECT omnichannel.route(2)', 'SELECT'), '42501', 'a policy on assignments');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.assignment ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY mine ON omnichannel.assignment USING (true)', 'SELECT pg_temp.offer(2)', 'SELECT count(*) FROM omnichannel.assignment'), '1', 'a policy that allows');
SELECT is(pg_temp.outcome('UPDATE omnichannel.agent_state SET used = 0, state = ''available''; UPDATE omnichannel.request SET agent_id = 2 WHERE request_id = 2; ALTER TABLE omnichannel.relationship ENABLE ROW LEVEL SECURITY; SET LOCAL ROLE rows_role',
	'SELECT omnichannel.route(2)', 'SELECT agent_id FROM omnichannel.assignment'), '2', 'a policy that hides');
SELECT is(pg_temp.outcome('CREATE TABLE public.child () INHERITS (omnichannel.assignment)', 'SELECT pg_temp.offer(2)', 'SELECT count(*) FROM ONLY omnichannel.assignment'), '1', 'a child table');
SELECT is(pg_temp.outcome('CREATE TABLE public.child () INHERITS (omnichannel.refusal); INSERT INTO public.child (request_id, agent_id, until) VALUES (2, 2, now() + interval ''1 hour'')', 'SELECT pg_temp.offer(2)', 'SELECT count(*) FILTER (WHERE agent_id = 2) FROM omnichannel.assignment'), '0', 'whose rows count');
SELECT is(pg_temp.outcome('UPDATE omnichannel.agent_state SET used = 0, state = ''available''; REVOKE INSERT ON omnichannel.assignment FROM rows_role; SELECT omnichannel.route(4), omnichannel.route(6), omnichannel.route(8); SET LOCAL ROLE rows_role',
	'SELECT omnichannel.route(2)', 'SELECT'), '42501', 'what one role may is no other''s');

-- The same of what waits, because nobody has room.
CREATE FUNCTION pg_temp.waits(request_id bigint) RETURNS bigint LANGUAGE sql AS $$
	DELETE FROM omnichannel.waiting;
	UPDATE omnichannel.agent_state SET used = 1000;
	UPDATE omnichannel.request SET queue = 'a', state = 'waiting_agent', agent_id = NULL, requires = NULL, prefers = NULL, priority = 7 WHERE request.request_id = $1;
	DELETE FROM omnichannel.arrival;
	SELECT omnichannel.route($1)
$$;
SELECT is(pg_temp.outcome('SELECT', 'SELECT pg_temp.waits(2)', 'SELECT concat_ws('' '', r.state, r.agent_id, r.version, r.state_since > now(), w.customer_id, w.priority, w.rank = -waiting_level(7, w.entered_at, ''1 minute''), w.due_at, w.queued_at = w.entered_at) FROM omnichannel.request AS r JOIN omnichannel.waiting AS w USING (request_id) WHERE request_id = 2'),
	'waiting_agent 3 f 3 7 t infinity t', 'a request waits');
SELECT is(pg_temp.outcome('SELECT', 'SELECT pg_temp.waits(2)', 'SELECT count(*) FROM omnichannel.arrival'), '0', 'in its place: nothing is left to the sweep');
SELECT is(pg_temp.outcome('SELECT', 'SELECT pg_temp.waits(2); INSERT INTO omnichannel.lane_head SELECT lane_id, rank + 1, due_at, entered_at, 1 FROM omnichannel.waiting ON CONFLICT (lane_id) DO UPDATE SET rank = excluded.rank; SELECT pg_temp.waits(2)',
	'SELECT count(*) FROM omnichannel.lane_head JOIN omnichannel.waiting USING (lane_id, rank, due_at, entered_at, request_id)'), '1', 'the head of its lane goes back to it');
SELECT is(pg_temp.outcome('SELECT', 'SELECT pg_temp.waits(2); INSERT INTO omnichannel.lane_head SELECT lane_id, rank - 1, due_at, entered_at, 1 FROM omnichannel.waiting ON CONFLICT (lane_id) DO UPDATE SET rank = excluded.rank; SELECT pg_temp.waits(2)',
	'SELECT count(*) FROM omnichannel.lane_head AS h JOIN omnichannel.waiting AS w ON w.lane_id = h.lane_id AND h.rank = w.rank - 1'), '1', 'but not on');
SELECT is(pg_temp.outcome('SELECT pg_temp.waits(2); INSERT INTO omnichannel.sla_clock (customer_id, metric, policy, request_id, channel, moment_id, started_at, target, due_at, stopped_at, outcome, time_left) SELECT 3, ''resolution'', ''p'', 2, ''chat'', 1, now(), ''1 hour'', d.due_at, d.stopped_at, CASE WHEN d.stopped_at IS NOT NULL THEN ''met'' END, CASE WHEN d.due_at IS NULL THEN interval ''1 minute'' END FROM (VALUES (''2030-01-03Z''::timestamptz, NULL::timestamptz), (''2030-01-02Z'', NULL), (NULL, NULL), (''2030-01-01Z'', now())) AS d (due_at, stopped_at)',
	'DELETE FROM omnichannel.waiting; SELECT omnichannel.route(2)', 'SELECT due_at = ''2030-01-02Z'' FROM omnichannel.waiting'), 'true', 'due when the first of its clocks is that runs');
SELECT is(pg_temp.outcome('SELECT pg_temp.waits(2); UPDATE omnichannel.waiting SET due_at = ''2030-01-02Z''; UPDATE omnichannel.agent_state SET used = 0, state = ''available''',
	'SELECT omnichannel.route(2)', 'SELECT due_at = ''2030-01-02Z'' FROM omnichannel.assignment WHERE request_id = 2'), 'true', 'and an offer of what waited keeps when that is');
SELECT is(pg_temp.outcome('CREATE TRIGGER mine AFTER INSERT ON omnichannel.waiting FOR EACH ROW EXECUTE FUNCTION public.see()', 'SELECT pg_temp.waits(2)', 'SELECT string_agg(what, '','') FROM public.seen'), 'waiting INSERT', 'a trigger on what waits fires');
SELECT is(pg_temp.outcome('CREATE TRIGGER mine BEFORE UPDATE ON omnichannel.lane_head FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()', 'SELECT pg_temp.waits(2)', 'SELECT'), 'ZZ001', 'one on heads of lanes');
SELECT is(pg_temp.outcome('DELETE FROM omnichannel.waiting; ALTER TABLE omnichannel.waiting ADD FOREIGN KEY (priority) REFERENCES public.desk', 'SELECT pg_temp.waits(2)', 'SELECT'), '23503', 'a foreign key of what waits');
SELECT is(pg_temp.outcome('CREATE TABLE public.hint (request_id bigint REFERENCES omnichannel.waiting ON DELETE CASCADE); SELECT pg_temp.waits(2); INSERT INTO public.hint VALUES (2); UPDATE omnichannel.agent_state SET used = 0, state = ''available''', 'SELECT omnichannel.claim(n) FROM generate_series(1, 18) AS n', 'SELECT count(*) FROM public.hint'), '0', 'one to it');
SELECT is(pg_temp.outcome('SELECT pg_temp.waits(2); INSERT INTO omnichannel.lane_head SELECT lane_id, rank + 1, due_at, entered_at, 1 FROM omnichannel.waiting ON CONFLICT (lane_id) DO UPDATE SET rank = excluded.rank, request_id = 1; ALTER TABLE omnichannel.lane_head ADD FOREIGN KEY (request_id) REFERENCES public.desk NOT VALID', 'SELECT pg_temp.waits(2)', 'SELECT'), '23503', 'of heads of lanes');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.waiting ADD CHECK (priority < 7)', 'SELECT pg_temp.waits(2)', 'SELECT'), '23514', 'a check of what waits');
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.waiting ADD COLUMN mine text DEFAULT ''x''', 'SELECT pg_temp.waits(2)', 'SELECT mine FROM omnichannel.waiting'), 'x', 'a default');
SELECT is(pg_temp.outcome('CREATE UNIQUE INDEX ON omnichannel.waiting ((1))', 'SELECT pg_temp.waits(2); INSERT INTO omnichannel.waiting (request_id, customer_id, lane_id, rank, entered_at) SELECT 1000, 1, 2, 1, now()', 'SELECT'), '23505', 'a unique index on an expression');
SELECT is(pg_temp.outcome('REVOKE ' || revoked || ' FROM rows_role; UPDATE omnichannel.agent_state SET used = 1000; SET LOCAL ROLE rows_role', 'SELECT omnichannel.route(2)', 'SELECT'), '42501', 'without ' || revoked)
FROM unnest(ARRAY['INSERT ON omnichannel.waiting']) AS revoked;
SELECT is(pg_temp.outcome('ALTER TABLE omnichannel.waiting ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON omnichannel.waiting USING (true) WITH CHECK (priority < 0); UPDATE omnichannel.agent_state SET used = 1000; SET LOCAL ROLE rows_role', 'SELECT omnichannel.route(2)', 'SELECT'), '42501', 'a policy on what waits');
SELECT * FROM finish();
ROLLBACK;
