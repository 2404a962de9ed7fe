/*
 * machine.c
 *	  How moments start, pause, stop and restart clocks.
 *
 * The machine takes a customer's moments in the order of time and knows nothing of how they came here: fed with all of
 * them it gives the clocks that logging in order gives, whatever order they were logged in. Fed with a new moment on
 * top of the stored open clocks it gives the same for less.
 *
 * A contact concerns a clock if both name a request and it is the same; else, if both name a thread and it is the same
 * key of the same source; else, if their channel is the same. But what the log has put into no request is about none:
 * it ends no wait, and between a contact in a request and a clock of none, or the other way round, the channel counts
 * only where that clock, or that contact, an answer, has no thread. So an answer by telephone that names the request
 * stops the clock of its e-mail, and a reply that was logged before the request was opened still finds it. Calls are
 * returned to the customer, not to a conversation: any call does.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"

/* Makes an empty machine. */
void
sla_machine_init(SlaMachine *machine, const SlaPolicies *policies, int64 root)
{
	memset(machine, 0, sizeof(*machine));
	machine->policies = policies;
	machine->root = root;
}

/* Grows an array of the machine where it is full. */
static void *
grow(void *array, int count, int *room, Size size)
{
	if (count < *room)
		return array;
	*room = Max(8, *room * 2);
	return array == NULL ? palloc(*room * size) : repalloc(array, *room * size);
}

/* Enters a clock among those that run. */
static void
add_running(SlaMachine *machine, SlaClock *clock)
{
	machine->running = grow(machine->running, machine->running_count, &machine->running_room, sizeof(SlaClock *));
	machine->running[machine->running_count++] = clock;
}

/* Takes those that have stopped from those that run. */
static void
drop_stopped(SlaMachine *machine)
{
	int kept = 0;

	for (int i = 0; i < machine->running_count; i++)
		if (machine->running[i]->stopped_at == NO_TIME)
			machine->running[kept++] = machine->running[i];
	machine->running_count = kept;
}

/* Gives the machine a clock: one that is stored, or one that has just started. */
void
sla_machine_add(SlaMachine *machine, SlaClock *clock)
{
	machine->clocks = grow(machine->clocks, machine->clock_count, &machine->clock_room, sizeof(SlaClock *));
	machine->clocks[machine->clock_count++] = clock;
	if (clock->stopped_at == NO_TIME)
		add_running(machine, clock);
	if (clock->metric == SLA_RESOLUTION)
		sla_machine_request(machine, clock->request_id)->resolution = clock;
}

/* Returns the request of that id, new to the machine where it does not know it; good until the next call. */
SlaRequest *
sla_machine_request(SlaMachine *machine, int64 request_id)
{
	SlaRequest *request;

	/* Backwards: a customer's latest requests are asked for most. */
	for (int i = machine->request_count - 1; i >= 0; i--)
		if (machine->requests[i].request_id == request_id)
			return &machine->requests[i];
	machine->requests = grow(machine->requests, machine->request_count, &machine->request_room, sizeof(SlaRequest));
	request = &machine->requests[machine->request_count++];
	memset(request, 0, sizeof(*request));
	request->request_id = request_id;
	return request;
}

/* Returns whether the contact concerns the clock. */
static bool
concerns(const SlaMoment *moment, const SlaClock *clock)
{
	if (moment->request_id != 0 && clock->request_id != 0)
		return moment->request_id == clock->request_id;
	if (moment->thread != NULL && clock->thread != NULL)
		return sla_same_thread(moment->thread, moment->source, clock->thread, clock->source);
	if (moment->request_id == 0 && clock->request_id != 0 && (moment->what == MOMENT_INBOUND || moment->thread != NULL))
		return false;
	if (moment->request_id != 0 && clock->request_id == 0 && clock->thread != NULL)
		return false;
	return strcmp(moment->channel, clock->channel) == 0;
}

/* Returns whether the clock waits for an answer. */
bool
sla_is_response(const SlaClock *clock)
{
	return clock->metric == SLA_FIRST_RESPONSE || clock->metric == SLA_NEXT_RESPONSE;
}

