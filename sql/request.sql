-- Requests and their states.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT omnichannel.identify('email', 'anna@request.test') AS anna \gset
INSERT INTO omnichannel.agent (name) VALUES ('Requested') RETURNING agent_id AS agent \gset
INSERT INTO omnichannel.queue (queue) VALUES ('request_test');

SELECT omnichannel.open_request(:anna, 'complaint', 'phone') AS plain \gset
SELECT omnichannel.open_request(:anna, 'complaint', 'email', queue => 'request_test', priority => 5, requires => 'billing:4',
	prefers => 'lang.pl:5', data => '{"order": 17}', subject => 'Broken mug', opened_at => '2026-01-02 03:04:05+00') AS queued \gset
SELECT omnichannel.open_request(:anna, 'complaint', 'chat', agent_id => :agent) AS owned \gset
SELECT kind, state, channel, queue, priority, requires, prefers, agent_id IS NOT NULL AS owned, subject, data, version, closed_at
FROM omnichannel.request WHERE customer_id = :anna ORDER BY request_id;
SELECT opened_at, state_since FROM omnichannel.request WHERE request_id = :queued;

-- Bad input; the ids are beyond any sequence.
SELECT omnichannel.open_request(NULL, 'complaint', 'phone');
SELECT omnichannel.open_request(:anna, NULL, 'phone');
SELECT omnichannel.open_request(:anna, 'complaint', NULL);
SELECT omnichannel.open_request(-7, 'complaint', 'phone');
SELECT omnichannel.open_request(:anna, '', 'phone');
SELECT omnichannel.open_request(:anna, repeat('k', 64), 'phone');
SELECT omnichannel.open_request(:anna, 'complaint', 'fax');
SELECT omnichannel.open_request(:anna, 'complaint', 'phone', data => '[]');
SELECT omnichannel.open_request(:anna, 'complaint', 'phone', requires => 'billing:11');
SELECT omnichannel.open_request(:anna, 'complaint', 'phone', opened_at => 'infinity');
SELECT omnichannel.open_request(:anna, 'complaint', 'phone', queue => 'nowhere');
SELECT omnichannel.open_request(:anna, 'complaint', 'phone', agent_id => -1);
SELECT omnichannel.open_request(:anna, 'complaint', 'phone', subject => repeat('s', 999));
SELECT omnichannel.open_request(:anna, 'complaint', 'phone', opened_at => '9999-01-01 00:00+00');

