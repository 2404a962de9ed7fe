/*
 * reject_subject.c
 *	  Whose a row in quarantine is, by the mapping of its table.
 *
 * The row is read as it was kept, not as a row of the table: that may have other columns by now, or be gone.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "contact/mapping.h"

SQL_FUNCTION(omnichannel_reject_subject);

/* Returns a column's text as its type writes it, NULL for null; clears present where there is no such column. */
static const char *
column_text(Jsonb *data, const char *column, bool *present)
{
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(data) ||
		getKeyJsonValueFromContainer(&data->root, column, (int) strlen(column), &value) == NULL)
	{
		*present = false;
		return NULL;
	}
	switch (value.type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value.val.string.val, value.val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
		case jbvBool:
			return value.val.boolean ? "t" : "f";
		default:
			return JsonbToCString(NULL, value.val.binary.data, value.val.binary.len);
	}
}

/* Returns what a mapping makes of the row, NULL for nothing; clears present where the row lacks a column of it. */
static const char *
field_text(const Tracking *tracking, MappingField field, Jsonb *data, bool *present)
{
	const MappingItem *item = &tracking->items[field];
	bool names = field == FIELD_CUSTOMER || field == FIELD_RECIPIENT;
	bool null = item->nparts == 0;
	bool logged = true;
	StringInfoData joined;

	initStringInfo(&joined);
	for (int i = 0; i < item->nparts; i++)
	{
		const MappingPart *part = &item->parts[i];
		const char *text = part->column ? column_text(data, part->text, present) : part->text;

		if (text == NULL || (names && item->nparts > 1 && part->column && text[strspn(text, " \t\r\n\v\f")] == '\0'))
			null = true;
		else
			appendStringInfoString(&joined, text);
	}
	return mapping_value(item, null ? NULL : joined.data, &logged);
}

/*
 * reject_subject(tracking, data): returns how the row names its customer (kind, or NULL for customer ids; the values,
 * of which the trigger would take the only one), and its conversation; NULLs where the mapping says nothing of it.
 */
Datum
omnichannel_reject_subject(PG_FUNCTION_ARGS)
{
	const Tracking *tracking = tracking_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Jsonb *data = PG_GETARG_JSONB_P(1);
	Datum values[6];
	bool nulls[6];
	const char *direction;
	const char *texts[4] = {NULL};
	bool present = tracking != NULL;
	bool recipient;

	if (present)
	{
		recipient = tracking->items[FIELD_RECIPIENT].given;
		direction = field_text(tracking, FIELD_DIRECTION, data, &present);
		texts[0] = field_text(tracking, FIELD_KIND, data, &present);
		texts[1] = field_text(tracking, FIELD_CUSTOMER, data, &present);
		if (recipient)
			texts[2] = field_text(tracking, FIELD_RECIPIENT, data, &present);
		texts[3] = field_text(tracking, FIELD_THREAD, data, &present);

		/* A direction that nobody knows leaves open which of them it is. */
		if (direction == NULL || strcmp(direction, "inbound") == 0 || strcmp(direction, "internal") == 0)
			texts[2] = NULL;
		else if (recipient && strcmp(direction, "outbound") == 0)
			texts[1] = NULL;
	}

	memset(nulls, !present, sizeof(nulls));
	for (int i = 0; present && i < (int) lengthof(texts); i++)
	{
		nulls[i + 1] = texts[i] == NULL;
		values[i + 1] = nulls[i + 1] ? (Datum) 0 : CStringGetTextDatum(texts[i]);
	}
	if (present)
	{
		values[0] = BoolGetDatum(tracking->items[FIELD_KIND].nparts == 0);
		values[5] = CStringGetTextDatum(tracking->source);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_row(fcinfo), values, nulls)));
}
