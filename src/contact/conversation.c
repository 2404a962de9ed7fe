/*
 * conversation.c
 *	  Which conversation a contact belongs to, and which request it is about.
 *
 * The application's thread key names a conversation, within its source. A contact without one belongs to its customer's
 * open request: that of its own channel first, else the newest, as long as it has not rested for longer than the
 * channel allows. An inbound contact of a channel that opens requests opens one where there is none; the customers'
 * rows are locked before, and the search is repeated under the lock, so that two messages at once open one request.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "core/look.h"
#include "customer/customer.h"
#include "request/request.h"

static KeptPlan threads_select = {
	.sql = "SELECT u.place, t.customer_id, t.request_id, r.closed_at IS NULL, r.state = 'waiting_customer' "
		   "FROM unnest($1, $2) WITH ORDINALITY AS u (source, thread, place) "
		   "CROSS JOIN LATERAL (SELECT * FROM omnichannel.thread AS one "
		   "WHERE one.source = u.source AND one.thread = u.thread OFFSET 0) AS t "
		   "LEFT JOIN LATERAL (SELECT * FROM omnichannel.request AS one "
		   "WHERE one.request_id = t.request_id OFFSET 0) AS r ON true",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

static KeptPlan thread_select = {
	.sql = "SELECT 1::bigint, t.customer_id, t.request_id, r.closed_at IS NULL, r.state = 'waiting_customer' "
		   "FROM omnichannel.thread AS t LEFT JOIN omnichannel.request AS r ON r.request_id = t.request_id "
		   "WHERE t.source = $1 AND t.thread = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.indexed = true,
};

static KeptPlan threads_save = {
	.sql = "INSERT INTO omnichannel.thread AS t (source, thread, customer_id, request_id) "
		   "SELECT source, thread, customer_id, nullif(request_id, 0) "
		   "FROM unnest($1, $2, $3, $4) AS u (source, thread, customer_id, request_id) "
		   "ON CONFLICT (source, thread) DO UPDATE "
		   "SET customer_id = excluded.customer_id, request_id = coalesce(excluded.request_id, t.request_id) "
		   "WHERE (t.customer_id, t.request_id) IS DISTINCT FROM "
		   "(excluded.customer_id, coalesce(excluded.request_id, t.request_id))",
	.nargs = 4,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan open_select = {
	.sql =
		"SELECT u.place, r.request_id, r.channel, r.state = 'waiting_customer', greatest(r.opened_at, r.state_since) "
		"FROM unnest($1) WITH ORDINALITY AS u (customer_id, place) "
		"CROSS JOIN LATERAL (SELECT * FROM omnichannel.customer AS one "
		"WHERE one.customer_id = u.customer_id OFFSET 0) AS c "
		"CROSS JOIN LATERAL ("
		"SELECT own.* FROM omnichannel.request AS own "
		"WHERE own.customer_id = coalesce(c.merged_into, c.customer_id) AND own.closed_at IS NULL "
		"UNION ALL "
		"SELECT merged.* FROM (SELECT one.customer_id FROM omnichannel.customer AS one "
		"WHERE one.merged_into = coalesce(c.merged_into, c.customer_id) OFFSET 0) AS m "
		"CROSS JOIN LATERAL (SELECT * FROM omnichannel.request AS one "
		"WHERE one.customer_id = m.customer_id AND one.closed_at IS NULL OFFSET 0) AS merged) AS r "
		"ORDER BY u.place, r.opened_at, r.request_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan own_select = {
	.sql =
		"SELECT u.place, r.request_id, r.channel, r.state = 'waiting_customer', greatest(r.opened_at, r.state_since) "
		"FROM unnest($1) WITH ORDINALITY AS u (customer_id, place) "
		"CROSS JOIN LATERAL (SELECT * FROM omnichannel.request AS one "
		"WHERE one.customer_id = u.customer_id AND one.closed_at IS NULL OFFSET 0) AS r "
		"ORDER BY u.place, r.opened_at, r.request_id",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan own_one_select = {
	.sql = "SELECT 1::bigint, request_id, channel, state = 'waiting_customer', greatest(opened_at, state_since) "
		   "FROM omnichannel.request WHERE customer_id = $1 AND closed_at IS NULL ORDER BY opened_at, request_id",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static LookUp own_look = {
	.table = "request",
	.index = "request_open_customer",
	.nkeys = 3,
	.where = LOOK_NULL,
	.where_column = "closed_at",
	.ncolumns = 6,
	.columns = {{"customer_id", INT8OID},
				{"opened_at", TIMESTAMPTZOID},
				{"request_id", INT8OID},
				{"channel", TEXTOID},
				{"state", TEXTOID},
				{"state_since", TIMESTAMPTZOID}},
};

static KeptPlan customers_lock = {
	.sql =
		"SELECT FROM omnichannel.customer WHERE customer_id = ANY ("
		"SELECT coalesce(c.merged_into, c.customer_id) FROM omnichannel.customer AS c WHERE c.customer_id = ANY ($1)) "
		"ORDER BY customer_id FOR NO KEY UPDATE",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

static KeptPlan requests_insert = {
	.sql = "INSERT INTO omnichannel.request "
		   "(request_id, customer_id, channel, kind, queue, state, opened_at, state_since, subject) "
		   "SELECT u.request_id, u.customer_id, u.channel, u.kind, u.queue, "
		   "CASE WHEN u.queue IS NULL THEN 'new' ELSE 'waiting_agent' END, u.opened_at, u.opened_at, u.subject "
		   "FROM unnest($1, $2, $3, $4, $5, $6, $7) "
		   "AS u (request_id, customer_id, channel, kind, queue, opened_at, subject)",
	.nargs = 7,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
				 TEXTARRAYOID},
	.indexed = true,
};

static KeptPlan requests_resume = {
	.sql = "UPDATE omnichannel.request SET state = CASE WHEN queue IS NOT NULL THEN 'waiting_agent' "
		   "WHEN agent_id IS NOT NULL THEN 'assigned' ELSE 'new' END "
		   "WHERE request_id = ANY ($1) AND state = 'waiting_customer'",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* An open request of a customer, or one that is about to be opened. */
