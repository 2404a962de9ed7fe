CREATE TABLE omnichannel.sla_setting (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	notify_channel text CHECK (notify_channel ~ '^[a-z_][a-z0-9_]{0,62}$'),
	keep_moments interval NOT NULL DEFAULT '400 days' CHECK (keep_moments BETWEEN '1 day' AND '100000 days')
);
COMMENT ON TABLE omnichannel.sla_setting IS 'One row: what holds for all service levels.';
COMMENT ON COLUMN omnichannel.sla_setting.notify_channel IS
'Warnings and breaches are notified on this name, as JSON: event (warning, breach, warning withdrawn or breach withdrawn), event_id, clock_id, customer_id, request_id, metric, policy and due_at. NULL, the default, for no notifications, because NOTIFY makes commits wait for one another.';
COMMENT ON COLUMN omnichannel.sla_setting.keep_moments IS
'How long sla_moment keeps what clocks are reckoned from, beyond what is open. What is older is settled: its clocks stay as they are, contacts of that time that are logged later move none, and a thread that rested so long begins anew.';
INSERT INTO omnichannel.sla_setting DEFAULT VALUES;

CREATE TABLE omnichannel.sla_policy (
	policy text PRIMARY KEY CHECK (policy ~ '^[[:alnum:]_.-]{1,63}$'),
	name text CHECK (name <> ''),
	rank integer NOT NULL DEFAULT 100,
	metric text NOT NULL CHECK (metric IN ('first_response', 'next_response', 'resolution', 'callback')),
	channel text REFERENCES omnichannel.channel,
	kind text CHECK (kind <> ''),
	queue text,
	segment text REFERENCES omnichannel.segment,
	min_priority integer,
	target interval NOT NULL CHECK (target >= '0' AND extract(year FROM target) = 0 AND extract(month FROM target) = 0
		AND extract(day FROM target) BETWEEN 0 AND 100000 AND target <= '300000 days'
		AND target - make_interval(days => extract(day FROM target)::integer) >= '0'),
	calendar text REFERENCES omnichannel.calendar ON UPDATE CASCADE,
	warn_at interval CHECK (warn_at > '0' AND extract(year FROM warn_at) = 0 AND extract(month FROM warn_at) = 0
		AND extract(day FROM warn_at) BETWEEN 0 AND 100000 AND warn_at <= '300000 days'
		AND warn_at - make_interval(days => extract(day FROM warn_at)::integer) >= '0'),
	notice_calendar text REFERENCES omnichannel.calendar ON UPDATE CASCADE,
	valid tstzrange NOT NULL DEFAULT tstzrange(NULL, NULL) CHECK (NOT isempty(valid))
);
COMMENT ON TABLE omnichannel.sla_policy IS
'What customers are promised. Of the policies of a metric that fit, the one with the lowest rank holds, then the first by code. A condition that is NULL fits all. Without any policy nothing is kept.';
COMMENT ON COLUMN omnichannel.sla_policy.policy IS 'Code: letters, digits, underscore, dot and hyphen, at most 63.';
COMMENT ON COLUMN omnichannel.sla_policy.rank IS 'Lower comes first.';
COMMENT ON COLUMN omnichannel.sla_policy.metric IS
'first_response: from a conversation''s first inbound contact to its answer; next_response: from a later one to its answer; resolution: from the opening of a request to its end; callback: from a call that nobody took to a call of the customer.';
COMMENT ON COLUMN omnichannel.sla_policy.channel IS
'Of the contact that starts the clock, for resolution that in which the request was opened; NULL for any.';
COMMENT ON COLUMN omnichannel.sla_policy.kind IS 'request.kind; NULL for any, and for contacts without a request.';
COMMENT ON COLUMN omnichannel.sla_policy.queue IS 'request.queue; NULL for any, and for contacts without a request.';
COMMENT ON COLUMN omnichannel.sla_policy.segment IS 'The customer is in it when the clock starts, also where that is entered afterwards; NULL for anyone.';
COMMENT ON COLUMN omnichannel.sla_policy.min_priority IS
'request.priority is this or more; a contact without a request has priority 0. NULL for any.';
COMMENT ON COLUMN omnichannel.sla_policy.target IS
'How long it may take: of working time where there is a calendar (days are working days), else of elapsed time (a day is 24 hours). What is done exactly when it is due is in time.';
COMMENT ON COLUMN omnichannel.sla_policy.calendar IS 'In whose working time the target is counted; NULL for elapsed time.';
COMMENT ON COLUMN omnichannel.sla_policy.warn_at IS
'How long before it is due a warning is given, counted as the target is, and not longer than it; NULL for no warning.';
COMMENT ON COLUMN omnichannel.sla_policy.notice_calendar IS
'Warnings and breaches outside this calendar''s working time are told at its next opening; NULL: at once.';
COMMENT ON COLUMN omnichannel.sla_policy.valid IS 'Holds for clocks that start within it.';
CREATE INDEX sla_policy_calendar ON omnichannel.sla_policy (calendar) WHERE calendar IS NOT NULL;

