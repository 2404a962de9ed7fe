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

/* Sets requests to which their customers answered to work again; returns whether all of them waited for that. */
static bool
resume_requests(OpenRequest **resumed, int count)
{
	Datum *ids = palloc(sizeof(Datum) * Max(count, 1));
	Datum *times = palloc(sizeof(Datum) * Max(count, 1));
	Datum values[2];

	if (count == 0)
		return true;
	for (int i = 0; i < count; i++)
	{
		ids[i] = Int64GetDatum(resumed[i]->request_id);
		times[i] = TimestampTzGetDatum(resumed[i]->ends->occurred_at);
	}
	values[0] = array_of(ids, NULL, count, INT8OID);
	values[1] = array_of(times, NULL, count, TIMESTAMPTZOID);
	requests_resume.runs += count - 1;
	return requests_write(&requests_resume, values, NULL) == (uint64) count;
}

/* Notes in which channel the customers of requests came back. Needs an SPI scope. */
static void
follow_channels(const ContactEntry *entries, int count)
{
	static const Oid types[4] = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID};
	Datum *columns[4] = {NULL};
	Datum values[4];
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		const ContactEntry *entry = &entries[i];

		if (entry->duplicate || !entry->moves)
			continue;
		for (int column = 0; column < 4 && found == 0; column++)
			columns[column] = palloc(sizeof(Datum) * count);
		columns[0][found] = Int64GetDatum(entry->request_id);
		columns[1][found] = Int64GetDatum(entry->customer_id);
		columns[2][found] = CStringGetTextDatum(entry->channel);
		columns[3][found++] = TimestampTzGetDatum(entry->occurred_at);
	}
	if (found == 0)
		return;
	for (int column = 0; column < 4; column++)
		values[column] = array_of(columns[column], NULL, found, types[column]);
	channels_follow.runs += found - 1;
	(void) requests_write(&channels_follow, values, NULL);
}

/*
 * requests_moved makes it forgotten what customers wait for whose requests requests_continue() has moved to other
 * channels. Called once the rows of sla_customer are taken, which it writes. Needs an SPI scope.
 */
void
requests_moved(const ContactEntry *entries, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate && entries[i].moves)
			ids[found++] = entries[i].request_id;
	if (found > 0)
		sla_waits_forget(ids, found, true);
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
	requests_match(entries, count);
	conversations_refresh(entries, count);
	for (int i = 0; i < ncustomers; i++)
		customers[i].requests = NULL;
	if (loose)
		open_requests_read(customers, ncustomers, sorted, concerned);
}

/*
 * Finds the requests of the entries that name none, and lets go on what waited for the customer's answer; those that
 * name theirs say with the others, in order of time, what became of it.
 */
static void
continue_entries(ContactEntry *entries, int count)
{
	ContactEntry **sorted = palloc(sizeof(ContactEntry *) * count);
	OpenRequest **opened = palloc(sizeof(OpenRequest *) * count);
	OpenRequest **resumed = palloc(sizeof(OpenRequest *) * count);
	OpenCustomer *customers;
	int ncustomers;
	int concerned = 0;
	int nopened;
	int nresumed;
	bool loose = false;
	Oid ids;

	requests_named_await(entries, count);
	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate &&
			(entries[i].request_customer != 0 || (entries[i].request_id == 0 && !is_internal(&entries[i]))))
			sorted[concerned++] = &entries[i];
	if (concerned == 0)
		return;
	if (concerned > 1)
		qsort(sorted, concerned, sizeof(ContactEntry *), compare_times);
	for (int i = 0; i < concerned; i++)
		loose = loose || is_loose(sorted[i]);
	customers = open_customers(sorted, concerned, &ncustomers);
	if (loose)
		open_requests_read(customers, ncustomers, sorted, concerned);
	nopened = requests_assign(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);

	/* Who is waited for may close a request that was open. Rows of customers are locked before those of requests. */
	for (int round = 0; round < INSERT_ROUNDS; round++)
	{
		if (no_request_awaited(sorted, concerned) && no_customer_awaited(sorted, concerned) &&
			(nopened > 0 || resume_requests(resumed, nresumed)))
			break;
		look_again(entries, count, sorted, concerned, customers, ncustomers, loose);
		nopened = requests_assign(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);
	}

	if (nopened > 0)
	{
		lock_customers(opened, nopened);
		if (others_may_open(opened, nopened))
		{
			/* Nobody else can open one meanwhile. */
			look_again(entries, count, sorted, concerned, customers, ncustomers, loose);
			nopened = requests_assign(sorted, concerned, customers, ncustomers, opened, resumed, &nresumed);
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
		return !ends_wait(entry, entry->request_waits_since) && !comes_back(entry, channel) &&
			   (conversation == NULL || conversation->request_id == entry->request_id) &&
			   (!is_said(entry) || request_unchanged(entry));
	if (is_internal(entry))
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
