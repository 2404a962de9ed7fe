/*
 * contact.c
 *	  Checks contacts and writes them, one or many at once.
 *
 * One contact goes through statements of one row, many through the same statements over arrays, because a loop of the
 * former costs several times as much. Either way the order is the same: customers, then the keys that make sure that a
 * source's row is logged once, then the contacts whose key was new, then the effects. A customer nobody knows is made
 * after its contact's key was won, so that a repeated row leaves none behind.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "customer/customer.h"
#include "routing/routing.h"

/* A clock of an application's server may run ahead of the database's by this much. */
#define CLOCK_SKEW (60 * USECS_PER_SEC)
/* Keys of indexes must stay below a third of a page; a subject is what fits a line of RFC 5322. */
#define KEY_MAX 1000
#define SUBJECT_MAX 998
#define DOCUMENT_MAX (1024 * 1024)

#define CONTACT_COLUMNS                                                                                                \
	"customer_id, contact_id, occurred_at, channel, direction, outcome, agent_id, request_id, thread, subject, body,"  \
	" payload, source, source_key"
#define CONTACT_NCOLUMNS 14

static const char *const directions[] = {"inbound", "outbound", "internal"};
static const char *const outcomes[] = {"received",  "sent",      "answered", "missed",
									   "abandoned", "voicemail", "busy",     "failed"};

/* The columns' types, and the array types that the statements over many rows take. */
static const Oid column_types[CONTACT_NCOLUMNS] = {INT8OID, INT8OID,  TIMESTAMPTZOID, TEXTOID, TEXTOID,
												   TEXTOID, INT8OID,  INT8OID,        TEXTOID, TEXTOID,
												   TEXTOID, JSONBOID, TEXTOID,        TEXTOID};

static KeptPlan key_insert = {
	.sql = "INSERT INTO omnichannel.contact_key (source, source_key, customer_id, contact_id, occurred_at)"
		   " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source, source_key) DO NOTHING",
	.nargs = 5,
	.argtypes = {TEXTOID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID},
};

static KeptPlan keys_insert = {
	.sql = "INSERT INTO omnichannel.contact_key (source, source_key, customer_id, contact_id, occurred_at)"
		   " SELECT * FROM unnest($1, $2, $3, $4, $5)"
		   " ON CONFLICT (source, source_key) DO NOTHING RETURNING contact_id",
	.nargs = 5,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
};

static KeptPlan key_select = {
	.sql = "SELECT contact_id FROM omnichannel.contact_key WHERE source = $1 AND source_key = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static KeptPlan contact_insert = {
	.sql = "INSERT INTO omnichannel.contact (" CONTACT_COLUMNS ")"
		   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
	.nargs = CONTACT_NCOLUMNS,
	.argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, TEXTOID, TEXTOID,
				 TEXTOID, JSONBOID, TEXTOID, TEXTOID},
};

static KeptPlan contacts_insert = {
	.sql = "INSERT INTO omnichannel.contact (" CONTACT_COLUMNS ")"
		   " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
	.nargs = CONTACT_NCOLUMNS,
	.argtypes = {INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
				 INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID, TEXTARRAYOID,
				 TEXTARRAYOID},
};

static KeptPlan request_select = {
	.sql = "SELECT 1 FROM omnichannel.request WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
};

/* Returns as much of a text as belongs in a message. */
static const char *
shown(const char *value)
{
	int length = (int) strlen(value);

	if (length <= 100)
		return value;
	return psprintf("%.*s...", pg_mbcliplen(value, length, 100), value);
}

/* Returns the code among known that value equals; raises 22023 for any other. */
static const char *
code_check(const char *value, const char *what, const char *const *known, int count)
{
	StringInfoData names;

	for (int i = 0; i < count; i++)
		if (strcmp(value, known[i]) == 0)
			return known[i];

	initStringInfo(&names);
	for (int i = 0; i < count; i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ", known[i]);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%s\" is no %s of a contact", shown(value), what),
					errhint("It is one of %s.", names.data)));
}

/* Returns the direction; raises 22023 where it is none. */
const char *
direction_check(const char *direction)
{
	return code_check(direction, "direction", directions, lengthof(directions));
}

