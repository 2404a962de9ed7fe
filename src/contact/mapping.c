/*
 * mapping.c
 *	  Fits mappings to the columns of tracked tables and makes contacts of their rows.
 *
 * Mappings name columns, because that is what a person can check. The numbers are looked up once a backend and table
 * (each partition has its own) and are compared with the table's columns before each use, which costs a comparison of
 * names and no catalogue access: a column that was renamed, retyped or dropped is noticed by the next write.
 *
 * Values are read with the rights of whoever writes the row, or of its table's owner where it was there before: the
 * output functions of the application's types are not run with the rights of the log's owner or its administrators.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "contact/mapping.h"
#include "customer/customer.h"

/* What a column's type is to us: domains are what they are based on. */
typedef enum ColumnType
{
	COLUMN_TEXT,
	COLUMN_PADDED,
	COLUMN_INT2,
	COLUMN_INT4,
	COLUMN_INT8,
	COLUMN_TIMESTAMPTZ,
	COLUMN_TIMESTAMP,
	COLUMN_DATE,
	COLUMN_JSONB,
	COLUMN_OTHER
} ColumnType;

typedef struct FittedPart
{
	const char *text;
	AttrNumber column; /* 0 for a constant */
	Oid type_oid;
	ColumnType type;
	FmgrInfo output;
} FittedPart;

struct FittedMapping
{
	Oid relation; /* the hash key */
	uint64 generation;
	MemoryContext context;
	const Tracking *tracking;
	FittedPart *parts[MAPPING_FIELDS];
	bool settings;      /* a text of it depends on the session's settings */
	uint64 names_asked; /* relations_generation() when mapping_names_rows() was asked, or 0 */
	bool names_rows;
};

static HTAB *fitted_mappings = NULL;

/* Returns what the type is to us. */
static ColumnType
column_type(Oid type)
{
	switch (getBaseType(type))
	{
		case TEXTOID:
		case VARCHAROID:
			return COLUMN_TEXT;
		case BPCHAROID:
			return COLUMN_PADDED;
		case INT2OID:
			return COLUMN_INT2;
		case INT4OID:
			return COLUMN_INT4;
		case INT8OID:
			return COLUMN_INT8;
		case TIMESTAMPTZOID:
			return COLUMN_TIMESTAMPTZ;
		case TIMESTAMPOID:
			return COLUMN_TIMESTAMP;
		case DATEOID:
			return COLUMN_DATE;
		case JSONBOID:
			return COLUMN_JSONB;
		default:
			return COLUMN_OTHER;
	}
}

/* Returns whether the text of a column's values may depend on the session's settings, as that of an interval does. */
static bool
depends_on_settings(const FittedPart *part)
{
	Oid type;

	if (part->column == 0 || part->type != COLUMN_OTHER)
		return false;
	type = getBaseType(part->type_oid);
	switch (type)
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case NUMERICOID:
		case UUIDOID:
		case OIDOID:
		case INETOID:
		case JSONOID:
			return false;
		default:
			return !type_is_enum(type);
	}
}

/* Raises 42804: a column's type does not suit a field. */
static void
refuse_type(const Tracking *tracking, MappingField field, const char *column, Oid type, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of tracking \"%s\" has type %s, but %s must be %s", column, tracking->code,
					format_type_be(type), mapping_field_name(field), wanted),
			 errhint("Call track() again with a column that suits, or add a generated one to the table.")));
}

/*
 * Returns whether values of a type can be codes, names or, unless named, whole numbers: texts, numbers, enums, and what
 * types of others are.
 */
static bool
can_name(Oid type, bool named)
{
	char category;
	bool preferred;

	type = getBaseType(type);
	get_type_category_preferred(type, &category, &preferred);
	switch (category)
	{
		case TYPCATEGORY_STRING:
		case TYPCATEGORY_NUMERIC:
		case TYPCATEGORY_ENUM:
			return true;
		case TYPCATEGORY_NETWORK:
			return named;
		case TYPCATEGORY_USER:
			return type >= FirstNormalObjectId || (named && type == UUIDOID);
		default:
			return false;
	}
}