static bool
runs(const SlaClock *clock)
{
	return clock->stopped_at == NO_TIME;
}

static bool
stands_still(const SlaClock *clock)
{
	return clock->pause_count > 0 && clock->pauses[clock->pause_count - 1].to == DT_NOEND;
}

/* Adds a pause, joined to one that ends where it begins. */
static void
pause_clock(SlaClock *clock, TimestampTz from, TimestampTz to)
{
	if (clock->pause_count > 0 && clock->pauses[clock->pause_count - 1].to >= from)
	{
		clock->pauses[clock->pause_count - 1].to = to;
		return;
	}
	clock->pauses = clock->pauses == NULL ? palloc(sizeof(SlaSpan))
										  : repalloc(clock->pauses, sizeof(SlaSpan) * (clock->pause_count + 1));
	clock->pauses[clock->pause_count++] = (SlaSpan){from, to};
}

/* Ends the pause that lasts, if one does. */
static void
resume_clock(SlaClock *clock, TimestampTz at)
{
	SlaSpan *pause = &clock->pauses[clock->pause_count - 1];

	if (!stands_still(clock))
		return;
	if (pause->from >= at)
		clock->pause_count--;
	else
		pause->to = at;
}

/* Stops a clock that runs or stands still; sla_reckon() says what becomes of it. */
void
sla_clock_stop(SlaClock *clock, TimestampTz at, bool cancelled)
{
	resume_clock(clock, at);
	clock->stopped_at = Max(at, clock->started_at);
	clock->cancelled = cancelled;
}

/* Returns whether moments have moved a clock that was stored as before. */
bool
sla_clock_moved(const SlaClock *clock, const SlaClock *before)
{
	return before->stopped_at != clock->stopped_at || before->pause_count != clock->pause_count ||
		   (clock->pause_count > 0 &&
			before->pauses[clock->pause_count - 1].to != clock->pauses[clock->pause_count - 1].to);
}

/* Returns what a policy must fit: the request as it is now, or a contact without one. */
SlaQuestion
sla_machine_question(SlaMachine *machine, SlaMetric metric, const SlaRequest *request, const char *channel,
					 TimestampTz at)
{
	SlaQuestion question = {.metric = metric, .channel = channel, .started_at = at};

	if (request != NULL && request->last != NULL)
	{
		question.kind = request->last->kind;
		question.queue = request->last->queue;
		question.priority = request->last->priority;
	}
	if (machine->policies->segments && !machine->memberships.known)
		machine->find_memberships(machine);
	question.memberships = &machine->memberships;
	return question;
}

/* Returns the clock that the moment started and of which the customer was told, by whatever policy, or NULL. */
static const SlaClock *
find_told(const SlaMachine *machine, SlaMetric metric, const SlaMoment *moment)
{
	SlaClock **found = sla_clock_find(machine->told, machine->told_count, metric, moment->moment_id);

	return found != NULL && (*found)->request_id == moment->request_id ? *found : NULL;
}

/* Returns whether a clock is stored that the contact has started. */
static bool
was_promised(const SlaMachine *machine, SlaMetric metric, const SlaMoment *moment)
{
	return sla_clock_find(machine->stored, machine->stored_count, metric, moment->moment_id) != NULL;
}

/* Returns whether a contact waits with a clock: what was never promised keeps nothing that was from beginning. */
static bool
waits_with(const SlaMachine *machine, const SlaMoment *moment, const SlaClock *clock)
{
	if (!clock->unmade)
		return true;
	if (clock->metric == SLA_CALLBACK)
		return !was_promised(machine, SLA_CALLBACK, moment);
	return !was_promised(machine, SLA_FIRST_RESPONSE, moment) && !was_promised(machine, SLA_NEXT_RESPONSE, moment);
}

/*
 * Starts a clock where a policy fits, or did when one was stored that has stopped; returns it, or NULL. That of a
 * request's resolution starts in any case, because a policy may fit later, from the same start; so does what was told
 * of by a policy that fits no more.
 */