/* Returns the outcome; raises 22023 where it is none. */
const char *
outcome_check(const char *outcome)
{
	return code_check(outcome, "outcome", outcomes, lengthof(outcomes));
}

/* Returns whether a text is a known outcome or else direction. */
bool
code_known(const text *code, bool outcome)
{
	const char *const *known = outcome ? outcomes : directions;
	int count = outcome ? lengthof(outcomes) : lengthof(directions);
	size_t length = VARSIZE_ANY_EXHDR(code);

	for (int i = 0; i < count; i++)
		if (strlen(known[i]) == length && memcmp(known[i], VARDATA_ANY(code), length) == 0)
			return true;
	return false;
}

/* Raises 22023 for an empty key and 22001 for one that is too long. */
static void
key_check(const char *value, const char *what)
{
	if (value == NULL)
		return;
	if (value[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the %s of a contact is empty", what),
						errhint("Leave it NULL where there is none.")));
	if (strlen(value) > KEY_MAX)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("the %s \"%s\" of a contact is longer than %d bytes", what, shown(value), KEY_MAX),
						errhint("It identifies; what it says belongs in the body or the payload.")));
}

/* Raises 54000 for a document that is too large. */
static void
document_check(struct varlena *document, const char *what)
{
	Size size = document == NULL ? 0 : toast_raw_datum_size(PointerGetDatum(document)) - VARHDRSZ;

	if (size > DOCUMENT_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the %s of a contact has %zu bytes, more than %d", what, size, DOCUMENT_MAX),
						errhint("Keep it where it is and log a reference to it.")));
}

/*
 * contact_check fills in what an entry leaves to defaults and brings its identity into the normal form.
 *
 * Raises 23503 for an unknown channel or kind of identity, 22023 for a bad identity, direction, outcome or key, 22008
 * for a time that is infinite or to come, 22001 and 54000 for what is too long.
 */
void
contact_check(ContactEntry *entry)
{
	if (entry->channel == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the channel of a contact is NULL"),
						errhint("The table omnichannel.channel lists the channels.")));
	(void) channel_get(entry->channel);

	entry->direction = entry->direction == NULL ? directions[0] : direction_check(entry->direction);
	if (entry->outcome != NULL)
		entry->outcome = outcome_check(entry->outcome);
	else
		entry->outcome = entry->direction == directions[0] ? outcomes[0] : outcomes[1];

	if (TIMESTAMP_NOT_FINITE(entry->occurred_at) || entry->occurred_at > GetCurrentTimestamp() + CLOCK_SKEW)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("a contact cannot have occurred at %s", timestamptz_to_str(entry->occurred_at)),
						errhint("The log takes what has happened, up to a minute ahead of the server's clock.")));

	key_check(entry->thread, "thread");
	key_check(entry->source, "source");
	key_check(entry->source_key, "source key");
	if (entry->source_key != NULL && entry->source == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the source key \"%s\" has no source", shown(entry->source_key)),
						errhint("Name the application or the table that the key is of.")));
	if (entry->subject != NULL && toast_raw_datum_size(PointerGetDatum(entry->subject)) - VARHDRSZ > SUBJECT_MAX)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("the subject of a contact is longer than %d bytes", SUBJECT_MAX),
						errhint("What the contact says belongs in the body.")));
	document_check((struct varlena *) entry->body, "body");
	document_check(entry->payload, "payload");

	if (entry->customer_id != 0)
		entry->kind = entry->value = NULL;
	else if (entry->kind != NULL && entry->value != NULL)
		entry->value = identity_normalise(entry->kind, entry->value);
	else
		entry->kind = entry->value = NULL;
}

/* Finds the customer of one entry, or reserves the id of a new one. */
static void
match_one(ContactEntry *entry)
{
	if (entry->customer_id != 0)
	{
		if (customer_root(entry->customer_id, false) == 0)
			customer_missing(entry->customer_id);
	}
	else if (entry->kind != NULL)
		entry->customer_id = customer_match(entry->kind, entry->value, true, NULL);
	else
	{
		entry->unknown = true;
		entry->customer_id = customer_reserve();
	}
}

