/*
 * conversation.c
 *	  Which request a contact is about.
 *
 * A contact of a conversation that the application names is about the request that it was about at the contact's own
 * time, as far as is logged. One without, or with a thread of somebody else's, is about an open request of its customer
 * and whomever that was merged with that was open at its time: one whose customer was in its channel first, then one
 * that was opened in it, else the newest, as long as that had not rested for longer than the channel allows; logged
 * late, it is about the one that was opened in its stead since, by not more than that later. An inbound contact of a
 * channel that opens requests opens one where there is none; the customers' rows are locked before, and the search is
 * repeated under the lock, so that two messages at once open one request.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/open_requests.h"
#include "request/request.h"

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

/* What has waited since the customer's answer or longer goes on as of then. */
static KeptPlan requests_resume = {
	.sql = "UPDATE omnichannel.request AS r SET state = CASE WHEN r.queue IS NOT NULL THEN 'waiting_agent' "
		   "WHEN r.agent_id IS NOT NULL THEN 'assigned' ELSE 'new' END, state_since = u.said_at "
		   "FROM (SELECT one.request_id, min(one.said_at) AS said_at FROM unnest($1, $2) AS one (request_id, said_at) "
		   "GROUP BY one.request_id ORDER BY one.request_id) AS u "
		   "WHERE r.request_id = u.request_id AND r.state = 'waiting_customer' AND r.state_since <= u.said_at",
	.nargs = 2,
	.argtypes = {INT8ARRAYOID, TIMESTAMPTZARRAYOID},
	.indexed = true,
};

/* What the customer said last counts, also where it was logged before. */
static KeptPlan channels_follow = {
	.sql =
		"UPDATE omnichannel.request AS r SET current_channel = nullif(u.channel, r.channel) "
		"FROM (SELECT DISTINCT ON (request_id) * FROM unnest($1, $2, $3, $4) "
		"AS given (request_id, customer_id, channel, said_at) ORDER BY request_id, said_at DESC, channel) AS u "
		"WHERE r.request_id = u.request_id AND r.closed_at IS NULL "
		"AND coalesce(r.current_channel, r.channel) <> u.channel AND NOT EXISTS "
		"(SELECT FROM omnichannel.contact AS c JOIN omnichannel.channel AS h USING (channel) "
		"WHERE c.customer_id = ANY (ARRAY(SELECT r.customer_id UNION SELECT coalesce(one.merged_into, one.customer_id) "
		"FROM omnichannel.customer AS one WHERE one.customer_id = u.customer_id UNION "
		"SELECT m.customer_id FROM omnichannel.customer AS one JOIN omnichannel.customer AS m "
		"ON m.merged_into = coalesce(one.merged_into, one.customer_id) WHERE one.customer_id = u.customer_id)) "
		"AND c.occurred_at > u.said_at AND c.request_id = u.request_id AND c.direction = 'inbound' "
		"AND c.outcome <> 'failed' AND h.opens_request)",
	.nargs = 4,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID},
	.indexed = true,
};

/*
 * What a conversation was about at a time: what its last contact before that was, or else what the next one is, where
 * that was opened later: by the conversation, which would have opened it before.
 */
