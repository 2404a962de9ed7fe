/*
 * open_requests.c
 *	  The open requests of the customers of contacts, and which of them a contact without a conversation continues.
 *
 * Requests are those of a customer and of whomever that was merged with. What is near in time is found by what is
 * known here first: the log is asked for the last contact about a request only where nothing else tells.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/open_requests.h"
#include "core/look.h"

/* A row for each customer at least: the root tells who are one. */
static KeptPlan open_select = {
	.sql = "SELECT u.place, c.root, r.request_id, r.customer_id, r.channel, " WAITS_SINCE ", r.opened_at,"
		   " greatest(r.opened_at, r.state_since), " IN_CHANNEL " "
		   "FROM unnest($1) WITH ORDINALITY AS u (customer_id, place) "
		   "CROSS JOIN LATERAL (SELECT coalesce(one.merged_into, one.customer_id) AS root "
		   "FROM omnichannel.customer AS one WHERE one.customer_id = u.customer_id OFFSET 0) AS c "
		   "LEFT JOIN LATERAL ("
		   "SELECT own.* FROM omnichannel.request AS own WHERE own.customer_id = c.root AND own.closed_at IS NULL "
		   "UNION ALL "
		   "SELECT merged.* FROM (SELECT one.customer_id FROM omnichannel.customer AS one "
		   "WHERE one.merged_into = c.root OFFSET 0) AS m "
		   "CROSS JOIN LATERAL (SELECT * FROM omnichannel.request AS one "
		   "WHERE one.customer_id = m.customer_id AND one.closed_at IS NULL OFFSET 0) AS merged) AS r ON true "
		   "ORDER BY u.place, r.opened_at, r.request_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan own_select = {
	.sql = "SELECT 1::bigint, r.customer_id, r.request_id, r.customer_id, r.channel, " WAITS_SINCE ", r.opened_at,"
		   " greatest(r.opened_at, r.state_since), " IN_CHANNEL " "
		   "FROM omnichannel.request AS r WHERE r.customer_id = $1 AND r.closed_at IS NULL"
		   " ORDER BY r.opened_at, r.request_id",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static LookUp own_look = {
	.table = "request",
	.nkeys = 3,
	.where = INDEX_NULL,
	.where_column = "closed_at",
	.ncolumns = 10,
	.columns = (const TableColumn[]){{"customer_id", INT8OID},
									 {"opened_at", TIMESTAMPTZOID},
									 {"request_id", INT8OID},
									 {"channel", TEXTOID},
									 {"state", TEXTOID},
									 {"state_since", TIMESTAMPTZOID},
									 {"kind", TEXTOID},
									 {"queue", TEXTOID},
									 {"priority", INT4OID},
									 {"current_channel", TEXTOID}},
};

/* All that open_request_goes_on() goes by: at a known place may be another version of the row, or another row. */
static LookUp place_look = {
	.table = "request",
	.ncolumns = 8,
	.columns = (const TableColumn[]){{"request_id", INT8OID},
									 {"customer_id", INT8OID},
									 {"state", TEXTOID},
									 {"channel", TEXTOID},
									 {"opened_at", TIMESTAMPTZOID},
									 {"state_since", TIMESTAMPTZOID},
									 {"closed_at", TIMESTAMPTZOID},
									 {"current_channel", TEXTOID}},
};

/* When the last contact was about a request, as of when or later; it may name any of those who were merged. */
static KeptPlan last_contact_select = {
	.sql = "SELECT max(c.occurred_at) FROM (SELECT coalesce(one.merged_into, one.customer_id) AS root "
		   "FROM omnichannel.customer AS one WHERE one.customer_id = $1 OFFSET 0) AS k "
		   "CROSS JOIN LATERAL (SELECT k.root AS customer_id UNION ALL SELECT m.customer_id "
		   "FROM omnichannel.customer AS m WHERE m.merged_into = k.root) AS g "
		   "CROSS JOIN LATERAL (SELECT one.occurred_at FROM omnichannel.contact AS one "
		   "WHERE one.customer_id = g.customer_id AND one.occurred_at >= $3 AND one.request_id = $2 OFFSET 0) AS c",
	.nargs = 3,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID},
	.indexed = true,
};

