-- Queues, offers and presence, without customers. The company's zone is asked for by subqueries: joined, its table, which
-- nobody analyzes, is taken for hundreds of rows.
CREATE VIEW omnichannel.assignment_all AS
SELECT history.request_id, history.agent_id, history.queue, history.channel, history.entered_at, history.queued_at, history.offered_at,
	history.accepted_at, history.ended_at, history.assignment_id,
	CASE WHEN history.accepted_at IS NOT NULL THEN 'accepted' WHEN history.outcome = 'transferred' THEN 'passed_on' ELSE history.outcome END AS offer,
	CASE WHEN history.accepted_at IS NOT NULL THEN history.outcome END AS work
FROM omnichannel.assignment_history AS history
UNION ALL
SELECT assignment.request_id, assignment.agent_id, lane.queue, lane.channel, assignment.entered_at, assignment.queued_at, assignment.offered_at,
	assignment.accepted_at, NULL AS ended_at, NULL AS assignment_id,
	CASE WHEN assignment.accepted_at IS NOT NULL THEN 'accepted' ELSE 'open' END AS offer,
	CASE WHEN assignment.accepted_at IS NOT NULL THEN 'open' END AS work
FROM omnichannel.assignment JOIN omnichannel.lane USING (lane_id);
COMMENT ON VIEW omnichannel.assignment_all IS
'All offers, those that are open or in work now and those that have ended, one row each: what the reports on queues and agents count.';
COMMENT ON COLUMN omnichannel.assignment_all.offer IS
'What became of the offer: accepted, declined, expired, abandoned, done_elsewhere, cancelled, passed_on (before it was accepted) or open.';
COMMENT ON COLUMN omnichannel.assignment_all.work IS
'What became of the work on what was accepted: finished, transferred, or open where it goes on; NULL where nobody accepted.';

