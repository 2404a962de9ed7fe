CREATE FUNCTION omnichannel.mark_sla_stale_as_owner() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	changed boolean := true;
	fits_more boolean := false;
BEGIN
	IF TG_TABLE_SCHEMA <> 'omnichannel' THEN
		RAISE EXCEPTION 'function "mark_sla_stale" is for the extension''s own triggers'
			USING ERRCODE = 'trigger_protocol_violated', HINT = 'Use a function of your own.';
	END IF;
	-- What says the same as before is no change; and of policies only what they fit can make more promises.
	IF TG_OP = 'INSERT' THEN
		changed := EXISTS (SELECT FROM written);
		fits_more := TG_TABLE_NAME = 'sla_policy';
	ELSIF TG_OP = 'DELETE' THEN
		changed := EXISTS (SELECT FROM erased);
	ELSIF TG_OP = 'UPDATE' THEN
		-- As text: 1 day equals 24 hours, but is another target.
		changed := EXISTS (SELECT written::text FROM written EXCEPT SELECT erased::text FROM erased);
		IF changed AND TG_TABLE_NAME = 'sla_policy' THEN
			fits_more := EXISTS (
				SELECT metric, channel, kind, queue, segment, min_priority, valid FROM written
				EXCEPT SELECT metric, channel, kind, queue, segment, min_priority, valid FROM erased);
		ELSIF changed AND TG_TABLE_NAME = 'channel' THEN
			-- What is said by voice starts and answers calls that are to be returned.
			changed := EXISTS (SELECT channel, medium = 'voice' FROM written EXCEPT SELECT channel, medium = 'voice' FROM erased);
			fits_more := changed;
		END IF;
	END IF;
	IF changed THEN
		INSERT INTO omnichannel.sla_stale (relation, fits_more) VALUES (TG_TABLE_NAME, fits_more);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.mark_sla_stale_as_owner() IS
'Does the work of mark_sla_stale(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.mark_sla_stale() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_trigger_as_owner';
COMMENT ON FUNCTION omnichannel.mark_sla_stale() IS
'Trigger function of sla_policy, calendar, calendar_exception and, for its medium, channel: notes that open clocks do not follow a change yet, with the rights of the tables'' owner; the next tick() makes them. Raises 39P01 elsewhere.';

CREATE FUNCTION omnichannel.forget_all_requests_as_owner() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_RELID <> 'omnichannel.request'::regclass THEN
		RAISE EXCEPTION 'function "forget_all_requests" is for the extension''s own trigger of request'
			USING ERRCODE = 'trigger_protocol_violated', HINT = 'Use a function of your own.';
	END IF;
	-- Whose they were stays known: contacts of others may name them.
	DELETE FROM omnichannel.sla_moment AS moment USING omnichannel.sla_moment AS earlier
	WHERE moment.what = 'request' AND earlier.what = 'request' AND earlier.request_id = moment.request_id
		AND (earlier.at, earlier.moment_id) < (moment.at, moment.moment_id);
	UPDATE omnichannel.sla_moment AS moment SET state = NULL, kind = NULL, queue = NULL, priority = NULL, version = NULL
	WHERE moment.what = 'request' AND moment.state IS NOT NULL;
	INSERT INTO omnichannel.sla_behind (customer_id, since)
	SELECT DISTINCT clock.customer_id, timestamptz 'infinity' FROM omnichannel.sla_clock AS clock
	WHERE clock.stopped_at IS NULL AND clock.request_id IS NOT NULL;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.forget_all_requests_as_owner() IS
'Does the work of forget_all_requests(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.forget_all_requests() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_trigger_as_owner';
COMMENT ON FUNCTION omnichannel.forget_all_requests() IS
'Trigger function of request, for TRUNCATE: what was promised to requests ends at the next tick(), as where they are deleted. Works with the rights of the tables'' owner. Raises 39P01 elsewhere.';

CREATE FUNCTION omnichannel.follow_memberships_as_owner() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	segments text[];
	of_any boolean := false;
	customers bigint[];
	times timestamptz[];