typedef struct OpenRequest
{
	int64 request_id;
	int64 customer_id;
	const char *channel;
	TimestampTz moved_at;
	bool waiting;              /* for the customer */
	bool resumed;              /* the customer has answered */
	const ContactEntry *opens; /* the contact that opens it, or NULL */
	struct OpenRequest *next;  /* of the same customer, newest first */
} OpenRequest;

/* A customer of the contacts at hand; customers are sorted by id. */
typedef struct OpenCustomer
{
	int64 customer_id;
	OpenRequest *requests;
} OpenCustomer;

/* Returns an array datum. */
static Datum
array_of(Datum *elements, bool *nulls, int count, Oid type)
{
	int dims[1] = {count};
	int bounds[1] = {1};
	bool text_like = type == TEXTOID;

	return PointerGetDatum(construct_md_array(elements, nulls, 1, dims, bounds, type, text_like ? -1 : 8,
											  text_like ? false : FLOAT8PASSBYVAL,
											  text_like ? TYPALIGN_INT : TYPALIGN_DOUBLE));
}

/* Orders pointers to entries by source and thread; those without a thread come last. */
static int
compare_threads(const void *a, const void *b)
{
	const ContactEntry *left = *(ContactEntry *const *) a;
	const ContactEntry *right = *(ContactEntry *const *) b;
	int order = strcmp(left->thread, right->thread);

	if (order != 0)
		return order;
	return strcmp(left->source == NULL ? "" : left->source, right->source == NULL ? "" : right->source);
}

/* Returns the conversations of the entries, each once, making them where they are not made yet. */
static Conversation **
collect_conversations(ContactEntry *entries, int count, int *found)
{
	ContactEntry **sorted = palloc(sizeof(ContactEntry *) * count);
	Conversation **conversations = palloc(sizeof(Conversation *) * count);
	int threaded = 0;

	*found = 0;
	for (int i = 0; i < count; i++)
		if (entries[i].thread != NULL)
			sorted[threaded++] = &entries[i];
	qsort(sorted, threaded, sizeof(ContactEntry *), compare_threads);
	for (int i = 0; i < threaded; i++)
	{
		if (i == 0 || compare_threads(&sorted[i - 1], &sorted[i]) != 0)
		{
			Conversation *conversation = sorted[i]->conversation;

			if (conversation == NULL)
			{
				conversation = palloc0(sizeof(Conversation));
				conversation->source = sorted[i]->source == NULL ? "" : sorted[i]->source;
				conversation->thread = sorted[i]->thread;
			}
			conversations[(*found)++] = conversation;
		}
		sorted[i]->conversation = conversations[*found - 1];
	}
	return conversations;
}