-- A stay begins when a request comes into a queue, or when the agent who had accepted it passes it on within it, and ends
-- when an agent accepts it or it leaves the queue; offers that come to nothing are part of it.
CREATE VIEW omnichannel.queue_stay AS
WITH event AS (
	SELECT taken.request_id, taken.queue, taken.channel, taken.entered_at, taken.queued_at, taken.offered_at AS at, 2 AS place, taken.assignment_id AS id,
		taken.offer AS what, taken.offered_at, taken.accepted_at, taken.ended_at, taken.work
	FROM omnichannel.assignment_all AS taken
	UNION ALL
	SELECT history.request_id, history.queue, history.channel, history.entered_at, history.queued_at, history.happened_at AS at, 1 AS place,
		history.event_id AS id, history.event AS what, NULL AS offered_at, NULL AS accepted_at, history.happened_at AS ended_at, NULL AS work
	FROM omnichannel.waiting_history AS history
	UNION ALL
	SELECT waiting.request_id, lane.queue, lane.channel, waiting.entered_at, waiting.queued_at, 'infinity' AS at, 3 AS place, NULL AS id,
		'waiting' AS what, NULL AS offered_at, NULL AS accepted_at, NULL AS ended_at, NULL AS work
	FROM omnichannel.waiting JOIN omnichannel.lane USING (lane_id)
), seen AS (
	SELECT event.*, lead(event.what) OVER request IS NULL AS last,
		coalesce(lag(event.what) OVER request IN ('accepted', 'abandoned', 'done_elsewhere', 'cancelled', 'overflowed', 'transferred')
			OR (lag(event.queue) OVER request, lag(event.queued_at) OVER request) <> (event.queue, event.queued_at), true) AS begins,
		-- What a customer has waited for before somebody had the request, or before he came back, is another wait.
		max(event.ended_at) FILTER (WHERE event.what IN ('accepted', 'abandoned', 'done_elsewhere', 'cancelled', 'returned')) OVER (PARTITION BY event.request_id
			ORDER BY event.at, event.place, event.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS anew,
		-- Nor does a stay begin before the one before it has ended, whatever the transactions took for now.
		max(event.ended_at) OVER (PARTITION BY event.request_id
			ORDER BY event.at, event.place, event.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ended_before
	FROM event
	WINDOW request AS (PARTITION BY event.request_id ORDER BY event.at, event.place, event.id)
), part AS (
	SELECT seen.*, count(*) FILTER (WHERE seen.begins) OVER (PARTITION BY seen.request_id ORDER BY seen.at, seen.place, seen.id) AS stay FROM seen
), total AS (
	SELECT part.request_id, part.stay, part.queue,
		(array_agg(part.channel ORDER BY part.at DESC, part.place DESC, part.id DESC))[1] AS channel,
		(array_agg(part.what ORDER BY part.at DESC, part.place DESC, part.id DESC))[1] AS ended_as,
		bool_or(part.last) AS last,
		max(greatest(part.queued_at, part.anew, CASE WHEN part.begins THEN part.ended_before END)) AS since,
		max(greatest(part.entered_at, part.anew)) AS waits_since,
		count(part.offered_at) AS offered,
		count(*) FILTER (WHERE part.what = 'declined') AS declined,
		count(*) FILTER (WHERE part.what = 'expired') AS expired,
		min(part.offered_at) AS offered_at,
		max(part.accepted_at) AS accepted_at,
		max(part.ended_at) AS ended_at,
		max(part.work) AS work
	FROM part
	GROUP BY part.request_id, part.stay, part.queue
)
SELECT total.request_id, total.queue, total.channel, total.since, total.waits_since, became.outcome,
	CASE WHEN became.outcome = 'answered' THEN greatest(total.accepted_at, total.since)
		WHEN became.outcome NOT IN ('offered', 'waiting') THEN greatest(total.ended_at, total.since) END AS until,
	total.offered, total.declined, total.expired, CASE WHEN total.offered > 0 THEN greatest(total.offered_at, total.since) END AS offered_at,
	total.work, CASE WHEN became.outcome = 'answered' THEN total.ended_at - total.accepted_at END AS worked
FROM total
CROSS JOIN LATERAL (SELECT CASE WHEN total.ended_as = 'accepted' THEN 'answered' WHEN total.ended_as IN ('abandoned', 'done_elsewhere', 'cancelled', 'overflowed') THEN total.ended_as
	WHEN total.ended_as = 'open' THEN 'offered' WHEN total.ended_as = 'waiting' THEN 'waiting'
	-- The sweep has yet to give it its place; or no trigger told of what has become of it.
	WHEN total.last AND total.ended_as NOT IN ('transferred', 'passed_on') THEN
		CASE WHEN EXISTS (SELECT FROM omnichannel.request WHERE request.request_id = total.request_id AND request.state = 'waiting_agent' OFFSET 0) THEN 'waiting' ELSE 'cancelled' END
	ELSE 'passed_on' END AS outcome) AS became;
COMMENT ON VIEW omnichannel.queue_stay IS
'Each stay of a request in a queue, one row each, from when it came into it or was passed on within it until an agent accepted it or it left.';
COMMENT ON COLUMN omnichannel.queue_stay.channel IS 'In which its customer was at the end of it, or is now.';
COMMENT ON COLUMN omnichannel.queue_stay.since IS
'When it came into the queue, its customer came back to the place that was kept, or its agent passed it on within the queue.';
COMMENT ON COLUMN omnichannel.queue_stay.waits_since IS
'When its customer began to wait, in whatever queue: the same as since, or earlier where it overflowed or was passed on before anybody had accepted it.';
COMMENT ON COLUMN omnichannel.queue_stay.outcome IS
'answered: an agent accepted it, claimed it or was given it; abandoned: the customer gave up, or the request was released before; done_elsewhere: it was done before; cancelled: it was cancelled or deleted before; overflowed; passed_on: it was put into another queue before anybody had accepted it; offered: the offer is open now; waiting: it waits now.';
COMMENT ON COLUMN omnichannel.queue_stay.until IS 'When the stay ended, or NULL.';
COMMENT ON COLUMN omnichannel.queue_stay.offered IS 'How many offers were made.';
COMMENT ON COLUMN omnichannel.queue_stay.offered_at IS 'When the first of them was made, or NULL.';
COMMENT ON COLUMN omnichannel.queue_stay.work IS 'As in assignment_all.';
COMMENT ON COLUMN omnichannel.queue_stay.worked IS 'How long the work on it took, or NULL.';

CREATE VIEW omnichannel.report_queue_day AS
WITH told AS (
	SELECT stay.*, (stay.since AT TIME ZONE (SELECT company.time_zone FROM omnichannel.company))::date AS day, coalesce(stay.offered_at, stay.until) - stay.since AS wait,
		CASE WHEN stay.outcome = 'answered' THEN stay.until - stay.since END AS answer, queue.answer_within
	FROM omnichannel.queue_stay AS stay
	LEFT JOIN omnichannel.queue ON queue.queue = stay.queue
), counted AS (
	SELECT told.day, told.queue, told.channel,
		count(*) AS entered,
		count(told.answer) AS answered,
		count(*) FILTER (WHERE told.outcome = 'abandoned') AS abandoned,
		count(*) FILTER (WHERE told.outcome = 'abandoned' AND told.offered = 0) AS abandoned_unoffered,
		count(*) FILTER (WHERE told.outcome = 'done_elsewhere') AS done_elsewhere,
		count(*) FILTER (WHERE told.outcome = 'cancelled') AS cancelled,
		count(*) FILTER (WHERE told.outcome = 'overflowed') AS overflowed,
		count(*) FILTER (WHERE told.outcome = 'passed_on') AS passed_on,
		count(*) FILTER (WHERE told.outcome = 'waiting') AS still_waiting,
		count(*) FILTER (WHERE told.outcome = 'offered') AS still_offered,
		sum(told.offered)::bigint AS offered,
		sum(told.declined)::bigint AS declined,
		sum(told.expired)::bigint AS expired,
		count(*) FILTER (WHERE told.work = 'transferred') AS transferred,
		count(*) FILTER (WHERE told.work = 'open') AS still_in_work,
		avg(told.wait) AS mean_wait,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY told.wait) AS median_wait,
		percentile_cont(0.9) WITHIN GROUP (ORDER BY told.wait) AS p90_wait,
		percentile_cont(0.95) WITHIN GROUP (ORDER BY told.wait) AS p95_wait,
		max(coalesce(told.wait, now() - told.since)) AS longest_wait,
		avg(told.answer) AS mean_answer,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY told.answer) AS median_answer,
		percentile_cont(0.9) WITHIN GROUP (ORDER BY told.answer) AS p90_answer,
		percentile_cont(0.95) WITHIN GROUP (ORDER BY told.answer) AS p95_answer,
		avg(told.until - told.waits_since) FILTER (WHERE told.outcome = 'answered') AS mean_whole_wait,
		avg(told.until - told.since) FILTER (WHERE told.outcome = 'abandoned') AS mean_abandoned,
		avg(told.worked) AS mean_handled,
		count(*) FILTER (WHERE told.answer <= told.answer_within) AS in_time,
		count(*) FILTER (WHERE told.outcome = 'abandoned' AND told.until - told.since <= told.answer_within) AS gave_up_in_time,
		bool_or(told.answer_within IS NOT NULL) AS has_target
	FROM told
	GROUP BY told.day, told.queue, told.channel
)
SELECT counted.day, counted.queue, counted.channel, counted.entered, counted.answered, counted.abandoned, counted.abandoned_unoffered, counted.done_elsewhere,
	counted.cancelled, counted.overflowed, counted.passed_on, counted.still_waiting, counted.still_offered, counted.offered, counted.declined, counted.expired, counted.transferred,
	counted.still_in_work, counted.mean_wait, counted.median_wait, counted.p90_wait, counted.p95_wait, counted.longest_wait, counted.mean_answer,
	counted.median_answer, counted.p90_answer, counted.p95_answer, counted.mean_whole_wait, counted.mean_abandoned, counted.mean_handled,
	CASE WHEN counted.has_target THEN counted.in_time END AS answered_in_time,
	CASE WHEN counted.has_target THEN counted.gave_up_in_time END AS abandoned_in_time,
	CASE WHEN counted.has_target THEN round(counted.in_time / nullif(counted.answered + counted.abandoned, 0)::numeric, 4) END AS service_level,
	round(counted.abandoned / nullif(counted.answered + counted.abandoned, 0)::numeric, 4) AS abandonment_rate