/* Raises 42804 where the parts of a field cannot become what the field is. */
static void
check_types(const Tracking *tracking, MappingField field, const FittedPart *parts)
{
	const MappingItem *item = &tracking->items[field];
	const FittedPart *first = &parts[0];
	bool one_column = item->nparts == 1 && first->column != 0;

	if (field == FIELD_OCCURRED_AT)
	{
		if (!one_column || item->nvalues > 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("occurred_at of tracking \"%s\" is no column", tracking->code),
							errhint("Name one column, as in '{sent_at}', or leave it out for now.")));
		if (first->type != COLUMN_TIMESTAMPTZ && first->type != COLUMN_TIMESTAMP && first->type != COLUMN_DATE)
			refuse_type(tracking, field, first->text, first->type_oid, "a timestamp or a date");
	}
	else if (field == FIELD_PAYLOAD && !item->whole_row)
	{
		if (one_column && first->type != COLUMN_JSONB && first->type_oid != JSONOID)
			refuse_type(tracking, field, first->text, first->type_oid, "json or jsonb");
	}
	else if (one_column && item->nvalues == 0)
	{
		bool who = field == FIELD_CUSTOMER || field == FIELD_RECIPIENT;
		bool named = who && tracking->items[FIELD_KIND].given;

		if ((field <= FIELD_OUTCOME || field == FIELD_AGENT || field == FIELD_REQUEST) &&
			!can_name(first->type_oid, named))
			refuse_type(tracking, field, first->text, first->type_oid,
						named                                                   ? "an identity"
						: who || field == FIELD_AGENT || field == FIELD_REQUEST ? "an id"
																				: "a code");
	}
}

/* Looks the columns of one field up; raises 42703 for one that there is not and 42804 for one that does not suit. */
static FittedPart *
fit_item(const Tracking *tracking, MappingField field, Relation relation)
{
	const MappingItem *item = &tracking->items[field];
	TupleDesc desc = RelationGetDescr(relation);
	FittedPart *parts = palloc0(sizeof(FittedPart) * item->nparts);

	for (int i = 0; i < item->nparts; i++)
	{
		FittedPart *part = &parts[i];

		part->text = item->parts[i].text;
		if (!item->parts[i].column || item->whole_row)
			continue;
		for (int column = 0; column < desc->natts; column++)
		{
			Form_pg_attribute attribute = TupleDescAttr(desc, column);

			if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), part->text) == 0)
			{
				Oid output;
				bool varlena;

				part->column = column + 1;
				part->type_oid = attribute->atttypid;
				part->type = column_type(part->type_oid);
				getTypeOutputInfo(part->type_oid, &output, &varlena);
				fmgr_info_cxt(output, &part->output, CurrentMemoryContext);
			}
		}
		if (part->column == 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("column \"%s\" of relation \"%s\", which tracking \"%s\" reads as %s, "
								   "does not exist",
								   part->text, RelationGetRelationName(relation), tracking->code,
								   mapping_field_name(field)),
							errhint("Call track() again with the columns that the table has now.")));
	}
	if (item->given)
		check_types(tracking, field, parts);
	return parts;
}

/* Returns whether a fitted mapping still says what the table's columns are. */
static bool
still_fits(const FittedMapping *fitted, Relation relation)
{
	TupleDesc desc = RelationGetDescr(relation);

	for (int field = 0; field < MAPPING_FIELDS; field++)
	{
		for (int i = 0; i < fitted->tracking->items[field].nparts; i++)
		{
			const FittedPart *part = &fitted->parts[field][i];
			Form_pg_attribute attribute;

			if (part->column == 0)
				continue;
			if (part->column > desc->natts)
				return false;
			attribute = TupleDescAttr(desc, part->column - 1);
			if (attribute->attisdropped || attribute->atttypid != part->type_oid ||
				strcmp(NameStr(attribute->attname), part->text) != 0)
				return false;
		}
	}
	return true;
}

/* Raises 42501 where the table is not the one that the tracking is of, nor a partition of it. */
void
mapping_check_registered(const Tracking *tracking, Relation relation)
{
	Oid relid = RelationGetRelid(relation);

	if (tracking->relation == relid ||
		(relation->rd_rel->relispartition && list_member_oid(get_partition_ancestors(relid), tracking->relation)))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("relation \"%s\" is not what tracking \"%s\" tracks", RelationGetRelationName(relation),
						   tracking->code),
					errhint("Drop the trigger and call track() for this relation.")));
}

