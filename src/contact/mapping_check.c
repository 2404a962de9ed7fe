/*
 * mapping_check.c
 *	  Checks what can be told of a mapping before any row is written: constants, value maps and keys.
 *
 * What no contact can have would refuse every row that an application writes, or keep it out of the log: whoever calls
 * track() is told instead.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "omnichannel.h"
#include "contact/mapping.h"
#include "customer/customer.h"

static KeptPlan agent_select = {
	.sql = "SELECT FROM omnichannel.agent WHERE agent_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static KeptPlan request_select = {
	.sql = "SELECT FROM omnichannel.request WHERE request_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

static KeptPlan customer_select = {
	.sql = "SELECT FROM omnichannel.customer WHERE customer_id = $1",
	.nargs = 1,
	.argtypes = {INT8OID},
	.indexed = true,
};

/* Returns what a field says whatever the row is, or NULL where columns say it, or nothing does. */
static const char *
constant_text(const MappingItem *item)
{
	if (!item->given || item->nvalues > 0)
		return NULL;
	if (item->nparts == 0)
		return "";
	return item->nparts == 1 && !item->parts[0].column ? item->parts[0].text : NULL;
}

/* Raises 23503 for an id that no row has. */
static void
check_id(const Tracking *tracking, MappingField field, const char *value)
{
	KeptPlan *look = field == FIELD_AGENT ? &agent_select : field == FIELD_REQUEST ? &request_select : &customer_select;
	int64 id = mapping_id(tracking, field, value);
	Datum ids[1] = {Int64GetDatum(id)};
	SpiScope scope;
	bool found;

	if (id == 0)
		return;
	spi_scope_begin(&scope, true);
	found = kept_plan_run(look, ids, NULL, false, 1) > 0;
	spi_scope_end(&scope);
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("%s " INT64_FORMAT " does not exist", mapping_field_name(field), id),
						errhint("Every row would be refused for it: a column is written as in '{sender}'.")));
}

/* Returns a constant as jsonb; raises 22P02 for what is no JSON. */
static struct varlena *
check_payload(const Tracking *tracking, const char *value)
{
	struct varlena *payload = NULL;

	PG_TRY();
	{
		payload = (struct varlena *) DatumGetPointer(DirectFunctionCall1(jsonb_in, CStringGetDatum(value)));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("payload of tracking \"%s\" is no JSON: \"%s\"", tracking->code, excerpt(value)),
						errhint("Name a json or jsonb column, as in '{data}', or {*} for the whole row.")));
	}
	PG_END_TRY();
	return payload;
}

/* Raises what is wrong with something that a field can become. */
static void
check_value(const Tracking *tracking, MappingField field, const char *value)
{
	const char *kind = constant_text(&tracking->items[FIELD_KIND]);
	ContactEntry entry = {0};

	switch (field)
	{
		case FIELD_CHANNEL:
			(void) channel_get(value);
			break;
		case FIELD_CUSTOMER:
		case FIELD_RECIPIENT:
			if (!tracking->items[FIELD_KIND].given)
				check_id(tracking, field, value);
			else if (kind != NULL && value[strspn(value, " \t\r\n\v\f")] != '\0')
				(void) identity_normalise(kind, value);
			break;
		case FIELD_KIND:
			identity_kind_check(value);
			break;
		case FIELD_DIRECTION:
			(void) direction_check(value);
			break;
		case FIELD_OUTCOME:
			(void) outcome_check(value);
			break;
		case FIELD_OCCURRED_AT:
		case FIELD_SOURCE_KEY:
			break;
		case FIELD_AGENT:
		case FIELD_REQUEST:
			check_id(tracking, field, value);
			break;
		case FIELD_THREAD:
			entry.thread = value[0] == '\0' ? NULL : value;
			break;
		case FIELD_SUBJECT:
			entry.subject = cstring_to_text(value);
			break;
		case FIELD_BODY:
			entry.body = cstring_to_text(value);
			break;
		case FIELD_PAYLOAD:
			if (value[0] != '\0')
				entry.payload = check_payload(tracking, value);
			break;
	}
	contact_check_texts(&entry);
}

/* Raises 22023 for a brace that begins or ends no column: it is taken for itself, but hardly meant so. */
static void
check_braces(const Tracking *tracking, MappingField field)
{
	const MappingItem *item = &tracking->items[field];

	for (int i = 0; i < item->nparts; i++)
	{
		const char *text = item->parts[i].text;
		bool begins = text[0] == '{' && (field != FIELD_PAYLOAD || strchr(text, '}') == NULL);
		bool ends = strchr(text, '}') != NULL && field != FIELD_PAYLOAD && item->nparts > 1;

		if (!item->parts[i].column && !item->whole_row && (begins || ends))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("%s of tracking \"%s\" has a brace that names no column: \"%s\"",
								   mapping_field_name(field), tracking->code, excerpt(text)),
							errhint("A column is written as in '{sender}'.")));
	}
}

/* Raises 22023 for a key without any column: each row would be taken for the first. */
static void
check_key(const Tracking *tracking)
{
	const MappingItem *key = &tracking->items[FIELD_SOURCE_KEY];

	if (key->nparts == 1 && !key->parts[0].column)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("source_key of tracking \"%s\" names no column: \"%s\"", tracking->code,
							   excerpt(key->parts[0].text)),
						errhint("All rows would be taken for one: name what tells them apart, as in '{id}'.")));
}

/*
 * mapping_check_constants raises what no contact can have, in constants and value maps: 23503, 22023, 22P02, 22001 or
 * 54000 as the contact's own error would be.
 */
void
mapping_check_constants(const Tracking *tracking)
{
	check_key(tracking);
	for (int field = 0; field < MAPPING_FIELDS; field++)
	{
		const MappingItem *item = &tracking->items[field];
		const char *constant = constant_text(item);

		check_braces(tracking, (MappingField) field);
		if (constant != NULL)
			check_value(tracking, (MappingField) field, constant);
		for (int i = 0; i < item->nvalues; i++)
			if (item->values[i].to != NULL)
				check_value(tracking, (MappingField) field, item->values[i].to);
	}
}