FROM counted;
COMMENT ON VIEW omnichannel.report_queue_day IS
'What became of the requests that came into each queue on a day, by channel. A request that goes through several queues is counted in each, with the time that it was there. Times are by the clock on the wall.';
COMMENT ON COLUMN omnichannel.report_queue_day.day IS
'On which the request came into the queue, in the company''s time zone, or its customer came back, or its agent passed it on within the queue: each begins a stay.';
COMMENT ON COLUMN omnichannel.report_queue_day.queue IS 'In which it was.';
COMMENT ON COLUMN omnichannel.report_queue_day.channel IS 'In which its customer was at the end of it, or is now.';
COMMENT ON COLUMN omnichannel.report_queue_day.entered IS 'How many stays there were: the sum of the next nine columns but abandoned_unoffered.';
COMMENT ON COLUMN omnichannel.report_queue_day.answered IS 'How many ended because an agent accepted the request, claimed it or was given it.';
COMMENT ON COLUMN omnichannel.report_queue_day.abandoned IS
'How many ended because the customer gave up, or the request was released to wait for the customer, before it was accepted.';
COMMENT ON COLUMN omnichannel.report_queue_day.abandoned_unoffered IS 'How many of them before the request was offered to anybody.';
COMMENT ON COLUMN omnichannel.report_queue_day.done_elsewhere IS
'How many ended because the request was done before it was accepted, as where the customer got the answer elsewhere; neither answered here nor abandoned.';
COMMENT ON COLUMN omnichannel.report_queue_day.cancelled IS
'How many ended because the request was cancelled or deleted before it was accepted, as what is spam or a duplicate; not abandoned either.';
COMMENT ON COLUMN omnichannel.report_queue_day.overflowed IS 'How many ended because the request went on to the queue''s overflow_queue.';
COMMENT ON COLUMN omnichannel.report_queue_day.passed_on IS 'How many ended because the request was put into another queue before it was accepted.';
COMMENT ON COLUMN omnichannel.report_queue_day.still_waiting IS 'How many requests wait now, and are offered to nobody.';
COMMENT ON COLUMN omnichannel.report_queue_day.still_offered IS 'How many requests are offered now, and not accepted yet.';
COMMENT ON COLUMN omnichannel.report_queue_day.offered IS
'How many offers were made in these stays, those among them that agents claimed or were given.';
COMMENT ON COLUMN omnichannel.report_queue_day.declined IS 'How many of the offers agents declined.';
COMMENT ON COLUMN omnichannel.report_queue_day.expired IS 'How many of the offers were not answered in time, or had an agent who left.';
COMMENT ON COLUMN omnichannel.report_queue_day.transferred IS 'How many of the answered their agents passed on.';
COMMENT ON COLUMN omnichannel.report_queue_day.still_in_work IS 'How many of the answered are in work now.';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_wait IS
'From the beginning of the stay to the first offer in it, or to its end where there was none; of those that wait for the first offer now, nothing yet.';
COMMENT ON COLUMN omnichannel.report_queue_day.median_wait IS 'The same time, which half of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.p90_wait IS 'The same time, which nine in ten of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.p95_wait IS 'The same time, which 95 in 100 of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.longest_wait IS 'The longest such time, those among them that wait for the first offer now, until now().';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_answer IS
'Average speed of answer: of the answered, from the beginning of the stay until an agent accepted.';
COMMENT ON COLUMN omnichannel.report_queue_day.median_answer IS 'The same time, which half of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.p90_answer IS 'The same time, which nine in ten of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.p95_answer IS 'The same time, which 95 in 100 of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_whole_wait IS
'The same from when the customer began to wait, in whatever queue: with the time in queues that the request came from before anybody had accepted it.';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_abandoned IS 'Of the abandoned: from the beginning of the stay to its end.';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_handled IS 'Of the answered whose work has ended: from there to the end.';
COMMENT ON COLUMN omnichannel.report_queue_day.answered_in_time IS
'How many were answered within answer_within of the queue as it is now; NULL where it has none, as the next two.';
COMMENT ON COLUMN omnichannel.report_queue_day.abandoned_in_time IS 'How many were abandoned within it.';
COMMENT ON COLUMN omnichannel.report_queue_day.service_level IS
'answered_in_time as a share of the answered and the abandoned, from 0 to 1; NULL where there are none.';
COMMENT ON COLUMN omnichannel.report_queue_day.abandonment_rate IS
'abandoned as a share of the answered and the abandoned, from 0 to 1; NULL where there are none.';

