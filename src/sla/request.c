/*
 * request.c
 *	  What is new in requests, told as moments.
 *
 * A request is compared with what was said of it last, so that whoever changes one, by a function or by plain SQL, has
 * only to name it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "core/look.h"
#include "sla/clock.h"
#include "sla/sla.h"

static KeptPlan requests_select = {
	.sql = "SELECT r.request_id, r.customer_id, coalesce(k.merged_into, r.customer_id), r.state, r.kind, r.queue,"
		   " r.channel, r.priority, r.version, r.opened_at, r.state_since, s.state, s.kind, s.queue, s.priority, s.at,"
		   " EXISTS (SELECT FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id),"
		   " coalesce(h.settled_until, '-infinity'), o.at, s.channel, s.version, w.ended,"
		   " w.ended AND EXISTS (SELECT FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id"
		   " AND m.customer_id = r.customer_id AND m.what = 'inbound' AND m.outcome <> 'failed'"
		   " AND m.at BETWEEN s.at AND r.state_since)"
		   " FROM omnichannel.request AS r JOIN omnichannel.customer AS k ON k.customer_id = r.customer_id"
		   " LEFT JOIN omnichannel.sla_customer AS h ON h.customer_id = r.customer_id"
		   " LEFT JOIN LATERAL (SELECT * FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id"
		   " AND m.version IS NOT NULL ORDER BY m.at DESC, m.version DESC LIMIT 1) AS s ON true"
		   " LEFT JOIN LATERAL (SELECT m.at FROM omnichannel.sla_moment AS m WHERE m.request_id = r.request_id"
		   " AND m.version IS NOT NULL ORDER BY m.at, m.version LIMIT 1) AS o ON true"
		   " CROSS JOIN LATERAL (SELECT coalesce(s.state = 'waiting_customer', false) AND r.state NOT IN"
		   " ('waiting_customer', 'done', 'cancelled') AS ended) AS w"
		   " WHERE r.request_id = ANY ($1) ORDER BY r.request_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/*
 * What was said of requests that are no more is forgotten, but whose they were: contacts of others may name them, who
 * were one with these then. Returns whose.
 */
