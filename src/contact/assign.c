/*
 * assign.c
 *	  Which request each of several contacts is about.
 *
 * Contacts that are logged together go where they would go one by one in order of time: each is looked at as if those
 * before it were logged already, the ones that name their request among them. Nothing is written here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "omnichannel.h"
#include "contact/open_requests.h"

/* A request at hand, by its id. */
typedef struct KnownRequest
{
	int64 request_id;
	OpenRequest *request;
} KnownRequest;

/*
 * What a conversation was about at a time: what its last contact before that was, or else what the next one is, where
 * that was opened later: by the conversation, which would have opened it before.
 */
static KeptPlan about_select = {
	.sql = "SELECT r.request_id, r.closed_at IS NULL, " WAITS_SINCE ", " IN_CHANNEL ","
		   " c.later, c.occurred_at "
		   "FROM " ALL_WHO_ARE_ONE " "
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

/*
 * comes_back returns whether the customer of an open request says something about it in another channel than he was in.
 * Where a channel opens no requests, nobody waits in it.
 */
bool
comes_back(const ContactEntry *entry, const Channel *channel)
{
	return entry->request_in_channel != NULL && channel->opens_request && is_said(entry) &&
		   strcmp(entry->request_in_channel, entry->channel) != 0;
}

/*
 * Sets what an entry's conversation was about at the entry's time, as it is logged or as the entries before it say:
 * returns false where that is nothing, or closed.
 */
static bool
conversation_then(const ContactEntry *entry, Conversation *about)
{
	Conversation *now = entry->conversation;
	Datum values[4] = {Int64GetDatum(entry->customer_id), CStringGetTextDatum(now->source),
					   CStringGetTextDatum(now->thread), TimestampTzGetDatum(entry->occurred_at)};
	bool isnull;
	bool later = true;
	TimestampTz at = DT_NOBEGIN;

	*about = *now;
	if (now->request_id == 0 || entry->occurred_at >= now->request_at)
		return now->open;
	about->request_id = 0;
	about->open = false;
	if (kept_plan_run(&about_select, values, NULL, false, 1) > 0)
	{
		about->request_id = DatumGetInt64(spi_datum(0, 1, &isnull));
		about->open = DatumGetBool(spi_datum(0, 2, &isnull));
		about->waits_since = spi_time(0, 3, DT_NOEND);
		about->in_channel = spi_text(0, 4, CurrentMemoryContext);
		later = DatumGetBool(spi_datum(0, 5, &isnull));
		at = spi_time(0, 6, DT_NOBEGIN);
	}
	SPI_freetuptable(SPI_tuptable);
	if (now->last_id != 0 && (later || at <= now->last_at))
	{
		about->request_id = now->last_id;
		about->open = now->last_open;
	}
	return about->open;
}

/* Notes that an entry says that its conversation is about a request. */
static void
conversation_goes_on(const ContactEntry *entry, const OpenRequest *request)
{
	Conversation *conversation = entry->conversation;

	conversation->last_id = request->request_id;
	conversation->last_at = entry->occurred_at;
	conversation->last_open = request->in_channel != NULL;
	if (conversation_about(conversation, request->request_id, entry->occurred_at))
		conversation->open = conversation->last_open;
}

/* Notes a request by its id, unless one is noted already; returns that which is. */
static OpenRequest *
known_request(HTAB *known, int64 request_id, OpenRequest *request)
{
	bool found;
	KnownRequest *entry = hash_search(known, &request_id, HASH_ENTER, &found);

	if (!found)
		entry->request = request;
	return entry->request;
}

/* Returns the requests that were read, by id. */
static HTAB *
known_requests(const OpenCustomer *customers, int count)
{
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = sizeof(KnownRequest), .hcxt = CurrentMemoryContext};
	HTAB *known = hash_create("omnichannel requests at hand", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (int i = 0; i < count; i++)
		for (OpenRequest *request = customers[i].requests; request != NULL; request = request->next)
			(void) known_request(known, request->request_id, request);
	return known;
}

/* Returns the request of this id, as it was read with the others or as its entry or conversation says. */
static OpenRequest *
request_at_hand(HTAB *known, int64 request_id, TimestampTz waits_since, const char *in_channel)
{
	KnownRequest *entry = hash_search(known, &request_id, HASH_FIND, NULL);
	OpenRequest *request;

	if (entry != NULL)
		return entry->request;
	request = palloc0(sizeof(OpenRequest));
	request->request_id = request_id;
	request->waits_since = waits_since;
	request->in_channel = in_channel;
	return known_request(known, request_id, request);
}

/* Returns the request that an entry opens, among its customer's. */
static OpenRequest *
open_for(const ContactEntry *entry, OpenCustomer *customer, int64 request_id)
{
	OpenRequest **place = &customer->requests;
	OpenRequest *request = palloc0(sizeof(OpenRequest));

	request->request_id = request_id;
	request->customer_id = entry->customer_id;
	request->channel = request->in_channel = entry->channel;
	request->opened_at = request->moved_at = entry->occurred_at;
	request->waits_since = DT_NOEND;
	request->opens = entry;
	while (*place != NULL && (*place)->opened_at > request->opened_at)
		place = &(*place)->next;
	request->next = *place;
	*place = request;
	return request;
}

/* Notes what an entry that is about a request says of it; returns whether it ends its waiting. */
static bool
say(ContactEntry *entry, OpenRequest *request, const Channel *channel)
{
	request->moved_at = Max(request->moved_at, entry->occurred_at);
	if (is_inbound(entry))
		request->inbound_at = entry->occurred_at;
	entry->request_in_channel = request->in_channel;
	entry->moves = comes_back(entry, channel);
	if (is_said(entry) && channel->opens_request)
	{
		if (entry->moves && !open_request_said_later(request, entry))
			request->in_channel = entry->channel;
		request->said_by = entry;
	}
	if (request->ends != NULL || !ends_wait(entry, request->waits_since))
		return false;
	request->ends = entry;
	return true;
}

/*
 * requests_assign decides for each entry, in order of time, which request it is about, and notes what those that name
 * theirs say of it; returns how many are to be opened, whose ids are negative until they have one. Needs an SPI scope.
 */
int
requests_assign(ContactEntry **sorted, int count, OpenCustomer *customers, int ncustomers, OpenRequest **opened,
				OpenRequest **resumed, int *nresumed)
{
	HTAB *known = known_requests(customers, ncustomers);
	int nopened = 0;

	*nresumed = 0;
	for (int i = 0; i < count; i++)
	{
		ContactEntry *entry = sorted[i];
		const Channel *channel = channel_get(entry->channel);
		OpenCustomer *customer = open_customer_find(customers, ncustomers, entry->customer_id);
		Conversation about;
		OpenRequest *request = NULL;

		if (entry->request_customer != 0)
			request = request_at_hand(known, entry->request_id, entry->request_waits_since, entry->request_in_channel);
		else if (entry->conversation == NULL)
			request = open_request_continued(customer, entry, channel);
		else if (conversation_then(entry, &about))
			request = request_at_hand(known, about.request_id, about.waits_since, about.in_channel);

		if (request == NULL && is_inbound(entry) && channel->opens_request)
		{
			request = opened[nopened] = open_for(entry, customer, -(nopened + 1));
			nopened++;
			(void) known_request(known, request->request_id, request);
		}
		if (request == NULL)
		{
			entry->moves = false;
			continue;
		}
		entry->request_id = request->request_id;
		entry->request_waits_since = request->waits_since;
		entry->quiet = request->quiet;
		if (say(entry, request, channel))
			resumed[(*nresumed)++] = request;
		if (entry->conversation != NULL)
			conversation_goes_on(entry, request);
	}
	hash_destroy(known);
	return nopened;
}