static KeptPlan about_select = {
	.sql = "SELECT r.request_id, r.closed_at IS NULL, " WAITS_SINCE ", " IN_CHANNEL " "
		   "FROM (SELECT coalesce(one.merged_into, one.customer_id) AS root "
		   "FROM omnichannel.customer AS one WHERE one.customer_id = $1 OFFSET 0) AS k "
		   "CROSS JOIN LATERAL (SELECT k.root AS customer_id UNION ALL SELECT m.customer_id "
		   "FROM omnichannel.customer AS m WHERE m.merged_into = k.root) AS g "
		   "CROSS JOIN LATERAL ((SELECT false AS later, one.occurred_at, one.contact_id, one.request_id "
		   "FROM omnichannel.contact AS one WHERE one.customer_id = g.customer_id AND one.occurred_at <= $4 "
		   "AND one.thread = $3 AND coalesce(one.source, '') = $2 AND one.request_id IS NOT NULL "
		   "ORDER BY one.occurred_at DESC, one.contact_id DESC LIMIT 1) UNION ALL "
		   "(SELECT true, one.occurred_at, one.contact_id, one.request_id "
		   "FROM omnichannel.contact AS one WHERE one.customer_id = g.customer_id AND one.occurred_at > $4 "
		   "AND one.thread = $3 AND coalesce(one.source, '') = $2 AND one.request_id IS NOT NULL "
		   "ORDER BY one.occurred_at, one.contact_id LIMIT 1)) AS c "
		   "JOIN omnichannel.request AS r ON r.request_id = c.request_id WHERE NOT c.later OR r.opened_at > $4 "
		   "ORDER BY c.later, abs(extract(epoch FROM c.occurred_at - $4)), c.contact_id DESC LIMIT 1",
	.nargs = 4,
	.argtypes = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID},
	.indexed = true,
};

