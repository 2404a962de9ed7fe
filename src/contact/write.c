/*
 * write.c
 *	  Writes contacts, one or many at once.
 *
 * One contact goes through statements of one row, many through the same statements over arrays, because a loop of the
 * former costs several times as much. Either way the order is the same: conversations and customers, then the keys that
 * make sure that a source's row is logged once, then requests, the contacts and their relationships. A customer nobody
 * knows is made after its contact's key was won, so that a repeated row leaves none behind.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "core/direct.h"
#include "core/row.h"
#include "core/table.h"
#include "customer/customer.h"
#include "routing/routing.h"
#include "sla/sla.h"

#define CONTACT_COLUMNS                                                                                                \
	"customer_id, contact_id, occurred_at, channel, direction, outcome, agent_id, request_id, thread, subject, body,"  \
	" payload, source, source_key, still"
#define CONTACT_NCOLUMNS 15

/* In the order of CONTACT_COLUMNS. */
static const TableColumn contact_columns[CONTACT_NCOLUMNS] = {
	{"customer_id", INT8OID}, {"contact_id", INT8OID}, {"occurred_at", TIMESTAMPTZOID},
	{"channel", TEXTOID},     {"direction", TEXTOID},  {"outcome", TEXTOID},
	{"agent_id", INT8OID},    {"request_id", INT8OID}, {"thread", TEXTOID},
	{"subject", TEXTOID},     {"body", TEXTOID},       {"payload", JSONBOID},
	{"source", TEXTOID},      {"source_key", TEXTOID}, {"still", BOOLOID},
};

static const DirectTable contact_table = {
	.name = "contact",
	.purpose = DIRECT_INSERT,
	.ncolumns = CONTACT_NCOLUMNS,
	.columns = contact_columns,
};

#define INSERT_ONE                                                                                                     \
	"INSERT INTO omnichannel.contact (" CONTACT_COLUMNS ")"                                                            \
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
#define INSERT_MANY                                                                                                    \
	"INSERT INTO omnichannel.contact (" CONTACT_COLUMNS ")"                                                            \
	" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
#define ONE_TYPES                                                                                                      \
	INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID,          \
		JSONBOID, TEXTOID, TEXTOID, BOOLOID
#define MANY_TYPES                                                                                                     \
	INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID,           \
		INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID, TEXTARRAYOID, TEXTARRAYOID,             \
		BOOLARRAYOID

/* By what others know a contact, as a statement returns it, and where it stands in contact_columns. */
#define RETURNING_KEY " RETURNING customer_id, contact_id, occurred_at, source, source_key"
static const int key_columns[] = {0, 1, 2, 12, 13};

/* Those that return rows ask for rights that INSERT alone does not, and row security shows what it lets be written. */
static KeptPlan contact_insert = {
	.sql = INSERT_ONE,
	.nargs = CONTACT_NCOLUMNS,
	.argtypes = {ONE_TYPES},
	.indexed = true,
};

static KeptPlan contact_insert_returning = {
	.sql = INSERT_ONE RETURNING_KEY,
	.nargs = CONTACT_NCOLUMNS,
	.argtypes = {ONE_TYPES},
	.indexed = true,
};

static KeptPlan contacts_insert = {
	.sql = INSERT_MANY,
	.nargs = CONTACT_NCOLUMNS,
	.argtypes = {MANY_TYPES},
	.indexed = true,
};

static KeptPlan contacts_insert_returning = {
	.sql = INSERT_MANY RETURNING_KEY,
	.nargs = CONTACT_NCOLUMNS,
	.argtypes = {MANY_TYPES},
	.indexed = true,
};

static RowTable contact_row = {
	.name = "contact",
	.now = "logged_at",
	.ncolumns = CONTACT_NCOLUMNS,
	.columns = contact_columns,
};