/* Finds the customers of many entries, or reserves the ids of new ones. */
static void
match_many(ContactEntry *entries, int count)
{
	CustomerLookup *lookups = palloc(sizeof(CustomerLookup) * count);
	int known = 0;

	for (int i = 0; i < count; i++)
	{
		ContactEntry *entry = &entries[i];

		if (entry->customer_id == 0 && entry->kind == NULL)
		{
			entry->unknown = true;
			entry->customer_id = customer_reserve();
			continue;
		}
		lookups[known++] =
			(CustomerLookup){.kind = entry->kind, .value = entry->value, .customer_id = entry->customer_id};
	}
	customer_match_many(lookups, known);
	for (int i = 0, next = 0; i < count; i++)
		if (!entries[i].unknown)
			entries[i].customer_id = lookups[next++].customer_id;
}

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

/* Returns one column of the contact, in the order of CONTACT_COLUMNS. */
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
		default:
			return text_datum(entry->source_key, isnull);
	}
}

/* Inserts one contact. */
static void
insert_one(const ContactEntry *entry)
{
	Datum values[CONTACT_NCOLUMNS];
	char nulls[CONTACT_NCOLUMNS];

	for (int column = 0; column < CONTACT_NCOLUMNS; column++)
	{
		bool isnull;

		values[column] = contact_datum(entry, column, &isnull);
		nulls[column] = isnull ? 'n' : ' ';
	}
	(void) kept_plan_run(&contact_insert, values, nulls, false, 0);
}

/* Returns an array of one column of the entries that are not duplicates. */
static Datum
column_array(const ContactEntry *entries, int count, int column)
{
	Oid type = column_types[column];
	Datum *elements = palloc(sizeof(Datum) * count);
	bool *nulls = palloc(sizeof(bool) * count);
	int dims[1] = {0};
	int bounds[1] = {1};
	int16 length;
	bool by_value;
	char align;

	for (int i = 0; i < count; i++)
		if (!entries[i].duplicate)
		{
			elements[dims[0]] = contact_datum(&entries[i], column, &nulls[dims[0]]);
			dims[0]++;
		}
	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(elements, nulls, 1, dims, bounds, type, length, by_value, align));
}

/* Inserts the contacts that are not duplicates. */
static void
insert_many(const ContactEntry *entries, int count)
{
	Datum values[CONTACT_NCOLUMNS];

	for (int column = 0; column < CONTACT_NCOLUMNS; column++)
		values[column] = column_array(entries, count, column);
	(void) kept_plan_run(&contacts_insert, values, NULL, false, 0);
}

/* Claims the source's key of one entry, which is a duplicate where another has it. */
static void
claim_one(ContactEntry *entry)
{
	Datum values[5];

	if (entry->source_key == NULL)
		return;
	values[0] = CStringGetTextDatum(entry->source);
	values[1] = CStringGetTextDatum(entry->source_key);
	values[2] = Int64GetDatum(entry->customer_id);
	values[3] = Int64GetDatum(entry->contact_id);
	values[4] = TimestampTzGetDatum(entry->occurred_at);
	entry->duplicate = kept_plan_run(&key_insert, values, NULL, false, 0) == 0;
}

/* Claims the sources' keys of many entries; contact ids rise, and so do those that the statement returns. */
static void
claim_many(ContactEntry *entries, int count)
{
	static const int columns[5] = {12, 13, 0, 1, 2};
	Datum values[5];
	uint64 claimed;
	uint64 row = 0;
	int keys = 0;

	/* Those without a key look like duplicates while the arrays are made. */
	for (int i = 0; i < count; i++)
	{
		entries[i].duplicate = entries[i].source_key == NULL;
		keys += !entries[i].duplicate;
	}
	if (keys > 0)
		for (int i = 0; i < 5; i++)
			values[i] = column_array(entries, count, columns[i]);

	claimed = keys > 0 ? kept_plan_run(&keys_insert, values, NULL, false, 0) : 0;
	for (int i = 0; i < count; i++)
	{
		bool isnull;

		if (entries[i].source_key == NULL)
			entries[i].duplicate = false;
		else if (row < claimed && DatumGetInt64(spi_datum(row, 1, &isnull)) == entries[i].contact_id)
			row++;
		else
			entries[i].duplicate = true;
	}
	if (row != claimed)
		elog(ERROR, "keys of contacts came back out of order");
	if (keys > 0)
		SPI_freetuptable(SPI_tuptable);
}