CREATE TABLE omnichannel.sla_customer (
	customer_id bigint PRIMARY KEY,
	last_at timestamptz NOT NULL,
	last_rank smallint NOT NULL,
	next_at timestamptz NOT NULL,
	next_rank smallint NOT NULL,
	late boolean NOT NULL,
	grouped boolean NOT NULL DEFAULT false,
	oldest_at timestamptz NOT NULL DEFAULT '-infinity',
	settled_until timestamptz,
	waits_request_id bigint,
	waits_channel text,
	waits_place tid
) WITH (fillfactor = 50);
COMMENT ON TABLE omnichannel.sla_customer IS
'How far each customer''s moments are known; who writes moments of a customer holds this row until the end of the transaction, so that nobody reckons with half of them.';
COMMENT ON COLUMN omnichannel.sla_customer.last_at IS 'Time of the latest moment, of merged customers too.';
COMMENT ON COLUMN omnichannel.sla_customer.last_rank IS 'Of moments at the same time, which comes later.';
COMMENT ON COLUMN omnichannel.sla_customer.next_at IS 'Time of the earliest of the moments that were written last.';
COMMENT ON COLUMN omnichannel.sla_customer.next_rank IS 'As last_rank, of next_at.';
COMMENT ON COLUMN omnichannel.sla_customer.late IS 'Whether the moments that were written last came before others that were known.';

COMMENT ON COLUMN omnichannel.sla_customer.grouped IS
'Whether the customer was merged into another, or others into it, and not taken apart again.';
COMMENT ON COLUMN omnichannel.sla_customer.oldest_at IS
'Time of the oldest moment that tick() may find too old to be kept, or when it is to look again.';
COMMENT ON COLUMN omnichannel.sla_customer.settled_until IS
'Moments before this have been deleted, but for some that tell that the customer has written, and move no clock; NULL: none have; infinity: the customer was erased.';
COMMENT ON COLUMN omnichannel.sla_customer.waits_request_id IS
'The request in which the customer waits for an answer, so that another message of it without a thread, received in waits_channel, moves no clock; NULL where that is not known. Whoever moves clocks forgets it.';
COMMENT ON COLUMN omnichannel.sla_customer.waits_channel IS 'contact.channel of such a message.';
COMMENT ON COLUMN omnichannel.sla_customer.waits_place IS
'Where the row of waits_request_id is in its table (ctid), while that is the newest open request of waits_channel: as long as this version of it is the one that is seen, and sla_behind knows nothing new of the customer, a message that names no request is one of it. NULL where that is not known.';
CREATE INDEX sla_customer_oldest_at ON omnichannel.sla_customer (oldest_at);