BEGIN
	IF TG_TABLE_SCHEMA <> 'omnichannel' THEN
		RAISE EXCEPTION 'function "follow_memberships" is for the extension''s own triggers'
			USING ERRCODE = 'trigger_protocol_violated', HINT = 'Use a function of your own.';
	END IF;
	-- Policies that are new are not seen by every snapshot.
	IF current_setting('transaction_isolation') LIKE 'read %' THEN
		segments := ARRAY(SELECT DISTINCT policy.segment FROM omnichannel.sla_policy AS policy WHERE policy.segment IS NOT NULL);
		IF segments = '{}' THEN
			RETURN NULL;
		END IF;
	ELSE
		of_any := true;
	END IF;
	-- From when on it is another: what is known of the customers then is seen at the tick(), when nobody is writing of them
	-- any more who does not see this.
	IF TG_OP = 'INSERT' THEN
		SELECT array_agg(change.customer_id), array_agg(change.known_from) INTO customers, times
		FROM (
			SELECT written.customer_id, min(coalesce(lower(written.valid), '-infinity')) AS known_from
			FROM written
			WHERE of_any OR written.segment = ANY (segments)
			GROUP BY written.customer_id LIMIT 10001
		) AS change;
	ELSIF TG_OP = 'DELETE' THEN
		SELECT array_agg(change.customer_id), array_agg(change.known_from) INTO customers, times
		FROM (
			SELECT erased.customer_id, min(coalesce(lower(erased.valid), '-infinity')) AS known_from
			FROM erased
			WHERE of_any OR erased.segment = ANY (segments)
			GROUP BY erased.customer_id LIMIT 10001
		) AS change;
	ELSIF TG_OP = 'UPDATE' THEN
		SELECT array_agg(change.customer_id), array_agg(change.known_from) INTO customers, times
		FROM (
			SELECT customer_id, min(coalesce(lower((coalesce(before.valid, '{}') - coalesce(after.valid, '{}'))
				+ (coalesce(after.valid, '{}') - coalesce(before.valid, '{}'))), '-infinity')) AS known_from
			FROM (SELECT erased.customer_id, erased.segment, range_agg(erased.valid) AS valid FROM erased GROUP BY 1, 2) AS before
			FULL JOIN (SELECT written.customer_id, written.segment, range_agg(written.valid) AS valid FROM written GROUP BY 1, 2) AS after
				USING (customer_id, segment)
			WHERE before.valid IS DISTINCT FROM after.valid AND (of_any OR segment = ANY (segments))
			GROUP BY customer_id LIMIT 10001
		) AS change;
	END IF;
	IF cardinality(customers) > 10000 OR TG_OP = 'TRUNCATE' THEN
		INSERT INTO omnichannel.sla_stale (relation, fits_more) VALUES (TG_TABLE_NAME, true);
	ELSE
		INSERT INTO omnichannel.sla_behind (customer_id, since, known_from)
		SELECT behind.customer_id, 'infinity', behind.known_from FROM unnest(customers, times) AS behind (customer_id, known_from);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.follow_memberships_as_owner() IS
'Does the work of follow_memberships(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.follow_memberships() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_trigger_as_owner';
COMMENT ON FUNCTION omnichannel.follow_memberships() IS
'Trigger function of segment_member: where a membership that policies go by changes for a time of which contacts or requests are known, the open clocks of its customer follow at the next tick(); where one statement changes those of more than 10,000 customers, or it is TRUNCATE, all open clocks do. Notes it with the rights of the tables'' owner. What began before it was entered keeps its policy otherwise. Raises 39P01 elsewhere.';

