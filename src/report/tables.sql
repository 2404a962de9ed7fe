-- Service levels, without personal data. The times were reckoned when the clocks stopped, by the functions that keep them.
CREATE VIEW omnichannel.report_service_levels AS
SELECT (c.started_at AT TIME ZONE (SELECT company.time_zone FROM omnichannel.company))::date AS day, c.metric, c.policy, c.channel,
	r.queue, r.kind,
	pg_catalog.count(*) AS clocks,
	pg_catalog.count(*) FILTER (WHERE c.stopped_at IS NULL) AS still_open,
	pg_catalog.count(*) FILTER (WHERE c.outcome OPERATOR(pg_catalog.=) 'met') AS met,
	pg_catalog.count(*) FILTER (WHERE c.outcome OPERATOR(pg_catalog.=) 'breached'
		OR (c.stopped_at IS NULL AND c.due_at OPERATOR(pg_catalog.<) pg_catalog.now())) AS breached,
	pg_catalog.count(*) FILTER (WHERE c.outcome OPERATOR(pg_catalog.=) 'cancelled') AS cancelled,
	pg_catalog.avg(c.elapsed) AS mean_elapsed,
	pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY c.elapsed) AS median_elapsed,
	pg_catalog.percentile_cont(0.9) WITHIN GROUP (ORDER BY c.elapsed) AS p90_elapsed,
	pg_catalog.avg(c.worked) AS mean_worked,
	pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY c.worked) AS median_worked,
	pg_catalog.percentile_cont(0.9) WITHIN GROUP (ORDER BY c.worked) AS p90_worked
FROM omnichannel.sla_clock AS c
LEFT JOIN omnichannel.request AS r ON r.request_id OPERATOR(pg_catalog.=) c.request_id
GROUP BY 1, 2, 3, 4, 5, 6;
COMMENT ON VIEW omnichannel.report_service_levels IS
'How promises were kept, by the day on which the clocks started (in the company''s time zone), metric, policy, channel, queue and kind of request.';
COMMENT ON COLUMN omnichannel.report_service_levels.day IS 'On which the clocks started, in the company''s time zone.';
COMMENT ON COLUMN omnichannel.report_service_levels.metric IS 'first_response, next_response, resolution or callback.';
COMMENT ON COLUMN omnichannel.report_service_levels.policy IS 'The sla_policy that the clocks are kept by.';
COMMENT ON COLUMN omnichannel.report_service_levels.channel IS 'In which what started the clocks came.';
COMMENT ON COLUMN omnichannel.report_service_levels.queue IS 'Of the request as it is now; NULL for contacts without a request.';
COMMENT ON COLUMN omnichannel.report_service_levels.kind IS 'Of the request as it is now; NULL for contacts without a request.';
COMMENT ON COLUMN omnichannel.report_service_levels.clocks IS 'How many promises were made.';
COMMENT ON COLUMN omnichannel.report_service_levels.met IS 'How many were kept.';
COMMENT ON COLUMN omnichannel.report_service_levels.breached IS 'How many were not, those among them that still run past due.';
COMMENT ON COLUMN omnichannel.report_service_levels.cancelled IS 'How many ended with a request that was cancelled in time.';
COMMENT ON COLUMN omnichannel.report_service_levels.median_elapsed IS 'The same time, which half of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_service_levels.p90_elapsed IS 'The same time, which nine in ten of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_service_levels.median_worked IS 'The same time, which half of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_service_levels.p90_worked IS 'The same time, which nine in ten of them did not exceed.';
COMMENT ON COLUMN omnichannel.report_service_levels.still_open IS 'Clocks that run or stand still; those past due count as breached too.';
COMMENT ON COLUMN omnichannel.report_service_levels.mean_elapsed IS 'Of stopped clocks: time from start to stop by the clock on the wall, without pauses.';
COMMENT ON COLUMN omnichannel.report_service_levels.mean_worked IS 'Of stopped clocks: the same in working time of the policy''s calendar; NULL where it has none.';

CREATE VIEW omnichannel.report_response_times AS
SELECT c.clock_id, c.metric, c.policy, c.channel, r.queue, r.kind, r.priority, c.started_at, c.due_at, c.stopped_at,
	c.outcome, c.elapsed, c.worked,
	c.stopped_at OPERATOR(pg_catalog.-) c.started_at AS from_start_to_stop
FROM omnichannel.sla_clock AS c
LEFT JOIN omnichannel.request AS r ON r.request_id OPERATOR(pg_catalog.=) c.request_id
WHERE c.stopped_at IS NOT NULL;
COMMENT ON VIEW omnichannel.report_response_times IS
'Response, resolution and call-back times, one row a promise that has ended, for breakdowns of one''s own.';
COMMENT ON COLUMN omnichannel.report_response_times.clock_id IS 'Of sla_clock.';
COMMENT ON COLUMN omnichannel.report_response_times.metric IS 'first_response, next_response, resolution or callback.';
COMMENT ON COLUMN omnichannel.report_response_times.policy IS 'The sla_policy that the clock was kept by.';
COMMENT ON COLUMN omnichannel.report_response_times.channel IS 'In which what started the clock came.';
COMMENT ON COLUMN omnichannel.report_response_times.queue IS 'Of the request as it is now; NULL for a contact without a request.';
COMMENT ON COLUMN omnichannel.report_response_times.kind IS 'Of the request as it is now; NULL for a contact without a request.';
COMMENT ON COLUMN omnichannel.report_response_times.priority IS 'Of the request as it is now; NULL for a contact without a request.';
COMMENT ON COLUMN omnichannel.report_response_times.started_at IS 'An instant, shown in the session''s time zone, as the other times are.';
COMMENT ON COLUMN omnichannel.report_response_times.due_at IS 'When it was due, pauses taken into account; infinity: never.';
COMMENT ON COLUMN omnichannel.report_response_times.stopped_at IS 'When what was promised was done.';
COMMENT ON COLUMN omnichannel.report_response_times.outcome IS 'met, breached or cancelled.';
COMMENT ON COLUMN omnichannel.report_response_times.elapsed IS 'From start to stop by the clock on the wall, without pauses.';
COMMENT ON COLUMN omnichannel.report_response_times.worked IS 'The same in working time of the policy''s calendar; NULL where it has none.';
COMMENT ON COLUMN omnichannel.report_response_times.from_start_to_stop IS 'With pauses: how long it was for the customer.';

CREATE VIEW omnichannel.report_sla_events AS
SELECT (e.told_at AT TIME ZONE (SELECT company.time_zone FROM omnichannel.company))::date AS day, e.event, e.metric, e.policy,
	pg_catalog.count(*) AS told,
	pg_catalog.count(e.withdrawn_at) AS withdrawn
FROM omnichannel.sla_event AS e
GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW omnichannel.report_sla_events IS
'Warnings and breaches by the day on which they were told, in the company''s time zone.';
COMMENT ON COLUMN omnichannel.report_sla_events.day IS 'On which they were told, in the company''s time zone.';
COMMENT ON COLUMN omnichannel.report_sla_events.event IS 'warning or breach.';
COMMENT ON COLUMN omnichannel.report_sla_events.metric IS 'first_response, next_response, resolution or callback.';
COMMENT ON COLUMN omnichannel.report_sla_events.policy IS 'The sla_policy that the clocks were kept by then.';
COMMENT ON COLUMN omnichannel.report_sla_events.told IS 'How many were told, those among them that were withdrawn.';
COMMENT ON COLUMN omnichannel.report_sla_events.withdrawn IS 'How many of them turned out to be wrong.';
