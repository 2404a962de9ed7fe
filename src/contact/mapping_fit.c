/*
 * mapping_fit.c
 *	  Fits mappings to the columns of tracked tables.
 *
 * Mappings name columns, because that is what a person can check. The numbers are looked up once a backend and table
 * (each partition has its own) and are compared with the table's columns before each use, which costs a comparison of
 * names and no catalogue access: a column that was renamed, retyped or dropped is noticed by the next write.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "omnichannel.h"
#include "contact/mapping_fit.h"

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
FittedPart *
mapping_fit_item(const Tracking *tracking, MappingField field, Relation relation)
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
 * mapping_fit returns the mapping fitted to a table as it is now; good until the next call, and what it is made of for
 * as long as the caller holds the caches by config_caches_hold().
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
		parts[field] = mapping_fit_item(tracking, field, relation);
		for (int i = 0; i < tracking->items[field].nparts; i++)
			settings = settings || depends_on_settings(&parts[field][i]);
	}
	MemoryContextSwitchTo(old);

	if (fitted != NULL)
	{
		MemoryContext stale = fitted->context;

		(void) hash_search(fitted_mappings, &relid, HASH_REMOVE, NULL);
		config_cache_discard(stale);
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
 * Returns whether a key can be taken apart again into its columns: each of them ends at a slash, which none has in
 * itself (see mapping.c), or is a whole number and ends at what is no digit.
 */
static bool
joins_apart(const FittedMapping *fitted)
{
	const FittedPart *parts = fitted->parts[FIELD_SOURCE_KEY];
	int last = fitted->tracking->items[FIELD_SOURCE_KEY].nparts - 1;

	while (last > 0 && parts[last].column == 0)
		last--;
	for (int i = 0; i < last; i++)
	{
		bool number = parts[i].type == COLUMN_INT2 || parts[i].type == COLUMN_INT4 || parts[i].type == COLUMN_INT8;
		char end = parts[i + 1].column == 0 ? parts[i + 1].text[0] : '0';

		if (parts[i].column != 0 && end != '/' && (!number || (end >= '0' && end <= '9')))
			return false;
	}
	return true;
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
	return any && bms_is_empty(fixed) && fitted->tracking->items[FIELD_SOURCE_KEY].nvalues == 0 && joins_apart(fitted);
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