static SlaClock *
start_clock(SlaMachine *machine, SlaMetric metric, const SlaMoment *moment, const SlaRequest *request,
			const char *channel, TimestampTz at)
{
	SlaQuestion question = sla_machine_question(machine, metric, request, channel, at);
	const SlaPolicy *policy = sla_policy_fit(machine->policies, &question, NULL, NULL);
	SlaClock **stored = sla_clock_find(machine->stored, machine->stored_count, metric, moment->moment_id);
	const SlaClock *told = find_told(machine, metric, moment);
	bool former = policy == NULL && !machine->parted && stored != NULL && (*stored)->stopped_at != NO_TIME;
	SlaClock *clock;

	if (policy == NULL && !former && metric != SLA_RESOLUTION && told == NULL)
		return NULL;
	clock = palloc0(sizeof(SlaClock));
	clock->metric = metric;
	clock->customer_id = moment->customer_id;
	clock->request_id = moment->request_id;
	clock->channel = channel;
	clock->thread = moment->thread;
	clock->source = moment->source;
	clock->moment_id = moment->moment_id;
	clock->started_at = at;
	clock->stopped_at = clock->due_at = clock->warn_at = clock->tell_at = NO_TIME;
	clock->warned_at = clock->breached_at = NO_TIME;
	clock->policy = policy;
	clock->unpromised = policy == NULL && !former;
	clock->former = former;
	clock->unmade = sla_clock_find(machine->unmade, machine->unmade_count, metric, moment->moment_id) != NULL;
	if (stored != NULL && (*stored)->stays)
		clock->stored = *stored;
	else if (policy == NULL)
		clock->stored = told;
	clock->question = question;
	sla_machine_add(machine, clock);
	return clock;
}

/* Gives the clocks of a request the policy that fits it now; where none does, they keep what was promised. */
static void
refit_clocks(SlaMachine *machine, const SlaRequest *request)
{
	for (int i = 0; i < machine->running_count; i++)
	{
		SlaClock *clock = machine->running[i];
		SlaQuestion question;
		const SlaPolicy *policy;

		if (clock->request_id != request->request_id || !runs(clock))
			continue;
		question = sla_machine_question(machine, clock->metric, request, clock->channel, clock->started_at);
		policy = sla_policy_fit(machine->policies, &question, NULL, NULL);
		if (policy != NULL)
		{
			clock->policy = policy;
			clock->unpromised = clock->former = false;
			clock->stored = NULL;
			clock->question = question;
		}
	}
}

/* Returns whether a request in this state is closed. */
bool
sla_state_ends(const char *state)
{
	return strcmp(state, "done") == 0 || strcmp(state, "cancelled") == 0;
}

static bool
waits_for_customer(const char *state)
{
	return strcmp(state, "waiting_customer") == 0;
}

/* A request was opened or changed. */
static void
apply_request(SlaMachine *machine, const SlaMoment *moment)
{
	SlaRequest *request = sla_machine_request(machine, moment->request_id);
	const SlaMoment *before = request->last;
	SlaClock *resolution = request->resolution;
	/* Nothing but its end stops what was promised to a request. */
	bool was_closed =
		(before != NULL && sla_state_ends(before->state)) || (resolution != NULL && resolution->stopped_at != NO_TIME);
	bool waited = before != NULL && waits_for_customer(before->state) && !request->answered_by_customer;

	request->last = moment;
	if (request->first == NULL)
		request->first = moment;
	/* Since it was opened, or since what the customer wrote before. */
	if (resolution == NULL && !was_closed && !(machine->partial && before != NULL))
	{
		(void) start_clock(machine, SLA_RESOLUTION, request->first, request, moment->channel, request->first->at);
		request = sla_machine_request(machine, moment->request_id);
	}
	/* Also of what the customer wrote before it was opened. */
	if (!sla_state_ends(moment->state))
		refit_clocks(machine, request);

	/* What was waited for ends with any other state; waiting again begins anew. */
	if (!waits_for_customer(moment->state))
		request->answered_by_customer = false;
	if (was_closed && !sla_state_ends(moment->state) && resolution != NULL && !runs(resolution))
	{
		if (resolution->stopped_at < moment->at)
			pause_clock(resolution, resolution->stopped_at, moment->at);
		resolution->stopped_at = NO_TIME;
		resolution->cancelled = false;
		add_running(machine, resolution);
		refit_clocks(machine, request);
	}

	for (int i = 0; i < machine->running_count; i++)
	{
		SlaClock *clock = machine->running[i];

		if (clock->request_id != moment->request_id || !runs(clock))
			continue;
		if (sla_state_ends(moment->state))
			/* To end it keeps the promise to end it, and no promise to answer. */
			sla_clock_stop(clock, moment->at,
						   clock->metric != SLA_RESOLUTION || strcmp(moment->state, "cancelled") == 0);
		else if (clock->metric == SLA_CALLBACK)
			continue;
		else if (!waits_for_customer(moment->state))
			resume_clock(clock, moment->at);
		else if (!waited && !request->answered_by_customer && !stands_still(clock))
			pause_clock(clock, moment->at, DT_NOEND);
	}
}