CREATE TABLE omnichannel.sla_moment (
	customer_id bigint NOT NULL,
	at timestamptz NOT NULL,
	moment_id bigint GENERATED BY DEFAULT AS IDENTITY,
	what text NOT NULL CHECK (what IN ('request', 'inbound', 'outbound')),
	request_id bigint,
	contact_id bigint,
	channel text NOT NULL,
	thread text,
	source text,
	outcome text,
	state text,
	kind text,
	queue text,
	priority integer,
	version bigint,
	PRIMARY KEY (customer_id, at, moment_id)
);
COMMENT ON TABLE omnichannel.sla_moment IS
'What clocks are reckoned from, as it was logged: contacts, but those that are still, and changes of requests. Clocks follow from them in the order of time, whatever order they were written in.';
COMMENT ON COLUMN omnichannel.sla_moment.customer_id IS 'Of whom it was logged; of merged customers the rows stay apart and are read together.';
COMMENT ON COLUMN omnichannel.sla_moment.what IS 'request: its state, kind, queue or priority became what is said here; inbound and outbound: a contact.';
COMMENT ON COLUMN omnichannel.sla_moment.source IS 'contact.source, whose key the thread is; NULL where none is named, and without a thread.';
COMMENT ON COLUMN omnichannel.sla_moment.outcome IS 'contact.outcome; NULL for a request.';
COMMENT ON COLUMN omnichannel.sla_moment.state IS
'request.state; NULL for a contact, and where what is request for one that was deleted: that tells only whose it was, because contacts of others may name it who were one with that customer.';
COMMENT ON COLUMN omnichannel.sla_moment.version IS 'request.version when it was seen.';
CREATE INDEX sla_moment_request_id ON omnichannel.sla_moment (request_id) WHERE request_id IS NOT NULL;
-- What was said last of a request, however many contacts it has had since: only that has a version.
CREATE INDEX sla_moment_said ON omnichannel.sla_moment (request_id, at, version) WHERE version IS NOT NULL;
CREATE INDEX sla_moment_thread ON omnichannel.sla_moment (customer_id, thread) WHERE thread IS NOT NULL;

