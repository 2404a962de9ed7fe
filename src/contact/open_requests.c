/*
 * open_requests.c
 *	  The open requests of the customers of contacts.
 *
 * Requests are those of a customer and of whomever that was merged with.
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

/* Returns who holds the requests of one of the customers and of all who are one with it, or NULL. */
OpenCustomer *
open_customer_find(OpenCustomer *customers, int count, int64 customer_id)
{
	OpenCustomer sought = {.customer_id = customer_id};
	OpenCustomer *found = bsearch(&sought, customers, count, sizeof(OpenCustomer), compare_customers);

	return found == NULL ? NULL : found->same;
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
		request->opened_at = DatumGetTimestampTz(spi_datum(row, 7, &isnull));
		request->inbound_at = DT_NOBEGIN;
		request->asked_since = DT_NOEND;
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
		request->opened_at = DatumGetTimestampTz(row[1]);
		request->inbound_at = DT_NOBEGIN;
		request->asked_since = DT_NOEND;
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

/* Notes whose requests an entry that is not loose may move into another channel. */
static void
note_move(OpenCustomer *customers, int count, const ContactEntry *entry, bool *moved)
{
	const char *in_channel = entry->request_customer != 0 ? entry->request_in_channel : entry->conversation->in_channel;
	int64 ids[2] = {entry->customer_id, entry->request_customer};

	if (in_channel == NULL || strcmp(in_channel, entry->channel) == 0)
		return;
	for (int i = 0; i < 2; i++)
	{
		const OpenCustomer *customer = open_customer_find(customers, count, ids[i]);

		if (customer != NULL)
			moved[customer - customers] = true;
	}
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
	bool *moved;
	bool others = false;
	int nasking = 0;

	if (count == 1 || !read_own(customers, count))
	{
		read_all(customers, count);
		return;
	}
	asks = palloc0(sizeof(bool) * count);
	moved = palloc0(sizeof(bool) * count);
	for (int i = 0; i < nentries; i++)
	{
		OpenCustomer *customer = open_customer_find(customers, count, entries[i]->customer_id);
		const OpenRequest *request;

		if (!is_loose(entries[i]))
		{
			note_move(customers, count, entries[i], moved);
			continue;
		}
		if (asks[customer - customers])
			continue;
		request = open_request_continued(customer, entries[i], channel_get(entries[i]->channel));
		asks[customer - customers] = moved[customer - customers] || !open_request_is_sure(request, entries[i]) ||
									 request->opened_at > entries[i]->occurred_at;
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