-- Each state, and what may follow it
CREATE TEMPORARY TABLE states (state text);
INSERT INTO states VALUES ('new'), ('waiting_agent'), ('offered'), ('assigned'), ('waiting_customer'), ('done'), ('cancelled');
CREATE FUNCTION pg_temp.may_become(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	INSERT INTO omnichannel.request (customer_id, kind, channel, state, agent_id, closed_at)
	SELECT customer_id, 'try', 'phone', a, agent_id, CASE WHEN a IN ('done', 'cancelled') THEN now() END
	FROM omnichannel.request WHERE agent_id IS NOT NULL ORDER BY request_id DESC LIMIT 1 RETURNING request_id INTO id;
	UPDATE omnichannel.request SET state = b WHERE request_id = id;
	RETURN true;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RETURN false;
END $$;
SELECT a.state, (SELECT string_agg(b.state, ', ') FROM states AS b WHERE b.state <> a.state AND pg_temp.may_become(a.state, b.state)) AS successors
FROM states AS a;
UPDATE omnichannel.request SET state = 'cancelled' WHERE request_id = :plain;
DO $$ BEGIN
	UPDATE omnichannel.request SET state = 'new' WHERE state = 'cancelled' AND kind = 'complaint';
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d+', 'N'); END $$;
UPDATE omnichannel.request SET state = 'lost' WHERE request_id = :plain;
\set VERBOSITY terse
UPDATE omnichannel.request SET state = 'assigned' WHERE request_id = :queued;
\set VERBOSITY default

-- The version counts whatever the statement says; closing and opening again keep closed_at.
UPDATE omnichannel.request SET version = 100, priority = 1 WHERE request_id = :queued RETURNING version;
UPDATE omnichannel.request SET state = 'done' WHERE request_id = :queued RETURNING version, closed_at BETWEEN now() AND clock_timestamp() AS closed_now, state_since = closed_at AS since_now;
UPDATE omnichannel.request SET state = 'waiting_agent' WHERE request_id = :queued RETURNING version, closed_at;
UPDATE omnichannel.request SET state = 'done', closed_at = '2026-02-02 00:00+00', state_since = '2026-02-02 00:00+00' WHERE request_id = :queued RETURNING closed_at, state_since;
-- It is closed since it was closed, whatever else the statement says.
UPDATE omnichannel.request SET state = 'waiting_agent' WHERE request_id = :queued;
UPDATE omnichannel.request SET state = 'done', closed_at = '2026-02-02 00:00+00', state_since = '2026-02-03 00:00+00' WHERE request_id = :queued RETURNING closed_at, state_since;
ROLLBACK;

-- Continued in another channel, completed once, and nobody's change lost
BEGIN;
SELECT omnichannel.identify('email', 'ben@request.test') AS ben \gset
SELECT omnichannel.open_request(:ben, 'order', 'app', data => '{"size": "M", "note": "gift"}') AS request \gset
SELECT omnichannel.continue_request(:request, 'branch', '{"size": "L", "note": null}', expected_version => 1);
SELECT kind, state, channel, data, version FROM omnichannel.open_requests(:ben);
DO $$ BEGIN
	PERFORM omnichannel.continue_request(request_id, 'phone', '{"size": "S"}', expected_version => 1) FROM omnichannel.request WHERE kind = 'order';
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d+', 'N'); END $$;
SELECT omnichannel.continue_request(-1, 'phone');
SELECT omnichannel.continue_request(NULL, 'phone');
SELECT omnichannel.continue_request(:request, 'fax');
SELECT omnichannel.continue_request(:request, NULL);
SELECT omnichannel.continue_request(:request, 'phone', '[]');
SELECT omnichannel.complete_request(:request, NULL);
SELECT omnichannel.complete_request(:request, 'vanished');
SELECT omnichannel.complete_request(-1, 'resolved');
INSERT INTO omnichannel.disposition (disposition, name, request_kind) VALUES ('refunded', 'Refunded', 'complaint');
SELECT omnichannel.complete_request(:request, 'refunded');
SELECT omnichannel.complete_request(:request, 'resolved', '{"paid": true}', expected_version => 2);
SELECT state, disposition, data, closed_at = state_since AS closed FROM omnichannel.request WHERE request_id = :request;
SELECT count(*) FROM omnichannel.open_requests(:ben);
DO $$ BEGIN
	PERFORM omnichannel.complete_request(request_id, 'spam') FROM omnichannel.request WHERE kind = 'order';
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d+', 'N'); END $$;
DO $$ BEGIN
	PERFORM omnichannel.continue_request(request_id, 'phone') FROM omnichannel.request WHERE kind = 'order';
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, '\d+', 'N'); END $$;
SELECT omnichannel.open_request(:ben, 'order', 'app') AS other \gset
SELECT omnichannel.complete_request(:other, 'withdrawn');
SELECT state FROM omnichannel.request WHERE request_id = :other;
SELECT omnichannel.open_requests(NULL);
-- Those of merged customers too
SELECT omnichannel.open_request(omnichannel.identify('email', 'ben2@request.test'), 'merged', 'app') > 0 AS opened;
SELECT omnichannel.identify('email', 'ben2@request.test') AS ben2 \gset
UPDATE omnichannel.customer SET merged_into = :ben WHERE customer_id = :ben2;
SELECT kind FROM omnichannel.open_requests(:ben);
-- A request stays with its customer.
SELECT code, hint FROM public.raises(format('UPDATE omnichannel.request SET customer_id = %s WHERE kind = %L', :ben, 'merged'));
-- and is in a state since a time, which is when it was closed.
SELECT code, hint FROM public.raises($$UPDATE omnichannel.request SET state = 'waiting_customer', state_since = 'infinity' WHERE kind = 'merged'$$);
SELECT code, message FROM public.raises($$UPDATE omnichannel.request SET state = 'done', closed_at = '-infinity' WHERE kind = 'merged'$$);
UPDATE omnichannel.request SET opened_at = '2026-01-01', state = 'done', closed_at = '2026-02-01 10:00Z' WHERE kind = 'merged'
RETURNING state_since = closed_at AS since_then;
ROLLBACK;

-- The guard belongs to its table.
CREATE TABLE request_other (a integer);
CREATE TRIGGER guard BEFORE UPDATE ON request_other FOR EACH ROW EXECUTE FUNCTION omnichannel.guard_request();
INSERT INTO request_other VALUES (1);
UPDATE request_other SET a = 2;
DROP TABLE request_other;
CREATE TRIGGER request_guard_late AFTER UPDATE ON omnichannel.request EXECUTE FUNCTION omnichannel.guard_request();
UPDATE omnichannel.request SET kind = kind WHERE false;
DROP TRIGGER request_guard_late ON omnichannel.request;