static KeptPlan gone_forget = {
	.sql = "WITH gone AS MATERIALIZED (SELECT m.customer_id, m.at, m.moment_id,"
		   " row_number() OVER (PARTITION BY m.request_id ORDER BY m.at, m.moment_id) AS place"
		   " FROM omnichannel.sla_moment AS m WHERE m.request_id = ANY ($1) AND m.what = 'request'"
		   " AND m.state IS NOT NULL"
		   " AND NOT EXISTS (SELECT FROM omnichannel.request AS r WHERE r.request_id = m.request_id)),"
		   " kept AS (UPDATE omnichannel.sla_moment AS m"
		   " SET state = NULL, kind = NULL, queue = NULL, priority = NULL, version = NULL FROM gone AS g"
		   " WHERE m.customer_id = g.customer_id AND m.at = g.at AND m.moment_id = g.moment_id AND g.place = 1),"
		   " forgotten AS (DELETE FROM omnichannel.sla_moment AS m USING gone AS g"
		   " WHERE m.customer_id = g.customer_id AND m.at = g.at AND m.moment_id = g.moment_id AND g.place > 1)"
		   " SELECT DISTINCT coalesce(k.merged_into, k.customer_id) FROM gone AS g"
		   " JOIN omnichannel.customer AS k ON k.customer_id = g.customer_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* What was said of requests at a time, or in a channel, that turned out to be another: from when on, and whose. */
static KeptPlan openings_correct = {
	.sql = "WITH said AS (SELECT m.customer_id, m.at, m.moment_id, r.opened_at, r.channel,"
		   " row_number() OVER (PARTITION BY m.request_id ORDER BY m.at, m.version) AS place"
		   " FROM omnichannel.request AS r JOIN omnichannel.sla_moment AS m ON m.request_id = r.request_id"
		   " AND m.version IS NOT NULL WHERE r.request_id = ANY ($1)), corrected AS (UPDATE omnichannel.sla_moment AS m"
		   " SET at = CASE WHEN s.place = 1 THEN s.opened_at ELSE greatest(m.at, s.opened_at) END, channel = s.channel"
		   " FROM said AS s WHERE m.customer_id = s.customer_id AND m.at = s.at AND m.moment_id = s.moment_id"
		   " RETURNING m.customer_id, least(s.at, m.at) AS at) SELECT coalesce(k.merged_into, k.customer_id) AS root,"
		   " min(c.at) FROM corrected AS c JOIN omnichannel.customer AS k ON k.customer_id = c.customer_id"
		   " GROUP BY root ORDER BY root",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan due_select = {
	.sql = "SELECT coalesce(min(due_at), 'infinity') FROM omnichannel.sla_clock"
		   " WHERE request_id = $1 AND stopped_at IS NULL",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static LookUp due_look = {
	.table = "sla_clock",
	.nkeys = 1,
	.seldom = true,
	.ncolumns = 3,
	.columns =
		(const TableColumn[]){{"request_id", INT8OID}, {"due_at", TIMESTAMPTZOID}, {"stopped_at", TIMESTAMPTZOID}},
};

/* Returns what a state means for clocks. */
static const char *
state_class(const char *state)
{
	return sla_state_ends(state) || strcmp(state, "waiting_customer") == 0 ? state : "new";
}

/*
 * Returns whether the wait that was said of a request in a row of requests_select was ended by what its own customer
 * wrote: by a stored moment, or by one of the contacts. That needs not be said, and what is told later may be of
 * before. An end by who is one with that customer is said: once they are taken apart, the request's clocks go by that
 * alone.
 */
static bool
is_answered(uint64 row, const SlaContacts *contacts)
{
	TimestampTz waits_since = spi_time(row, 16, NO_TIME);
	TimestampTz since = spi_time(row, 11, NO_TIME);
	int64 request_id = spi_id(row, 1);
	bool isnull;

	if (!DatumGetBool(spi_datum(row, 22, &isnull)))
		return false;
	if (DatumGetBool(spi_datum(row, 23, &isnull)))
		return true;
	for (int i = 0; contacts != NULL && i < contacts->count; i++)
	{
		const SlaMoment *contact = &contacts->moments[i]->moment;

		if (contact->request_id == request_id && contact->customer_id == spi_id(row, 2) &&
			contact->what == MOMENT_INBOUND && strcmp(contact->outcome, "failed") != 0 && contact->at >= waits_since &&
			contact->at <= since)
			return true;
	}
	return false;
}

/* Turns a row of requests_select into the moments that tell what is new in it; returns how many, up to two. */
static int
request_moments(uint64 row, const SlaContacts *contacts, SlaNewMoment *moments)
{
	SlaMoment *moment = &moments[0].moment;
	char *known_state = spi_text(row, 12, CurrentMemoryContext);
	TimestampTz since = spi_time(row, 11, NO_TIME);
	bool isnull;
	TimestampTz said_at;
	bool changed;
	bool again;
	bool moved;

	memset(moments, 0, sizeof(SlaNewMoment) * 2);
	moments[0].root = spi_id(row, 3);
	moment->what = MOMENT_REQUEST;
	moment->request_id = spi_id(row, 1);
	moment->customer_id = spi_id(row, 2);
	moment->state = spi_text(row, 4, CurrentMemoryContext);
	moment->kind = spi_text(row, 5, CurrentMemoryContext);
	moment->queue = spi_text(row, 6, CurrentMemoryContext);
	moment->channel = spi_text(row, 7, CurrentMemoryContext);
	moment->priority = DatumGetInt32(spi_datum(row, 8, &isnull));
	moment->version = spi_id(row, 9);

	if (known_state == NULL)
	{
		TimestampTz opened_at = spi_time(row, 10, NO_TIME);
		TimestampTz settled_until = spi_time(row, 18, NO_TIME);

		/* What was closed before anybody looked is history. */
		if (sla_state_ends(moment->state) && since < GetCurrentTransactionStartTimestamp())
			return 0;
		/* Its moments are deleted, and now it is opened again. */
		if (opened_at < settled_until)
		{
			moment->at = Max(since, settled_until);
			moments[0].anew = true;
			return 1;
		}
		moment->at = opened_at;
		moments[0].anew = DatumGetBool(spi_datum(row, 17, &isnull));
		if (strcmp(state_class(moment->state), "new") == 0)
			return 1;
		moments[1] = moments[0];
		moments[0].moment.state = "new";
		moments[0].moment.version = 0;
		moments[1].moment.at = Max(since, opened_at);
		moments[1].anew = true;
		return 2;
	}

	said_at = spi_time(row, 16, NO_TIME);
	changed = strcmp(state_class(moment->state), state_class(known_state)) != 0 && !is_answered(row, contacts);
	/* What is corrected in a closed one changes no promise. */
	if (!changed && sla_state_ends(known_state))
		return 0;
	/* It waited, was answered, and waits again. */
	again = !changed && strcmp(moment->state, "waiting_customer") == 0 && since > said_at &&
			moment->version > spi_id(row, 21);
	moved = !sla_same_text(moment->kind, spi_text(row, 13, CurrentMemoryContext)) ||
			!sla_same_text(moment->queue, spi_text(row, 14, CurrentMemoryContext)) ||
			moment->priority != DatumGetInt32(spi_datum(row, 15, &isnull));
	if (!changed && !again && !moved)
		return 0;
	moment->at = Max(changed || again ? since : GetCurrentTimestamp(), said_at);
	moments[0].anew = moved || again || sla_state_ends(known_state);
	if (!again)
		return 1;
	moments[1] = moments[0];
	moments[0].moment.state = "new";
	moments[0].moment.version--;
	return 2;
}

/* Returns whether a row of requests_select was opened at another time, or in another channel, than was said of it. */
static bool
is_corrected(uint64 row)
{
	TimestampTz opened_at = spi_time(row, 10, NO_TIME);
	TimestampTz said_at = spi_time(row, 19, NO_TIME);
	TimestampTz settled_until = spi_time(row, 18, NO_TIME);

	if (said_at == NO_TIME || said_at < settled_until || opened_at < settled_until)
		return false;
	return opened_at != said_at ||
		   !sla_same_text(spi_text(row, 7, CurrentMemoryContext), spi_text(row, 20, CurrentMemoryContext));
}

/* Returns which of the rows of requests_select tells of a request, or how many they are where none does. */
static uint64
find_request(uint64 rows, int64 request_id)
{
	uint64 low = 0;
	uint64 high = rows;

	while (low < high)
	{
		uint64 middle = (low + high) / 2;

		if (spi_id(middle, 1) < request_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < rows && spi_id(low, 1) == request_id ? low : rows;
}

/*
 * Adds to moments, of which the first are of contacts, those that tell what is new in requests; returns how many, in
 * *missing how many of the ids belong to no request, and in corrected, if not NULL, those that were opened otherwise
 * than was said; sets merged, if not NULL, where customers of them were merged into others. Needs an SPI scope.
 *
 * contacts are all that are being logged, or NULL. Of the first moments it sets others. What tells of a request is of
 * the family of the contact about it, as far as is known.
 */
int
sla_request_moments(const int64 *request_ids, int count, const SlaContacts *contacts, SlaNewMoment ***moments,
					int taken, int *missing, SlaColumn *corrected, bool *merged)
{
	Datum values[1] = {id_array(request_ids, count)};
	SlaNewMoment *rows;
	uint64 found;
	int made = 0;

	found = kept_plan_run(&requests_select, values, NULL, false, 0);
	*missing = count - (int) found;
	rows = palloc(sizeof(SlaNewMoment) * 2 * Max(found, 1));
	for (uint64 i = 0; i < found; i++)
	{
		made += request_moments(i, contacts, &rows[made]);
		if (corrected != NULL && is_corrected(i))
			sla_column_add_id(corrected, spi_id(i, 1));
		if (merged != NULL && spi_id(i, 2) != spi_id(i, 3))
			*merged = true;
	}
	for (int i = 0; i < taken; i++)
	{
		SlaNewMoment *contact = (*moments)[i];
		uint64 row = contact->moment.request_id == 0 ? found : find_request(found, contact->moment.request_id);

		contact->others = row < found && spi_id(row, 2) != contact->moment.customer_id;
		for (int j = 0; j < made && row < found; j++)
			if (rows[j].moment.request_id == contact->moment.request_id)
				rows[j].root = contact->root;
	}
	SPI_freetuptable(SPI_tuptable);

	*moments = *moments == NULL ? palloc(sizeof(SlaNewMoment *) * Max(made, 1))
								: repalloc(*moments, sizeof(SlaNewMoment *) * Max(taken + made, 1));
	for (int i = 0; i < made; i++)
	{
		rows[i].moment.moment_id = sla_next_moment_id();
		(*moments)[taken + i] = &rows[i];
	}
	return made;
}

/*
 * Makes clocks follow requests that were opened otherwise than was said: their moments are corrected, and their
 * customers reckoned anew, or behind. Needs an SPI scope.
 */
static void
correct_openings(const SlaColumn *request_ids, const SlaPolicies *policies, SlaChanges *changes)
{
	Datum values[1] = {sla_column_array(request_ids)};
	uint64 rows = kept_plan_run(&openings_correct, values, NULL, false, 0);
	SlaFamily *families = palloc0(sizeof(SlaFamily) * Max(rows, 1));
	int count;

	for (uint64 i = 0; i < rows; i++)
	{
		families[i].root = spi_id(i, 1);
		families[i].from = spi_time(i, 2, NO_TIME);
	}
	SPI_freetuptable(SPI_tuptable);
	count = sla_families_take(families, (int) rows, policies, true);
	sla_families_reckon_read(families, count, policies, changes);
	sla_changes_write(changes);
}

/* Ends the open clocks of requests that are no more. Needs an SPI scope. */
static void
forget_requests(const int64 *request_ids, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	Datum values[1] = {id_array(request_ids, count)};
	int roots_count = (int) kept_plan_run(&gone_forget, values, NULL, false, 0);
	int64 *roots = palloc(sizeof(int64) * Max(roots_count, 1));

	for (int i = 0; i < roots_count; i++)
		roots[i] = spi_id(i, 1);
	SPI_freetuptable(SPI_tuptable);
	sla_customers_reckon(roots, roots_count, policies, changes);
}

/* Returns of how many requests these moments tell, in order of requests. */
static int
told_of(SlaNewMoment *const *moments, int count)
{
	int told = 0;

	for (int i = 0; i < count; i++)
		if (i == 0 || moments[i]->moment.request_id != moments[i - 1]->moment.request_id)
			told++;
	return told;
}

/*
 * sla_requests_follow starts, pauses, resumes, stops and restarts clocks as requests say that were opened or changed.
 *
 * It compares them with what it saw last, so that a call too many does nothing. It never waits: routing calls it with
 * locks of queues, agents and requests in its hands; only for requests that were deleted does it wait. Needs an SPI
 * scope that may write the tables of this room.
 */
void
sla_requests_follow(const int64 *request_ids, int count, const SlaPolicies *policies, SlaChanges *changes)
{
	SlaNewMoment **moments = NULL;
	SlaColumn corrected = {.type = INT8OID};
	bool merged = false;
	int missing;
	int taken;

	if (count == 0)
		return;
	if (policies->count == 0)
	{
		sla_waits_forget(request_ids, count, true);
		return;
	}
	taken = sla_request_moments(request_ids, count, NULL, &moments, 0, &missing, &corrected, &merged);
	/* What moves no clock may be where the next message goes all the same. */
	if (told_of(moments, taken) + missing < count)
		sla_waits_forget(request_ids, count, merged);
	sla_moments_take(moments, taken, policies, false, NULL, changes);
	if (corrected.count > 0)
		correct_openings(&corrected, policies, changes);
	if (missing > 0)
		forget_requests(request_ids, count, policies, changes);
}

/* Makes clocks follow requests that were opened or changed; see sla_requests_follow(). */
void
sla_requests_changed(const int64 *request_ids, int count)
{
	SlaChanges changes = {0};

	sla_changes_begin(&changes, GetCurrentTimestamp());
	sla_requests_follow(request_ids, count, sla_policies_to_write(), &changes);
}

/* Returns when the first open clock of a request is due, infinity where none is. */
TimestampTz
sla_request_due(int64 request_id)
{
	Datum key = Int64GetDatum(request_id);
	TimestampTz due_at = DT_NOEND;
	Datum values[3];
	bool nulls[3];
	LookScan look;
	SpiScope scope;

	if (look_begin(&look, &due_look, &key, 1, NULL))
	{
		while (look_next(&look, false, values, nulls))
			if (!nulls[1] && nulls[2])
				due_at = Min(due_at, DatumGetTimestampTz(values[1]));
		look_end(&look);
		return due_at;
	}
	spi_scope_begin(&scope, false);
	(void) kept_plan_run(&due_select, &key, NULL, false, 1);
	due_at = spi_time(0, 1, NO_TIME);
	spi_scope_end(&scope);
	return due_at;
}
