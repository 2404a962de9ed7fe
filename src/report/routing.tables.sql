-- Queues, offers and presence, without customers. A wait begins when a request comes into a queue, or when the agent who
-- had accepted it passes it on, and ends when an agent accepts it; what it goes through until then, declined and expired
-- offers, an overflow, another queue, is part of it.
CREATE VIEW omnichannel.report_queue_day AS
WITH seen AS (
	SELECT history.request_id, history.queue, history.channel, history.entered_at, history.offered_at, history.accepted_at,
		history.ended_at, history.outcome, history.assignment_id
	FROM omnichannel.assignment_history AS history
	UNION ALL
	SELECT assignment.request_id, lane.queue, lane.channel, assignment.entered_at, assignment.offered_at, assignment.accepted_at,
		NULL AS ended_at, NULL AS outcome, NULL AS assignment_id
	FROM omnichannel.assignment JOIN omnichannel.lane USING (lane_id)
	UNION ALL
	SELECT waiting.request_id, lane.queue, lane.channel, waiting.entered_at, NULL AS offered_at, NULL AS accepted_at, NULL AS ended_at,
		NULL AS outcome, NULL AS assignment_id
	FROM omnichannel.waiting JOIN omnichannel.lane USING (lane_id)
), offer AS (
	SELECT seen.*, greatest(seen.entered_at, max(seen.ended_at) FILTER (WHERE seen.accepted_at IS NOT NULL) OVER before) AS since
	FROM seen
	WINDOW before AS (PARTITION BY seen.request_id, seen.entered_at ORDER BY seen.offered_at, seen.assignment_id
		ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), told AS (
	SELECT offer.*, (offer.since AT TIME ZONE company.time_zone)::date AS day,
		CASE WHEN offer.offered_at IS NOT NULL AND row_number() OVER (PARTITION BY offer.request_id, offer.entered_at, offer.since
			ORDER BY offer.offered_at, offer.assignment_id) = 1 THEN greatest(offer.offered_at - offer.since, '0') END AS until_offered,
		CASE WHEN offer.accepted_at IS NOT NULL THEN greatest(offer.accepted_at - offer.since, '0') END AS until_accepted
	FROM offer CROSS JOIN omnichannel.company
)
SELECT told.day, told.queue, told.channel,
	count(DISTINCT (told.request_id, told.entered_at, told.since)) AS arrived,
	count(*) FILTER (WHERE told.offered_at IS NULL) AS still_waiting,
	count(told.offered_at) AS offered,
	count(told.accepted_at) AS accepted,
	count(*) FILTER (WHERE told.accepted_at IS NULL AND told.outcome = 'declined') AS declined,
	count(*) FILTER (WHERE told.accepted_at IS NULL AND told.outcome = 'expired') AS expired,
	count(*) FILTER (WHERE told.accepted_at IS NULL AND told.outcome = 'abandoned') AS abandoned,
	count(*) FILTER (WHERE told.accepted_at IS NULL AND told.outcome = 'transferred') AS passed_on,
	count(*) FILTER (WHERE told.accepted_at IS NULL AND told.offered_at IS NOT NULL AND told.ended_at IS NULL) AS still_offered,
	count(*) FILTER (WHERE told.accepted_at IS NOT NULL AND told.outcome = 'transferred') AS transferred,
	count(*) FILTER (WHERE told.accepted_at IS NOT NULL AND told.ended_at IS NULL) AS still_in_work,
	avg(told.until_offered) AS mean_wait,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY told.until_offered) AS median_wait,
	percentile_cont(0.9) WITHIN GROUP (ORDER BY told.until_offered) AS p90_wait,
	avg(told.until_accepted) AS mean_answer,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY told.until_accepted) AS median_answer,
	percentile_cont(0.9) WITHIN GROUP (ORDER BY told.until_accepted) AS p90_answer,
	avg(told.ended_at - told.accepted_at) AS mean_handled
FROM told
GROUP BY told.day, told.queue, told.channel;
COMMENT ON VIEW omnichannel.report_queue_day IS
'What became of the requests that began to wait on a day, by queue and channel. Of who has left a queue before anybody was offered the request nothing is kept, and nothing is counted. Times are by the clock on the wall.';
COMMENT ON COLUMN omnichannel.report_queue_day.day IS
'On which the wait began, in the company''s time zone: when the request came into a queue, or its agent passed it on.';
COMMENT ON COLUMN omnichannel.report_queue_day.queue IS 'In which the request was offered, or waits now.';
COMMENT ON COLUMN omnichannel.report_queue_day.channel IS 'In which its customer was then.';
COMMENT ON COLUMN omnichannel.report_queue_day.arrived IS
'How many waits there were: of requests that were offered here, or wait here now. One that was offered in two queues is counted in both.';
COMMENT ON COLUMN omnichannel.report_queue_day.still_waiting IS 'How many of them wait now, and are offered to nobody.';
COMMENT ON COLUMN omnichannel.report_queue_day.offered IS
'How many offers were made of them, those among them that agents claimed or were given. The sum of the next six columns.';
COMMENT ON COLUMN omnichannel.report_queue_day.accepted IS 'How many offers agents took: so many waits ended so.';
COMMENT ON COLUMN omnichannel.report_queue_day.declined IS 'How many offers agents declined.';
COMMENT ON COLUMN omnichannel.report_queue_day.expired IS 'How many offers were not answered in time, or whose agent left.';
COMMENT ON COLUMN omnichannel.report_queue_day.abandoned IS
'How many offers came to nothing because the customer gave up, or the request was closed, before they were accepted.';
COMMENT ON COLUMN omnichannel.report_queue_day.passed_on IS 'How many offers went on to another agent or queue before they were accepted.';
COMMENT ON COLUMN omnichannel.report_queue_day.still_offered IS 'How many offers are open now.';
COMMENT ON COLUMN omnichannel.report_queue_day.transferred IS 'How many of the accepted their agents passed on.';
COMMENT ON COLUMN omnichannel.report_queue_day.still_in_work IS 'How many of the accepted are in work now.';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_wait IS
'From the beginning of a wait to the first offer of it, in the queue and channel of that offer.';
COMMENT ON COLUMN omnichannel.report_queue_day.median_wait IS 'The same time, which half of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.p90_wait IS 'The same time, which nine in ten of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_answer IS
'Speed of answer: from the beginning of a wait until an agent accepted, in the queue and channel in which he did.';
COMMENT ON COLUMN omnichannel.report_queue_day.median_answer IS 'The same time, which half of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.p90_answer IS 'The same time, which nine in ten of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_queue_day.mean_handled IS 'Of the accepted whose work has ended: from there to the end.';

