-- What was told of the past stays: contacts that are logged late neither make promises by policies that are newer than
-- what they would have been of, nor take back those of policies that do not fit any more.
BEGIN;
SELECT plan(51);
SET LOCAL search_path = public, omnichannel, pg_catalog;
SET LOCAL timezone = 'UTC';
-- However long ago that is by now.
UPDATE omnichannel.sla_setting SET keep_moments = '100000 days';
DELETE FROM sla_policy;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('desk', 'Desk', 'mail', false), ('mail', 'Mail', 'mail', false), ('line', 'Line', 'voice', false);
INSERT INTO calendar (calendar, name, hours, time_zone) VALUES ('round', 'Round', 'Mon-Sun 00:00-24:00', 'UTC');
INSERT INTO segment (segment, name) VALUES ('gold', 'Gold');
CREATE TABLE public.letter (id int PRIMARY KEY, who bigint, dir text, at timestamptz, outcome text);
SELECT track('public.letter', channel => 'desk', customer => '{who}', direction => '{dir}', occurred_at => '{at}', outcome => '{outcome}', source_key => '{id}') \g /dev/null

CREATE FUNCTION pg_temp.of(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT omnichannel.identify('account', 'past-' || name) $$;
CREATE FUNCTION pg_temp.says(name text, direction text, at text, outcome text DEFAULT NULL, channel text DEFAULT 'mail', thread text DEFAULT NULL, request bigint DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT omnichannel.log_contact(channel, pg_temp.of(name), direction => direction, occurred_at => ('2026-06-01 ' || at)::timestamptz,
		outcome => coalesce(outcome, CASE direction WHEN 'inbound' THEN 'received' ELSE 'sent' END), thread => thread, request_id => request)
$$;
CREATE FUNCTION pg_temp.clocks(name text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('%s %s %s-%s due %s %s', c.metric, c.policy, to_char(c.started_at, 'HH24:MI'), coalesce(to_char(c.stopped_at, 'HH24:MI'), ''), to_char(c.due_at, 'HH24:MI'), coalesce(c.outcome, 'open')),
		', ' ORDER BY c.metric, c.started_at, c.clock_id), 'none')
		|| ' told ' || (SELECT count(*) FROM omnichannel.sla_event AS e WHERE e.customer_id = pg_temp.of(name) AND e.event = 'breach' AND e.withdrawn_at IS NULL)
	FROM omnichannel.sla_clock AS c WHERE c.customer_id = pg_temp.of(name)
$$;
CREATE FUNCTION pg_temp.follow() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM omnichannel.tick_sla(); PERFORM count(*) FROM omnichannel.recompute_sla(); PERFORM omnichannel.tick_sla(); END $$;

-- Policies that are newer than what ended: a request, and contacts without one, with a thread and without.
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('back', 9, 'callback', '1 hour');
SELECT open_request(pg_temp.of('request'), 'complaint', 'mail', opened_at => '2026-06-01 08:00') AS r \gset
SELECT count(*) FROM (VALUES (pg_temp.says('request', 'inbound', '09:00', request => :r)), (pg_temp.says('request', 'outbound', '12:00', request => :r))) AS said \g /dev/null
UPDATE request SET state = 'done', state_since = '2026-06-01 14:00', closed_at = '2026-06-01 14:00' WHERE request_id = :r;
SELECT pg_temp.says(name, 'inbound', '09:00', thread => thread), pg_temp.says(name, 'inbound', '10:00', thread => thread), pg_temp.says(name, 'outbound', '12:00', thread => thread)
	FROM (VALUES ('plain', NULL), ('thread', 'past-thread'), ('batch', NULL), ('copy', NULL), ('early', NULL), ('half', NULL), ('mail', NULL), ('open', NULL), ('line', NULL)) AS t (name, thread) \g /dev/null
SELECT pg_temp.says('open', 'inbound', '13:00') \g /dev/null
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('res', 9, 'resolution', '1 hour'), ('fr', 9, 'first_response', '1 hour'), ('nr', 9, 'next_response', '1 hour');
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('request') || pg_temp.clocks('plain'), 'none told 0none told 0', 'what ended before the policy has no clock');
SELECT pg_temp.says('request', 'outbound', '07:00', 'failed'), pg_temp.says('plain', 'outbound', '07:00', 'failed'), pg_temp.says('thread', 'outbound', '07:00', 'failed', thread => 'past-thread') \g /dev/null
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('request'), 'none told 0', 'nor of a request once something is logged late that says nothing');
SELECT is(pg_temp.clocks('plain'), 'none told 0', 'nor without one');
SELECT is(pg_temp.clocks('thread'), 'none told 0', 'nor in a thread');
SELECT pg_temp.says('request', 'outbound', '07:30', 'failed', request => :r) \g /dev/null
SELECT is(pg_temp.clocks('request'), 'none told 0', 'nor where that names the request');
INSERT INTO public.letter SELECT n, pg_temp.of(CASE n % 2 WHEN 0 THEN 'batch' ELSE 'plain' END), 'outbound', timestamptz '2026-06-01 07:00' + n * interval '1 minute', 'failed' FROM generate_series(1, 6) AS n;
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('batch') || pg_temp.clocks('plain'), 'none told 0none told 0', 'nor by a statement of many');
CREATE TABLE public.lines AS SELECT 10 + n AS id, pg_temp.of('copy') AS who, 'outbound' AS dir, timestamptz '2026-06-01 07:00' + n * interval '1 minute' AS at, 'failed' AS outcome FROM generate_series(1, 6) AS n;
SELECT current_setting('data_directory') || '/omnichannel_past_lines' AS lines \gset
COPY public.lines TO :'lines';
COPY public.letter FROM :'lines';
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('copy'), 'none told 0', 'nor by COPY');
SELECT pg_temp.says('half', 'outbound', '09:30') \g /dev/null
SELECT is(pg_temp.clocks('half'), 'none told 0', 'an answer that is logged late changes no promise that there was not');
SELECT pg_temp.says('early', 'inbound', '08:30') \g /dev/null
SELECT is(pg_temp.clocks('early'), 'none told 0', 'nor does an earlier question of the same wait');
SELECT pg_temp.says('mail', 'inbound', '15:00'), pg_temp.says('mail', 'outbound', '18:00'), pg_temp.says('mail', 'outbound', '16:30') \g /dev/null
SELECT is(pg_temp.clocks('mail'), 'first_response fr 15:00-16:30 due 16:00 breached told 0', 'what comes since is promised, and moved by what is logged late');
SELECT pg_temp.says('open', 'outbound', '07:00', 'failed') \g /dev/null
SELECT is(pg_temp.clocks('open'), 'first_response fr 13:00- due 14:00 breached told 1', 'what still waits is promised something by a new policy');
SELECT pg_temp.says('open', 'outbound', '13:30') \g /dev/null
SELECT is(pg_temp.clocks('open'), 'first_response fr 13:00-13:30 due 14:00 met told 0', 'and moved');
SELECT pg_temp.says('line', 'inbound', '06:00', 'missed', 'line') \g /dev/null
SELECT is(pg_temp.clocks('line'), 'callback back 06:00- due 07:00 open, first_response fr 06:00- due 07:00 open told 0', 'a question that is logged late starts its own');