/* Returns whether the customer is known to have written in this request or thread before, and notes that it has. */
static bool
note_writing(SlaMachine *machine, const SlaMoment *moment)
{
	bool wrote = false;

	if (moment->request_id != 0)
	{
		SlaRequest *request = sla_machine_request(machine, moment->request_id);

		wrote = request->wrote;
		request->wrote = true;
		if (request->first == NULL && !moment->settled)
			request->first = moment;
	}
	if (moment->thread != NULL)
	{
		int i;

		for (i = machine->thread_count - 1; i >= 0; i--)
			if (sla_same_thread(machine->threads[i]->thread, machine->threads[i]->source, moment->thread,
								moment->source))
				break;
		if (i >= 0)
			wrote = true;
		else
		{
			machine->threads =
				grow(machine->threads, machine->thread_count, &machine->thread_room, sizeof(SlaMoment *));
			machine->threads[machine->thread_count++] = moment;
		}
	}
	return wrote;
}

/* Returns whether the outcome is one of these. */
static bool
is_outcome(const SlaMoment *moment, const char *one, const char *two, const char *three)
{
	return strcmp(moment->outcome, one) == 0 || strcmp(moment->outcome, two) == 0 ||
		   strcmp(moment->outcome, three) == 0;
}

/* The customer made a contact. */
static void
apply_inbound(SlaMachine *machine, const SlaMoment *moment)
{
	SlaRequest *request;
	bool speaks = sla_channel_speaks(machine->policies, moment->channel);
	bool spoke = strcmp(moment->outcome, "answered") == 0;
	bool wrote;
	bool waits = false;

	if (strcmp(moment->outcome, "failed") == 0)
		return;
	wrote = note_writing(machine, moment);
	request = moment->request_id == 0 ? NULL : sla_machine_request(machine, moment->request_id);
	if (request != NULL && request->last != NULL && waits_for_customer(request->last->state))
		request->answered_by_customer = true;

	for (int i = 0; i < machine->running_count; i++)
	{
		SlaClock *clock = machine->running[i];

		if (!runs(clock))
			continue;
		if (clock->metric == SLA_CALLBACK)
		{
			if (speaks && spoke)
				sla_clock_stop(clock, moment->at, false);
			continue;
		}
		if (!concerns(moment, clock))
			continue;
		/* What the customer was waited for is here. */
		if (clock->request_id == moment->request_id)
			resume_clock(clock, moment->at);
		if (sla_is_response(clock) && spoke)
			sla_clock_stop(clock, moment->at, false);
		else if (sla_is_response(clock))
			waits = waits || waits_with(machine, moment, clock);
	}

	if (speaks && is_outcome(moment, "missed", "abandoned", "voicemail"))
	{
		bool expected = false;

		for (int i = 0; i < machine->running_count && !expected; i++)
			expected = machine->running[i]->metric == SLA_CALLBACK && runs(machine->running[i]) &&
					   waits_with(machine, moment, machine->running[i]);
		if (!expected)
			(void) start_clock(machine, SLA_CALLBACK, moment, request, moment->channel, moment->at);
	}

	/* The promise counts from the oldest contact that waits for an answer. */
	if (waits)
		return;
	if (!wrote && machine->partial && (moment->request_id != 0 || moment->thread != NULL))
		wrote = machine->wrote_before(machine, moment);
	if (spoke && wrote)
		return;
	{
		SlaClock *clock = start_clock(machine, wrote ? SLA_NEXT_RESPONSE : SLA_FIRST_RESPONSE, moment, request,
									  moment->channel, moment->at);

		if (clock != NULL && spoke)
			sla_clock_stop(clock, moment->at, false);
	}
}