/* Returns a text as a datum; marks in nulls what is not there. */
static Datum
text_datum(const char *value, bool *isnull)
{
	*isnull = value == NULL;
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* Returns an id as a datum; marks 0 in nulls. */
static Datum
id_datum(int64 value, bool *isnull)
{
	*isnull = value == 0;
	return Int64GetDatum(value);
}

/* Returns a document as a datum; marks in nulls what is not there. */
static Datum
document_datum(void *value, bool *isnull)
{
	*isnull = value == NULL;
	return PointerGetDatum(value);
}

/* Returns one column of the contact, in the order of contact_columns. */
static Datum
contact_datum(const ContactEntry *entry, int column, bool *isnull)
{
	switch (column)
	{
		case 0:
			return id_datum(entry->customer_id, isnull);
		case 1:
			return id_datum(entry->contact_id, isnull);
		case 2:
			*isnull = false;
			return TimestampTzGetDatum(entry->occurred_at);
		case 3:
			return text_datum(entry->channel, isnull);
		case 4:
			return text_datum(entry->direction, isnull);
		case 5:
			return text_datum(entry->outcome, isnull);
		case 6:
			return id_datum(entry->agent_id, isnull);
		case 7:
			return id_datum(entry->request_id, isnull);
		case 8:
			return text_datum(entry->thread, isnull);
		case 9:
			return document_datum(entry->subject, isnull);
		case 10:
			return document_datum(entry->body, isnull);
		case 11:
			return document_datum(entry->payload, isnull);
		case 12:
			return text_datum(entry->source, isnull);
		case 13:
			return text_datum(entry->source_key, isnull);
		default:
			*isnull = !entry->still;
			return BoolGetDatum(true);
	}
}

/* Raises 09000 where a trigger has changed by what the contact of a returned row is known. */
static void
confirm_key(uint64 row, const ContactEntry *entry)
{
	Datum values[lengthof(key_columns)];
	bool nulls[lengthof(key_columns)];

	for (int i = 0; i < (int) lengthof(key_columns); i++)
		values[i] = contact_datum(entry, key_columns[i], &nulls[i]);
	if (!spi_row_is(row, values, nulls, lengthof(key_columns)))
		rows_not_taken("contact");
}

/* Inserts one contact. */
static void
insert_one(const ContactEntry *entry)
{
	Datum values[CONTACT_NCOLUMNS];
	bool isnull[CONTACT_NCOLUMNS];
	char nulls[CONTACT_NCOLUMNS];
	bool returning;

	for (int column = 0; column < CONTACT_NCOLUMNS; column++)
		values[column] = contact_datum(entry, column, &isnull[column]);
	if (row_insert(&contact_row, values, isnull, ROW_RAISES))
		return;
	for (int column = 0; column < CONTACT_NCOLUMNS; column++)
		nulls[column] = isnull[column] ? 'n' : ' ';
	returning = inserts_may_change(omni_table("contact"));
	if (kept_plan_run(returning ? &contact_insert_returning : &contact_insert, values, nulls, false, 0) != 1)
		rows_not_taken("contact");
	if (returning)
	{
		confirm_key(0, entry);
		SPI_freetuptable(SPI_tuptable);
	}
}

/* Returns an array of one column of the entries that are not duplicates. */
static Datum
column_array(const ContactEntry *entries, int count, int column)
{
	Datum *elements = palloc(sizeof(Datum) * count);
	bool *nulls = palloc(sizeof(bool) * count);
	int inserted = 0;

	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate)
		{
			elements[inserted] = contact_datum(&entries[i], column, &nulls[inserted]);
			inserted++;
		}
	return array_of(elements, nulls, inserted, contact_columns[column].type);
}

/* Inserts the contacts that are not duplicates, by a statement. */
static void
insert_by_statement(const ContactEntry *entries, int count)
{
	Datum values[CONTACT_NCOLUMNS];
	bool returning = inserts_may_change(omni_table("contact"));
	uint64 given = 0;
	uint64 row = 0;

	for (int i = 0; i < count; i++)
		given += !entries[i].duplicate;
	for (int column = 0; column < CONTACT_NCOLUMNS; column++)
		values[column] = column_array(entries, count, column);
	if (kept_plan_run(returning ? &contacts_insert_returning : &contacts_insert, values, NULL, false, 0) != given)
		rows_not_taken("contact");
	if (!returning)
		return;
	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate)
			confirm_key(row++, &entries[i]);
	SPI_freetuptable(SPI_tuptable);
}

/* Orders pointers to contacts as the log's primary key does. For qsort. */
static int
compare_primary_keys(const void *a, const void *b)
{
	const ContactEntry *left = *(const ContactEntry *const *) a;
	const ContactEntry *right = *(const ContactEntry *const *) b;

	if (left->customer_id != right->customer_id)
		return left->customer_id < right->customer_id ? -1 : 1;
	if (left->occurred_at != right->occurred_at)
		return left->occurred_at < right->occurred_at ? -1 : 1;
	return left->contact_id < right->contact_id ? -1 : left->contact_id > right->contact_id;
}