-- Policies that fit no more, or are no more.
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target, calendar, segment) VALUES ('narrow', 1, 'first_response', '1 hour', 'round', NULL), ('next', 1, 'next_response', '2 hours', NULL, NULL), ('solve', 1, 'resolution', '1 hour', NULL, NULL);
DELETE FROM sla_stale;
SELECT pg_temp.says(name, 'inbound', '09:00') FROM unnest(ARRAY['n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7']) AS name \g /dev/null
SELECT open_request(pg_temp.of('closed'), 'complaint', 'mail', opened_at => '2026-06-01 08:00') AS r \gset
SELECT tick_sla() \g /dev/null
SELECT pg_temp.says(name, 'outbound', '12:00') FROM unnest(ARRAY['n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7']) AS name \g /dev/null
UPDATE request SET state = 'done', state_since = '2026-06-01 14:00', closed_at = '2026-06-01 14:00' WHERE request_id = :r;
SELECT 'first_response narrow 09:00-12:00 due 10:00 breached told 1' AS told \gset
SELECT is(pg_temp.clocks('n1'), :'told', 'of a promise that was broken');
SAVEPOINT narrowed;
UPDATE sla_policy SET channel = 'desk' WHERE policy = 'narrow';
UPDATE sla_policy SET kind = 'order' WHERE policy = 'solve';
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('n1'), :'told', 'it stays where the policy was narrowed');
SELECT pg_temp.says('n1', 'outbound', '08:00', 'failed'), pg_temp.says('closed', 'outbound', '07:00', 'failed') \g /dev/null
SELECT is(pg_temp.clocks('n1'), :'told', 'also once something is logged late that says nothing');
SELECT is(pg_temp.clocks('closed'), 'resolution solve 08:00-14:00 due 09:00 breached told 1', 'of a request');
INSERT INTO public.letter SELECT 20 + n, pg_temp.of('n2'), 'outbound', timestamptz '2026-06-01 08:00' + n * interval '1 minute', 'failed' FROM generate_series(1, 6) AS n;
SELECT is(pg_temp.clocks('n2'), :'told', 'or by a statement of many');
SELECT pg_temp.says('n3', 'outbound', '11:00') \g /dev/null
SELECT is(pg_temp.clocks('n3'), replace(:'told', '12:00', '11:00'), 'an answer that is logged late ends it by what was promised then');
SELECT pg_temp.says('n4', 'outbound', '09:30') \g /dev/null
SELECT is(pg_temp.clocks('n4'), 'first_response narrow 09:00-09:30 due 10:00 met told 0', 'in time too, and the breach is withdrawn');
SELECT pg_temp.says('n5', 'inbound', '13:00') \g /dev/null
SELECT is(pg_temp.clocks('n5'), :'told', 'a contact in order leaves it');
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('n1') || pg_temp.clocks('n2') || pg_temp.clocks('n5'), :'told' || :'told' || :'told', 'and so do tick() and recompute_sla()');
ROLLBACK TO narrowed;
DELETE FROM sla_policy;
SELECT pg_temp.follow() \g /dev/null
INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('other', 1, 'first_response', 'order', '5 hours');
SELECT pg_temp.says('n1', 'outbound', '08:00', 'failed'), pg_temp.says('n3', 'outbound', '11:00'), pg_temp.says('n4', 'outbound', '09:30'), pg_temp.says('closed', 'outbound', '07:00', 'failed') \g /dev/null
SELECT is(pg_temp.clocks('n1'), :'told', 'where it is deleted');
SELECT is(pg_temp.clocks('n3'), replace(:'told', '12:00', '11:00'), 'it is moved by what was promised then');
SELECT is(pg_temp.clocks('n4'), 'first_response narrow 09:00-09:30 due 10:00 met told 0', 'or withdrawn');
SELECT is(pg_temp.clocks('closed'), 'resolution solve 08:00-14:00 due 09:00 breached told 1', 'of a request');
DELETE FROM calendar WHERE calendar = 'round';
SELECT pg_temp.says('n6', 'outbound', '11:00') \g /dev/null
SELECT is(pg_temp.clocks('n6'), replace(:'told', '12:00', '11:00'), 'and where its calendar is deleted too');
ROLLBACK TO narrowed;
UPDATE sla_policy SET valid = '[2026-07-01,)' WHERE policy = 'narrow';
SELECT pg_temp.follow(), pg_temp.says('n1', 'outbound', '08:00', 'failed'), pg_temp.says('n3', 'outbound', '11:00') \g /dev/null
SELECT is(pg_temp.clocks('n1') || pg_temp.clocks('n3'), :'told' || replace(:'told', '12:00', '11:00'), 'where it holds from a later time on');
ROLLBACK TO narrowed;
UPDATE sla_policy SET segment = 'gold' WHERE policy = 'narrow';
SELECT pg_temp.follow(), pg_temp.says('n1', 'outbound', '08:00', 'failed'), pg_temp.says('n3', 'outbound', '11:00') \g /dev/null
SELECT is(pg_temp.clocks('n1') || pg_temp.clocks('n3'), :'told' || replace(:'told', '12:00', '11:00'), 'where it is for a segment');
ROLLBACK TO narrowed;
UPDATE sla_policy SET target = '1 day' WHERE policy = 'narrow';
SELECT pg_temp.follow(), pg_temp.says('n1', 'outbound', '08:00', 'failed'), pg_temp.says('n3', 'outbound', '11:00'), pg_temp.says('n4', 'outbound', '09:30'), pg_temp.says('n6', 'inbound', '08:30') \g /dev/null
SELECT is(pg_temp.clocks('n1') || pg_temp.clocks('n3'), :'told' || replace(:'told', '12:00', '11:00'), 'where it promises something else now');
SELECT is(pg_temp.clocks('n4'), 'first_response narrow 09:00-09:30 due 10:00 met told 0', 'what was in time by it');
SELECT is(pg_temp.clocks('n6'), 'first_response narrow 08:30-12:00 due 09:30 breached told 1', 'what began earlier by it');
ROLLBACK TO narrowed;
UPDATE calendar SET hours = 'Mon-Fri 11:30-16:00' WHERE calendar = 'round';
SELECT pg_temp.follow(), pg_temp.says('n1', 'outbound', '08:00', 'failed'), pg_temp.says('n3', 'outbound', '11:00') \g /dev/null
SELECT is(pg_temp.clocks('n1') || pg_temp.clocks('n3'), :'told' || replace(:'told', '12:00', '11:00'), 'where the hours are others now');
ROLLBACK TO narrowed;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('first', 0, 'first_response', '1 day');
SELECT pg_temp.follow(), pg_temp.says('n1', 'outbound', '08:00', 'failed'), pg_temp.says('n3', 'outbound', '11:00') \g /dev/null
SELECT is(pg_temp.clocks('n1') || pg_temp.clocks('n3'), :'told' || replace(:'told', '12:00', '11:00'), 'where another policy comes before it');
ROLLBACK TO narrowed;
SELECT pg_temp.says('n7', 'inbound', '11:00'), pg_temp.says('n7', 'outbound', '10:30') \g /dev/null
SELECT is(pg_temp.clocks('n7'), 'first_response narrow 09:00-10:30 due 10:00 breached, first_response narrow 11:00-12:00 due 12:00 met told 1', 'what a late answer leaves to be answered is promised as it would have been');