/*
 * mapping_fit returns the mapping fitted to a table as it is now; good until the next call.
 *
 * Raises 42501 for a table that the tracking is not of, 42703 and 42804 for columns that are gone or do not suit.
 */
const FittedMapping *
mapping_fit(const Tracking *tracking, Relation relation)
{
	Oid relid = RelationGetRelid(relation);
	FittedMapping *fitted;
	MemoryContext context;
	MemoryContext old;
	FittedPart *parts[MAPPING_FIELDS];
	bool settings = tracking->items[FIELD_PAYLOAD].whole_row;

	if (fitted_mappings == NULL)
	{
		HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(FittedMapping), .hcxt = CacheMemoryContext};

		fitted_mappings =
			hash_create("omnichannel fitted mappings", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	fitted = hash_search(fitted_mappings, &relid, HASH_FIND, NULL);
	if (fitted != NULL && fitted->generation == tracking_generation() && fitted->tracking == tracking &&
		still_fits(fitted, relation))
		return fitted;

	mapping_check_registered(tracking, relation);
	context = AllocSetContextCreate(CurrentMemoryContext, "omnichannel fitted mapping", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	for (int field = 0; field < MAPPING_FIELDS; field++)
	{
		parts[field] = fit_item(tracking, field, relation);
		for (int i = 0; i < tracking->items[field].nparts; i++)
			settings = settings || depends_on_settings(&parts[field][i]);
	}
	MemoryContextSwitchTo(old);

	if (fitted != NULL)
	{
		MemoryContext stale = fitted->context;

		(void) hash_search(fitted_mappings, &relid, HASH_REMOVE, NULL);
		MemoryContextDelete(stale);
	}
	fitted = hash_search(fitted_mappings, &relid, HASH_ENTER, NULL);
	fitted->generation = tracking_generation();
	fitted->context = context;
	fitted->tracking = tracking;
	fitted->settings = settings;
	fitted->names_asked = 0;
	memcpy(fitted->parts, parts, sizeof(parts));
	MemoryContextSetParent(context, CacheMemoryContext);
	return fitted;
}

/*
 * mapping_needs_pinned_output returns whether rows must be evaluated under pinned_output_begin(): a key or a text must
 * not change with the settings of whoever writes the row.
 */
bool
mapping_needs_pinned_output(const FittedMapping *fitted)
{
	return fitted->settings;
}

/* Returns a column's value as text in the current context, NULL for NULL. */
static char *
part_text(const FittedPart *part, TupleTableSlot *slot)
{
	static const int utc = 0;
	bool isnull;
	Datum value = slot_getattr(slot, part->column, &isnull);

	if (isnull)
		return NULL;
	switch (part->type)
	{
		case COLUMN_TEXT:
			return TextDatumGetCString(value);
		case COLUMN_PADDED:
		{
			char *string = TextDatumGetCString(value);
			size_t length = strlen(string);

			while (length > 0 && string[length - 1] == ' ')
				string[--length] = '\0';
			return string;
		}
		case COLUMN_DATE:
		case COLUMN_TIMESTAMP:
		case COLUMN_TIMESTAMPTZ:
			/* As ISO 8601 and in UTC, whatever the session's settings: it may be part of a key. */
			return JsonEncodeDateTime(palloc(MAXDATELEN + 1), value, getBaseType(part->type_oid), &utc);
		default:
			return OutputFunctionCall(unconstify(FmgrInfo *, &part->output), value);
	}
}

/* Returns whether a text is empty or holds nothing but the spaces that identities are rid of. */
static bool
is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n\v\f")] == '\0';
}

/* Returns what a field's value map makes of a text; clears logged where it says that the row is not to be logged. */
const char *
mapping_value(const MappingItem *item, const char *text, bool *logged)
{
	MappedValue sought = {.from = text};
	MappedValue *value;

	if (item->nvalues == 0 || text == NULL)
		return text;
	value = bsearch(&sought, item->values, item->nvalues, sizeof(MappedValue), compare_mapped_values);
	if (value == NULL)
	{
		sought.from = "*";
		value = bsearch(&sought, item->values, item->nvalues, sizeof(MappedValue), compare_mapped_values);
	}
	if (value == NULL)
		return text;
	if (value->to == NULL)
		*logged = false;
	return value->to;
}

/*
 * Returns a field's value as text in the current context, NULL where it is not mapped or a column is NULL. Clears
 * logged where the value map says that such rows are not to be logged.
 *
 * Who it was is NULL also where it, or a column that it is made of, is blank: applications write so what they do not
 * know, as a number that is withheld.
 */
static const char *
item_text(const FittedMapping *fitted, MappingField field, TupleTableSlot *slot, bool *logged)
{
	const MappingItem *item = &fitted->tracking->items[field];
	const FittedPart *parts = fitted->parts[field];
	bool names = field == FIELD_CUSTOMER || field == FIELD_RECIPIENT;
	const char *text;

	if (item->nparts == 0)
		return NULL;
	if (item->nparts == 1)
		text = parts[0].column == 0 ? parts[0].text : part_text(&parts[0], slot);
	else
	{
		StringInfoData joined;

		initStringInfo(&joined);
		for (int i = 0; i < item->nparts; i++)
		{
			const char *part = parts[i].column == 0 ? parts[i].text : part_text(&parts[i], slot);

			if (part == NULL || (names && parts[i].column != 0 && is_blank(part)))
				return NULL;
			appendStringInfoString(&joined, part);
		}
		text = joined.data;
	}

	text = mapping_value(item, text, logged);
	return text != NULL && names && is_blank(text) ? NULL : text;
}

/* mapping_id returns the id that a text is, 0 for an empty one; raises 22P02 for what is none. */
int64
mapping_id(const Tracking *tracking, MappingField field, const char *text)
{
	bool who = field == FIELD_CUSTOMER || field == FIELD_RECIPIENT;
	char *end;
	int64 id;

	errno = 0;
	id = strtoi64(text, &end, 10);
	if (errno == 0 && end[strspn(end, " \t\r\n\v\f")] == '\0' && (end != text || text[0] == '\0'))
		return id;
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("%s of tracking \"%s\" is no id: \"%s\"", mapping_field_name(field), tracking->code,
						   excerpt(text)),
					who ? errhint("It is a customer_id, unless track() says of which kind of identity it is.")
						: errhint("It is a whole number: the %s_id.", mapping_field_name(field))));
	return 0;
}

