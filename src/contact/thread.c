/*
 * thread.c
 *	  The conversations that applications name.
 *
 * The application's thread key names a conversation, within its source. The row of a new one is inserted before
 * anything is made of it: whoever comes second waits for the first and then finds whom the conversation is with, where
 * a look would have found nothing and made a second customer and a second request. Under a snapshot of the whole
 * transaction the second fails with 40001. Rows are inserted in the order of their keys, so that batches that meet do
 * not lock up.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/contact.h"

static KeptPlan threads_select = {
	.sql = "SELECT u.place, t.customer_id, t.request_id, r.request_id IS NOT NULL AND r.closed_at IS NULL, " WAITS_SINCE
		   ", t.request_at, " IN_CHANNEL " "
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
	.sql =
		"SELECT 1::bigint, t.customer_id, t.request_id, r.request_id IS NOT NULL AND r.closed_at IS NULL, " WAITS_SINCE
		", t.request_at, " IN_CHANNEL " "
		"FROM omnichannel.thread AS t LEFT JOIN omnichannel.request AS r ON r.request_id = t.request_id "
		"WHERE t.source = $1 AND t.thread = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.indexed = true,
};

static KeptPlan threads_save = {
	.sql = "INSERT INTO omnichannel.thread AS t (source, thread, customer_id, request_id, request_at) "
		   "SELECT source, thread, customer_id, nullif(request_id, 0), request_at "
		   "FROM unnest($1, $2, $3, $4, $5) AS u (source, thread, customer_id, request_id, request_at) "
		   "ON CONFLICT (source, thread) DO UPDATE SET customer_id = excluded.customer_id, "
		   "request_id = coalesce(excluded.request_id, t.request_id), "
		   "request_at = CASE WHEN excluded.request_id IS NULL THEN t.request_at ELSE excluded.request_at END "
		   "WHERE (t.customer_id, t.request_id) IS DISTINCT FROM "
		   "(excluded.customer_id, coalesce(excluded.request_id, t.request_id))",
	.nargs = 5,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
	.indexed = true,
};

static KeptPlan thread_claim = {
	.sql = "INSERT INTO omnichannel.thread (source, thread, customer_id) VALUES ($1, $2, $3) "
		   "ON CONFLICT (source, thread) DO NOTHING RETURNING source, thread",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT8OID},
	.indexed = true,
};

static KeptPlan threads_claim = {
	.sql = "INSERT INTO omnichannel.thread (source, thread, customer_id) SELECT * FROM unnest($1, $2, $3) "
		   "ON CONFLICT (source, thread) DO NOTHING RETURNING source, thread",
	.nargs = 3,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

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

/*
 * Returns the conversations of the entries, each once and in the order of their keys, making those that are not made
 * yet. Sorts the entries, which all have a thread.
 */
static Conversation **
collect(ContactEntry **entries, int count, int *found)
{
	Conversation **conversations = palloc(sizeof(Conversation *) * Max(count, 1));

	*found = 0;
	if (count > 1)
		qsort(entries, count, sizeof(ContactEntry *), compare_threads);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || compare_threads(&entries[i - 1], &entries[i]) != 0)
		{
			Conversation *conversation = entries[i]->conversation;

			if (conversation == NULL)
			{
				conversation = palloc0(sizeof(Conversation));
				conversation->source = entries[i]->source == NULL ? "" : entries[i]->source;
				conversation->thread = entries[i]->thread;
			}
			conversations[(*found)++] = conversation;
		}
		entries[i]->conversation = conversations[*found - 1];
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
		conversations[i]->request_at = DT_NOBEGIN;
		conversations[i]->open = false;
		conversations[i]->waits_since = DT_NOEND;
		conversations[i]->in_channel = NULL;
		conversations[i]->last_id = 0;
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
		conversation->request_at = DatumGetTimestampTz(spi_datum(row, 6, &isnull));
		if (isnull)
			conversation->request_at = DT_NOBEGIN;
		conversation->open = DatumGetBool(spi_datum(row, 4, &isnull));
		conversation->waits_since = spi_time(row, 5, DT_NOEND);
		conversation->in_channel = spi_text(row, 7, CurrentMemoryContext);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Sets conversation of the entries that have a thread, with what is known of it. Needs an SPI scope. */
void
conversations_find(ContactEntry *entries, int count)
{
	ContactEntry **threaded = palloc(sizeof(ContactEntry *) * count);
	Conversation **conversations;
	int chosen = 0;
	int found;

	for (int i = 0; i < count; i++)
		if (entries[i].thread != NULL)
			threaded[chosen++] = &entries[i];
	conversations = collect(threaded, chosen, &found);
	if (found > 0)
		read_conversations(conversations, found);
}

/* Reads again which requests the entries' conversations are about. Needs an SPI scope. */
void
conversations_refresh(ContactEntry *entries, int count)
{
	ContactEntry **threaded = palloc(sizeof(ContactEntry *) * count);
	Conversation **conversations;
	int chosen = 0;
	int found;

	for (int i = 0; i < count; i++)
		if (entries[i].conversation != NULL)
			threaded[chosen++] = &entries[i];
	conversations = collect(threaded, chosen, &found);
	if (found > 0)
		read_conversations(conversations, found);
}