-- What waited with a promise of a policy that is gone was answered with it: recompute_sla() and late contacts are of one mind.
ROLLBACK TO narrowed;
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('fr', 9, 'first_response', '1 hour'), ('nr', 9, 'next_response', '2 hours');
SELECT tick_sla() \g /dev/null
SELECT pg_temp.says('with', 'inbound', '03:00', thread => 'b'), pg_temp.says('with', 'outbound', '04:00', thread => 'b'), pg_temp.says('with', 'inbound', '05:00'),
	pg_temp.says('with', 'inbound', '06:00', thread => 'b'), pg_temp.says('with', 'outbound', '07:00', thread => 'c') \g /dev/null
SELECT tick_sla() \g /dev/null
SELECT pg_temp.clocks('with') AS with_told \gset
DELETE FROM sla_policy WHERE policy = 'fr';
SELECT tick_sla() \g /dev/null
SELECT is((SELECT count(*) FROM recompute_sla()), 0::bigint, 'recompute_sla() has nothing to add to what was answered with a promise of before');
INSERT INTO sla_policy (policy, rank, metric, kind, target) VALUES ('order', 9, 'first_response', 'order', '1 hour');
SELECT tick_sla() \g /dev/null
SELECT is(pg_temp.clocks('with'), :'with_told', 'nor does a new policy');
SELECT pg_temp.says('with', 'outbound', '03:30', 'failed', thread => 'zz') \g /dev/null
SELECT is(pg_temp.clocks('with'), :'with_told', 'nor a contact that is logged late');
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('with'), :'with_told', 'nor recompute_sla() after that');