/* Returns a field's value as an id, 0 where there is none; raises 22P02 for what is none. */
static int64
item_id(const FittedMapping *fitted, MappingField field, TupleTableSlot *slot, bool *logged)
{
	const MappingItem *item = &fitted->tracking->items[field];
	const FittedPart *part = fitted->parts[field];
	const char *text;

	if (item->nparts == 1 && item->nvalues == 0 && part->type != COLUMN_TEXT && part->column != 0 &&
		(part->type == COLUMN_INT8 || part->type == COLUMN_INT4 || part->type == COLUMN_INT2))
	{
		bool isnull;
		Datum value = slot_getattr(slot, part->column, &isnull);

		if (isnull)
			return 0;
		return part->type == COLUMN_INT8   ? DatumGetInt64(value)
			   : part->type == COLUMN_INT4 ? DatumGetInt32(value)
										   : DatumGetInt16(value);
	}
	text = item_text(fitted, field, slot, logged);
	return text == NULL ? 0 : mapping_id(fitted->tracking, field, text);
}

/* Returns a field's value as a document in the current context, NULL where there is none. */
static text *
item_document(const FittedMapping *fitted, MappingField field, TupleTableSlot *slot, bool *logged)
{
	const MappingItem *item = &fitted->tracking->items[field];
	const FittedPart *part = fitted->parts[field];
	const char *text;

	if (item->nparts == 1 && item->nvalues == 0 && part->column != 0 && part->type == COLUMN_TEXT)
	{
		bool isnull;
		Datum value = slot_getattr(slot, part->column, &isnull);

		/* Not unpacked before its size is known. */
		return isnull ? NULL : (struct varlena *) DatumGetPointer(value);
	}
	text = item_text(fitted, field, slot, logged);
	return text == NULL ? NULL : cstring_to_text(text);
}

