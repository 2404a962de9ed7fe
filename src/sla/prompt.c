/*
 * prompt.c
 *	  The ordinary contact: it comes in order, and changes no clock.
 *
 * Most contacts go on with what runs already. That is found out by looking: all is read under one snapshot, and
 * nothing is locked. The customer's row of sla_customer is changed then, which waits for whoever holds it; if nobody
 * has changed it since the snapshot, nobody has written a moment or a clock of this customer since, and what was found
 * out holds. Otherwise nothing was done yet, and the contact goes the way of all others.
 *
 * The most ordinary one, a further message of a customer who waits for an answer, is not even written as a moment: the
 * contact says that it is still, and sla_moments_read() finds it there. The customer's row then says of which request
 * and channel the next one will be as still, until somebody changes the row who does more than that: neither the
 * request nor the clocks are looked at then.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "sla/clock.h"

static LookUp request_look = {
	.table = "request",
	.nkeys = 2,
	.ncolumns = 6,
	.columns = (const TableColumn[]){{"request_id", INT8OID},
									 {"customer_id", INT8OID},
									 {"state", TEXTOID},
									 {"kind", TEXTOID},
									 {"queue", TEXTOID},
									 {"priority", INT4OID}},
};

static LookUp clocks_look = {
	.table = "sla_clock",
	.nkeys = 1,
	.where = INDEX_NULL,
	.where_column = "stopped_at",
	.ncolumns = 8,
	.columns = (const TableColumn[]){{"customer_id", INT8OID},
									 {"metric", TEXTOID},
									 {"request_id", INT8OID},
									 {"channel", TEXTOID},
									 {"thread", TEXTOID},
									 {"source", TEXTOID},
									 {"started_at", TIMESTAMPTZOID},
									 {"pauses", TSTZMULTIRANGEOID}},
};

static LookUp moments_look = {
	.table = "sla_moment",
	.nkeys = 3,
	.ncolumns = 9,
	.columns = (const TableColumn[]){{"customer_id", INT8OID},
									 {"at", TIMESTAMPTZOID},
									 {"moment_id", INT8OID},
									 {"what", TEXTOID},
									 {"request_id", INT8OID},
									 {"channel", TEXTOID},
									 {"thread", TEXTOID},
									 {"source", TEXTOID},
									 {"outcome", TEXTOID}},
};

/* What is looked up of a contact: kept open from one to the next, or opened for one. */
struct SlaPrompts
{
	const SlaPolicies *policies;
	Snapshot snapshot;
	bool kept;
	MemoryContext context; /* where it is kept */
	LookScan known;
	LookScan request;
	LookScan clocks;
};

/* Looks up what has these keys; returns false where the look-up will not do. */
static bool
find(const SlaPrompts *prompts, LookScan *scan, LookUp *look, const Datum *keys)
{
	if (!prompts->kept)
		return look_begin(scan, look, keys, 1, prompts->snapshot);
	look_find(scan, keys);
	return true;
}

/* Sets the columns of the next row; returns false after the last. What a scan keeps for itself stays with it. */
static bool
next(const SlaPrompts *prompts, LookScan *scan, Datum *row, bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(prompts->kept ? prompts->context : CurrentMemoryContext);
	bool more = look_next(scan, false, row, nulls);

	MemoryContextSwitchTo(old);
	return more;
}

/* Ends that. */
static void
found(const SlaPrompts *prompts, LookScan *scan)
{
	if (!prompts->kept)
		look_end(scan);
}