-- What a newer policy would have promised from an earlier message on, which was answered before there was that policy, takes no promise from a later one.
ROLLBACK TO narrowed;
DELETE FROM sla_policy;
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('nr', 9, 'next_response', '1 hour');
SELECT tick_sla() \g /dev/null
SELECT pg_temp.says(name, 'inbound', '01:00', thread => name), pg_temp.says(name, 'outbound', '02:00', thread => name), pg_temp.says(name, 'inbound', '04:00'),
	pg_temp.says(name, 'inbound', '05:00', thread => name), pg_temp.says(name, 'outbound', '06:00', thread => 'other') FROM unnest(ARRAY['late', 'too', 'ended']) AS name \g /dev/null
SELECT pg_temp.says('too', 'inbound', '07:00', channel => 'desk'), pg_temp.says('ended', 'outbound', '07:00', thread => 'ended') \g /dev/null
SELECT pg_temp.says('more', 'inbound', '01:00', thread => 'more'), pg_temp.says('more', 'inbound', '02:00', thread => 'more'), pg_temp.says('more', 'outbound', '05:00', thread => 'more') \g /dev/null
SELECT tick_sla() \g /dev/null
SELECT is(pg_temp.clocks('late'), 'next_response nr 05:00- due 06:00 breached told 1', 'of a message that is not answered');
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('fr', 9, 'first_response', '1 hour');
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('late'), 'next_response nr 05:00- due 06:00 breached told 1', 'the promise stays with a new policy');
SELECT is(pg_temp.clocks('too'), 'first_response fr 07:00- due 08:00 breached, next_response nr 05:00- due 06:00 breached told 2', 'also of who is promised something else by that');
SELECT pg_temp.says('late', 'outbound', '00:30', 'failed', thread => 'zz') \g /dev/null
SELECT is(pg_temp.clocks('late'), 'next_response nr 05:00- due 06:00 breached told 1', 'and once something is logged late that says nothing');
SELECT pg_temp.says('late', 'inbound', '03:30') \g /dev/null
SELECT is(pg_temp.clocks('late'), 'next_response nr 05:00- due 06:00 breached told 1', 'or a question of what was answered');
SELECT pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('late'), 'next_response nr 05:00- due 06:00 breached told 1', 'and after recompute_sla()');
SELECT pg_temp.says('late', 'outbound', '05:30', thread => 'late') \g /dev/null
SELECT is(pg_temp.clocks('late'), 'next_response nr 05:00-05:30 due 06:00 met told 0', 'an answer that is logged late keeps it');
SELECT pg_temp.says('ended', 'outbound', '05:30', thread => 'ended') \g /dev/null
SELECT is(pg_temp.clocks('ended'), 'next_response nr 05:00-05:30 due 06:00 met told 0', 'also one that had ended');
SELECT pg_temp.says('more', 'outbound', '04:00', thread => 'more') \g /dev/null
SELECT is(pg_temp.clocks('more'), 'next_response nr 02:00-04:00 due 03:00 breached told 1', 'that waited in the same conversation too');
DELETE FROM sla_policy WHERE policy = 'nr';
SELECT pg_temp.follow() \g /dev/null
SELECT pg_temp.says('more', 'outbound', '01:30', thread => 'more'), pg_temp.says('more', 'outbound', '02:30', thread => 'more') \g /dev/null
SELECT is(pg_temp.clocks('more'), 'next_response nr 02:00-02:30 due 03:00 met told 0', 'and whose policy is no more');