static KeptPlan state_select = {
	.sql = "SELECT r.request_id, r.closed_at IS NULL, " WAITS_SINCE ", " IN_CHANNEL " "
		   "FROM omnichannel.request AS r WHERE r.request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

/* Sets what a conversation is about from the row of a statement, if it returned one. */
static void
take_about(Conversation *conversation, uint64 rows)
{
	bool isnull;

	conversation->unread = false;
	conversation->open = false;
	conversation->waits_since = DT_NOEND;
	conversation->in_channel = NULL;
	conversation->request_id = rows == 0 ? 0 : DatumGetInt64(spi_datum(0, 1, &isnull));
	if (rows > 0)
	{
		conversation->open = DatumGetBool(spi_datum(0, 2, &isnull));
		conversation->waits_since = spi_time(0, 3, DT_NOEND);
		conversation->in_channel = spi_text(0, 4, CurrentMemoryContext);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Sets *about to the entry's conversation as it was at the entry's time. */
static void
conversation_then(const ContactEntry *entry, Conversation *about)
{
	Conversation *now = entry->conversation;

	if (now->unread)
	{
		Datum values[1] = {Int64GetDatum(now->request_id)};

		take_about(now, kept_plan_run(&state_select, values, NULL, false, 1));
	}
	*about = *now;
	if (now->request_id != 0 && entry->occurred_at < now->request_at)
	{
		Datum values[4] = {Int64GetDatum(entry->customer_id), CStringGetTextDatum(now->source),
						   CStringGetTextDatum(now->thread), TimestampTzGetDatum(entry->occurred_at)};

		take_about(about, kept_plan_run(&about_select, values, NULL, false, 1));
		if (about->request_id == 0 && now->opened_late != 0)
		{
			about->request_id = now->opened_late;
			about->open = true;
		}
	}
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

/*
 * Returns whether the customer of an open request says something about it in another channel than he was in. Where a
 * channel opens no requests, nobody waits in it.
 */
static bool
comes_back(const ContactEntry *entry, const Channel *channel)
{
	return entry->request_in_channel != NULL && channel->opens_request && is_said(entry) &&
		   strcmp(entry->request_in_channel, entry->channel) != 0;
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
		OpenCustomer *customer = open_customer_find(customers, ncustomers, entry->customer_id);
		Conversation *conversation = entry->conversation;
		Conversation about;
		OpenRequest *request = NULL;

		if (entry->request_customer != 0)
		{
			if (conversation_about(conversation, entry->request_id, entry->occurred_at))
				conversation->unread = true;
			continue;
		}
		if (conversation == NULL)
			request = open_request_continued(customer, entry, channel);
		else
		{
			conversation_then(entry, &about);
			if (about.open)
				request = open_request_named(customer, &about);
		}

		if (request == NULL && is_inbound(entry) && channel->opens_request)
		{
			request = palloc0(sizeof(OpenRequest));
			request->customer_id = entry->customer_id;
			request->channel = request->in_channel = entry->channel;
			request->opened_at = request->begun_at = request->moved_at = entry->occurred_at;
			request->waits_since = DT_NOEND;
			request->opens = entry;
			request->next = customer->requests;
			customer->requests = request;
			opened[nopened++] = request;
			request->request_id = -nopened; /* until it has an id */
		}
		if (request == NULL)
			continue;
		entry->request_id = request->request_id;
		entry->request_waits_since = request->waits_since;
		entry->quiet = request->quiet;
		request->moved_at = Max(request->moved_at, entry->occurred_at);
		if (is_inbound(entry))
			request->begun_at = Min(request->begun_at, entry->occurred_at);
		if (conversation != NULL && conversation_about(conversation, entry->request_id, entry->occurred_at))
			conversation->open = true;
		else if (conversation != NULL && request->opens == entry)
			conversation->opened_late = entry->request_id;
		entry->request_in_channel = request->in_channel;
		if (comes_back(entry, channel))
		{
			request->in_channel = entry->channel;
			request->moved = true;
		}
		if (ends_wait(entry, request->waits_since) && request->ends == NULL)
		{
			request->ends = entry;
			resumed[(*nresumed)++] = request;
		}
	}
	return nopened;
}

/*
 * Returns whether another transaction could have opened the same before the customers were locked: not in a
 * conversation that this one made, nor of a customer whom nobody else can know yet.
 */
static bool
others_may_open(OpenRequest **opened, int count)
{
	for (int i = 0; i < count; i++)
	{
		const ContactEntry *entry = opened[i]->opens;

		if (!entry->unknown && (entry->conversation == NULL || !entry->conversation->claimed))
			return true;
	}
	return false;
}

/* Locks the customers of the requests that are to be opened. */
static void
lock_customers(OpenRequest **opened, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);

	for (int i = 0; i < count; i++)
		ids[i] = opened[i]->customer_id;
	(void) customers_hold(ids, count, NULL, 0);
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
	if (requests_write(&requests_insert, values, NULL) != (uint64) count)
		rows_not_taken("request");
}

/* Sets requests to which the customer answered at those times to work again; returns how many waited for that. */
static uint64
resume(Datum *ids, Datum *times, int count)
{
	Datum values[2];

	if (count == 0)
		return 0;
	values[0] = array_of(ids, NULL, count, INT8OID);
	values[1] = array_of(times, NULL, count, TIMESTAMPTZOID);
	sla_requests_hold(values[0]);
	requests_resume.runs += count - 1;
	return requests_write(&requests_resume, values, NULL);
}

/* Does that with those that were found; returns whether all of them waited. */
static bool
resume_requests(OpenRequest **resumed, int count)
{
	Datum *ids = palloc(sizeof(Datum) * Max(count, 1));
	Datum *times = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		ids[i] = Int64GetDatum(resumed[i]->request_id);
		times[i] = TimestampTzGetDatum(resumed[i]->ends->occurred_at);
	}
	return resume(ids, times, count) == (uint64) count;
}

/* Returns whether an entry is the customer's answer about a request that it names. */
static bool
answers_named(const ContactEntry *entry)
{
	return entry->request_customer != 0 && ends_wait(entry, entry->request_waits_since);
}

/* Does it with those that entries name. */
static void
resume_named(const ContactEntry *entries, int count)
{
	Datum *ids = palloc(sizeof(Datum) * count);
	Datum *times = palloc(sizeof(Datum) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate && answers_named(&entries[i]))
		{
			ids[found] = Int64GetDatum(entries[i].request_id);
			times[found++] = TimestampTzGetDatum(entries[i].occurred_at);
		}
	(void) resume(ids, times, found);
}

/* Notes in which channel the customers of requests came back. Needs an SPI scope. */
static void
follow_channels(const ContactEntry *entries, int count)
{
	static const Oid types[4] = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID};
	Datum *columns[4] = {NULL};
	int64 *ids = NULL;
	Datum values[4];
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		const ContactEntry *entry = &entries[i];

		if (entry->duplicate || !comes_back(entry, channel_get(entry->channel)))
			continue;
		for (int column = 0; column < 4 && found == 0; column++)
			columns[column] = palloc(sizeof(Datum) * count);
		if (found == 0)
			ids = palloc(sizeof(int64) * count);
		ids[found] = entry->request_id;
		columns[0][found] = Int64GetDatum(entry->request_id);
		columns[1][found] = Int64GetDatum(entry->customer_id);
		columns[2][found] = CStringGetTextDatum(entry->channel);
		columns[3][found++] = TimestampTzGetDatum(entry->occurred_at);
	}
	if (found == 0)
		return;
	for (int column = 0; column < 4; column++)
		values[column] = array_of(columns[column], NULL, found, types[column]);
	sla_requests_hold(values[0]);
	channels_follow.runs += found - 1;
	(void) requests_write(&channels_follow, values, NULL);
	sla_waits_forget(ids, found);
}