/* Returns the payload as jsonb in the current context, NULL where there is none. */
static struct varlena *
item_payload(const FittedMapping *fitted, TupleTableSlot *slot, bool *logged)
{
	const MappingItem *item = &fitted->tracking->items[FIELD_PAYLOAD];
	const FittedPart *part = fitted->parts[FIELD_PAYLOAD];
	const char *string;

	if (item->nparts == 0)
		return NULL;
	if (item->whole_row)
	{
		Datum row = ExecFetchSlotHeapTupleDatum(slot);

		string = TextDatumGetCString(DirectFunctionCall1(row_to_json, row));
	}
	else if (item->nparts == 1 && part->column != 0 && part->type == COLUMN_JSONB)
	{
		bool isnull;
		Datum value = slot_getattr(slot, part->column, &isnull);

		return isnull ? NULL : (struct varlena *) DatumGetPointer(value);
	}
	else
		string = item_text(fitted, FIELD_PAYLOAD, slot, logged);
	if (string == NULL)
		return NULL;
	return (struct varlena *) DatumGetPointer(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
}

/*
 * Returns when it occurred, now where that is not mapped or NULL, which clears timed; local times are the tracking's
 * time zone's.
 */
static TimestampTz
item_time(const FittedMapping *fitted, TupleTableSlot *slot, bool *timed)
{
	const FittedPart *part = fitted->parts[FIELD_OCCURRED_AT];
	Datum value;
	bool isnull;

	*timed = false;
	if (fitted->tracking->items[FIELD_OCCURRED_AT].nparts == 0)
		return GetCurrentTimestamp();
	value = slot_getattr(slot, part->column, &isnull);
	if (isnull)
		return GetCurrentTimestamp();
	*timed = true;
	if (part->type == COLUMN_DATE)
		value = DirectFunctionCall1(date_timestamp, value);
	if (part->type != COLUMN_TIMESTAMPTZ)
		value = DirectFunctionCall2(timestamp_zone, CStringGetTextDatum(fitted->tracking->time_zone), value);
	return DatumGetTimestampTz(value);
}

/*
 * mapping_evaluate makes a contact of a row, in the current context; what points into the slot is good as long as it.
 *
 * Returns false for a row that its value maps leave out, of which whole makes as much as there is. Raises 22P02 for
 * what is no id, and what output functions raise.
 */
bool
mapping_evaluate(const FittedMapping *fitted, TupleTableSlot *slot, bool whole, ContactEntry *entry)
{
	MappingField who;
	bool logged = true;

	memset(entry, 0, sizeof(*entry));
	entry->source = fitted->tracking->source;
	entry->channel = item_text(fitted, FIELD_CHANNEL, slot, &logged);
	entry->direction = item_text(fitted, FIELD_DIRECTION, slot, &logged);
	entry->outcome = item_text(fitted, FIELD_OUTCOME, slot, &logged);
	if (!logged && !whole)
		return false;

	entry->kind = item_text(fitted, FIELD_KIND, slot, &logged);
	who = FIELD_CUSTOMER;
	if (fitted->tracking->items[FIELD_RECIPIENT].given && entry->direction != NULL &&
		strcmp(entry->direction, "outbound") == 0)
		who = FIELD_RECIPIENT;
	if (fitted->tracking->items[FIELD_KIND].nparts == 0)
		entry->customer_id = item_id(fitted, who, slot, &logged);
	else
		entry->value = item_text(fitted, who, slot, &logged);
	entry->occurred_at = item_time(fitted, slot, &entry->timed);
	entry->agent_id = item_id(fitted, FIELD_AGENT, slot, &logged);
	entry->request_id = item_id(fitted, FIELD_REQUEST, slot, &logged);
	entry->thread = item_text(fitted, FIELD_THREAD, slot, &logged);
	if (entry->thread != NULL && entry->thread[0] == '\0')
		entry->thread = NULL;
	entry->subject = item_document(fitted, FIELD_SUBJECT, slot, &logged);
	entry->body = item_document(fitted, FIELD_BODY, slot, &logged);
	entry->payload = item_payload(fitted, slot, &logged);
	entry->source_key = item_text(fitted, FIELD_SOURCE_KEY, slot, &logged);
	return logged;
}

/* mapping_leaves_out returns whether a value map leaves rows out. */
bool
mapping_leaves_out(const Tracking *tracking)
{
	for (int field = 0; field < MAPPING_FIELDS; field++)
		for (int i = 0; i < tracking->items[field].nvalues; i++)
			if (tracking->items[field].values[i].to == NULL)
				return true;
	return false;
}

/* Returns a row's source key in the current context, NULL where it has none. */
const char *
mapping_key(const FittedMapping *fitted, TupleTableSlot *slot)
{
	bool logged;

	return item_text(fitted, FIELD_SOURCE_KEY, slot, &logged);
}

/*
 * mapping_only_key returns a row's source key in the current context, NULL where it has none, also where the rest of
 * the mapping no longer fits the table. Raises 42703 where its own columns are gone.
 */
const char *
mapping_only_key(const Tracking *tracking, Relation relation, TupleTableSlot *slot)
{
	FittedMapping fitted = {.tracking = tracking};

	fitted.parts[FIELD_SOURCE_KEY] = fit_item(tracking, FIELD_SOURCE_KEY, relation);
	return mapping_key(&fitted, slot);
}

/* Adds the columns of relation that decide the partition in a partitioned table of its tree. */
static Bitmapset *
add_partition_columns(Bitmapset *columns, Oid partitioned, Relation relation)
{
	HeapTuple tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(partitioned));
	Form_pg_partitioned_table form;

	if (!HeapTupleIsValid(tuple))
		return columns;
	form = (Form_pg_partitioned_table) GETSTRUCT(tuple);
	for (int i = 0; i < form->partnatts; i++)
	{
		AttrNumber column = form->partattrs.values[i];

		if (column == 0)
			continue;
		column = get_attnum(RelationGetRelid(relation), get_attname(partitioned, column, false));
		columns = bms_add_member(columns, column - FirstLowInvalidHeapAttributeNumber);
	}
	ReleaseSysCache(tuple);
	return columns;
}

