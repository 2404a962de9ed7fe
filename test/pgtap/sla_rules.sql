-- What is not written by rows, and what a channel is, are followed as other rules are: at the next tick().
BEGIN;
SELECT plan(13);
SET LOCAL search_path = public, omnichannel, pg_catalog;
DELETE FROM sla_policy;
INSERT INTO channel (channel, name, medium, opens_request) VALUES ('line', 'Line', 'voice', false), ('talk', 'Talk', 'text', false);
INSERT INTO segment (segment, name) VALUES ('vip', 'Important');
INSERT INTO sla_policy (policy, rank, metric, segment, target) VALUES ('vip', 1, 'first_response', 'vip', '1 hour'), ('all', 9, 'first_response', NULL, '8 hours');
SELECT identify('account', 'rules-a') AS a, identify('account', 'rules-b') AS b \gset
INSERT INTO segment_member (customer_id, segment, valid) VALUES (:a, 'vip', tstzrange(now() - interval '1 day', NULL));
-- As of another transaction: rows of this one stay for the next tick().
CREATE FUNCTION pg_temp.tick() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	UPDATE omnichannel.sla_stale SET changed_at = changed_at - interval '1 second';
	UPDATE omnichannel.sla_behind SET noted_at = noted_at - interval '1 second';
	RETURN omnichannel.tick_sla();
END
$$;
SELECT pg_temp.tick() \g /dev/null
SELECT log_contact('talk', :a, occurred_at => now() - interval '10 minutes') \g /dev/null
SELECT is((SELECT string_agg(policy, ' ') FROM sla_clock WHERE stopped_at IS NULL), 'vip', 'a member');
DELETE FROM sla_stale;
TRUNCATE segment_member;
SELECT is((SELECT string_agg(relation || fits_more, ' ') FROM sla_stale), 'segment_membertrue', 'TRUNCATE of memberships is noted');
SELECT pg_temp.tick() \g /dev/null
SELECT is((SELECT string_agg(policy, ' ') FROM sla_clock WHERE stopped_at IS NULL), 'all', 'and followed');
SELECT is((SELECT count(*) FROM sla_stale), 0::bigint, 'once');
DELETE FROM sla_policy WHERE policy = 'vip';
DELETE FROM sla_stale;
TRUNCATE segment_member;
SELECT is((SELECT count(*) FROM sla_stale), 0::bigint, 'not where no policy goes by segments');

-- Calls that are to be returned begin and end by voice.
UPDATE sla_policy SET metric = 'callback';
SELECT pg_temp.tick() \g /dev/null
CREATE FUNCTION pg_temp.calls() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s', c.channel, c.metric, coalesce(c.outcome, 'runs')), ', ' ORDER BY c.started_at) FROM omnichannel.sla_clock AS c WHERE c.metric = 'callback'
$$;
SELECT log_contact('talk', :b, outcome => 'missed', occurred_at => now() - interval '30 minutes') \g /dev/null
SELECT is(pg_temp.calls(), NULL, 'what is no call is not returned');
DELETE FROM sla_stale;
UPDATE channel SET name = 'Talks' WHERE channel = 'talk';
UPDATE channel SET medium = 'mail' WHERE channel = 'talk';
SELECT is((SELECT count(*) FROM sla_stale), 0::bigint, 'what a channel is otherwise does not matter');
UPDATE channel SET medium = 'voice' WHERE channel = 'talk';
SELECT is((SELECT count(*) FROM sla_stale), 1::bigint, 'that it is by voice does');
SELECT pg_temp.tick() \g /dev/null
SELECT is(pg_temp.calls(), 'talk callback runs', 'what turns out to be a call is returned');
UPDATE channel SET medium = 'text' WHERE channel = 'talk';
SELECT pg_temp.tick() \g /dev/null
SELECT is(pg_temp.calls(), NULL, 'what turns out to be none is not');
SELECT log_contact('line', :a, outcome => 'missed', occurred_at => now() - interval '20 minutes'), log_contact('talk', :a, direction => 'outbound', outcome => 'answered', occurred_at => now() - interval '15 minutes') \g /dev/null
SELECT is(pg_temp.calls(), 'line callback runs', 'a call is not returned in writing');
UPDATE channel SET medium = 'voice' WHERE channel = 'talk';
SELECT pg_temp.tick() \g /dev/null
SELECT alike(pg_temp.calls(), '%line callback met', 'but by what turns out to be a call');
SELECT recompute_sla() \g /dev/null
SELECT alike(pg_temp.calls(), '%line callback met', 'and stays so');
SELECT * FROM finish();
ROLLBACK;
