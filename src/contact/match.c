/*
 * match.c
 *	  Whose contacts are.
 *
 * A contact is of whom it names; else of the customer of the request that it names; else of whom its conversation is
 * with; else of a new customer. A conversation is with whoever was named in it first and stays so: the key of a thread
 * is no secret, and who guesses the number of another's ticket must not come into it. So a contact that names somebody
 * else is matched as if it had no thread. Whoever merge_customers() says to be the same is nobody else; nor is a
 * customer of whom nothing is known but what was logged without a sender: that turns out to be who is named first.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "customer/customer.h"

/* Which keys are logged, of whom, and whether that one was erased since. */
static KeptPlan logged_keys_select = {
	.sql = "SELECT u.place, k.customer_id, c.erased_at IS NOT NULL "
		   "FROM unnest($1, $2) WITH ORDINALITY AS u (source, source_key, place) "
		   "CROSS JOIN LATERAL (SELECT customer_id FROM omnichannel.contact_key AS one "
		   "WHERE one.source = u.source AND one.source_key = u.source_key OFFSET 0) AS k "
		   "CROSS JOIN LATERAL (SELECT erased_at FROM omnichannel.customer AS one "
		   "WHERE one.customer_id = k.customer_id OFFSET 0) AS c",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.indexed = true,
};

static KeptPlan requests_select = {
	.sql = "SELECT u.place, r.customer_id, " WAITS_SINCE ", " IN_CHANNEL " "
		   "FROM unnest($1) WITH ORDINALITY AS u (request_id, place) "
		   "CROSS JOIN LATERAL (SELECT customer_id, state, state_since, closed_at, current_channel, channel "
		   "FROM omnichannel.request AS one "
		   "WHERE one.request_id = u.request_id OFFSET 0) AS r",
	.nargs = 1,
	.argtypes = {INT8ARRAYOID},
	.indexed = true,
};

/* Makes keys that this transaction claimed name the customers that their contacts turned out to be of. */
static KeptPlan keys_correct = {
	.sql = "UPDATE omnichannel.contact_key AS k SET customer_id = u.customer_id "
		   "FROM unnest($1, $2, $3) AS u (source, source_key, customer_id) "
		   "WHERE k.source = u.source AND k.source_key = u.source_key",
	.nargs = 3,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID},
	.indexed = true,
};

/*
 * Settles those entries whose rows were logged before, of customers who were erased since, or that name somebody nobody
 * knows, customer_id 0: repeated, as by backfill() or an UPDATE, they bring nobody back, and make nobody of whom there
 * is no contact.
 */