/* Reads what is known of conversations; the customer only of those that have none yet. */
static void
read_conversations(Conversation **conversations, int count)
{
	Datum *sources = palloc(sizeof(Datum) * count);
	Datum *threads = palloc(sizeof(Datum) * count);
	Datum values[2];
	uint64 rows;

	for (int i = 0; i < count; i++)
	{
		sources[i] = CStringGetTextDatum(conversations[i]->source);
		threads[i] = CStringGetTextDatum(conversations[i]->thread);
		conversations[i]->request_id = 0;
		conversations[i]->open = conversations[i]->waiting = false;
	}
	values[0] = count == 1 ? sources[0] : array_of(sources, NULL, count, TEXTOID);
	values[1] = count == 1 ? threads[0] : array_of(threads, NULL, count, TEXTOID);
	threads_select.runs += count - 1;
	rows = kept_plan_run(count == 1 ? &thread_select : &threads_select, values, NULL, false, 0);
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		Conversation *conversation = conversations[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1];
		int64 request_id;

		conversation->known = true;
		if (conversation->customer_id == 0)
			conversation->customer_id = DatumGetInt64(spi_datum(row, 2, &isnull));
		request_id = DatumGetInt64(spi_datum(row, 3, &isnull));
		if (isnull)
			continue;
		conversation->request_id = request_id;
		conversation->open = DatumGetBool(spi_datum(row, 4, &isnull));
		conversation->waiting = conversation->open && DatumGetBool(spi_datum(row, 5, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Sets conversation of the entries that have a thread, with what is known of it by now. Needs an SPI scope. */
void
conversations_find(ContactEntry *entries, int count)
{
	int found;
	Conversation **conversations = collect_conversations(entries, count, &found);

	if (found > 0)
		read_conversations(conversations, found);
}

/* Writes the conversations that are new or have changed, each once, in the order of their keys. Needs an SPI scope. */
void
conversations_save(ContactEntry *entries, int count)
{
	ContactEntry **sorted = palloc(sizeof(ContactEntry *) * count);
	Datum *columns[4];
	Datum values[4];
	int threaded = 0;
	int saved = 0;

	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (conversation == NULL || entries[i].duplicate)
			continue;
		if (entries[i].request_id != 0 && entries[i].request_id != conversation->request_id)
		{
			conversation->request_id = entries[i].request_id;
			conversation->changed = true;
		}
		if (!conversation->known || conversation->changed)
			sorted[threaded++] = &entries[i];
	}
	if (threaded == 0)
		return;

	qsort(sorted, threaded, sizeof(ContactEntry *), compare_threads);
	for (int i = 0; i < 4; i++)
		columns[i] = palloc(sizeof(Datum) * threaded);
	for (int i = 0; i < threaded; i++)
	{
		Conversation *conversation = sorted[i]->conversation;

		if (i > 0 && sorted[i - 1]->conversation == conversation)
			continue;
		columns[0][saved] = CStringGetTextDatum(conversation->source);
		columns[1][saved] = CStringGetTextDatum(conversation->thread);
		columns[2][saved] = Int64GetDatum(conversation->customer_id);
		columns[3][saved++] = Int64GetDatum(conversation->request_id);
	}
	for (int i = 0; i < 4; i++)
		values[i] = array_of(columns[i], NULL, saved, i < 2 ? TEXTOID : INT8OID);
	threads_save.runs += saved - 1;
	(void) kept_plan_run(&threads_save, values, NULL, false, 0);
}

/* Orders customers by id. */
static int
compare_customers(const void *a, const void *b)
{
	int64 left = ((const OpenCustomer *) a)->customer_id;
	int64 right = ((const OpenCustomer *) b)->customer_id;

	return left < right ? -1 : left > right;
}

/* Returns the customers of the entries, each once, without their requests. */
static OpenCustomer *
distinct_customers(const ContactEntry *entries, int count, int *found)
{
	OpenCustomer *customers = palloc0(sizeof(OpenCustomer) * count);
	int distinct = 0;

	for (int i = 0; i < count; i++)
		customers[i].customer_id = entries[i].customer_id;
	if (count > 1)
		qsort(customers, count, sizeof(OpenCustomer), compare_customers);
	for (int i = 0; i < count; i++)
		if (i == 0 || customers[i].customer_id != customers[distinct - 1].customer_id)
			customers[distinct++].customer_id = customers[i].customer_id;
	*found = distinct;
	return customers;
}

/* Enters the open requests that a statement returned with the customers' places. */
static void
take_open_requests(OpenCustomer **customers, uint64 rows)
{
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		OpenCustomer *customer = customers[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1];
		OpenRequest *request = palloc0(sizeof(OpenRequest));

		request->request_id = DatumGetInt64(spi_datum(row, 2, &isnull));
		request->channel = spi_text(row, 3, CurrentMemoryContext);
		request->waiting = DatumGetBool(spi_datum(row, 4, &isnull));
		request->moved_at = DatumGetTimestampTz(spi_datum(row, 5, &isnull));
		request->next = customer->requests;
		customer->requests = request;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Reads the open requests of one customer; not of those who were merged into it. */
static void
read_own_requests(OpenCustomer *customer)
{
	Datum values[1] = {Int64GetDatum(customer->customer_id)};
	LookScan scan;
	Datum row[6];
	bool nulls[6];

	if (!look_begin(&scan, &own_look, values, 1, NULL))
	{
		take_open_requests(&customer, kept_plan_run(&own_one_select, values, NULL, false, 0));
		return;
	}
	while (look_next(&scan, false, row, nulls))
	{
		OpenRequest *request = palloc0(sizeof(OpenRequest));

		request->request_id = DatumGetInt64(row[2]);
		request->channel = TextDatumGetCString(row[3]);
		request->waiting = text_equals(row[4], "waiting_customer");
		request->moved_at = Max(DatumGetTimestampTz(row[1]), DatumGetTimestampTz(row[5]));
		request->next = customer->requests;
		customer->requests = request;
	}
	look_end(&scan);
}

/* Reads the open requests of the customers; of those who have none, the open requests of whom they were merged with. */
static void
read_open_requests(OpenCustomer *customers, int count)
{
	OpenCustomer **asked = palloc(sizeof(OpenCustomer *) * count);
	Datum *ids = palloc(sizeof(Datum) * count);
	Datum values[1];
	int without = 0;

	for (int i = 0; i < count; i++)
	{
		asked[i] = &customers[i];
		customers[i].requests = NULL;
		ids[i] = Int64GetDatum(customers[i].customer_id);
	}
	if (count == 1)
		read_own_requests(customers);
	else
	{
		values[0] = array_of(ids, NULL, count, INT8OID);
		own_select.runs += count - 1;
		take_open_requests(asked, kept_plan_run(&own_select, values, NULL, false, 0));
	}

	for (int i = 0; i < count; i++)
	{
		if (customers[i].requests != NULL)
			continue;
		asked[without] = &customers[i];
		ids[without++] = Int64GetDatum(customers[i].customer_id);
	}
	if (without == 0)
		return;
	values[0] = array_of(ids, NULL, without, INT8OID);
	open_select.runs += without - 1;
	take_open_requests(asked, kept_plan_run(&open_select, values, NULL, false, 0));
}

/* Returns the request that a contact without a thread continues, or NULL. */
static OpenRequest *
continued_request(const OpenCustomer *customer, const ContactEntry *entry, const Channel *channel)
{
	OpenRequest *newest = NULL;

	for (OpenRequest *request = customer->requests; request != NULL; request = request->next)
	{
		if (entry->occurred_at - request->moved_at > channel->conversation_gap)
			continue;
		if (strcmp(request->channel, entry->channel) == 0)
			return request;
		if (newest == NULL)
			newest = request;
	}
	return newest;
}

/* Returns the customer's request of this id, noting it where it was not among the open ones that were read. */
static OpenRequest *
customer_request(OpenCustomer *customer, const Conversation *conversation)
{
	OpenRequest *request;

	for (request = customer->requests; request != NULL; request = request->next)
		if (request->request_id == conversation->request_id)
			return request;
	request = palloc0(sizeof(OpenRequest));
	request->request_id = conversation->request_id;
	request->channel = "";
	request->waiting = conversation->waiting;
	request->moved_at = DT_NOBEGIN;
	request->next = customer->requests;
	customer->requests = request;
	return request;
}

/* Orders pointers to entries by time, then by id. */
static int
compare_times(const void *a, const void *b)
{
	const ContactEntry *left = *(ContactEntry *const *) a;
	const ContactEntry *right = *(ContactEntry *const *) b;

	if (left->occurred_at != right->occurred_at)
		return left->occurred_at < right->occurred_at ? -1 : 1;
	return left->contact_id < right->contact_id ? -1 : left->contact_id > right->contact_id;
}

/* Decides for each entry, in order of time, which request it is about; returns how many are to be opened. */
static int
assign_requests(ContactEntry **sorted, int count, OpenCustomer *customers, int ncustomers, OpenRequest **opened,
				OpenRequest **resumed, int *nresumed)
{
	int nopened = 0;

	*nresumed = 0;
	for (int i = 0; i < count; i++)
	{
		ContactEntry *entry = sorted[i];
		const Channel *channel = channel_get(entry->channel);
		OpenCustomer sought = {.customer_id = entry->customer_id};
		OpenCustomer *customer = bsearch(&sought, customers, ncustomers, sizeof(OpenCustomer), compare_customers);
		Conversation *conversation = entry->conversation;
		OpenRequest *request = NULL;

		if (conversation != NULL && conversation->open)
			request = customer_request(customer, conversation);
		else if (conversation == NULL)
			request = continued_request(customer, entry, channel);

		if (request == NULL && is_inbound(entry) && channel->opens_request)
		{
			request = palloc0(sizeof(OpenRequest));
			request->customer_id = entry->customer_id;
			request->channel = entry->channel;
			request->moved_at = entry->occurred_at;
			request->opens = entry;
			request->next = customer->requests;
			customer->requests = request;
			opened[nopened++] = request;
			request->request_id = -nopened; /* until it has an id */
		}
		if (request == NULL)
			continue;
		entry->request_id = request->request_id;
		if (conversation != NULL && !conversation->open)
		{
			conversation->request_id = request->request_id;
			conversation->open = true;
			conversation->changed = true;
		}
		if (is_inbound(entry) && request->waiting && !request->resumed)
		{
			request->resumed = true;
			resumed[(*nresumed)++] = request;
		}
	}
	return nopened;
}

/* Locks the customers of the requests that are to be opened. */
static void
lock_customers(OpenRequest **opened, int count)
{
	Datum *ids = palloc(sizeof(Datum) * count);
	Datum values[1];

	for (int i = 0; i < count; i++)
		ids[i] = Int64GetDatum(opened[i]->customer_id);
	values[0] = array_of(ids, NULL, count, INT8OID);
	customers_lock.runs += count - 1;
	(void) kept_plan_run(&customers_lock, values, NULL, false, 0);
}

/* Inserts the requests that are to be opened. */
static void
insert_requests(OpenRequest **opened, int count)
{
	static const Oid types[7] = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum *columns[7];
	bool *nulls[7];
	Datum values[7];

	for (int column = 0; column < 7; column++)
	{
		columns[column] = palloc0(sizeof(Datum) * count);
		nulls[column] = palloc0(sizeof(bool) * count);
	}
	for (int i = 0; i < count; i++)
	{
		const ContactEntry *entry = opened[i]->opens;
		const Channel *channel = channel_get(entry->channel);

		columns[0][i] = Int64GetDatum(opened[i]->request_id);
		columns[1][i] = Int64GetDatum(entry->customer_id);
		columns[2][i] = CStringGetTextDatum(entry->channel);
		columns[3][i] = CStringGetTextDatum(channel->request_kind);
		nulls[4][i] = channel->queue == NULL;
		if (channel->queue != NULL)
			columns[4][i] = CStringGetTextDatum(channel->queue);
		columns[5][i] = TimestampTzGetDatum(entry->occurred_at);
		nulls[6][i] = entry->subject == NULL;
		if (entry->subject != NULL)
			columns[6][i] = PointerGetDatum(entry->subject);
	}
	for (int column = 0; column < 7; column++)
		values[column] = array_of(columns[column], nulls[column], count, types[column]);
	(void) requests_write(&requests_insert, values, NULL);
}

/* Sets the requests to which the customer has answered to work again. */
static void
resume_requests(OpenRequest **resumed, int count)
{
	Datum *ids = palloc(sizeof(Datum) * Max(count, 1));
	Datum values[1];

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
		ids[i] = Int64GetDatum(resumed[i]->request_id);
	values[0] = array_of(ids, NULL, count, INT8OID);
	requests_resume.runs += count - 1;
	(void) requests_write(&requests_resume, values, NULL);
}

/*
 * requests_continue sets request_id of the entries that name none: continues open requests and opens new ones.
 *
 * Leaves out duplicates and internal contacts. Needs an SPI scope. Raises 23503 for a channel's queue that does not
 * exist.
 */
void
requests_continue(ContactEntry *entries, int count)
{
	ContactEntry **sorted = palloc(sizeof(ContactEntry *) * count);
	OpenRequest **opened = palloc(sizeof(OpenRequest *) * count);
	OpenRequest **resumed = palloc(sizeof(OpenRequest *) * count);
	OpenCustomer *customers;
	int ncustomers;
	int concerned = 0;
	int nopened;
	int nresumed;
	Oid ids;

	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate && entries[i].request_id == 0 && strcmp(entries[i].direction, "internal") != 0)
			sorted[concerned++] = &entries[i];
	if (concerned == 0)
		return;
	if (concerned > 1)
		qsort(sorted, concerned, sizeof(ContactEntry *), compare_times);
	customers = distinct_customers(entries, count, &ncustomers);
	read_open_requests(customers, ncustomers);
	nopened = assign_requests(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);

	if (nopened > 0)
	{
		/* Look again when nobody else can open one meanwhile. */
		lock_customers(opened, nopened);
		for (int i = 0; i < concerned; i++)
			sorted[i]->request_id = 0;
		conversations_find(entries, count);
		read_open_requests(customers, ncustomers);
		nopened = assign_requests(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);

		ids = omni_table("request_request_id_seq");
		for (int i = 0; i < nopened; i++)
			opened[i]->request_id = nextval_internal(ids, true);
		for (int i = 0; i < concerned; i++)
		{
			ContactEntry *entry = sorted[i];

			if (entry->request_id < 0)
				entry->request_id = opened[-entry->request_id - 1]->request_id;
			if (entry->conversation != NULL && entry->conversation->request_id < 0)
				entry->conversation->request_id = opened[-entry->conversation->request_id - 1]->request_id;
		}
		insert_requests(opened, nopened);
	}
	resume_requests(resumed, nresumed);
}

/*
 * request_settled sets request_id of one entry where that takes nothing but looking; returns false where something is
 * to be written, or may have to be.
 *
 * Needs an SPI scope. Raises as requests_continue() does.
 */
bool
request_settled(ContactEntry *entry)
{
	const Channel *channel = channel_get(entry->channel);
	Conversation *conversation = entry->conversation;
	OpenCustomer customer = {.customer_id = entry->customer_id};
	OpenRequest *request;

	if (conversation != NULL && (!conversation->known || conversation->changed))
		return false;
	if (entry->request_id != 0)
		return conversation == NULL || conversation->request_id == entry->request_id;
	if (strcmp(entry->direction, "internal") == 0)
		return true;
	if (conversation != NULL)
	{
		if (!conversation->open)
			return !(is_inbound(entry) && channel->opens_request);
		if (is_inbound(entry) && conversation->waiting)
			return false;
		entry->request_id = conversation->request_id;
		return true;
	}

	read_own_requests(&customer);
	request = continued_request(&customer, entry, channel);
	if (request == NULL || (is_inbound(entry) && request->waiting))
		return false;
	entry->request_id = request->request_id;
	return true;
}