/* Whether a contact of that time went into a request, perhaps opened later; it may name any of the merged. */
static KeptPlan begun_select = {
	.sql = "SELECT FROM (SELECT coalesce(one.merged_into, one.customer_id) AS root "
		   "FROM omnichannel.customer AS one WHERE one.customer_id = $1 OFFSET 0) AS k "
		   "CROSS JOIN LATERAL (SELECT k.root AS customer_id UNION ALL SELECT m.customer_id "
		   "FROM omnichannel.customer AS m WHERE m.merged_into = k.root) AS g "
		   "CROSS JOIN LATERAL (SELECT FROM omnichannel.contact AS one WHERE one.customer_id = g.customer_id "
		   "AND one.occurred_at BETWEEN $3 AND $4 AND one.request_id = $2 AND one.direction = 'inbound' LIMIT 1) AS c",
	.nargs = 4,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	.indexed = true,
};

/* What a customer or those who are one with it said about requests, as channels_follow in conversation.c has it. */
#define SAID(when)                                                                                                     \
	"FROM (SELECT coalesce(one.merged_into, one.customer_id) AS root "                                                 \
	"FROM omnichannel.customer AS one WHERE one.customer_id = $1 OFFSET 0) AS k "                                      \
	"CROSS JOIN LATERAL (SELECT k.root AS customer_id UNION ALL SELECT m.customer_id "                                 \
	"FROM omnichannel.customer AS m WHERE m.merged_into = k.root) AS g "                                               \
	"CROSS JOIN LATERAL (SELECT one.channel, one.occurred_at, one.contact_id FROM omnichannel.contact AS one "         \
	"JOIN omnichannel.channel AS h USING (channel) WHERE one.customer_id = g.customer_id AND one.direction = "         \
	"'inbound' AND one.outcome <> 'failed' AND h.opens_request AND one.occurred_at " when                              \
	" ORDER BY one.occurred_at DESC, one.contact_id DESC LIMIT 1) AS c "                                               \
	"ORDER BY c.occurred_at DESC, c.contact_id DESC LIMIT 1"

/* Whether anything was said later. */
static KeptPlan later_select = {
	.sql = "SELECT " SAID("> $2 AND one.request_id IS NOT NULL"),
	.nargs = 2,
	.argtypes = {INT8OID, TIMESTAMPTZOID},
	.indexed = true,
};

/* In which channel something was said about a request by then. */
static KeptPlan channel_then_select = {
	.sql = "SELECT c.channel " SAID("<= $2 AND one.request_id = $3"),
	.nargs = 3,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID},
	.indexed = true,
};

/* Whether a request was opened by a contact that names no conversation. */
static KeptPlan loose_select = {
	.sql = "SELECT FROM omnichannel.contact AS c WHERE c.customer_id = $1 AND c.occurred_at = $2 AND c.request_id = $3"
		   " AND c.direction = 'inbound' AND c.thread IS NULL",
	.nargs = 3,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID},
	.indexed = true,
};

/* Orders customers by id. */
static int
compare_customers(const void *a, const void *b)
{
	int64 left = ((const OpenCustomer *) a)->customer_id;
	int64 right = ((const OpenCustomer *) b)->customer_id;

	return left < right ? -1 : left > right;
}

/* Returns the customers of the entries, each once, without their requests. */
OpenCustomer *
open_customers(ContactEntry **entries, int count, int *found)
{
	OpenCustomer *customers = palloc0(sizeof(OpenCustomer) * count);
	int distinct = 0;

	for (int i = 0; i < count; i++)
		customers[i].customer_id = entries[i]->customer_id;
	if (count > 1)
		qsort(customers, count, sizeof(OpenCustomer), compare_customers);
	for (int i = 0; i < count; i++)
		if (i == 0 || customers[i].customer_id != customers[distinct - 1].customer_id)
			customers[distinct++].customer_id = customers[i].customer_id;
	for (int i = 0; i < distinct; i++)
		customers[i].same = &customers[i];
	*found = distinct;
	return customers;
}