static void
settle_logged(ContactEntry **entries, int count)
{
	ContactEntry **keyed = palloc(sizeof(ContactEntry *) * count);
	Datum *sources = palloc(sizeof(Datum) * count);
	Datum *keys = palloc(sizeof(Datum) * count);
	Datum values[2];
	uint64 rows;
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		if (entries[i]->source_key == NULL)
			continue;
		sources[found] = CStringGetTextDatum(entries[i]->source);
		keys[found] = CStringGetTextDatum(entries[i]->source_key);
		keyed[found++] = entries[i];
	}
	if (found == 0)
		return;
	values[0] = array_of(sources, NULL, found, TEXTOID);
	values[1] = array_of(keys, NULL, found, TEXTOID);
	logged_keys_select.runs += found - 1;
	rows = kept_plan_run(&logged_keys_select, values, NULL, false, 0);
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;
		ContactEntry *entry = keyed[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1];
		bool erased = DatumGetBool(spi_datum(row, 3, &isnull));

		entry->stranger = !erased && entry->customer_id == 0;
		entry->settled = erased || entry->stranger;
		if (entry->settled)
			entry->customer_id = DatumGetInt64(spi_datum(row, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Finds the customers of the entries that name one; makes customers of identities that nobody has. Of an erased
 * customer nothing more is logged: that raises 55000, and history is left out.
 */
static void
match_named(ContactEntry **entries, int count, bool live, CustomerMemo *memo)
{
	CustomerLookup *lookups = palloc(sizeof(CustomerLookup) * count);
	ContactEntry **doubtful = palloc(sizeof(ContactEntry *) * count);
	int doubts = 0;
	int unknown = 0;

	for (int i = 0; i < count; i++)
		lookups[i] = (CustomerLookup){
			.kind = entries[i]->kind, .value = entries[i]->value, .customer_id = entries[i]->customer_id};
	customer_match_many(lookups, count, false, memo);
	for (int i = 0; i < count; i++)
	{
		entries[i]->customer_id = lookups[i].customer_id;
		if (lookups[i].customer_id == 0 || lookups[i].erased)
			doubtful[doubts++] = entries[i];
	}
	if (doubts == 0)
		return;

	settle_logged(doubtful, doubts);
	for (int i = 0; i < doubts; i++)
	{
		if (doubtful[i]->settled)
			continue;
		if (doubtful[i]->customer_id == 0)
			doubtful[unknown++] = doubtful[i];
		else if (live)
			customer_gone(doubtful[i]->customer_id);
		else
			doubtful[i]->settled = true;
	}
	for (int i = 0; i < unknown; i++)
		lookups[i] = (CustomerLookup){.kind = doubtful[i]->kind, .value = doubtful[i]->value};
	if (unknown > 0)
		customer_match_many(lookups, unknown, true, memo);
	for (int i = 0; i < unknown; i++)
		doubtful[i]->customer_id = lookups[i].customer_id;
}

/* Finds the customer of one entry, as match_named() does, by statements of one row. */
static void
match_one(ContactEntry *entry, bool live)
{
	if (entry->kind != NULL)
	{
		entry->customer_id = customer_match(entry->kind, entry->value, entry->source_key == NULL, NULL);
		if (entry->customer_id == 0)
			settle_logged(&entry, 1);
		if (entry->customer_id == 0)
			entry->customer_id = customer_match(entry->kind, entry->value, true, NULL);
	}
	else if (customer_is_erased(entry->customer_id))
	{
		settle_logged(&entry, 1);
		if (!entry->settled && live)
			customer_gone(entry->customer_id);
		entry->settled = true;
	}
}

/*
 * Finds whose the requests are that entries name: a contact without a sender is of that customer. Raises 23503 for one
 * that does not exist. What they say of themselves is read each time.
 */
void
requests_match(ContactEntry *entries, int count)
{
	ContactEntry **asking = palloc(sizeof(ContactEntry *) * count);
	Datum *ids = palloc(sizeof(Datum) * count);
	Datum values[1];
	uint64 rows;
	int found = 0;

	for (int i = 0; i < count; i++)
		if (entries[i].request_id != 0)
		{
			entries[i].request_customer = 0;
			ids[found] = Int64GetDatum(entries[i].request_id);
			asking[found++] = &entries[i];
		}
	if (found == 0)
		return;
	values[0] = array_of(ids, NULL, found, INT8OID);
	requests_select.runs += found - 1;
	rows = kept_plan_run(&requests_select, values, NULL, false, 0);
	for (uint64 row = 0; row < rows; row++)
	{
		bool isnull;

		ContactEntry *entry = asking[DatumGetInt64(spi_datum(row, 1, &isnull)) - 1];

		entry->request_customer = DatumGetInt64(spi_datum(row, 2, &isnull));
		entry->request_waits_since = spi_time(row, 3, DT_NOEND);
		entry->request_in_channel = spi_text(row, 4, CurrentMemoryContext);
	}
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < found; i++)
	{
		if (asking[i]->request_customer == 0)
			ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
							errmsg("request " INT64_FORMAT " does not exist", asking[i]->request_id),
							errhint("open_request() returns the id of a new one.")));
		if (!asking[i]->named && asking[i]->customer_id == 0)
			asking[i]->customer_id = asking[i]->request_customer;
	}
}

/* Returns whether an entry says by itself, or by its request, whose it is. */
static bool
says_whose(const ContactEntry *entry)
{
	return (entry->named || entry->request_customer != 0) && !entry->settled;
}

/*
 * Compares the entries that say whose they are with whom their conversations are with; returns how many were compared
 * with others. first: those that come first in their conversations, or else the rest.
 */
static int
compare_senders(ContactEntry *entries, int count, bool first, ContactEntry **compared, CustomerPair *pairs)
{
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (conversation == NULL || !says_whose(&entries[i]) || conversation->customer_id == entries[i].customer_id ||
			first != (conversation->first == &entries[i]))
			continue;
		pairs[found] = (CustomerPair){.customer_id = entries[i].customer_id, .other_id = conversation->customer_id};
		compared[found++] = &entries[i];
	}
	customers_compare(pairs, found);
	return found;
}