CREATE VIEW omnichannel.report_agent_day AS
SELECT (taken.offered_at AT TIME ZONE (SELECT company.time_zone FROM omnichannel.company))::date AS day, taken.agent_id,
	count(*) AS offered,
	count(*) FILTER (WHERE taken.offer = 'accepted') AS accepted,
	count(*) FILTER (WHERE taken.offer = 'declined') AS declined,
	count(*) FILTER (WHERE taken.offer = 'expired') AS expired,
	count(*) FILTER (WHERE taken.offer = 'abandoned') AS abandoned,
	count(*) FILTER (WHERE taken.offer = 'done_elsewhere') AS done_elsewhere,
	count(*) FILTER (WHERE taken.offer = 'cancelled') AS cancelled,
	count(*) FILTER (WHERE taken.offer = 'passed_on') AS passed_on,
	count(*) FILTER (WHERE taken.offer = 'open') AS still_offered,
	count(*) FILTER (WHERE taken.work = 'transferred') AS transferred,
	count(*) FILTER (WHERE taken.work = 'open') AS still_in_work,
	avg(taken.accepted_at - taken.offered_at) AS mean_answer,
	avg(taken.ended_at - taken.accepted_at) AS mean_handled
FROM omnichannel.assignment_all AS taken
GROUP BY 1, 2;
COMMENT ON VIEW omnichannel.report_agent_day IS
'What became of the offers that each agent got, by the day on which they were made, in the company''s time zone. Times are by the clock on the wall.';
COMMENT ON COLUMN omnichannel.report_agent_day.day IS 'On which the offers were made, in the company''s time zone.';
COMMENT ON COLUMN omnichannel.report_agent_day.agent_id IS 'Of agent.';
COMMENT ON COLUMN omnichannel.report_agent_day.offered IS
'How many offers there were, those among them that the agent claimed or was given. The sum of the next six columns.';
COMMENT ON COLUMN omnichannel.report_agent_day.accepted IS 'How many the agent took.';
COMMENT ON COLUMN omnichannel.report_agent_day.declined IS 'How many the agent declined.';
COMMENT ON COLUMN omnichannel.report_agent_day.expired IS 'How many were not answered in time, or went back because the agent left.';
COMMENT ON COLUMN omnichannel.report_agent_day.abandoned IS
'How many came to nothing because the customer gave up, or the request was released, before they were accepted.';
COMMENT ON COLUMN omnichannel.report_agent_day.done_elsewhere IS 'How many came to nothing because the request was done before they were accepted.';
COMMENT ON COLUMN omnichannel.report_agent_day.cancelled IS 'How many came to nothing because the request was cancelled or deleted before they were accepted.';
COMMENT ON COLUMN omnichannel.report_agent_day.passed_on IS 'How many went on to another agent or queue before they were accepted.';
COMMENT ON COLUMN omnichannel.report_agent_day.still_offered IS 'How many are open now.';
COMMENT ON COLUMN omnichannel.report_agent_day.transferred IS 'How many of the accepted the agent passed on.';
COMMENT ON COLUMN omnichannel.report_agent_day.still_in_work IS 'How many of the accepted are in work now.';
COMMENT ON COLUMN omnichannel.report_agent_day.mean_answer IS 'Of the accepted: from the offer to there.';
COMMENT ON COLUMN omnichannel.report_agent_day.mean_handled IS 'Of the accepted whose work has ended: from there to the end.';

