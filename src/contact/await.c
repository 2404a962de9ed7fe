/*
 * await.c
 *	  Waiting for those who are changing the requests that contacts are about, or what is known of their customers.
 *
 * Whoever logs a contact looks at requests without locking them. One that somebody else is changing meanwhile may be
 * closed, or wait for its customer, by the time the contact is logged: so that is waited for, and looked at again. All
 * of it comes before anything of the requests is locked, and, as far as the requests are named, before the contact's
 * key and conversation are held: who is changing one may be about to log into the same.
 */
#include "postgres.h"

#include "omnichannel.h"
#include "contact/open_requests.h"
#include "sla/sla.h"

/* Returns what was read of the request that an entry names or continues. */
static SlaKnownRequest
known_request(const ContactEntry *entry)
{
	return (SlaKnownRequest){.request_id = entry->request_id,
							 .open = entry->request_customer == 0 || entry->request_in_channel != NULL,
							 .waits_since = entry->request_waits_since};
}

/* Returns what was read of the requests that entries name in which the customer says something. */
static SlaKnownRequest *
known_named(const ContactEntry *entries, int count, int *found)
{
	SlaKnownRequest *known = palloc(sizeof(SlaKnownRequest) * count);

	*found = 0;
	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate && entries[i].request_customer != 0 && is_said(&entries[i]))
			known[(*found)++] = known_request(&entries[i]);
	return known;
}

/*
 * requests_named_await waits for those who are changing requests that entries name, where the customer says something
 * about these, or what is known of their customers; sets what the requests say then.
 *
 * For whoever logs a contact and then changes its request, who has the customer's row first, nothing of the requests
 * must be locked by then. Needs an SPI scope.
 */
void
requests_named_await(ContactEntry *entries, int count)
{
	int64 *ids = palloc(sizeof(int64) * 2 * count);
	SlaKnownRequest *known;
	int nknown;
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		ContactEntry *entry = &entries[i];

		if (entry->duplicate || entry->request_customer == 0 || entry->unknown || !is_said(entry))
			continue;
		ids[found++] = entry->request_customer;
		if (entry->customer_id != entry->request_customer)
			ids[found++] = entry->customer_id;
	}
	known = known_named(entries, count, &nknown);
	for (int round = 0;
		 round < INSERT_ROUNDS && (sla_requests_awaited(known, nknown) || sla_customers_awaited(ids, found, NULL));
		 round++)
	{
		requests_match(entries, count);
		known = known_named(entries, count, &nknown);
	}
	pfree(ids);
}

/* conversations_await does that where entries are about to begin conversations, which keeps others out of these. */
void
conversations_await(ContactEntry *entries, int count)
{
	for (int i = 0; i < count; i++)
		if (entries[i].conversation != NULL && !entries[i].conversation->known && entries[i].request_customer != 0 &&
			!entries[i].duplicate)
		{
			requests_named_await(entries, count);
			return;
		}
}

/*
 * no_request_awaited waits for those who are changing the requests that the sorted entries have been found to continue;
 * returns whether there were none, and the requests are as they were read.
 */
bool
no_request_awaited(ContactEntry **entries, int count)
{
	SlaKnownRequest *known = palloc(sizeof(SlaKnownRequest) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
		if (entries[i]->request_customer == 0 && entries[i]->request_id > 0 && !entries[i]->quiet &&
			(found == 0 || known[found - 1].request_id != entries[i]->request_id))
			known[found++] = known_request(entries[i]);
	return !sla_requests_awaited(known, found);
}

/* Orders pointers to entries by customer. For qsort. */
static int
compare_customers(const void *a, const void *b)
{
	int64 left = (*(ContactEntry *const *) a)->customer_id;
	int64 right = (*(ContactEntry *const *) b)->customer_id;

	return left < right ? -1 : left > right;
}

/*
 * no_customer_awaited waits for those who are changing what is known of the customers whose requests are continued,
 * whom writing would wait for in any case; returns whether there were none, and notes where the customers' rows are.
 */
bool
no_customer_awaited(ContactEntry **entries, int count)
{
	ContactEntry **continuing = palloc(sizeof(ContactEntry *) * count);
	ItemPointer places = palloc(sizeof(ItemPointerData) * count);
	int64 *ids = palloc(sizeof(int64) * count);
	int found = 0;
	int customers = 0;

	for (int i = 0; i < count; i++)
		if (entries[i]->request_customer == 0 && entries[i]->request_id > 0 && !entries[i]->unknown)
			continuing[found++] = entries[i];
	qsort(continuing, found, sizeof(ContactEntry *), compare_customers);
	for (int i = 0; i < found; i++)
		if (i == 0 || continuing[i]->customer_id != continuing[i - 1]->customer_id)
			ids[customers++] = continuing[i]->customer_id;
	if (sla_customers_awaited(ids, customers, places))
		return false;
	customers = 0;
	for (int i = 0; i < found; i++)
	{
		if (i > 0 && continuing[i]->customer_id != continuing[i - 1]->customer_id)
			customers++;
		continuing[i]->place = places[customers];
	}
	return true;
}

/* request_unchanged waits for who is changing an entry's request; returns whether nobody was, and it is as read. */
bool
request_unchanged(const ContactEntry *entry)
{
	SlaKnownRequest known = known_request(entry);

	return !sla_requests_awaited(&known, 1);
}