/* Decides whom conversations are with, and takes out of them the entries of others. */
static void
settle_conversations(ContactEntry *entries, int count)
{
	ContactEntry **compared = palloc(sizeof(ContactEntry *) * count);
	CustomerPair *pairs = palloc(sizeof(CustomerPair) * count);
	int found;

	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (conversation == NULL || !says_whose(&entries[i]))
			continue;
		if (conversation->first == NULL || entries[i].occurred_at < conversation->first->occurred_at ||
			(entries[i].occurred_at == conversation->first->occurred_at &&
			 entries[i].contact_id < conversation->first->contact_id))
			conversation->first = &entries[i];
	}
	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (conversation != NULL && conversation->first != NULL && conversation->customer_id == 0)
			conversation->customer_id = conversation->first->customer_id;
	}

	found = compare_senders(entries, count, true, compared, pairs);
	for (int i = 0; i < found; i++)
	{
		Conversation *conversation = compared[i]->conversation;

		if (pairs[i].same)
			continue;
		if (!pairs[i].nameless)
		{
			compared[i]->conversation = NULL;
			continue;
		}
		conversation->nameless = conversation->customer_id;
		conversation->customer_id = compared[i]->customer_id;
		conversation->changed = true;
	}
	found = compare_senders(entries, count, false, compared, pairs);
	for (int i = 0; i < found; i++)
		if (!pairs[i].same)
			compared[i]->conversation = NULL;
}

/* Gives entries that do not say whose they are the customers of their conversations, or reserves new ones. */
static void
match_unnamed(ContactEntry *entries, int count)
{
	for (int i = 0; i < count; i++)
	{
		ContactEntry *entry = &entries[i];
		Conversation *conversation = entry->conversation;

		if (entry->customer_id != 0)
			continue;
		if (conversation == NULL || conversation->customer_id == 0)
		{
			entry->customer_id = customer_reserve();
			entry->unknown = true;
			if (conversation != NULL)
			{
				conversation->customer_id = entry->customer_id;
				conversation->reserved = true;
			}
			continue;
		}
		entry->customer_id = conversation->customer_id;
		entry->unknown = conversation->reserved;
	}
}

/*
 * customers_match sets customer_id of all entries, whose conversations were looked for: before merges, and reserved
 * where unknown says so.
 *
 * live: of an erased customer nothing is logged, which raises 55000; history of such is settled. Needs an SPI scope.
 * Raises 23503 for a customer or a request that does not exist.
 */
void
customers_match(ContactEntry *entries, int count, bool live, CustomerMemo *memo)
{
	ContactEntry **named = palloc(sizeof(ContactEntry *) * count);
	int found = 0;

	requests_match(entries, count);
	for (int i = 0; i < count; i++)
		if (says_whose(&entries[i]))
			named[found++] = &entries[i];
	if (found == 1)
		match_one(named[0], live);
	else if (found > 1)
		match_named(named, found, live, memo);
	settle_conversations(entries, count);
	match_unnamed(entries, count);
}

/*
 * customers_rematch does for conversations that others made first what customers_match() did before that was known.
 *
 * The keys of the entries are claimed: they follow. Needs an SPI scope.
 */
void
customers_rematch(ContactEntry *entries, int count)
{
	Datum *columns[3];
	Datum values[3];
	OwnerSwitch owner;
	int moved = 0;

	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (conversation != NULL && conversation->lost && !says_whose(&entries[i]) && !entries[i].settled)
			entries[i].customer_id = 0;
	}
	settle_conversations(entries, count);
	for (int i = 0; i < 3; i++)
		columns[i] = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
	{
		if (entries[i].customer_id != 0 || entries[i].duplicate || entries[i].source_key == NULL)
			continue;
		columns[0][moved] = CStringGetTextDatum(entries[i].source);
		columns[1][moved] = CStringGetTextDatum(entries[i].source_key);
		columns[2][moved++] = Int64GetDatum(entries[i].conversation->customer_id);
	}
	match_unnamed(entries, count);
	for (int i = 0; i < count; i++)
		if (entries[i].conversation != NULL)
			entries[i].conversation->lost = false;
	if (moved == 0)
		return;

	/* Whoever may claim keys need not be allowed to change those of others. */
	for (int i = 0; i < 3; i++)
		values[i] = array_of(columns[i], NULL, moved, i < 2 ? TEXTOID : INT8OID);
	owner_switch_begin(&owner);
	(void) kept_plan_run(&keys_correct, values, NULL, false, 0);
	owner_switch_end(&owner);
}