-- A day begins with the first instant of its date: where the clocks go back over midnight, that comes twice, and where they
-- go forward over it, never. Days are asked for from one before that of the local time at the beginning.
CREATE VIEW omnichannel.report_agent_presence AS
WITH spell AS (
	SELECT presence.agent_id, presence.state, presence.during * tstzrange(NULL, now()) AS during FROM omnichannel.presence
	-- With work, which is no state; as far as the agent was there at all, whatever was imported.
	UNION ALL
	SELECT work.agent_id, NULL AS state, tstzrange(work.accepted_at, greatest(work.ended_at, work.accepted_at)) * came.during AS during
	FROM (SELECT history.agent_id, history.accepted_at, history.ended_at FROM omnichannel.assignment_history AS history WHERE history.accepted_at IS NOT NULL
		UNION ALL SELECT assignment.agent_id, assignment.accepted_at, now() FROM omnichannel.assignment WHERE assignment.accepted_at IS NOT NULL) AS work
	JOIN (SELECT presence.agent_id, tstzrange(min(lower(presence.during)), greatest(now(), min(lower(presence.during)))) AS during
		FROM omnichannel.presence WHERE isfinite(lower(presence.during)) GROUP BY presence.agent_id) AS came USING (agent_id)
), part AS (
	SELECT spell.agent_id, spell.state, local.day::date AS day, cut.during, lower(cut.during) = lower(spell.during) AS begins
	FROM spell
	CROSS JOIN (SELECT (SELECT company.time_zone FROM omnichannel.company) AS time_zone) AS company
	CROSS JOIN LATERAL generate_series(date_trunc('day', lower(spell.during) AT TIME ZONE company.time_zone) - interval '1 day',
		upper(spell.during) AT TIME ZONE company.time_zone, '1 day') AS local (day)
	CROSS JOIN LATERAL (SELECT local.day - interval '1 microsecond' AS before, local.day + interval '1 day' - interval '1 microsecond' AS last) AS edge
	CROSS JOIN LATERAL (SELECT spell.during * tstzrange(
		least(local.day AT TIME ZONE company.time_zone, edge.before AT TIME ZONE company.time_zone + interval '1 microsecond'),
		least((local.day + interval '1 day') AT TIME ZONE company.time_zone, edge.last AT TIME ZONE company.time_zone + interval '1 microsecond')) AS during) AS cut
	WHERE isfinite(lower(spell.during)) AND NOT isempty(cut.during)
), done AS (
	SELECT part.day, part.agent_id, range_agg(part.during) AS during FROM part WHERE part.state IS NULL GROUP BY part.day, part.agent_id
), total AS (
	SELECT part.day, part.agent_id, part.state, count(*) FILTER (WHERE part.begins) AS begun, range_agg(part.during) AS during,
		sum(upper(part.during) - lower(part.during)) AS lasted
	FROM part WHERE part.state IS NOT NULL GROUP BY part.day, part.agent_id, part.state
)
SELECT total.day, total.agent_id, total.state, total.begun, total.lasted,
	(SELECT coalesce(sum(upper(spent.during) - lower(spent.during)), '0')
		FROM unnest(total.during * done.during) AS spent (during)) AS with_work
FROM total LEFT JOIN done ON done.agent_id = total.agent_id AND done.day = total.day;
COMMENT ON VIEW omnichannel.report_agent_presence IS
'How long each agent was in each state of presence, by days of the company''s time zone, up to now. with_work over lasted is the occupancy.';
COMMENT ON COLUMN omnichannel.report_agent_presence.day IS 'In the company''s time zone; a spell over midnight is part of both.';
COMMENT ON COLUMN omnichannel.report_agent_presence.agent_id IS 'Of agent.';
COMMENT ON COLUMN omnichannel.report_agent_presence.state IS 'Of presence_state.';
COMMENT ON COLUMN omnichannel.report_agent_presence.begun IS 'How often the state began on that day.';
COMMENT ON COLUMN omnichannel.report_agent_presence.lasted IS 'The time in it on that day, by the clock on the wall; 23 or 25 hours at most where the clocks change.';
COMMENT ON COLUMN omnichannel.report_agent_presence.with_work IS 'That part of it in which the agent had accepted a request, one or several.';