/* Forgets which requests were found, and looks again. */
static void
look_again(ContactEntry *entries, int count, ContactEntry **sorted, int concerned, OpenCustomer *customers,
		   int ncustomers, bool loose)
{
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < concerned; i++)
		if (sorted[i]->request_customer == 0)
			sorted[i]->request_id = 0;
	conversations_refresh(entries, count);
	for (int i = 0; i < ncustomers; i++)
		customers[i].requests = NULL;
	if (loose)
		open_requests_read(customers, ncustomers, sorted, concerned);
}

/* Finds the requests of the entries that name none, and lets go on what waited for the customer's answer. */
static void
continue_entries(ContactEntry *entries, int count)
{
	ContactEntry **sorted = palloc(sizeof(ContactEntry *) * count);
	OpenRequest **opened = palloc(sizeof(OpenRequest *) * count);
	OpenRequest **resumed = palloc(sizeof(OpenRequest *) * count);
	OpenCustomer *customers;
	int ncustomers;
	int concerned = 0;
	int nameless = 0; /* of which the request is to be found */
	int nopened;
	int nresumed;
	bool loose = false;
	Oid ids;

	requests_named_await(entries, count);
	resume_named(entries, count);
	for (int i = 0; i < count; i++)
	{
		bool names = entries[i].request_customer != 0;

		if (entries[i].duplicate ||
			(names ? entries[i].conversation == NULL
				   : entries[i].request_id != 0 || strcmp(entries[i].direction, "internal") == 0))
			continue;
		sorted[concerned++] = &entries[i];
		nameless += names ? 0 : 1;
	}
	if (nameless == 0)
		return;
	if (concerned > 1)
		qsort(sorted, concerned, sizeof(ContactEntry *), compare_times);
	for (int i = 0; i < concerned; i++)
		loose = loose || sorted[i]->conversation == NULL;
	customers = open_customers(sorted, concerned, &ncustomers);
	if (loose)
		open_requests_read(customers, ncustomers, sorted, concerned);
	nopened = assign_requests(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);

	/* Who is waited for may close a request that was open. Rows of customers are locked before those of requests. */
	for (int round = 0; round < INSERT_ROUNDS; round++)
	{
		if (no_request_awaited(sorted, concerned) && no_customer_awaited(sorted, concerned) &&
			(nopened > 0 || resume_requests(resumed, nresumed)))
			break;
		look_again(entries, count, sorted, concerned, customers, ncustomers, loose);
		nopened = assign_requests(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);
	}

	if (nopened > 0)
	{
		lock_customers(opened, nopened);
		if (others_may_open(opened, nopened))
		{
			/* Nobody else can open one meanwhile. */
			look_again(entries, count, sorted, concerned, customers, ncustomers, loose);
			nopened = assign_requests(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);
		}
		(void) resume_requests(resumed, nresumed);

		ids = omni_table("request_request_id_seq");
		for (int i = 0; i < nopened; i++)
			opened[i]->request_id = nextval_internal(ids, true);
		for (int i = 0; i < concerned; i++)
		{
			ContactEntry *entry = sorted[i];

			if (entry->request_id < 0)
			{
				OpenRequest *request = opened[-entry->request_id - 1];

				entry->request_id = request->request_id;
				entry->opens = request->opens == entry;
			}
			if (entry->conversation != NULL && entry->conversation->request_id < 0)
				entry->conversation->request_id = opened[-entry->conversation->request_id - 1]->request_id;
		}
		insert_requests(opened, nopened);
	}
}