CREATE FUNCTION omnichannel.guard_sla_policy() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	span record;
BEGIN
	IF NEW.target IS NULL THEN
		RAISE EXCEPTION 'the target of a policy cannot be NULL'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'It is how long it may take, as in ''6 hours'' or ''2 days''.';
	END IF;
	IF NEW.valid IS NULL OR isempty(NEW.valid) THEN
		RAISE EXCEPTION 'a policy cannot be valid for %', coalesce(quote_literal(NEW.valid), 'NULL')
			USING ERRCODE = CASE WHEN NEW.valid IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
				HINT = 'Name from when until when it holds for clocks that start, as in tstzrange(now(), NULL), or leave it out for always.';
	END IF;
	FOR span IN VALUES ('target', NEW.target, false), ('warn_at', NEW.warn_at, true) LOOP
		IF extract(year FROM span.column2) <> 0 OR extract(month FROM span.column2) <> 0 THEN
			RAISE EXCEPTION 'the % of a policy cannot have months: %', span.column1, quote_literal(span.column2)
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Count in days, which are working days where there is a calendar, and hours.';
		END IF;
		IF extract(day FROM span.column2) < 0 OR extract(epoch FROM span.column2) - extract(day FROM span.column2) * 86400 < 0
			OR (span.column3 AND span.column2 = '0')
		THEN
			RAISE EXCEPTION 'the % of a policy must not be %', span.column1, quote_literal(span.column2)
				USING ERRCODE = 'invalid_parameter_value',
					HINT = CASE WHEN span.column3 THEN 'It is how long before it is due a warning is given, as in ''1 hour'', or NULL for none.'
						ELSE 'It is how long it may take, as in ''6 hours'' or ''2 days''.' END;
		END IF;
		IF extract(day FROM span.column2) > 100000 OR span.column2 > '300000 days' THEN
			RAISE EXCEPTION 'the % of a policy is longer than 100,000 days: %', span.column1, quote_literal(span.column2)
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave the policy out where nothing is promised.';
		END IF;
	END LOOP;
	-- Of working days and hours nobody knows which are longer, but where both days and hours are.
	IF NEW.warn_at > NEW.target AND (NEW.calendar IS NULL OR (extract(day FROM NEW.warn_at) >= extract(day FROM NEW.target)
		AND NEW.warn_at - make_interval(days => extract(day FROM NEW.warn_at)::integer)
			>= NEW.target - make_interval(days => extract(day FROM NEW.target)::integer)))
	THEN
		RAISE EXCEPTION 'a warning cannot be due % before the end of a target of %', quote_literal(NEW.warn_at), quote_literal(NEW.target)
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Let warn_at be shorter than the target.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.guard_sla_policy() IS
'Trigger function of sla_policy: refuses targets and warnings of months, below zero or longer than 100,000 days, and warnings longer than their target, and an empty valid, with 22023; no target and no valid with 22004.';