/* Returns a text of a row, NULL for NULL. */
static const char *
text_of(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

/* Reads what the customer's request says; returns false where it is another's, or unknown. */
static bool
read_request(SlaPrompts *prompts, const SlaMoment *moment, SlaRequestState *request)
{
	Datum keys[1] = {Int64GetDatum(moment->request_id)};
	LookScan *scan = &prompts->request;
	Datum row[6];
	bool nulls[6];
	bool known;

	if (!find(prompts, scan, &request_look, keys))
		return false;
	known = next(prompts, scan, row, nulls) && DatumGetInt64(row[1]) == moment->customer_id;
	if (known)
		*request = (SlaRequestState){TextDatumGetCString(row[2]), TextDatumGetCString(row[3]),
									 text_of(row[4], nulls[4]), DatumGetInt32(row[5])};
	found(prompts, scan);
	return known;
}

/* Gives the machine the clocks of a customer with many that the moment concerns. */
static void
read_near(SlaMachine *machine, const SlaMoment *moment)
{
	SlaMoment asked = *moment;
	SlaMoment *moments[1] = {&asked};
	SlaFamily family = {.root = machine->root, .moment_count = 1, .moments = moments};

	sla_clocks_near(machine->policies, &family);
	for (int i = 0; i < family.clock_count; i++)
		sla_machine_add(machine, family.clocks[i]);
}

/* Gives the machine the customer's open clocks that may be the moment's; returns false where they are unknown. */
static bool
read_clocks(SlaPrompts *prompts, SlaMachine *machine, const SlaMoment *moment)
{
	Datum keys[1] = {Int64GetDatum(machine->root)};
	LookScan *scan = &prompts->clocks;
	SlaClock *clocks[SLA_MANY_CLOCKS];
	int count = 0;
	bool many = false;
	Datum row[8];
	bool nulls[8];

	if (!find(prompts, scan, &clocks_look, keys))
		return false;
	while (next(prompts, scan, row, nulls))
	{
		SlaClock *clock;

		many = count == SLA_MANY_CLOCKS;
		if (many)
			break;
		clock = clocks[count++] = palloc0(sizeof(SlaClock));
		clock->customer_id = machine->root;
		clock->metric = sla_metric_parse(TextDatumGetCString(row[1]));
		clock->request_id = nulls[2] ? 0 : DatumGetInt64(row[2]);
		clock->channel = TextDatumGetCString(row[3]);
		clock->thread = text_of(row[4], nulls[4]);
		clock->source = text_of(row[5], nulls[5]);
		clock->started_at = DatumGetTimestampTz(row[6]);
		clock->stopped_at = NO_TIME;
		sla_pauses_read(clock, row[7]);
	}
	found(prompts, scan);
	if (many)
		read_near(machine, moment);
	else
		for (int i = 0; i < count; i++)
			sla_machine_add(machine, clocks[i]);
	return true;
}

/* Notes that it takes more than what was read. */
static bool
ask_wrote_before(SlaMachine *machine, const SlaMoment *moment)
{
	machine->asked = true;
	return false;
}

/* The same, of segments. */
static void
ask_memberships(SlaMachine *machine)
{
	machine->asked = true;
	machine->memberships.known = true;
}

/* What becomes of a moment. */
typedef enum Prompt
{
	PROMPT_LEFT,  /* nothing was done */
	PROMPT_STILL, /* it may be written, and changes no clock */
	PROMPT_WAITS, /* the same, and need not be written: see waits_already() */
	PROMPT_MOVES  /* it may be written, and may change clocks */
} Prompt;

/*
 * Returns whether a message says no more than one before it, of the same request and thread, to which a clock waits for
 * an answer: that one is written, and tells that the customer has written, and when.
 */
static bool
waits_already(const SlaMachine *machine, const SlaMoment *moment)
{
	if (!sla_is_message(moment))
		return false;
	for (int i = 0; i < machine->running_count; i++)
	{
		const SlaClock *clock = machine->running[i];

		if (sla_is_response(clock) && clock->request_id == moment->request_id &&
			sla_same_thread(clock->thread, clock->source, moment->thread, moment->source))
			return true;
	}
	return false;
}

/* Returns what the moment of a customer who stands alone does; said is what was said last of its request. */
static Prompt
try_moment(SlaPrompts *prompts, const SlaMoment *moment, const SlaMoment *said)
{
	SlaMachine machine;
	SlaClock **before;
	int count;

	sla_machine_init(&machine, prompts->policies, moment->customer_id);
	machine.find_memberships = ask_memberships;
	machine.wrote_before = ask_wrote_before;
	machine.partial = true;
	if (!read_clocks(prompts, &machine, moment))
		return PROMPT_LEFT;
	if (moment->request_id != 0)
		sla_machine_request(&machine, moment->request_id)->last = said;
	count = machine.clock_count;
	before = palloc(sizeof(SlaClock *) * Max(count, 1));
	for (int i = 0; i < count; i++)
		before[i] = sla_clock_copy(machine.clocks[i]);
	sla_machine_apply(&machine, moment);
	if (machine.asked || machine.clock_count != count)
		return PROMPT_MOVES;
	for (int i = 0; i < count; i++)
		if (sla_clock_moved(machine.clocks[i], before[i]))
			return PROMPT_MOVES;
	return waits_already(&machine, moment) ? PROMPT_WAITS : PROMPT_STILL;
}

/* Sets said to what the moment's request says; returns false where that is unknown, or another customer's. */
static bool
find_said(SlaPrompts *prompts, const SlaMoment *moment, const SlaRequestState *request, SlaMoment *said)
{
	SlaRequestState read;

	if (moment->request_id == 0)
		return true;
	if (request == NULL)
	{
		if (!read_request(prompts, moment, &read))
			return false;
		request = &read;
	}
	/* What is changed in a closed one is not told of. */
	if (sla_state_ends(request->state))
		return false;

	/*
	 * Whoever changes a request tells of it at once: it says what was said of it, but that it waits no more for what
	 * the contact says.
	 */
	*said = (SlaMoment){.what = MOMENT_REQUEST,
						.request_id = moment->request_id,
						.customer_id = moment->customer_id,
						.state = request->state,
						.kind = request->kind,
						.queue = request->queue,
						.priority = request->priority};
	return true;
}

/* Which moments are taken in. */
typedef enum Take
{
	TAKE_ALL,
	TAKE_STILL, /* that change no clock */
	TAKE_NONE   /* it is only looked which these are */
} Take;

/*
 * Returns whether a moment comes after all others of its customer at its time, of which some are of its kind: what a
 * transaction writes at now() would else be reckoned with all that was before, again and again.
 */
static bool
is_last_of_its_time(const SlaMoment *moment, Snapshot snapshot)
{
	Datum keys[2] = {Int64GetDatum(moment->customer_id), TimestampTzGetDatum(moment->at)};
	const char *what = sla_moment_name(moment->what);
	bool found = false;
	bool last = true;
	LookScan scan;
	Datum row[9];
	bool nulls[9];

	if (!look_begin(&scan, &moments_look, keys, 2, snapshot))
		return false;
	while (last && look_next(&scan, false, row, nulls))
	{
		const SlaMoment *left;
		SlaMoment other = {.customer_id = moment->customer_id, .at = moment->at, .what = moment->what};

		CHECK_FOR_INTERRUPTS();
		if (strcmp(TextDatumGetCString(row[3]), what) != 0)
			continue;
		other.moment_id = DatumGetInt64(row[2]);
		other.request_id = nulls[4] ? 0 : DatumGetInt64(row[4]);
		other.channel = TextDatumGetCString(row[5]);
		other.thread = text_of(row[6], nulls[6]);
		other.source = text_of(row[7], nulls[7]);
		other.outcome = text_of(row[8], nulls[8]);
		left = &other;
		last = sla_moment_compare(&left, &moment) < 0;
		found = true;
	}
	look_end(&scan);
	return found && last;
}

/*
 * Reads the customer's row, which may be at a place; returns false, with nothing to end, where there is none or the
 * look-up will not do.
 */
static bool
read_known(SlaPrompts *prompts, int64 customer_id, const ItemPointerData *place, Datum *row, bool *nulls)
{
	Datum keys[1] = {Int64GetDatum(customer_id)};
	LookScan *scan = &prompts->known;

	if (ItemPointerIsValid(place) && look_at(scan, place, row, nulls) && DatumGetInt64(row[0]) == customer_id)
		return true;
	if (!find(prompts, scan, &sla_known_look, keys))
		return false;
	if (next(prompts, scan, row, nulls))
		return true;
	found(prompts, scan);
	return false;
}

/*
 * Takes the customer's lock for the moment, unless somebody has changed something since the snapshot: *overtaken. The
 * customer's row may be at a place, where look-ups are kept open.
 */
static Prompt
take_moment(SlaPrompts *prompts, const SlaMoment *moment, const ItemPointerData *place, const SlaRequestState *request,
			SlaMoment *said, Take take, bool *overtaken)
{
	int16 rank = (int16) moment->what;
	bool waits;
	TimestampTz last_at;
	int16 last_rank;
	bool tie;
	bool late;
	Datum row[SLA_KNOWN_COLUMNS];
	bool nulls[SLA_KNOWN_COLUMNS];
	Prompt prompt = PROMPT_LEFT;

	*overtaken = false;
	if (!read_known(prompts, moment->customer_id, place, row, nulls))
		return PROMPT_LEFT;
	last_at = DatumGetTimestampTz(row[1]);
	last_rank = DatumGetInt16(row[2]);
	tie = moment->at == last_at && rank == last_rank;
	late =
		moment->at < last_at || (moment->at == last_at && rank < last_rank) || moment->at < DatumGetTimestampTz(row[3]);
	if (tie && !late)
		late = !is_last_of_its_time(moment, prompts->snapshot);

	if (late || DatumGetBool(row[4]))
		prompt = PROMPT_LEFT;
	else if (!tie && sla_known_to_wait(moment, row, nulls))
		prompt = PROMPT_WAITS;
	else if (find_said(prompts, moment, request, said))
		prompt = try_moment(prompts, moment, said);
	waits = prompt == PROMPT_WAITS;

	/* Who wrote at the same time has written before only where all moments are known. */
	if (prompt == PROMPT_MOVES && (tie || take != TAKE_ALL))
		prompt = PROMPT_LEFT;
	/* What comes next at that time has to find it. */
	if (prompt == PROMPT_WAITS && tie)
		prompt = PROMPT_STILL;
	*overtaken = prompt != PROMPT_LEFT && take != TAKE_NONE &&
				 !sla_known_change(&prompts->known, moment, request, waits, prompt == PROMPT_MOVES, row, nulls);
	if (*overtaken)
		prompt = PROMPT_LEFT;
	found(prompts, &prompts->known);
	return prompt;
}

/* Reads the family's open clocks, locked or not, and writes what its moment changes; returns false where it did not. */
static bool
advance(const SlaPolicies *policies, SlaFamily *family, bool locked)
{
	SlaChanges changes = {0};

	if (locked)
		sla_clocks_own(policies, family);
	else if (!sla_clocks_look(policies, family))
		return false;
	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_family_advance(family, policies, &changes);
	if (!locked)
		return sla_changes_write_one(&changes);
	sla_changes_write(&changes);
	return true;
}

/*
 * Moves the customer's open clocks on by the moment, which is written. Mostly it is one clock that nobody else changes
 * meanwhile, as tick() may: that need not be locked before.
 */
static void
move_clocks(const SlaPolicies *policies, SlaMoment *moment, SlaMoment *said)
{
	SlaFamily family = {.root = moment->customer_id, .from = moment->at, .said = &said};
	bool moved;

	family.said_count = moment->request_id != 0 ? 1 : 0;
	sla_family_add(&family, moment);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	moved = advance(policies, &family, false);
	PopActiveSnapshot();
	if (!moved)
	{
		family.clock_count = 0;
		(void) advance(policies, &family, true);
	}
	sla_families_doubt(&family, 1);
}

/*
 * sla_prompts_begin readies what sla_moment_still() looks at, under a new snapshot, in the current context. What the
 * current command has written is not seen. Nothing that the extension has not written may run until sla_prompts_end().
 */
SlaPrompts *
sla_prompts_begin(const SlaPolicies *policies)
{
	SlaPrompts *prompts = palloc0(sizeof(SlaPrompts));

	PushActiveSnapshot(GetTransactionSnapshot());
	prompts->policies = policies;
	prompts->snapshot = GetActiveSnapshot();
	prompts->context = CurrentMemoryContext;
	if (!look_open(&prompts->known, &sla_known_look, 1, prompts->snapshot))
		return prompts;
	if (!look_open(&prompts->request, &request_look, 1, prompts->snapshot))
	{
		look_end(&prompts->known);
		return prompts;
	}
	prompts->kept = look_open(&prompts->clocks, &clocks_look, 1, prompts->snapshot);
	if (!prompts->kept)
	{
		look_end(&prompts->request);
		look_end(&prompts->known);
	}
	return prompts;
}

/* sla_prompts_end ends what sla_prompts_begin() began. */
void
sla_prompts_end(SlaPrompts *prompts)
{
	if (prompts->kept)
	{
		look_end(&prompts->clocks);
		look_end(&prompts->request);
		look_end(&prompts->known);
	}
	PopActiveSnapshot();
	pfree(prompts);
}

/*
 * sla_moment_still returns whether a contact comes in order, says nothing new of requests and changes no clock, as far
 * as that can be told; if write, it is taken in then, unless somebody else has to do with the customer, which it also
 * returns false for.
 *
 * Where still is given, and the contact itself is to say that it is still, it is set in place of a moment. Needs an SPI
 * scope that may write the tables of this room.
 */
bool
sla_moment_still(SlaPrompts *prompts, const SlaNewMoment *contact, bool write)
{
	const SlaMoment *moment = &contact->moment;
	SlaMoment said;
	Prompt prompt;
	bool overtaken;

	/* Where one of the tables asks for SQL, so does the contact. */
	if (!prompts->kept)
		return false;
	prompt = take_moment(prompts, moment, &contact->place, NULL, &said, write ? TAKE_STILL : TAKE_NONE, &overtaken);
	if (prompt == PROMPT_LEFT)
		return false;
	if (prompt == PROMPT_WAITS && contact->still != NULL)
		*contact->still = write;
	else if (write)
		sla_moment_add(moment);
	return true;
}

/*
 * sla_moment_prompt takes in one contact that comes in order and says nothing new of requests; returns false, having
 * done nothing, where that cannot be told.
 *
 * request is what the contact's request says under the active snapshot; where it is NULL, all is read under a new one.
 * Where still is given, and the contact itself is to say that it is still, it is set in place of a moment. overtaken
 * is set where somebody else has changed the customer's clocks since that snapshot, who was waited for. Needs an SPI
 * scope that may write the tables of this room.
 */
bool
sla_moment_prompt(const SlaPolicies *policies, SlaMoment *moment, const SlaRequestState *request, bool *still,
				  bool *overtaken)
{
	SlaPrompts prompts = {.policies = policies};
	const ItemPointerData nowhere = {0};
	SlaMoment said;
	Prompt prompt;

	/* It comes after all that say the same. */
	moment->moment_id = PG_INT64_MAX;
	if (request == NULL)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	prompts.snapshot = GetActiveSnapshot();
	prompt = take_moment(&prompts, moment, &nowhere, request, &said, TAKE_ALL, overtaken);
	if (request == NULL)
		PopActiveSnapshot();
	if (prompt == PROMPT_LEFT)
		return false;
	if (prompt == PROMPT_WAITS && still != NULL)
	{
		*still = true;
		return true;
	}
	moment->moment_id = sla_next_moment_id();
	sla_moment_add(moment);
	if (prompt == PROMPT_MOVES)
		move_clocks(policies, moment, &said);
	return true;
}