CREATE VIEW omnichannel.report_agent_day AS
SELECT (offer.offered_at AT TIME ZONE company.time_zone)::date AS day, offer.agent_id,
	count(*) AS offered,
	count(offer.accepted_at) AS accepted,
	count(*) FILTER (WHERE offer.accepted_at IS NULL AND offer.outcome = 'declined') AS declined,
	count(*) FILTER (WHERE offer.accepted_at IS NULL AND offer.outcome = 'expired') AS expired,
	count(*) FILTER (WHERE offer.accepted_at IS NULL AND offer.outcome = 'abandoned') AS abandoned,
	count(*) FILTER (WHERE offer.accepted_at IS NULL AND offer.outcome = 'transferred') AS passed_on,
	count(*) FILTER (WHERE offer.accepted_at IS NULL AND offer.ended_at IS NULL) AS still_offered,
	count(*) FILTER (WHERE offer.accepted_at IS NOT NULL AND offer.outcome = 'transferred') AS transferred,
	count(*) FILTER (WHERE offer.accepted_at IS NOT NULL AND offer.ended_at IS NULL) AS still_in_work,
	avg(offer.accepted_at - offer.offered_at) AS mean_answer,
	avg(offer.ended_at - offer.accepted_at) AS mean_handled
FROM (
	SELECT history.agent_id, history.offered_at, history.accepted_at, history.ended_at, history.outcome
	FROM omnichannel.assignment_history AS history
	UNION ALL
	SELECT assignment.agent_id, assignment.offered_at, assignment.accepted_at, NULL AS ended_at, NULL AS outcome
	FROM omnichannel.assignment
) AS offer
CROSS JOIN omnichannel.company
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
'How many came to nothing because the customer gave up, or the request was closed, before they were accepted.';
COMMENT ON COLUMN omnichannel.report_agent_day.passed_on IS 'How many went on to another agent or queue before they were accepted.';
COMMENT ON COLUMN omnichannel.report_agent_day.still_offered IS 'How many are open now.';
COMMENT ON COLUMN omnichannel.report_agent_day.transferred IS 'How many of the accepted the agent passed on.';
COMMENT ON COLUMN omnichannel.report_agent_day.still_in_work IS 'How many of the accepted are in work now.';
COMMENT ON COLUMN omnichannel.report_agent_day.mean_answer IS 'Of the accepted: from the offer to there.';
COMMENT ON COLUMN omnichannel.report_agent_day.mean_handled IS 'Of the accepted whose work has ended: from there to the end.';

-- A day begins one before that of the local time at its beginning, for zones whose clocks go back over midnight.
CREATE VIEW omnichannel.report_agent_presence AS
WITH spell AS (
	SELECT presence.agent_id, presence.state, presence.during * tstzrange(NULL, now()) AS during FROM omnichannel.presence
	-- With work, which is no state.
	UNION ALL
	SELECT history.agent_id, NULL AS state, tstzrange(history.accepted_at, greatest(history.ended_at, history.accepted_at)) AS during
	FROM omnichannel.assignment_history AS history WHERE history.accepted_at IS NOT NULL
	UNION ALL
	SELECT assignment.agent_id, NULL AS state, tstzrange(assignment.accepted_at, greatest(now(), assignment.accepted_at)) AS during
	FROM omnichannel.assignment WHERE assignment.accepted_at IS NOT NULL
), part AS (
	SELECT spell.agent_id, spell.state, local.day::date AS day, cut.during, lower(cut.during) = lower(spell.during) AS begins
	FROM spell
	CROSS JOIN omnichannel.company
	CROSS JOIN LATERAL generate_series(date_trunc('day', lower(spell.during) AT TIME ZONE company.time_zone) - interval '1 day',
		upper(spell.during) AT TIME ZONE company.time_zone, '1 day') AS local (day)
	CROSS JOIN LATERAL (SELECT spell.during * tstzrange(local.day AT TIME ZONE company.time_zone,
		(local.day + interval '1 day') AT TIME ZONE company.time_zone) AS during) AS cut
	WHERE NOT isempty(cut.during)
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