CREATE FUNCTION omnichannel.recompute_sla(
	request_id bigint DEFAULT NULL,
	OUT clock_id bigint,
	OUT customer_id bigint,
	OUT of_request bigint,
	OUT metric text,
	OUT policy_before text,
	OUT policy text,
	OUT due_before timestamptz,
	OUT due_at timestamptz
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_recompute_sla';
COMMENT ON FUNCTION omnichannel.recompute_sla(bigint) IS
'Makes open clocks follow the policies and calendars as they are now, and returns one row for each that moved:
policy_before is NULL for a clock that is new, because a policy now fits an open request or a contact that is not answered yet, policy for one that is promised no longer;
due_before and due_at are NULL while it stands still.

What has stopped stays as it was. tick() does the same after a change.
A policy fits clocks that start within sla_policy.valid: one that is to hold for what comes from now on says so there.
Of contacts that were logged before any policy could concern their channel nothing is known.

request_id: only the clocks of that request''s customer; NULL: all.

It waits for nobody then: clocks of customers that another transaction holds, and those that one is writing, follow at the first tick() after it has ended, and a warning says of how many customers these are; who logs for the others waits until the end of this transaction. Who begins to log before that, where this transaction has changed the rules itself, follows at the first tick() after it, too.

Raises 23503 for an unknown request, 55000 before setup() and, for all, above READ COMMITTED, 25006 in a read-only transaction, 42501 for others than supervisors where it is for all.';

CREATE FUNCTION omnichannel.explain_sla(
	request_id bigint,
	OUT place integer,
	OUT clock_id bigint,
	OUT metric text,
	OUT step text,
	OUT policy text,
	OUT from_at timestamptz,
	OUT to_at timestamptz,
	OUT used interval,
	OUT note text
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_explain_sla';
COMMENT ON FUNCTION omnichannel.explain_sla(bigint) IS
'Why the clocks of a request are what they are, step by step in the order of place, from the same code that keeps them.

start: what started the clock;
policy: each policy of the metric as it is now, with why it lost, or holds, or would hold where there is no clock, and the one that the clock is kept by;
target: what it promises;
spell: what the target was counted in until it was due or done, and how much each used up: a whole working day of a target in days, else working time, or elapsed time where the policy has no calendar;
left: before each pause, how much of that time was left of the target until to_at, when it was due then;
pause: when the clock stood still;
due; warning; stop, with the working time that it took (elapsed time where the policy has no calendar) and the outcome, or runs;
next: what follows from changes that the clock does not follow yet, and the next tick() makes;
none: why there is no clock of a metric.

Clocks are explained by what is stored of them.

For the profiles app, agent and supervisor. Raises 23503 for an unknown request, 22023 for NULL, 42501 for who may not read requests, clocks and what they follow from, as bi, 55000 before setup().';

CREATE FUNCTION omnichannel.follow_requests() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_follow_requests';
COMMENT ON FUNCTION omnichannel.follow_requests() IS
'Makes the clocks of the customers in sla_behind follow, but for those that another transaction holds, and returns of how many customers it did; warns where some have been behind for more than a minute. Part of tick_sla(). Raises 55000 before setup().';

CREATE FUNCTION omnichannel.cancel_clocks(customers bigint[]) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_cancel_clocks';
COMMENT ON FUNCTION omnichannel.cancel_clocks(bigint[]) IS
'Ends the open clocks of a customer and all who are one with this one, whose ids are given, as cancelled, or as breached where they were due before, and returns how many; NULL where another transaction holds some, which are left. What is logged of these customers, and what was, moves no clock from then on: for customers who are erased. Called by erase_customer() and, for what was left, by tick(). Raises 22023 for NULL, also among them, 55000 before setup().';

CREATE FUNCTION omnichannel.forget_moments(at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	horizon timestamptz;
	kept interval;
	families bigint[];
	members bigint[];
	forgotten bigint;
BEGIN
	PERFORM omnichannel.require_writer('forget_moments()', 'sla_moment', 'DELETE');
	IF NOT isfinite(forget_moments.at) THEN
		RAISE EXCEPTION 'time % is infinite', forget_moments.at
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Name a time that has come, or leave it out for now.';
	END IF;
	SELECT setting.keep_moments INTO STRICT kept FROM omnichannel.sla_setting AS setting;
	horizon := coalesce(forget_moments.at, now()) - kept;

	-- Some at a time, those who are free: whoever writes moments of a family holds its root's row.
	families := ARRAY(
		SELECT DISTINCT coalesce(customer.merged_into, customer.customer_id)
		FROM (
			SELECT oldest.customer_id FROM omnichannel.sla_customer AS oldest
			WHERE oldest.oldest_at < horizon ORDER BY oldest.oldest_at LIMIT 1000
		) AS due
		JOIN omnichannel.customer AS customer ON customer.customer_id = due.customer_id);
	INSERT INTO omnichannel.sla_customer (customer_id, last_at, last_rank, next_at, next_rank, late)
	SELECT root, '-infinity', 0, '-infinity', 0, false FROM unnest(families) AS root ORDER BY root
	ON CONFLICT (customer_id) DO NOTHING;
	families := ARRAY(
		SELECT held.customer_id FROM omnichannel.sla_customer AS held
		WHERE held.customer_id = ANY (families) ORDER BY held.customer_id FOR UPDATE SKIP LOCKED);
	-- Who waits for a root may have rows of its members.
	members := ARRAY(
		SELECT held.customer_id FROM omnichannel.sla_customer AS held
		JOIN omnichannel.customer AS merged ON merged.customer_id = held.customer_id
		WHERE merged.merged_into = ANY (families) ORDER BY held.customer_id FOR UPDATE OF held SKIP LOCKED);
	families := ARRAY(
		SELECT root FROM unnest(families) AS root
		WHERE NOT EXISTS (
			SELECT FROM omnichannel.customer AS merged
			JOIN omnichannel.sla_customer AS known ON known.customer_id = merged.customer_id
			WHERE merged.merged_into = root AND known.customer_id <> ALL (members)));

	WITH member AS MATERIALIZED (
		SELECT root, root AS customer_id FROM unnest(families) AS root
		UNION ALL
		SELECT merged.merged_into, merged.customer_id FROM omnichannel.customer AS merged WHERE merged.merged_into = ANY (families)
	), alive AS (
		-- When something of the family was promised or open.
		SELECT member.root, range_agg(tstzrange(busy.since, busy.until, '[]')) AS during
		FROM member
		CROSS JOIN LATERAL (
			SELECT clock.started_at, coalesce(clock.stopped_at, 'infinity') FROM omnichannel.sla_clock AS clock
			WHERE clock.customer_id = member.customer_id
			UNION ALL
			SELECT request.opened_at, greatest(request.opened_at, coalesce(request.closed_at, 'infinity')) FROM omnichannel.request AS request
			WHERE request.customer_id = member.customer_id
		) AS busy (since, until)
		GROUP BY member.root
	), settled AS MATERIALIZED (
		-- Whatever begins before the horizon and lasts until then is kept from its beginning.
		SELECT roots.root, coalesce((SELECT lower(span) FROM unnest(alive.during) AS span WHERE span @> horizon), horizon) AS until
		FROM unnest(families) AS roots (root) LEFT JOIN alive ON alive.root = roots.root
	), old AS MATERIALIZED (
		SELECT member.root, moment.customer_id, moment.at, moment.moment_id, moment.request_id, moment.thread, moment.source,
			moment.what = 'inbound' AND moment.outcome <> 'failed' AS wrote
		FROM settled JOIN member ON member.root = settled.root
		JOIN omnichannel.sla_moment AS moment ON moment.customer_id = member.customer_id AND moment.at < settled.until
	), recent AS MATERIALIZED (
		SELECT member.root, moment.request_id, moment.thread, moment.source, moment.customer_id, moment.at
		FROM settled JOIN member ON member.root = settled.root
		JOIN omnichannel.sla_moment AS moment ON moment.customer_id = member.customer_id AND moment.at >= settled.until
	), reminder AS (
		-- Of conversations that went on: that the customer had written in them.
		(SELECT DISTINCT ON (old.root, old.thread, old.source) old.moment_id FROM old
		WHERE old.wrote AND EXISTS (SELECT FROM recent WHERE recent.root = old.root AND recent.thread = old.thread
			AND recent.source IS NOT DISTINCT FROM old.source)
		ORDER BY old.root, old.thread, old.source, old.at DESC)
		UNION
		(SELECT DISTINCT ON (old.request_id) old.moment_id FROM old
		WHERE old.wrote AND EXISTS (SELECT FROM recent WHERE recent.root = old.root AND recent.request_id = old.request_id)
		ORDER BY old.request_id, old.at DESC)
	), forgotten AS (
		DELETE FROM omnichannel.sla_moment AS moment USING old
		WHERE moment.customer_id = old.customer_id AND moment.at = old.at AND moment.moment_id = old.moment_id
			AND old.moment_id NOT IN (SELECT reminder.moment_id FROM reminder)
		RETURNING moment.moment_id
	), noted AS (
		INSERT INTO omnichannel.sla_customer AS known (customer_id, last_at, last_rank, next_at, next_rank, late, oldest_at, settled_until)
		SELECT member.customer_id, '-infinity', 0, '-infinity', 0, false,
			-- What is kept although it is old is looked at again later; what comes next comes after now, or says so.
			greatest(coalesce((SELECT min(recent.at) FROM recent WHERE recent.customer_id = member.customer_id), horizon + kept),
				horizon + interval '30 days'),
			settled.until
		FROM settled JOIN member ON member.root = settled.root
		ON CONFLICT (customer_id) DO UPDATE
		SET oldest_at = excluded.oldest_at, settled_until = greatest(known.settled_until, excluded.settled_until),
			waits_request_id = NULL
	)
	SELECT count(*) INTO forgotten FROM forgotten;
	RETURN forgotten;
END
$$;
COMMENT ON FUNCTION omnichannel.forget_moments(timestamptz) IS
'Deletes moments older than sla_setting.keep_moments of customers of whom nothing was open or promised since, up to 1000 customers a call, and returns how many moments these were. Clocks, and what explain_sla() says of those that stopped, stay. Whoever writes again in a conversation all of whose moments are gone begins with first_response again. at: as of this time, by default now. Part of tick_sla(). Raises 22008 for an infinite time, 25006 in a read-only transaction, 42501 for others than supervisors, 55000 before setup().';

CREATE FUNCTION omnichannel.tick_sla(at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moment timestamptz := coalesce(tick_sla.at, now());
	age_of_writers integer;
	recomputed xid[];
	memberships boolean;
	lock_timeout text;
	notify_channel text;
	notice record;
	done bigint := 0;
	told bigint;
BEGIN
	PERFORM omnichannel.require_writer('tick_sla()', 'sla_overlap', 'DELETE');
	PERFORM omnichannel.require_read_committed('tick_sla()');
	IF NOT isfinite(tick_sla.at) THEN
		RAISE EXCEPTION 'time % is infinite', tick_sla.at
			USING ERRCODE = 'datetime_field_overflow', HINT = 'Name a time that has come, or leave it out for now.';
	END IF;

	-- Who wrote while others were recomputed may have gone by what was before: clocks, or memberships that no policy went by.
	WITH ended AS (
		DELETE FROM omnichannel.sla_overlap AS overlap
		USING (
			SELECT other.writer, other.recomputed_by, other.relation FROM omnichannel.sla_overlap AS other
			WHERE NOT EXISTS (SELECT FROM pg_locks AS held WHERE held.virtualtransaction = other.writer)
			FOR UPDATE SKIP LOCKED
		) AS gone
		WHERE overlap.writer = gone.writer AND overlap.recomputed_by = gone.recomputed_by AND overlap.relation = gone.relation
		RETURNING overlap.relation, overlap.since, overlap.recomputed_by
	)
	SELECT max(age(ended.since)) FILTER (WHERE ended.relation = 'sla_customer'),
		array_agg(ended.recomputed_by::xid) FILTER (WHERE ended.relation = 'sla_customer'), bool_or(ended.relation = 'segment_member')
	INTO age_of_writers, recomputed, memberships FROM ended;
	IF memberships THEN
		-- Of who has committed, so that it need not stay for the next tick().
		INSERT INTO omnichannel.sla_stale (relation, fits_more, changed_at) VALUES ('segment_member', true, clock_timestamp());
	END IF;
	IF age_of_writers IS NOT NULL THEN
		INSERT INTO omnichannel.sla_behind (customer_id, since)
		SELECT written.customer_id, 'infinity' FROM omnichannel.sla_customer AS written
		WHERE age(written.xmin) <= age_of_writers AND written.xmin <> ALL (recomputed);
	END IF;

	-- Neither waits for who holds customers; should one have to wait for anything else, who it waits for may wait for locks
	-- that tick() holds: before that becomes a deadlock it gives up, and the next tick() tries again.
	lock_timeout := current_setting('lock_timeout');
	BEGIN
		PERFORM set_config('lock_timeout', '500ms', true);
		done := done + omnichannel.follow_requests();
		PERFORM set_config('lock_timeout', lock_timeout, true);
	EXCEPTION
		WHEN lock_not_available OR deadlock_detected THEN
			RAISE WARNING 'clocks do not follow requests yet: %', SQLERRM USING HINT = 'The next tick() tries again.';
	END;

	-- Whoever holds a row makes the clocks follow for it; recompute_sla() deletes it.
	PERFORM FROM omnichannel.sla_stale AS stale ORDER BY stale.stale_id FOR UPDATE SKIP LOCKED;
	IF FOUND THEN
		BEGIN
			PERFORM set_config('lock_timeout', '500ms', true);
			done := done + (SELECT count(*) FROM omnichannel.recompute_sla());
			PERFORM set_config('lock_timeout', lock_timeout, true);
		EXCEPTION
			WHEN lock_not_available OR deadlock_detected THEN
				RAISE WARNING 'clocks do not follow changed rules yet: %', SQLERRM USING HINT = 'The next tick() tries again.';
		END;
	END IF;

	SELECT setting.notify_channel INTO notify_channel FROM omnichannel.sla_setting AS setting;
	LOOP
		told := 0;
		FOR notice IN
			WITH due AS MATERIALIZED (
				SELECT clock.customer_id, clock.clock_id, clock.tell_at < moment AS breached
				FROM omnichannel.sla_clock AS clock
				WHERE clock.notice_at < moment
				ORDER BY clock.notice_at
				LIMIT 1000
				FOR NO KEY UPDATE SKIP LOCKED
			), noted AS (
				UPDATE omnichannel.sla_clock AS clock
				SET warned_at = CASE WHEN due.breached THEN clock.warned_at ELSE moment END,
					breached_at = CASE WHEN due.breached THEN moment END,
					outcome = CASE WHEN due.breached THEN 'breached' ELSE clock.outcome END
				FROM due
				WHERE clock.customer_id = due.customer_id AND clock.clock_id = due.clock_id
				RETURNING clock.*, due.breached
			), told AS (
				INSERT INTO omnichannel.sla_event AS event
					(customer_id, clock_id, event, metric, policy, request_id, due_at, told_at, notified)
				SELECT noted.customer_id, noted.clock_id, CASE WHEN noted.breached THEN 'breach' ELSE 'warning' END,
					noted.metric, noted.policy, noted.request_id, noted.due_at, moment, notify_channel IS NOT NULL
				FROM noted
				RETURNING event.*
			), wrong AS MATERIALIZED (
				SELECT event.customer_id, event.event_id FROM omnichannel.sla_event AS event
				WHERE event.withdrawn_at IS NOT NULL AND event.withdrawal_told_at IS NULL
				FOR NO KEY UPDATE SKIP LOCKED
			), withdrawn AS (
				-- Who heard of them hears of that here too, not where it turned out: whoever logs must not notify.
				UPDATE omnichannel.sla_event AS event SET withdrawal_told_at = moment FROM wrong
				WHERE event.customer_id = wrong.customer_id AND event.event_id = wrong.event_id
				RETURNING event.*
			)
			SELECT said.now_told, CASE WHEN notify_channel IS NOT NULL AND said.notified THEN
				json_build_object('event', said.event, 'event_id', said.event_id, 'clock_id', said.clock_id,
					'customer_id', said.customer_id, 'request_id', said.request_id, 'metric', said.metric,
					'policy', said.policy, 'due_at', said.due_at)::text END AS payload
			FROM (
				SELECT 0 AS now_told, withdrawn.event || ' withdrawn' AS event, event_id, clock_id, customer_id, request_id,
					metric, policy, due_at, notified FROM withdrawn
				UNION ALL
				SELECT 1, told.event, event_id, clock_id, customer_id, request_id, metric, policy, due_at, notified FROM told
			) AS said
		LOOP
			told := told + notice.now_told;
			IF notice.payload IS NOT NULL THEN
				PERFORM pg_notify(notify_channel, notice.payload);
			END IF;
		END LOOP;
		done := done + told;
		EXIT WHEN told < 1000;
	END LOOP;
	PERFORM omnichannel.forget_moments(tick_sla.at);
	RETURN done;
END
$$;
COMMENT ON FUNCTION omnichannel.tick_sla(timestamptz) IS
'Tells warnings and breaches that are due, each once whatever runs at the same time: as rows of sla_event, and as JSON on sla_setting.notify_channel if that is set. A warning that was missed until the breach is not told any more; what was told and notified and has been withdrawn since is notified as such. Before that it makes open clocks follow what has changed in policies and calendars; after it, it deletes moments that are too old to be kept. Returns how many clocks it told of or moved. at: as of this time, by default now, for trials and for catching up: a time that has passed tells only what was due by then; of a time to come breaches are told that stand until a contact or a change of rules shows that they were not, while sla_status goes by the clock. Part of tick(). Raises 22008 for an infinite time, 25006 in a read-only transaction, 42501 for others than supervisors, 55000 above READ COMMITTED and before setup().';