/* Inserts the contacts that are not duplicates; in the order of their key, by which neighbours meet the same pages. */
static void
insert_many(const ContactEntry *entries, int count)
{
	DirectWrite *write = direct_open(&contact_table);
	MemoryContext scratch;
	const ContactEntry **sorted;
	ContactEntry *left;
	int found = 0;
	int nleft = 0;

	if (write == NULL)
	{
		insert_by_statement(entries, count);
		return;
	}
	scratch = AllocSetContextCreate(CurrentMemoryContext, "omnichannel row", ALLOCSET_DEFAULT_SIZES);
	left = palloc(sizeof(ContactEntry) * count);
	sorted = palloc(sizeof(ContactEntry *) * count);
	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate)
			sorted[found++] = &entries[i];
	qsort(sorted, found, sizeof(ContactEntry *), compare_primary_keys);
	for (int i = 0; i < found; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scratch);
		Datum values[CONTACT_NCOLUMNS];
		bool nulls[CONTACT_NCOLUMNS];

		for (int column = 0; column < CONTACT_NCOLUMNS; column++)
			values[column] = contact_datum(sorted[i], column, &nulls[column]);
		if (!direct_add(write, values, nulls))
			left[nleft++] = *sorted[i];
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	direct_close(write);
	if (nleft > 0)
		insert_by_statement(left, nleft);
}

/* Makes the customers that were reserved for contacts that are not duplicates, one for each conversation. */
static void
create_unknown(const ContactEntry *entries, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);
	int unknown = 0;

	for (int i = 0; i < count; i++)
	{
		Conversation *conversation = entries[i].conversation;

		if (!entries[i].unknown || entries[i].duplicate || (conversation != NULL && conversation->created))
			continue;
		if (conversation != NULL)
			conversation->created = true;
		ids[unknown++] = entries[i].customer_id;
	}
	customer_create_many(ids, unknown);
}

/*
 * Takes what the service levels know of the customers, if some of the contacts are internal and have an agent: nothing
 * is told of these, but relationships are counted only by who has the customer, and all are taken in one order.
 */
static void
hold_customers(const ContactEntry *entries, int count)
{
	bool counted = false;
	int64 *ids;
	int found = 0;

	for (int i = 0; i < count && !counted; i++)
		counted = !entries[i].duplicate && entries[i].agent_id != 0 && is_internal(&entries[i]);
	if (!counted)
		return;
	ids = palloc(sizeof(int64) * count);
	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate)
			ids[found++] = entries[i].customer_id;
	sla_customers_hold(ids, found);
}

/*
 * Counts the contacts that are not duplicates in the relationships of their customers and agents: of the customer that
 * each was logged of, so that a merge and its undoing have nothing to move. Called once the service levels have been
 * told: whoever has a relationship in his hands would otherwise wait for a customer whose next contact waits for it.
 */
static void
touch_relationships(const ContactEntry *entries, int count, RelationshipSums *sums)
{
	RelationshipTouch *touches = palloc(sizeof(RelationshipTouch) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
		if (entries[i].agent_id != 0 && !entries[i].duplicate)
			touches[found++] = (RelationshipTouch){entries[i].customer_id, entries[i].agent_id, entries[i].occurred_at};
	if (sums != NULL)
		relationship_sums_add(sums, touches, found);
	else
		relationships_touch(touches, found);
}

/* Returns what the service levels are told of a contact. */
static SlaContact
sla_contact(const ContactEntry *entry)
{
	return (SlaContact){.customer_id = entry->customer_id,
						.contact_id = entry->contact_id,
						.request_id = entry->request_id,
						.occurred_at = entry->occurred_at,
						.channel = entry->channel,
						.direction = entry->direction,
						.outcome = entry->outcome,
						.thread = entry->thread,
						.source = entry->source,
						.request = entry->request,
						.place = entry->place,
						.opens = entry->opens};
}

/* Returns whether an entry takes no more than its key and its row, as far as its customer and thread are concerned. */
static bool
is_simple(const ContactEntry *entry)
{
	const Conversation *conversation = entry->conversation;

	return !entry->unknown && (entry->request_customer == 0 || entry->request_customer == entry->customer_id) &&
		   (conversation == NULL || (conversation->known && !conversation->changed));
}

/* Returns whether whoever reckons clocks anew reads all contacts: with row security it is only those of some. */
static bool
is_readable(void)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(omni_table("contact")));
	bool readable = HeapTupleIsValid(tuple) && !((Form_pg_class) GETSTRUCT(tuple))->relrowsecurity;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return readable;
}

/* Tells the service levels of the contacts that are not duplicates; stills as sla_contacts_logged() takes it. */
static void
tell_service_levels(ContactEntry *entries, int count, bool stills)
{
	SlaContact *told = palloc(sizeof(SlaContact) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate)
			told[found++] = sla_contact(&entries[i]);
	sla_contacts_logged(told, found, stills);
	for (int i = count - 1; i >= 0; i--)
		if (!entries[i].duplicate)
			entries[i].still = told[--found].still;
}