CREATE TABLE omnichannel.sla_clock (
	customer_id bigint NOT NULL,
	clock_id bigint GENERATED BY DEFAULT AS IDENTITY,
	metric text NOT NULL CHECK (metric IN ('first_response', 'next_response', 'resolution', 'callback')),
	policy text NOT NULL,
	request_id bigint,
	channel text NOT NULL,
	thread text,
	source text,
	moment_id bigint NOT NULL,
	started_at timestamptz NOT NULL,
	target interval NOT NULL,
	calendar text,
	pauses tstzmultirange NOT NULL DEFAULT '{}',
	due_at timestamptz,
	time_left interval,
	stopped_at timestamptz,
	outcome text CHECK (outcome IN ('met', 'breached', 'cancelled')),
	elapsed interval,
	worked interval,
	warn_at timestamptz,
	tell_at timestamptz,
	warned_at timestamptz,
	breached_at timestamptz,
	notice_at timestamptz GENERATED ALWAYS AS (CASE
		WHEN breached_at IS NOT NULL OR outcome IN ('met', 'cancelled') THEN NULL
		WHEN outcome IS NULL AND warned_at IS NULL AND warn_at < tell_at THEN warn_at
		ELSE tell_at END) STORED,
	PRIMARY KEY (customer_id, clock_id),
	CHECK ((due_at IS NULL) = (time_left IS NOT NULL)),
	CHECK (stopped_at IS NULL OR (stopped_at >= started_at AND outcome IS NOT NULL))
) WITH (fillfactor = 85);
COMMENT ON TABLE omnichannel.sla_clock IS
'Promises to customers and what became of them, one row each. Written by the logger, by what changes requests, by tick() and by recompute_sla().';
COMMENT ON COLUMN omnichannel.sla_clock.customer_id IS 'Of whom the contact that started it was logged.';
COMMENT ON COLUMN omnichannel.sla_clock.policy IS 'The sla_policy that won, with its target and its calendar as they were.';
COMMENT ON COLUMN omnichannel.sla_clock.request_id IS 'Of the contact that started it, or NULL, also where it is the request of a customer who is no longer the same; with thread and channel it tells what answers it.';
COMMENT ON COLUMN omnichannel.sla_clock.source IS 'Whose key the thread is, or NULL.';
COMMENT ON COLUMN omnichannel.sla_clock.moment_id IS 'The sla_moment that started it; below zero, the contact of that number, which is still.';
COMMENT ON COLUMN omnichannel.sla_clock.pauses IS 'When it stood still, because the customer was waited for or the request was closed; the last one is without an end while it lasts.';
COMMENT ON COLUMN omnichannel.sla_clock.due_at IS 'NULL while it stands still; infinity where its calendar has not so much working time left.';
COMMENT ON COLUMN omnichannel.sla_clock.time_left IS 'What is left of the target while it stands still.';
COMMENT ON COLUMN omnichannel.sla_clock.stopped_at IS 'When what was promised was done, or NULL.';
COMMENT ON COLUMN omnichannel.sla_clock.outcome IS
'met: stopped when due or before; breached: not; cancelled: the request was cancelled, or ended without the answer or call that was promised, or the customer was erased, in time. NULL while it runs, until tick() notes a breach.';
COMMENT ON COLUMN omnichannel.sla_clock.elapsed IS 'Time from start to stop without the pauses, NULL until it stops.';
COMMENT ON COLUMN omnichannel.sla_clock.worked IS 'Working time from start to stop without the pauses, NULL until it stops and without a calendar.';
COMMENT ON COLUMN omnichannel.sla_clock.warn_at IS 'When a warning is to be told, or NULL.';
COMMENT ON COLUMN omnichannel.sla_clock.tell_at IS 'When a breach is to be told: once it is due and the notice calendar is open; NULL while it is not due at any time.';
COMMENT ON COLUMN omnichannel.sla_clock.warned_at IS 'When the warning was told, or NULL.';
COMMENT ON COLUMN omnichannel.sla_clock.breached_at IS 'When the breach was told, or NULL.';
COMMENT ON COLUMN omnichannel.sla_clock.notice_at IS 'What tick() looks for: when something is to be told next, or NULL.';
CREATE INDEX sla_clock_notice_at ON omnichannel.sla_clock (notice_at) WHERE notice_at IS NOT NULL;
CREATE INDEX sla_clock_open ON omnichannel.sla_clock (customer_id, thread, request_id, channel, metric) WHERE stopped_at IS NULL;
CREATE INDEX sla_clock_request_id ON omnichannel.sla_clock (request_id) WHERE request_id IS NOT NULL;

CREATE TABLE omnichannel.sla_event (
	event_id bigint GENERATED BY DEFAULT AS IDENTITY,
	customer_id bigint NOT NULL,
	clock_id bigint NOT NULL,
	event text NOT NULL CHECK (event IN ('warning', 'breach')),
	metric text NOT NULL,
	policy text NOT NULL,
	request_id bigint,
	due_at timestamptz NOT NULL,
	told_at timestamptz NOT NULL DEFAULT now(),
	withdrawn_at timestamptz,
	notified boolean NOT NULL DEFAULT false,
	withdrawal_told_at timestamptz,
	PRIMARY KEY (customer_id, event_id)
);
COMMENT ON TABLE omnichannel.sla_event IS
'Warnings and breaches, each told once by tick().';
COMMENT ON COLUMN omnichannel.sla_event.due_at IS 'When the clock was due, as it was told.';
COMMENT ON COLUMN omnichannel.sla_event.told_at IS 'When it was told; outside working time that is the next opening where the policy has a notice_calendar.';
COMMENT ON COLUMN omnichannel.sla_event.withdrawn_at IS
'When it turned out to be wrong: an answer was logged late, or a rule was changed. NULL for all that stand.';
COMMENT ON COLUMN omnichannel.sla_event.notified IS 'Whether it was notified on sla_setting.notify_channel: then its withdrawal is, too.';
COMMENT ON COLUMN omnichannel.sla_event.withdrawal_told_at IS 'When tick() told of the withdrawal, or NULL.';
CREATE UNIQUE INDEX sla_event_once ON omnichannel.sla_event (customer_id, clock_id, event) WHERE withdrawn_at IS NULL;
CREATE INDEX sla_event_withdrawn ON omnichannel.sla_event (withdrawn_at) WHERE withdrawn_at IS NOT NULL AND withdrawal_told_at IS NULL;
CREATE INDEX sla_event_told_at ON omnichannel.sla_event (told_at);