/* The company made a contact. */
static void
apply_outbound(SlaMachine *machine, const SlaMoment *moment)
{
	bool speaks = sla_channel_speaks(machine->policies, moment->channel);
	bool reached = !is_outcome(moment, "failed", "missed", "busy") && strcmp(moment->outcome, "abandoned") != 0;
	bool called = speaks && strcmp(moment->outcome, "failed") != 0;

	for (int i = 0; i < machine->running_count; i++)
	{
		SlaClock *clock = machine->running[i];

		if (runs(clock) && ((clock->metric == SLA_CALLBACK && called) ||
							(sla_is_response(clock) && reached && concerns(moment, clock))))
			sla_clock_stop(clock, moment->at, false);
	}
}

/* Stops the clocks that stay stopped since before an instant. */
static void
stop_again(SlaMachine *machine, TimestampTz at)
{
	for (int i = 0; i < machine->running_count; i++)
	{
		SlaClock *clock = machine->running[i];

		if (clock->stored != NULL && clock->stored->stopped_at < at && runs(clock))
			sla_clock_stop(clock, clock->stored->stopped_at, clock->stored->cancelled);
	}
}

/* Ends the requests that end before a moment: whatever else is of the same time is not too late, but of the request. */
static void
end_requests(SlaMachine *machine, TimestampTz at, int64 request_id)
{
	int kept = 0;

	for (int i = 0; i < machine->ending_count; i++)
	{
		const SlaMoment *ending = machine->endings[i];

		if (ending->at >= at && ending->request_id != request_id)
		{
			machine->endings[kept++] = ending;
			continue;
		}
		stop_again(machine, ending->at);
		apply_request(machine, ending);
		drop_stopped(machine);
	}
	machine->ending_count = kept;
}

/* sla_machine_apply takes the next moment, which comes after all that the machine has taken. */
void
sla_machine_apply(SlaMachine *machine, const SlaMoment *moment)
{
	CHECK_FOR_INTERRUPTS();
	end_requests(machine, moment->at, moment->what == MOMENT_REQUEST ? moment->request_id : 0);
	stop_again(machine, moment->at);
	if (moment->settled)
	{
		if (moment->what == MOMENT_INBOUND && strcmp(moment->outcome, "failed") != 0)
			(void) note_writing(machine, moment);
		return;
	}
	switch (moment->what)
	{
		case MOMENT_REQUEST:
			if (sla_state_ends(moment->state))
			{
				machine->endings =
					grow(machine->endings, machine->ending_count, &machine->ending_room, sizeof(SlaMoment *));
				machine->endings[machine->ending_count++] = moment;
			}
			else
				apply_request(machine, moment);
			break;
		case MOMENT_INBOUND:
			apply_inbound(machine, moment);
			break;
		case MOMENT_OUTBOUND:
			apply_outbound(machine, moment);
			break;
	}
	drop_stopped(machine);
}

/*
 * sla_machine_feed gives the machine all moments that it is to take, in their order. Its clocks then are those that
 * something was promised by; the others come after them.
 */
void
sla_machine_feed(SlaMachine *machine, SlaMoment *const *moments, int count)
{
	int kept = 0;

	for (int i = 0; i < count; i++)
		sla_machine_apply(machine, moments[i]);
	end_requests(machine, DT_NOEND, 0);
	stop_again(machine, DT_NOEND);
	for (int i = 0; i < machine->clock_count; i++)
	{
		SlaClock *clock = machine->clocks[i];

		if (clock->unpromised)
			continue;
		machine->clocks[i] = machine->clocks[kept];
		machine->clocks[kept++] = clock;
	}
	machine->unpromised_count = machine->clock_count - kept;
	machine->clock_count = kept;
}