/* Returns the columns that decide in which partition a row of relation lies; such a column can change. */
static Bitmapset *
partition_columns(Relation relation)
{
	Oid relid = RelationGetRelid(relation);
	Bitmapset *columns = NULL;
	List *tree = NIL;
	ListCell *cell;

	if (relation->rd_rel->relispartition)
		tree = get_partition_ancestors(relid);
	if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		tree = list_concat(tree, find_all_inheritors(relid, NoLock, NULL));
	foreach (cell, tree)
		columns = add_partition_columns(columns, lfirst_oid(cell), relation);
	return columns;
}

/*
 * Returns whether no two rows of the table have the same source's key: it holds the primary key, at least those of its
 * columns by which the table is not partitioned, as track() chooses it.
 */
static bool
names_rows(const FittedMapping *fitted, Relation relation)
{
	Bitmapset *key = RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	Bitmapset *fixed;
	bool any;

	/* The relation's cache leaves out a deferrable one. */
	if (bms_is_empty(key))
	{
		Oid constraint;

		key = get_primary_key_attnos(RelationGetRelid(relation), true, &constraint);
	}
	any = !bms_is_empty(key);
	fixed = bms_difference(key, partition_columns(relation));
	if (bms_is_empty(fixed))
		fixed = key;
	for (int i = 0; i < fitted->tracking->items[FIELD_SOURCE_KEY].nparts; i++)
	{
		AttrNumber column = fitted->parts[FIELD_SOURCE_KEY][i].column;

		if (column != 0)
			fixed = bms_del_member(fixed, column - FirstLowInvalidHeapAttributeNumber);
	}
	return any && bms_is_empty(fixed);
}

/* mapping_names_rows returns the same, asked once until a relation changes. */
bool
mapping_names_rows(const FittedMapping *fitted, Relation relation)
{
	FittedMapping *kept = unconstify(FittedMapping *, fitted);
	uint64 generation = relations_generation();

	if (kept->names_asked != generation)
		kept->names_rows = names_rows(fitted, relation);
	kept->names_asked = generation;
	return kept->names_rows;
}