CREATE TABLE omnichannel.sla_behind (
	customer_id bigint NOT NULL,
	behind_id bigint GENERATED BY DEFAULT AS IDENTITY,
	since timestamptz NOT NULL,
	noted_at timestamptz NOT NULL DEFAULT now(),
	known_from timestamptz,
	PRIMARY KEY (customer_id, behind_id)
);
COMMENT ON TABLE omnichannel.sla_behind IS
'Customers whose clocks do not follow yet: a request or a rule was changed while another transaction held the customer, or memberships of segments were. The first tick() after that has ended makes them, and deletes the row.';
COMMENT ON COLUMN omnichannel.sla_behind.since IS 'Time of the earliest moment that they do not follow; infinity where only what is open follows.';
COMMENT ON COLUMN omnichannel.sla_behind.known_from IS 'Where nothing is known of the customer as of this time or later, nothing is behind; NULL where something is in any case.';

CREATE TABLE omnichannel.sla_overlap (
	writer text,
	recomputed_by xid8,
	relation text CHECK (relation IN ('sla_customer', 'segment_member')),
	since xid NOT NULL,
	PRIMARY KEY (writer, recomputed_by, relation)
);
COMMENT ON TABLE omnichannel.sla_overlap IS
'Transactions that were writing clocks, or memberships of segments, perhaps by rules as they were before, while all clocks were recomputed. The first tick() after one has ended reckons anew whom it may have written of, and deletes the row.';
COMMENT ON COLUMN omnichannel.sla_overlap.relation IS 'What it was writing: sla_customer for clocks.';
COMMENT ON COLUMN omnichannel.sla_overlap.writer IS 'As pg_locks.virtualtransaction.';
COMMENT ON COLUMN omnichannel.sla_overlap.recomputed_by IS 'The transaction that recomputed the others: what it wrote itself is right.';
COMMENT ON COLUMN omnichannel.sla_overlap.since IS 'What the writer wrote has this transaction''s number or a later one.';