/* Makes the customers that were reserved for contacts that are not duplicates. */
static void
create_unknown(const ContactEntry *entries, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);
	int unknown = 0;

	for (int i = 0; i < count; i++)
		if (entries[i].unknown && !entries[i].duplicate)
			ids[unknown++] = entries[i].customer_id;
	customer_create_many(ids, unknown);
}

/* Raises 23503 where an entry names a request that there is not. */
static void
check_requests(const ContactEntry *entries, int count)
{
	for (int i = 0; i < count; i++)
	{
		Datum values[1] = {Int64GetDatum(entries[i].request_id)};

		if (entries[i].request_id != 0 && kept_plan_run(&request_select, values, NULL, false, 1) == 0)
			ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
							errmsg("request " INT64_FORMAT " does not exist", entries[i].request_id),
							errhint("open_request() returns the id of a new one.")));
	}
}

/* Orders by customer, agent and time, so that writers that meet do not lock up. */
static int
compare_relationships(const void *a, const void *b)
{
	const ContactEntry *left = *(ContactEntry *const *) a;
	const ContactEntry *right = *(ContactEntry *const *) b;

	if (left->customer_id != right->customer_id)
		return left->customer_id < right->customer_id ? -1 : 1;
	if (left->agent_id != right->agent_id)
		return left->agent_id < right->agent_id ? -1 : 1;
	return left->occurred_at < right->occurred_at ? -1 : left->occurred_at > right->occurred_at;
}

/*
 * Counts the contacts that are not duplicates in the relationships of their customers and agents: of the customer that
 * each was logged of, so that a merge and its undoing have nothing to move.
 */
static void
touch_relationships(ContactEntry *entries, int count)
{
	ContactEntry **touched = palloc(sizeof(ContactEntry *) * count);
	int found = 0;

	for (int i = 0; i < count; i++)
		if (entries[i].agent_id != 0 && !entries[i].duplicate)
			touched[found++] = &entries[i];
	if (found > 1)
		qsort(touched, found, sizeof(ContactEntry *), compare_relationships);
	for (int i = 0; i < found; i++)
		relationship_touch(touched[i]->customer_id, touched[i]->agent_id, touched[i]->occurred_at);
}

/* Keeps the planner to the indexes: a plan made while the tables were empty must not scan them when they have grown. */
static void
keep_to_indexes(void)
{
	static const char *const settings[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin"};

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * contact_write logs checked entries, each source's key once, and sets what contact.h says of them.
 *
 * Needs an SPI scope. Allocates in the current context. Raises 23503 for a customer, request or agent that does not
 * exist, and what the tables' own constraints, policies and triggers raise.
 */
void
contact_write(ContactEntry *entries, int count)
{
	Oid ids = omni_table("contact_contact_id_seq");

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		entries[i].unknown = entries[i].duplicate = false;
		entries[i].contact_id = nextval_internal(ids, true);
	}
	check_requests(entries, count);

	if (count == 1)
	{
		match_one(entries);
		claim_one(entries);
		create_unknown(entries, count);
		if (!entries->duplicate)
			insert_one(entries);
	}
	else
	{
		keep_to_indexes();
		match_many(entries, count);
		claim_many(entries, count);
		create_unknown(entries, count);
		insert_many(entries, count);
	}
	touch_relationships(entries, count);
}

/* Returns the contact that was logged of a source's key, or 0. Needs an SPI scope. */
int64
contact_find(const char *source, const char *source_key)
{
	Datum values[2] = {CStringGetTextDatum(source), CStringGetTextDatum(source_key)};
	bool isnull;

	if (kept_plan_run(&key_select, values, NULL, false, 1) == 0)
		return 0;
	return DatumGetInt64(spi_datum(0, 1, &isnull));
}