/*
 * Locks the customers of all entries, and those who turn out to be them, before any of them is merged; returns whether
 * the others of the pairs are still nameless: if not, nothing is locked.
 */
static bool
hold_customers(const ContactEntry *entries, int count, CustomerPair *pairs, int npairs)
{
	int64 *ids = palloc(sizeof(int64) * count * 3);
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		if (entries[i].duplicate)
			continue;
		ids[found++] = entries[i].customer_id;
		if (entries[i].conversation != NULL && entries[i].conversation->nameless != 0)
			ids[found++] = entries[i].conversation->nameless;
		if (entries[i].request_customer != 0)
			ids[found++] = entries[i].request_customer;
	}
	return customers_hold(ids, found, pairs, npairs);
}

/* Makes a conversation be asked again with whom it is: others found out who the nameless one is. */
static void
lose_conversation(Conversation *conversation)
{
	conversation->customer_id = conversation->nameless = 0;
	conversation->changed = false;
	conversation->lost = true;
}

/*
 * customers_adopt merges the nameless customers of conversations that entries continue which are no duplicates into
 * those who are named in them; returns whether others found out meanwhile who one of them is: such conversations are
 * lost, and whom they are with is to be read again. Sets merged where it merged some: customers_regroup() is still to
 * be called.
 *
 * Where others found out before the customers were locked, nothing is locked when it returns: whom the conversations
 * are with then comes in its order. Needs an SPI scope. Raises 55000 where who is named was erased.
 */
bool
customers_adopt(ContactEntry *entries, int count, bool *merged)
{
	Conversation **named = palloc(sizeof(Conversation *) * count);
	CustomerPair *pairs = palloc(sizeof(CustomerPair) * count);
	int found = 0;
	bool lost = false;

	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (entries[i].duplicate || conversation == NULL || conversation->nameless == 0)
			continue;
		pairs[found] = (CustomerPair){.customer_id = conversation->customer_id, .other_id = conversation->nameless};
		named[found++] = conversation;
	}
	if (found == 0)
		return false;
	if (!hold_customers(entries, count, pairs, found))
	{
		for (int i = 0; i < found; i++)
			if (!pairs[i].nameless)
				lose_conversation(named[i]);
		return true;
	}
	for (int i = 0; i < found; i++)
	{
		if (named[i]->nameless == 0)
			continue;
		if (customer_turned_out(named[i]->nameless, named[i]->customer_id, "named later in the conversation"))
		{
			named[i]->nameless = 0;
			*merged = true;
			continue;
		}
		/* The same one was with another conversation of these. */
		lose_conversation(named[i]);
		lost = true;
	}
	return lost;
}

/*
 * customers_check_requests raises 22023 for an entry, no duplicate, about a request of somebody else. If nobody knows
 * who that is, it turns out to be who is named, and merged is set as by customers_adopt().
 *
 * Needs an SPI scope.
 */
void
customers_check_requests(ContactEntry *entries, int count, bool *merged)
{
	CustomerPair *pairs = palloc(sizeof(CustomerPair) * count);
	ContactEntry **compared = palloc(sizeof(ContactEntry *) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		if (entries[i].duplicate || entries[i].request_customer == 0 ||
			entries[i].request_customer == entries[i].customer_id)
			continue;
		pairs[found] = (CustomerPair){.customer_id = entries[i].customer_id, .other_id = entries[i].request_customer};
		compared[found++] = &entries[i];
	}
	customers_compare(pairs, found);
	for (int i = 0; i < found; i++)
	{
		const ContactEntry *entry = compared[i];

		if (!pairs[i].same && pairs[i].nameless)
		{
			(void) hold_customers(entries, count, NULL, 0);
			pairs[i].same =
				customer_turned_out(entry->request_customer, entry->customer_id, "named later about the request");
			*merged = *merged || pairs[i].same;
			/* Others, or an entry before, may have found out meanwhile. */
			if (!pairs[i].same)
				customers_compare(&pairs[i], 1);
		}
		if (!pairs[i].same)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("request " INT64_FORMAT " is of customer " INT64_FORMAT ", not " INT64_FORMAT,
							entry->request_id, entry->request_customer, entry->customer_id),
					 errhint("Log the contact without the request, or without the sender; where the two are one person,"
							 " call merge_customers() first.")));
	}
}