/*
 * Writes one contact, and what follows of it, where nothing is to be opened, resumed or made for it; returns false,
 * having done nothing, where something is, or may have to be. Where it had to wait for others it returns false as well,
 * and *claimed says that the contact's key is.
 */
static bool
continue_settled(ContactEntry *entry, bool live, RelationshipSums *sums, bool *claimed)
{
	int64 given = entry->request_id;
	bool settled = true;
	bool stills;

	*claimed = false;

	if (!is_simple(entry))
		return false;
	/* What is read of the request holds for the service levels too. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	stills = live && is_readable();
	if (live)
		settled = request_settled(entry, GetActiveSnapshot(), stills);
	if (settled)
		key_claim(entry);
	if (settled && !entry->duplicate)
	{
		SlaContact told = sla_contact(entry);

		if (live)
			hold_customers(entry, 1);
		if (entry->wait != NULL)
			settled = told.still = sla_wait_go_on(entry->wait, entry->occurred_at);
		else if (live)
			settled = sla_contact_told(&told, entry->request_id != given || is_said(entry), stills);
		entry->still = told.still;
		if (settled)
		{
			touch_relationships(entry, 1, sums);
			insert_one(entry);
		}
		*claimed = !settled;
	}
	PopActiveSnapshot();
	if (!settled)
	{
		/* What was open when it was looked at may be closed by whoever was waited for: the request is found anew. */
		entry->request_id = given;
		entry->request = NULL;
		entry->wait = NULL;
	}
	if (*claimed)
	{
		requests_match(entry, 1);
		conversations_refresh(entry, 1);
	}
	return settled;
}

/*
 * Follows merges up: of all customers at hand and in their order, so that what each takes of the service levels is
 * taken before what logging takes of some.
 */
static void
regroup_customers(const ContactEntry *entries, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate)
			ids[found++] = entries[i].customer_id;
	customers_regroup(ids, found);
}

/*
 * contact_write logs checked entries, each source's key once, and sets what contact.h says of them.
 *
 * live: inbound contacts open and continue requests; otherwise the past is imported. Relationships that are counted
 * until the end the caller writes then. Needs an SPI scope. Allocates in the current
 * context. Raises 23503 for a customer, request or agent that does not exist, 55000 for a live contact of
 * an erased customer, and what the tables' own constraints, policies and triggers raise.
 */
void
contact_write(ContactEntry *entries, int count, bool live, const ContactBatches *batches)
{
	Oid ids = omni_table("contact_contact_id_seq");
	bool merged = false;
	bool claimed = false;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		entries[i].named = entries[i].customer_id != 0 || entries[i].kind != NULL;
		entries[i].unknown = entries[i].settled = entries[i].stranger = false;
		entries[i].duplicate = entries[i].still = entries[i].moves = false;
		entries[i].conversation = NULL;
		entries[i].request_customer = 0;
		entries[i].request = NULL;
		entries[i].wait = NULL;
		ItemPointerSetInvalid(&entries[i].place);
		entries[i].contact_id = nextval_internal(ids, true);
	}
	erased_keys_mask(entries, count);
	conversations_find(entries, count);
	customers_match(entries, count, live, batches->memo);
	if (count == 1 && entries->settled)
	{
		entries->duplicate = true;
		return;
	}

	if (count == 1 && continue_settled(entries, live, batches->sums, &claimed))
		return;

	if (live)
		conversations_await(entries, count);
	if (count == 1 && !claimed)
		key_claim(entries);
	else if (count > 1)
		keys_claim(entries, count);
	if (conversations_claim(entries, count))
		customers_rematch(entries, count);
	while (customers_adopt(entries, count, &merged))
	{
		conversations_refresh(entries, count);
		customers_rematch(entries, count);
	}
	create_unknown(entries, count);
	customers_check_requests(entries, count, &merged);
	if (live)
		requests_continue(entries, count);
	conversations_save(entries, count);
	if (merged)
		regroup_customers(entries, count);
	/* Clocks of whoever was merged just now may be reckoned anew from what is written. */
	if (live)
	{
		hold_customers(entries, count);
		tell_service_levels(entries, count, !merged && is_readable());
		requests_moved(entries, count);
	}
	touch_relationships(entries, count, batches->sums);
	if (count > 1)
		insert_many(entries, count);
	else if (!entries->duplicate)
		insert_one(entries);
}
