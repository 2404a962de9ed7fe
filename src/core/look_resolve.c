/*
 * look_resolve.c
 *	  Whether core/look.c may read a table, where its columns are, and through which index.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relation.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opfamily.h"
#include "commands/extension.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "omnichannel.h"
#include "core/look.h"

/* Returns whether rows of the table may be read here. */
static bool
is_readable(const LookUp *look, Relation table)
{
	if (table->rd_rel->relkind != RELKIND_RELATION || table->rd_rel->relhassubclass ||
		table->rd_rel->relam != HEAP_TABLE_AM_OID)
		return false;
	if (look->for_cache)
		return !OidIsValid(get_extension_oid("citus", true));
	return relation_is_plain(table) && pg_class_aclcheck(look->table_oid, look->role, ACL_SELECT) == ACLCHECK_OK;
}

/* Finds the columns; returns false where one is not there or of another type. */
static bool
find_columns(LookUp *look, TupleDesc desc)
{
	int next = 0;

	Assert(look->ncolumns <= TABLE_COLUMNS);
	look->last = 0;
	for (int i = 0; i < look->ncolumns; i++)
	{
		Form_pg_attribute attribute = table_column_find(desc, &look->columns[i], &next);

		if (attribute == NULL)
			return false;
		look->attributes[i] = attribute->attnum;
		look->last = Max(look->last, attribute->attnum);
		if (!OidIsValid(look->columns[i].type))
		{
			Oid function;
			bool varlena;

			getTypeOutputInfo(attribute->atttypid, &function, &varlena);
			if (look->outputs == NULL)
				look->outputs = MemoryContextAllocZero(CacheMemoryContext, sizeof(FmgrInfo) * look->ncolumns);
			fmgr_info_cxt(function, &look->outputs[i], CacheMemoryContext);
		}
	}
	return true;
}

/* Returns whether the index holds all the rows that the look-up is of; those without the first key are never found. */
static bool
has_all_rows(const LookUp *look, Relation index)
{
	IndexWhere where;
	AttrNumber tested;

	if (!index_where(index, &where, &tested))
		return false;
	if (look->where == INDEX_ALL)
		return where == INDEX_ALL || (where == INDEX_NOT_NULL && tested == index->rd_index->indkey.values[0]);
	return where == look->where && tested == get_attnum(look->table_oid, look->where_column);
}

/* What a scan that follows keys asks of a row: it began at its key, so that no row before that is ever met. */
static Datum
is_after(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

/* Readies a key of look_follow(): it and all after it. */
static void
ready_following(LookUp *look, int key, Oid operator, Oid collation)
{
	FmgrInfo function;

	fmgr_info_cxt(get_opcode(operator), &function, CacheMemoryContext);
	function.fn_addr = is_after;
	ScanKeyEntryInitializeWithInfo(&look->from_keys[key], 0, (AttrNumber) (key + 1), BTGreaterEqualStrategyNumber,
								   InvalidOid, collation, &function, (Datum) 0);
}

/* Returns whether an index leads with the keys, and readies them. */
static bool
has_keys(LookUp *look, Relation table, Relation index)
{
	const TableColumn *keys = look->keys == NULL ? look->columns : look->keys;

	if (index->rd_rel->relkind != RELKIND_INDEX || index->rd_rel->relam != BTREE_AM_OID ||
		!index->rd_index->indisvalid || index->rd_index->indcheckxmin ||
		IndexRelationGetNumberOfKeyAttributes(index) < look->nkeys || !has_all_rows(look, index))
		return false;
	for (int i = 0; i < look->nkeys; i++)
	{
		AttrNumber number = index->rd_index->indkey.values[i];
		Form_pg_attribute attribute;
		Oid type = index->rd_opcintype[i];
		Oid equal = get_opfamily_member(index->rd_opfamily[i], type, type, BTEqualStrategyNumber);
		MemoryContext old;

		if (number <= 0 || type != keys[i].type || (index->rd_indoption[i] & INDOPTION_DESC) != 0)
			return false;
		attribute = TupleDescAttr(RelationGetDescr(table), number - 1);
		if (attribute->atttypid != type || strcmp(NameStr(attribute->attname), keys[i].name) != 0 ||
			index->rd_indcollation[i] != attribute->attcollation ||
			(OidIsValid(attribute->attcollation) && !get_collation_isdeterministic(attribute->attcollation)) ||
			!OidIsValid(equal) || equal != lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr)
			return false;
		old = MemoryContextSwitchTo(CacheMemoryContext);
		ScanKeyEntryInitialize(&look->scan_keys[i], 0, (AttrNumber) (i + 1), BTEqualStrategyNumber, InvalidOid,
							   attribute->attcollation, get_opcode(equal), (Datum) 0);
		if (type == TEXTOID || type == INT8OID)
			ready_following(look, i,
							get_opfamily_member(index->rd_opfamily[i], type, type, BTGreaterEqualStrategyNumber),
							attribute->attcollation);
		MemoryContextSwitchTo(old);
	}
	return true;
}

/* Returns whether the index holds all the columns. */
static bool
has_columns(const LookUp *look, Relation table, Relation index)
{
	if (!look->for_cache)
		return false;
	for (int i = 0; i < look->ncolumns; i++)
	{
		int place = 0;

		while (place < index->rd_index->indnatts &&
			   (index->rd_index->indkey.values[place] != look->attributes[i] ||
				TupleDescAttr(RelationGetDescr(index), place)->atttypid !=
					TupleDescAttr(RelationGetDescr(table), look->attributes[i] - 1)->atttypid))
			place++;
		if (place == index->rd_index->indnatts)
			return false;
	}
	return true;
}

/* Returns whether the first key, a text, is compared byte by byte, which is fastest. */
static bool
has_byte_order(Relation index)
{
	return index->rd_opfamily[0] == TEXT_PATTERN_BTREE_FAM_OID;
}

/*
 * Finds an index that leads with the keys: if possible one that holds all columns, otherwise one in byte order; returns
 * whether there is any.
 */
static bool
find_index(LookUp *look, Relation table)
{
	List *indexes = RelationGetIndexList(table);
	ListCell *cell;
	bool ordered = false;

	look->index_oid = InvalidOid;
	look->covered = false;
	foreach (cell, indexes)
	{
		Relation index = relation_open(lfirst_oid(cell), AccessShareLock);

		if (has_keys(look, table, index))
		{
			look->covered = has_columns(look, table, index);
			if (look->covered || !OidIsValid(look->index_oid) || (!ordered && has_byte_order(index)))
			{
				look->index_oid = RelationGetRelid(index);
				ordered = has_byte_order(index);
			}
			if (look->covered)
				look_places_find(look, RelationGetDescr(index), index->rd_index->indkey.values);
		}
		relation_close(index, AccessShareLock);
		if (look->covered)
			break;
	}
	list_free(indexes);
	return OidIsValid(look->index_oid);
}

/*
 * look_resolve fills in what look.c needs to read the table, which is open and locked; returns false where a statement
 * is to be run instead.
 */
bool
look_resolve(LookUp *look, Relation table)
{
	if (look->for_cache && look->nkeys == 1 && look->guide == NULL)
		look->guide = leaf_guide_make();
	if (!is_readable(look, table) || !find_columns(look, RelationGetDescr(table)))
		return false;
	look_places_find(look, RelationGetDescr(table), NULL);
	return look->nkeys == 0 || find_index(look, table);
}