CREATE TABLE omnichannel.sla_stale (
	stale_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	relation text NOT NULL,
	fits_more boolean NOT NULL,
	changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE omnichannel.sla_stale IS
'Changes of policies, calendars and media of channels that the open clocks do not follow yet: the next tick() or recompute_sla() makes them, and deletes the row; one of its own transaction stays for one more, as others go by what was before until it commits.';
COMMENT ON COLUMN omnichannel.sla_stale.fits_more IS
'Whether policies may fit what they did not fit before, or others be called back, so that there may be promises without a clock.';
CREATE TRIGGER guard_sla_policy BEFORE INSERT OR UPDATE OF target, warn_at, calendar ON omnichannel.sla_policy
	FOR EACH ROW EXECUTE FUNCTION omnichannel.guard_sla_policy();
CREATE TRIGGER forget_all_requests AFTER TRUNCATE ON omnichannel.request
	FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.forget_all_requests();
CREATE TRIGGER follow_memberships_insert AFTER INSERT ON omnichannel.segment_member
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.follow_memberships();
CREATE TRIGGER follow_memberships_update AFTER UPDATE ON omnichannel.segment_member
	REFERENCING OLD TABLE AS erased NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.follow_memberships();
CREATE TRIGGER follow_memberships_delete AFTER DELETE ON omnichannel.segment_member
	REFERENCING OLD TABLE AS erased FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.follow_memberships();
CREATE TRIGGER follow_memberships_truncate AFTER TRUNCATE ON omnichannel.segment_member
	FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.follow_memberships();
CREATE TRIGGER sla_stale_update AFTER UPDATE ON omnichannel.channel
	REFERENCING OLD TABLE AS erased NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_insert AFTER INSERT ON omnichannel.sla_policy
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_update AFTER UPDATE ON omnichannel.sla_policy
	REFERENCING OLD TABLE AS erased NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_delete AFTER DELETE ON omnichannel.sla_policy
	REFERENCING OLD TABLE AS erased FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_truncate AFTER TRUNCATE ON omnichannel.sla_policy
	FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_insert AFTER INSERT ON omnichannel.calendar
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_update AFTER UPDATE ON omnichannel.calendar
	REFERENCING OLD TABLE AS erased NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_delete AFTER DELETE ON omnichannel.calendar
	REFERENCING OLD TABLE AS erased FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_truncate AFTER TRUNCATE ON omnichannel.calendar
	FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_insert AFTER INSERT ON omnichannel.calendar_exception
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_update AFTER UPDATE ON omnichannel.calendar_exception
	REFERENCING OLD TABLE AS erased NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_delete AFTER DELETE ON omnichannel.calendar_exception
	REFERENCING OLD TABLE AS erased FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();
CREATE TRIGGER sla_stale_truncate AFTER TRUNCATE ON omnichannel.calendar_exception
	FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.mark_sla_stale();

SELECT omnichannel.create_config_cache('sla', 'sla_policy', 'sla_setting', 'channel');

INSERT INTO omnichannel.sla_policy (policy, name, metric, channel, target, calendar, warn_at, notice_calendar) VALUES
	('email', 'E-mail is answered within 6 working hours', 'first_response', 'email', '6 hours', 'office', '1 hour', 'office'),
	('email_next', 'So is each further e-mail', 'next_response', 'email', '6 hours', 'office', '1 hour', 'office'),
	('missed_call', 'A missed call is called back within 1 hour', 'callback', 'phone', '1 hour', 'office', '15 minutes', 'office');
DELETE FROM omnichannel.sla_stale;

CREATE VIEW omnichannel.sla_status AS
SELECT c.clock_id, c.customer_id, c.request_id, c.metric, c.policy, c.channel, c.thread, c.source, c.started_at, c.target, c.calendar,
	CASE WHEN c.outcome IS NOT NULL THEN c.outcome
		WHEN c.time_left IS NOT NULL THEN 'paused'
		WHEN c.due_at OPERATOR(pg_catalog.<) pg_catalog.now() THEN 'breached'
		WHEN c.warned_at IS NOT NULL OR c.warn_at OPERATOR(pg_catalog.<) pg_catalog.now() THEN 'warned'
		ELSE 'running' END AS state,
	c.due_at,
	CASE WHEN c.time_left IS NOT NULL THEN c.time_left
		WHEN NOT pg_catalog.isfinite(c.due_at) THEN NULL
		WHEN c.calendar IS NULL THEN c.due_at OPERATOR(pg_catalog.-) pg_catalog.now()
		-- Renamed or deleted, until the next tick().
		WHEN NOT EXISTS (SELECT FROM omnichannel.calendar AS k WHERE k.calendar OPERATOR(pg_catalog.=) c.calendar) THEN NULL
		ELSE omnichannel.working_time(pg_catalog.now(), c.due_at, c.calendar) END AS time_left
FROM omnichannel.sla_clock AS c
WHERE c.stopped_at IS NULL;
COMMENT ON VIEW omnichannel.sla_status IS
'The clocks that run or stand still now.';
COMMENT ON COLUMN omnichannel.sla_status.state IS 'running, warned, paused or breached.';
COMMENT ON COLUMN omnichannel.sla_status.time_left IS
'Working time until due_at where the policy has a calendar, else elapsed time; negative once it is breached; NULL where due_at is infinity, and where the calendar has another name or is gone, until tick() or recompute_sla().';