/* Returns who holds the requests of one of the customers and of all who are one with it. */
OpenCustomer *
open_customer_find(OpenCustomer *customers, int count, int64 customer_id)
{
	OpenCustomer sought = {.customer_id = customer_id};
	OpenCustomer *found = bsearch(&sought, customers, count, sizeof(OpenCustomer), compare_customers);

	return found->same;
}

/* Orders pointers to customers by root, then by id. */
static int
compare_roots(const void *a, const void *b)
{
	const OpenCustomer *left = *(OpenCustomer *const *) a;
	const OpenCustomer *right = *(OpenCustomer *const *) b;

	if (left->root != right->root)
		return left->root < right->root ? -1 : 1;
	return left->customer_id < right->customer_id ? -1 : left->customer_id > right->customer_id;
}

/* Enters the open requests that a statement returned with the customers' places. */
static void
take_open_requests(OpenCustomer *customers, uint64 rows)
{
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		OpenCustomer *customer = &customers[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1];
		OpenRequest *request;
		int64 request_id;

		customer->root = DatumGetInt64(spi_datum(row, 2, &isnull));
		request_id = DatumGetInt64(spi_datum(row, 3, &isnull));
		if (isnull)
			continue;
		request = palloc0(sizeof(OpenRequest));
		request->request_id = request_id;
		request->customer_id = DatumGetInt64(spi_datum(row, 4, &isnull));
		request->channel = spi_text(row, 5, CurrentMemoryContext);
		request->waits_since = spi_time(row, 6, DT_NOEND);
		request->opened_at = request->begun_at = DatumGetTimestampTz(spi_datum(row, 7, &isnull));
		request->moved_at = DatumGetTimestampTz(spi_datum(row, 8, &isnull));
		request->in_channel = spi_text(row, 9, CurrentMemoryContext);
		request->next = customer->requests;
		customer->requests = request;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Enters the open requests of one customer that a look-up finds. */
static void
take_own(OpenCustomer *customer, LookScan *scan)
{
	Datum row[10];
	bool nulls[10];

	while (look_next(scan, false, row, nulls))
	{
		OpenRequest *request = palloc0(sizeof(OpenRequest));

		request->request_id = DatumGetInt64(row[2]);
		request->customer_id = customer->customer_id;
		request->channel = TextDatumGetCString(row[3]);
		request->in_channel = nulls[9] ? request->channel : TextDatumGetCString(row[9]);
		request->said.state = TextDatumGetCString(row[4]);
		request->said.kind = TextDatumGetCString(row[6]);
		request->said.queue = nulls[7] ? NULL : TextDatumGetCString(row[7]);
		request->said.priority = DatumGetInt32(row[8]);
		request->said.place = scan->slot->tts_tid;
		request->quiet = !look_touched(scan);
		request->waits_since =
			strcmp(request->said.state, "waiting_customer") == 0 ? DatumGetTimestampTz(row[5]) : DT_NOEND;
		request->opened_at = request->begun_at = DatumGetTimestampTz(row[1]);
		request->moved_at = Max(request->opened_at, DatumGetTimestampTz(row[5]));
		request->next = customer->requests;
		customer->requests = request;
	}
}

/*
 * Reads the open requests of one customer, not of those whom it was merged with; under the snapshot, or, where that is
 * NULL, under a new one.
 */
void
open_requests_read_own(OpenCustomer *customer, Snapshot snapshot)
{
	Datum values[1] = {Int64GetDatum(customer->customer_id)};
	LookScan scan;

	if (!look_begin(&scan, &own_look, values, 1, snapshot))
	{
		take_open_requests(customer, kept_plan_run(&own_select, values, NULL, false, 0));
		return;
	}
	take_own(customer, &scan);
	look_end(&scan);
}

/* Reads the open requests of the customers and of whom they were merged with. */
static void
read_all(OpenCustomer *customers, int count)
{
	OpenCustomer **by_root = palloc(sizeof(OpenCustomer *) * count);
	Datum *ids = palloc(sizeof(Datum) * count);
	Datum values[1];

	for (int i = 0; i < count; i++)
	{
		customers[i].requests = NULL;
		customers[i].root = customers[i].customer_id;
		by_root[i] = &customers[i];
		ids[i] = Int64GetDatum(customers[i].customer_id);
	}
	values[0] = array_of(ids, NULL, count, INT8OID);
	open_select.runs += count - 1;
	take_open_requests(customers, kept_plan_run(&open_select, values, NULL, false, 0));

	if (count > 1)
		qsort(by_root, count, sizeof(OpenCustomer *), compare_roots);
	for (int i = 0; i < count; i++)
		by_root[i]->same = i > 0 && by_root[i]->root == by_root[i - 1]->root ? by_root[i - 1]->same : by_root[i];
}

/* Returns when a request had its last contact or change of state, as far as since. */
static TimestampTz
last_moved_at(OpenRequest *request, TimestampTz since)
{
	Datum values[3] = {Int64GetDatum(request->customer_id), Int64GetDatum(request->request_id),
					   TimestampTzGetDatum(since)};
	bool isnull;
	TimestampTz last;

	if (request->asked || request->opens != NULL)
		return request->moved_at;
	request->asked = true;
	(void) kept_plan_run(&last_contact_select, values, NULL, false, 0);
	last = DatumGetTimestampTz(spi_datum(0, 1, &isnull));
	if (!isnull)
		request->moved_at = Max(request->moved_at, last);
	SPI_freetuptable(SPI_tuptable);
	return request->moved_at;
}

/*
 * Returns whether a contact is near enough in time to a request to be about it. The log is asked last: a request that
 * moved just now needs no look.
 */
static bool
is_near(OpenRequest *request, const ContactEntry *entry, const Channel *channel)
{
	TimestampTz since = entry->occurred_at - channel->conversation_gap;

	if (request->customer_id == 0 || request->opened_at > entry->occurred_at + channel->conversation_gap)
		return false;
	return request->moved_at >= since || last_moved_at(request, since) >= since;
}

/* Returns whether a request, or what went into it as if it had been opened by that, was there at the contact's time. */
static bool
had_begun(const OpenRequest *request, const ContactEntry *entry, const Channel *channel)
{
	Datum values[4] = {Int64GetDatum(request->customer_id), Int64GetDatum(request->request_id),
					   TimestampTzGetDatum(request->opened_at - channel->conversation_gap),
					   TimestampTzGetDatum(entry->occurred_at)};

	return request->begun_at <= entry->occurred_at ||
		   (request->opened_at - channel->conversation_gap <= entry->occurred_at &&
			kept_plan_run(&begun_select, values, NULL, false, 1) > 0);
}

/*
 * Returns the request, opened later, that a contact would have opened if it had been logged in time, or NULL: the first
 * one that a contact opened because nothing was open.
 */
static OpenRequest *
opened_instead(const OpenCustomer *customer, const ContactEntry *entry, const Channel *channel)
{
	OpenRequest *first = NULL;

	if (!is_inbound(entry) || !channel->opens_request)
		return NULL;
	for (OpenRequest *request = customer->requests; request != NULL; request = request->next)
	{
		Datum values[3] = {Int64GetDatum(request->customer_id), TimestampTzGetDatum(request->opened_at),
						   Int64GetDatum(request->request_id)};

		if (request->opened_at > entry->occurred_at && (first == NULL || request->opened_at < first->opened_at) &&
			is_near(request, entry, channel) && kept_plan_run(&loose_select, values, NULL, false, 1) > 0)
			first = request;
	}
	return first;
}

/* Returns whether the customer said something since the contact's time that may have moved one of several requests. */
static bool
is_late(const OpenCustomer *customer, const ContactEntry *entry)
{
	Datum values[2] = {Int64GetDatum(entry->customer_id), TimestampTzGetDatum(entry->occurred_at)};

	return customer->requests != NULL && customer->requests->next != NULL &&
		   kept_plan_run(&later_select, values, NULL, false, 1) > 0;
}

/* Returns in which channel the customer of a request was at the contact's time. */
static const char *
channel_then(const OpenRequest *request, const ContactEntry *entry, bool late)
{
	Datum values[3] = {Int64GetDatum(request->customer_id), TimestampTzGetDatum(entry->occurred_at),
					   Int64GetDatum(request->request_id)};
	const char *channel = request->channel;

	if (!late || request->moved)
		return request->in_channel;
	if (kept_plan_run(&channel_then_select, values, NULL, false, 1) > 0)
		channel = spi_text(0, 1, CurrentMemoryContext);
	SPI_freetuptable(SPI_tuptable);
	return channel;
}

/* How near a request is to a contact, of which the nearest and then the newest is the one that it is about. */
#define OPENED_IN_CHANNEL 1
#define IN_CHANNEL_THEN 2
#define ITS_OWN 1 /* of the same customer, beside the nearness of one of those, doubled */
#define NEAREST (2 * IN_CHANNEL_THEN + ITS_OWN)

static int
nearness_of(const OpenRequest *request, const ContactEntry *entry, bool late)
{
	int nearness = 0;

	if (request->customer_id == 0)
		return 0;
	if (strcmp(channel_then(request, entry, late), entry->channel) == 0)
		nearness = IN_CHANNEL_THEN;
	else if (strcmp(request->channel, entry->channel) == 0)
		nearness = OPENED_IN_CHANNEL;
	return nearness == 0 ? 0 : 2 * nearness + (request->customer_id == entry->customer_id ? ITS_OWN : 0);
}

/*
 * Returns the request that a contact without a conversation continues, or NULL: of those that had been opened by then
 * the newest of those whose customer was in the contact's channel, else of those that were opened in it, of its own
 * customer's before others', else of all. One that was opened later it goes into where it would have opened that.
 */
OpenRequest *
open_request_continued(const OpenCustomer *customer, const ContactEntry *entry, const Channel *channel)
{
	OpenRequest *best = NULL;
	int nearest = -1;
	bool later = false;
	bool late = is_late(customer, entry);

	for (OpenRequest *request = customer->requests; request != NULL && nearest < NEAREST; request = request->next)
	{
		int nearness;

		if (!had_begun(request, entry, channel))
		{
			later = true;
			continue;
		}
		nearness = nearness_of(request, entry, late);
		if (nearness > nearest && is_near(request, entry, channel))
		{
			best = request;
			nearest = nearness;
		}
	}
	if (best == NULL && later)
		return opened_instead(customer, entry, channel);
	return best;
}

/*
 * open_request_is_sure returns whether a request that was found for a contact among those of its own customer goes
 * before all of those whom that was merged with.
 */
bool
open_request_is_sure(const OpenRequest *request, const ContactEntry *entry)
{
	return request != NULL && nearness_of(request, entry, false) == NEAREST;
}

/* Forgets where the row of a request stands that is not the newest of its customer's that is in its channel. */
void
open_request_note_place(const OpenCustomer *customer, OpenRequest *request)
{
	const OpenRequest *newest = customer->requests;

	while (newest != request &&
		   (newest->customer_id != request->customer_id || strcmp(newest->in_channel, request->in_channel) != 0))
		newest = newest->next;
	if (newest != request)
		ItemPointerSetInvalid(&request->said.place);
}

/*
 * Returns whether the request that a customer is known to wait in is as it was, and the entry, which names no request
 * and is in order, one that open_request_continued() says to go on with it without a further look.
 *
 * Where the row is outlives VACUUM FULL and dumps, after which the place may be that of a later version: nothing that
 * the entry would change in the request may be taken from what was known before.
 */
bool
open_request_goes_on(const ContactEntry *entry, const Channel *channel, SlaWait *wait, Snapshot snapshot)
{
	LookScan scan;
	Datum row[8];
	bool nulls[8];
	bool goes_on;

	if (!look_fetch(&scan, &place_look, &wait->request_place, snapshot, row, nulls))
		return false;
	goes_on = DatumGetInt64(row[0]) == wait->request_id && DatumGetInt64(row[1]) == entry->customer_id && nulls[6] &&
			  !look_touched(&scan);
	if (goes_on)
	{
		TimestampTz opened_at = DatumGetTimestampTz(row[4]);

		goes_on = strcmp(TextDatumGetCString(row[2]), "waiting_customer") != 0 &&
				  strcmp(TextDatumGetCString(row[3]), entry->channel) == 0 &&
				  (nulls[7] || strcmp(TextDatumGetCString(row[7]), entry->channel) == 0) &&
				  opened_at <= entry->occurred_at &&
				  Max(opened_at, DatumGetTimestampTz(row[5])) >= entry->occurred_at - channel->conversation_gap;
	}
	look_end(&scan);
	return goes_on;
}

/* Reads the customers' own open requests; returns false where only SQL can. */
static bool
read_own(OpenCustomer *customers, int count)
{
	LookScan scan;

	if (!look_open(&scan, &own_look, 1, NULL))
		return false;
	for (int i = 0; i < count; i++)
	{
		Datum keys[1] = {Int64GetDatum(customers[i].customer_id)};

		customers[i].root = customers[i].customer_id;
		customers[i].same = &customers[i];
		customers[i].requests = NULL;
		look_follow(&scan, keys);
		take_own(&customers[i], &scan);
	}
	look_end(&scan);
	return true;
}

/* Returns whether a customer has to do with others: with those whose requests were read for it, or with its root. */
static bool
has_others(const OpenCustomer *customer)
{
	bool others = customer->root != customer->customer_id;

	for (const OpenRequest *request = customer->requests; request != NULL && !others; request = request->next)
		others = request->customer_id != customer->customer_id;
	return others;
}

/*
 * open_requests_read reads the open requests of the customers that the entries, in order of time, may continue.
 *
 * One of its own that is in its channel goes before all of those whom a customer was merged with: only where an entry
 * has none it is asked who these are. If any are, all is read, since they may be among the customers.
 */
void
open_requests_read(OpenCustomer *customers, int count, ContactEntry **entries, int nentries)
{
	OpenCustomer *asking;
	bool *asks;
	bool others = false;
	int nasking = 0;

	if (count == 1 || !read_own(customers, count))
	{
		read_all(customers, count);
		return;
	}
	asks = palloc0(sizeof(bool) * count);
	for (int i = 0; i < nentries; i++)
	{
		OpenCustomer *customer = open_customer_find(customers, count, entries[i]->customer_id);
		const OpenRequest *request;

		if (entries[i]->conversation != NULL || asks[customer - customers])
			continue;
		request = open_request_continued(customer, entries[i], channel_get(entries[i]->channel));
		asks[customer - customers] =
			!open_request_is_sure(request, entries[i]) || request->opened_at > entries[i]->occurred_at;
	}

	asking = palloc(sizeof(OpenCustomer) * count);
	for (int i = 0; i < count; i++)
		if (asks[i])
			asking[nasking++] = customers[i];
	if (nasking == 0)
		return;
	read_all(asking, nasking);
	for (int i = 0; i < nasking && !others; i++)
		others = has_others(&asking[i]);
	if (others)
		read_all(customers, count);
	else
		for (int i = count - 1; i >= 0; i--)
			if (asks[i])
				customers[i].requests = asking[--nasking].requests;
}

/* Returns the customer's request of this id, noting it where it was not among the open ones that were read. */
OpenRequest *
open_request_named(OpenCustomer *customer, const Conversation *conversation)
{
	OpenRequest *request;

	for (request = customer->requests; request != NULL; request = request->next)
		if (request->request_id == conversation->request_id)
			return request;
	request = palloc0(sizeof(OpenRequest));
	request->request_id = conversation->request_id;
	request->channel = "";
	request->waits_since = conversation->waits_since;
	request->in_channel = conversation->in_channel;
	request->next = customer->requests;
	customer->requests = request;
	return request;
}
