/*
 * mapping.c
 *	  Makes contacts of the rows of tracked tables, by a mapping that is fitted to their columns.
 *
 * Values are read with the rights of whoever writes the row, or of its table's owner where it was there before: the
 * output functions of the application's types are not run with the rights of the log's owner or its administrators.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "omnichannel.h"
#include "contact/mapping_fit.h"
#include "customer/customer.h"

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

/* Appends a column's value to a key of several columns, so that a slash in it is none between two columns. */
static void
append_key_part(StringInfo key, const char *part)
{
	for (; *part != '\0'; part++)
	{
		if (*part == '/' || *part == '\\')
			appendStringInfoChar(key, '\\');
		appendStringInfoChar(key, *part);
	}
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
			if (item->joins_key && parts[i].column != 0)
				append_key_part(&joined, part);
			else
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

	fitted.parts[FIELD_SOURCE_KEY] = mapping_fit_item(tracking, FIELD_SOURCE_KEY, relation);
	return mapping_key(&fitted, slot);
}
