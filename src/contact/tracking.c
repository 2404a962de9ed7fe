/*
 * tracking.c
 *	  The registered mappings of tracked tables, cached.
 *
 * A mapping is a text: '{column}' stands for a column's value and anything else for itself, so that '{a}/{b}' joins
 * two. It is taken apart here once a backend, and fitted to a table's columns in mapping.c.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"

#include "omnichannel.h"
#include "contact/mapping.h"
#include "contact/mapping_text.h"

static void *tracking_build(ConfigCache *cache, MemoryContext context);

static ConfigCache tracking_cache = {.name = "tracking", .tables = {"tracking"}, .build = tracking_build};

static const char *const field_names[MAPPING_FIELDS] = {
	"channel", "customer", "recipient", "kind",    "direction", "outcome", "occurred_at",
	"agent",   "request",  "thread",    "subject", "body",      "payload", "source_key",
};

static KeptPlan tracking_select = {
	.sql =
		"SELECT channel, customer, recipient, kind, direction, outcome, occurred_at, agent, request, thread, subject,"
		" body, "
		"payload, source_key, tracking, relation::oid, source, time_zone, on_error = 'quarantine', updates, value_maps "
		"FROM omnichannel.tracking",
};

/* Returns the name that track() gives a field. */
const char *
mapping_field_name(MappingField field)
{
	return field_names[field];
}

/* Takes the mapping of a field apart in the current context. */
static void
parse_item(MappingItem *item, const char *mapping, MappingField field)
{
	const char *rest = mapping;
	const char *text;
	size_t length;
	bool column;
	int columns = 0;

	item->given = true;
	item->whole_row = field == FIELD_PAYLOAD && strcmp(mapping, "{*}") == 0;
	item->parts = palloc(sizeof(MappingPart) * (strlen(mapping) + 1));
	while (mapping_next_part(&rest, &text, &length, &column))
	{
		item->parts[item->nparts++] = (MappingPart){.text = pnstrdup(text, length), .column = column};
		columns += column;
	}
	item->joins_key = field == FIELD_SOURCE_KEY && columns > 1;
}

/* Orders value maps by what the application says. */
int
compare_mapped_values(const void *a, const void *b)
{
	return strcmp(((const MappedValue *) a)->from, ((const MappedValue *) b)->from);
}

/* Returns a scalar as text in the current context, NULL for null. */
static const char *
scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		default:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a value map holds something nested"),
							errhint("Write it as in '{\"direction\": {\"I\": \"inbound\", \"note\": null}}'.")));
	}
	return NULL;
}

/* Reads one field's value map, an object of scalars. */
static void
parse_values(MappingItem *item, JsonbContainer *map)
{
	JsonbIterator *iterator = JsonbIteratorInit(map);
	JsonbIteratorToken token;
	JsonbValue value;
	int count = 0;

	item->values = palloc(sizeof(MappedValue) * Max(JsonContainerSize(map), 1));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			item->values[count].from = scalar_text(&value);
		else if (token == WJB_VALUE)
			item->values[count++].to = scalar_text(&value);
	}
	item->nvalues = count;
	qsort(item->values, count, sizeof(MappedValue), compare_mapped_values);
}

/* Reads the value maps of all fields; raises 22023 for a field that there is not. */
static void
parse_value_maps(Tracking *tracking, Jsonb *maps)
{
	JsonbIterator *iterator = JsonbIteratorInit(&maps->root);
	JsonbIteratorToken token;
	JsonbValue value;
	MappingItem *item = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			const char *name = scalar_text(&value);

			item = NULL;
			for (int field = 0; field < MAPPING_FIELDS; field++)
				if (strcmp(name, field_names[field]) == 0)
					item = &tracking->items[field];
			if (item == NULL || item->nparts == 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("the value map of \"%s\" belongs to nothing that is mapped", excerpt(name)),
								errhint("Its name is that of an argument of track() that is given.")));
		}
		else if (token == WJB_VALUE)
		{
			if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("the value map of %s is no JSON object", field_names[item - tracking->items]),
								errhint("Write it as in '{\"direction\": {\"I\": \"inbound\", \"note\": null}}'.")));
			parse_values(item, value.val.binary.data);
		}
	}
}

/* Reads the mappings into a hash table. */
static void *
tracking_build(ConfigCache *cache, MemoryContext context)
{
	uint64 rows = kept_plan_run(&tracking_select, NULL, NULL, true, 0);
	HASHCTL control = {.keysize = TRACKING_SIZE, .entrysize = sizeof(Tracking), .hcxt = context};
	HTAB *trackings =
		hash_create("omnichannel tracking", Max(rows, 16), &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	for (uint64 row = 0; row < rows; row++)
	{
		Tracking *tracking =
			hash_search(trackings, spi_text(row, MAPPING_FIELDS + 1, CurrentMemoryContext), HASH_ENTER, NULL);
		MemoryContext old = MemoryContextSwitchTo(context);
		bool isnull;
		Datum maps;

		memset((char *) tracking + TRACKING_SIZE, 0, sizeof(Tracking) - TRACKING_SIZE);
		for (int field = 0; field < MAPPING_FIELDS; field++)
		{
			char *mapping = spi_text(row, field + 1, context);

			if (mapping != NULL)
				parse_item(&tracking->items[field], mapping, (MappingField) field);
		}
		tracking->relation = DatumGetObjectId(spi_datum(row, MAPPING_FIELDS + 2, &isnull));
		tracking->source = spi_text(row, MAPPING_FIELDS + 3, context);
		tracking->time_zone = spi_text(row, MAPPING_FIELDS + 4, context);
		tracking->quarantine = DatumGetBool(spi_datum(row, MAPPING_FIELDS + 5, &isnull));
		tracking->updates = DatumGetBool(spi_datum(row, MAPPING_FIELDS + 6, &isnull));
		maps = spi_datum(row, MAPPING_FIELDS + 7, &isnull);
		if (!isnull)
			parse_value_maps(tracking, DatumGetJsonbP(maps));
		MemoryContextSwitchTo(old);
	}
	return trackings;
}

/*
 * tracking_find returns the mapping of this code, or NULL; it is good until the next call.
 *
 * The mappings are read with the rights of their owner: whoever writes to a tracked table need not know of them. Raises
 * 55000 before setup() and what is wrong with the mappings.
 */
const Tracking *
tracking_find(const char *code)
{
	OwnerSwitch owner;
	HTAB *trackings;

	owner_switch_begin(&owner);
	trackings = unconstify(void *, config_cache_get(&tracking_cache));
	owner_switch_end(&owner);

	return strlen(code) < TRACKING_SIZE ? hash_search(trackings, code, HASH_FIND, NULL) : NULL;
}

/* Returns a number that changes whenever the mappings do; what tracking_find() returned is good while it stays. */
uint64
tracking_generation(void)
{
	return tracking_cache.generation;
}