/* Inserts the rows of conversations that are not known, and notes which of them others have inserted before. */
static void
insert_conversations(Conversation **conversations, int count)
{
	Datum *columns[3];
	Datum values[3];
	uint64 inserted;
	uint64 row = 0;

	for (int i = 0; i < 3; i++)
		columns[i] = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
	{
		columns[0][i] = CStringGetTextDatum(conversations[i]->source);
		columns[1][i] = CStringGetTextDatum(conversations[i]->thread);
		columns[2][i] = Int64GetDatum(conversations[i]->customer_id);
	}
	for (int i = 0; i < 3; i++)
		values[i] = count == 1 ? columns[i][0] : array_of(columns[i], NULL, count, i < 2 ? TEXTOID : INT8OID);
	inserted = kept_plan_run(count == 1 ? &thread_claim : &threads_claim, values, NULL, false, 0);

	/* What comes back is in the order of what went in. */
	for (int i = 0; i < count && row < inserted; i++)
		if (strcmp(spi_text(row, 2, CurrentMemoryContext), conversations[i]->thread) == 0 &&
			strcmp(spi_text(row, 1, CurrentMemoryContext), conversations[i]->source) == 0)
		{
			conversations[i]->known = conversations[i]->claimed = true;
			row++;
		}
	if (row != inserted)
		rows_not_taken("thread");
	SPI_freetuptable(SPI_tuptable);
}

/*
 * conversations_claim makes the conversations of entries that are no duplicates known to all; returns whether some of
 * them had been made by others meanwhile: these are lost, and with whom those say.
 *
 * Waits for others that are making the same. Needs an SPI scope. Under REPEATABLE READ and SERIALIZABLE raises 40001
 * where another transaction made one that this one cannot see.
 */
bool
conversations_claim(ContactEntry *entries, int count)
{
	ContactEntry **chosen = palloc(sizeof(ContactEntry *) * count);
	bool lost = false;

	for (int round = 0;; round++)
	{
		Conversation **conversations;
		int64 *customers;
		int new = 0;
		int found;
		int others = 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < count; i++)
			if (entries[i].conversation != NULL && !entries[i].conversation->known && !entries[i].duplicate)
				chosen[new ++] = &entries[i];
		if (new == 0)
			return lost;
		if (round == INSERT_ROUNDS)
			rows_not_taken("thread");
		conversations = collect(chosen, new, &found);
		insert_conversations(conversations, found);
		for (int i = 0; i < found; i++)
			if (!conversations[i]->known)
				conversations[others++] = conversations[i];
		if (others == 0)
			return lost;

		/* One that is gone again by now is inserted in the next round. */
		customers = palloc(sizeof(int64) * others);
		for (int i = 0; i < others; i++)
		{
			customers[i] = conversations[i]->customer_id;
			conversations[i]->customer_id = 0;
		}
		read_conversations(conversations, others);
		for (int i = 0; i < others; i++)
		{
			if (conversations[i]->known)
			{
				conversations[i]->lost = lost = true;
				conversations[i]->reserved = conversations[i]->changed = false;
			}
			else
				conversations[i]->customer_id = customers[i];
		}
	}
}

/* Notes that the conversation is about a request as of a time; returns whether that is news. */
bool
conversation_about(Conversation *conversation, int64 request_id, TimestampTz at)
{
	if (conversation->request_id == request_id || (conversation->request_id != 0 && at < conversation->request_at))
		return false;
	conversation->request_id = request_id;
	conversation->request_at = at;
	conversation->changed = true;
	return true;
}

/* Writes the conversations that have changed, each once, in the order of their keys. Needs an SPI scope. */
void
conversations_save(ContactEntry *entries, int count)
{
	ContactEntry **sorted = palloc(sizeof(ContactEntry *) * count);
	Datum *columns[5];
	Datum values[5];
	int threaded = 0;
	int saved = 0;

	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (conversation == NULL || entries[i].duplicate)
			continue;
		if (entries[i].request_id != 0)
			conversation_about(conversation, entries[i].request_id, entries[i].occurred_at);
		if (conversation->changed)
			sorted[threaded++] = &entries[i];
	}
	if (threaded == 0)
		return;

	qsort(sorted, threaded, sizeof(ContactEntry *), compare_threads);
	for (int i = 0; i < 5; i++)
		columns[i] = palloc(sizeof(Datum) * threaded);
	for (int i = 0; i < threaded; i++)
	{
		Conversation *conversation = sorted[i]->conversation;

		if (i > 0 && sorted[i - 1]->conversation == conversation)
			continue;
		columns[0][saved] = CStringGetTextDatum(conversation->source);
		columns[1][saved] = CStringGetTextDatum(conversation->thread);
		columns[2][saved] = Int64GetDatum(conversation->customer_id);
		columns[3][saved] = Int64GetDatum(conversation->request_id);
		columns[4][saved++] = TimestampTzGetDatum(conversation->request_at);
	}
	for (int i = 0; i < 5; i++)
		values[i] = array_of(columns[i], NULL, saved, i < 2 ? TEXTOID : i < 4 ? INT8OID : TIMESTAMPTZOID);
	threads_save.runs += saved - 1;
	(void) kept_plan_run(&threads_save, values, NULL, false, 0);
}