-- With what has stopped, and stays, nothing waits, though its answer was another customer's.
INSERT INTO sla_policy (policy, rank, metric, target) VALUES ('nr', 9, 'next_response', '1 hour');
SELECT tick_sla() \g /dev/null
SELECT pg_temp.says('one', 'inbound', '01:00', thread => 'one') \g /dev/null
SELECT merge_customers(pg_temp.of('other'), pg_temp.of('one')) AS merge \gset
SELECT pg_temp.says('other', 'outbound', '02:00') \g /dev/null
DELETE FROM sla_policy WHERE policy = 'fr';
SELECT tick_sla(), unmerge_customers(:merge) \g /dev/null
SELECT pg_temp.says('one', 'inbound', '03:00', thread => 'one') \g /dev/null
SELECT is(pg_temp.clocks('one'), 'first_response fr 01:00-02:00 due 02:00 met, next_response nr 03:00- due 04:00 open told 0', 'who writes again is promised an answer');
SELECT pg_temp.follow(), pg_temp.says('one', 'outbound', '00:30', 'failed', thread => 'zz'), pg_temp.follow() \g /dev/null
SELECT is(pg_temp.clocks('one'), 'first_response fr 01:00-02:00 due 02:00 met, next_response nr 03:00- due 04:00 breached told 1', 'and has it still when clocks are reckoned anew');
SELECT * FROM finish();
ROLLBACK;