/*
 * requests_continue sets request_id of the entries that name none: continues open requests and opens new ones. Requests
 * that waited for the customer's answer do so no more, and all are in the channel of what he said last.
 *
 * Leaves out duplicates and internal contacts. Needs an SPI scope. Raises 23503 for a channel's queue that does not
 * exist.
 */
void
requests_continue(ContactEntry *entries, int count)
{
	continue_entries(entries, count);
	follow_channels(entries, count);
}

/*
 * request_settled sets request_id of one entry where that takes nothing but looking; returns false where something is
 * to be written, or may have to be.
 *
 * stills says that the contact can say itself that it is still: then it may also find out that it goes on with what its
 * customer waits for, which is all that there is to say of it. Needs an SPI scope. Raises as requests_continue() does.
 */
bool
request_settled(ContactEntry *entry, Snapshot snapshot, bool stills)
{
	const Channel *channel = channel_get(entry->channel);
	Conversation *conversation = entry->conversation;
	OpenCustomer customer = {.customer_id = entry->customer_id};
	OpenRequest *request;
	SlaWait wait;

	if (conversation != NULL && (!conversation->known || conversation->changed))
		return false;
	if (entry->request_id != 0)
		return !answers_named(entry) && !comes_back(entry, channel) &&
			   (conversation == NULL || conversation->request_id == entry->request_id) &&
			   (!is_said(entry) || request_unchanged(entry));
	if (strcmp(entry->direction, "internal") == 0)
		return true;
	if (conversation != NULL && conversation->request_id != 0 && entry->occurred_at < conversation->request_at)
		return false;
	if (conversation != NULL)
	{
		if (!conversation->open)
			return !(is_inbound(entry) && channel->opens_request);
		entry->request_in_channel = conversation->in_channel;
		if (ends_wait(entry, conversation->waits_since) || comes_back(entry, channel))
			return false;
		entry->request_id = conversation->request_id;
		entry->request_waits_since = conversation->waits_since;
		return request_unchanged(entry);
	}

	if (stills && entry->thread == NULL && is_inbound(entry) && strcmp(entry->outcome, "received") == 0 &&
		sla_wait_find(entry->customer_id, entry->channel, entry->occurred_at, snapshot, &wait) &&
		open_request_goes_on(entry, channel, &wait, snapshot))
	{
		entry->request_id = wait.request_id;
		entry->wait = palloc(sizeof(SlaWait));
		*entry->wait = wait;
		return true;
	}

	open_requests_read_own(&customer, snapshot);
	request = open_request_continued(&customer, entry, channel);
	if (!open_request_is_sure(request, entry))
	{
		open_requests_read(&customer, 1, &entry, 1);
		request = open_request_continued(&customer, entry, channel);
	}
	if (request == NULL)
		return false;
	entry->request_in_channel = request->in_channel;
	if (ends_wait(entry, request->waits_since) || comes_back(entry, channel))
		return false;
	entry->request_id = request->request_id;
	entry->request_waits_since = request->waits_since;
	if (!request->quiet && !request_unchanged(entry))
		return false;
	if (request->said.state != NULL)
	{
		open_request_note_place(&customer, request);
		entry->request = &request->said;
	}
	return true;
}
