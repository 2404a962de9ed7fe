/*
 * look.c
 *	  Rows looked up by an index without SQL, where nothing asks for SQL.
 *
 * A statement that reads one row builds an executor up and tears it down, which costs ten times what the index does;
 * test/bench/contact.sh shows what is saved. look_begin() answers false, and its caller runs the statement that it
 * keeps, wherever that would not be the same:
 *
 * - the table is no ordinary table in the server's own heap, or others inherit from it;
 * - it has rules, or triggers other than those of its foreign keys and this extension: Citus and TimescaleDB mark their
 *   tables by triggers;
 * - it has row security, whomever that is for;
 * - the current role may not read all of it, so that the statement raises the error, or somebody else is to be asked
 *   (ExecutorCheckPerms_hook, as pgAudit does);
 * - the index is not there, not valid yet, or not what the caller takes it for;
 * - in SERIALIZABLE, where rows must be read as queries read them.
 *
 * What was found to hold is kept until any relation or role changes.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "omnichannel.h"
#include "core/look.h"
#include "core/row.h"

/* Finds the columns; returns false where one is not there or of another type. */
static bool
find_columns(LookUp *look, TupleDesc desc)
{
	Assert(look->ncolumns <= TABLE_COLUMNS);
	for (int i = 0; i < look->ncolumns; i++)
	{
		int found;

		for (found = 0; found < desc->natts; found++)
		{
			Form_pg_attribute attribute = TupleDescAttr(desc, found);

			if (!attribute->attisdropped && attribute->atttypid == look->columns[i].type &&
				strcmp(NameStr(attribute->attname), look->columns[i].name) == 0)
				break;
		}
		if (found == desc->natts)
			return false;
		look->attributes[i] = (AttrNumber) (found + 1);
	}
	return true;
}

/* Returns whether the index holds all the rows that the look-up is of. */
static bool
has_all_rows(const LookUp *look, Relation index)
{
	List *predicate = RelationGetIndexPredicate(index);
	NullTest *test;
	Var *column;

	if (predicate == NIL)
		return look->where == LOOK_ALL;
	if (list_length(predicate) != 1 || !IsA(linitial(predicate), NullTest))
		return false;
	test = linitial_node(NullTest, predicate);
	column = (Var *) test->arg;
	if (!IsA(column, Var) || test->argisrow)
		return false;
	/* Rows without the first key are never looked up. */
	if (look->where == LOOK_ALL)
		return test->nulltesttype == IS_NOT_NULL && column->varattno == look->attributes[0];
	if (test->nulltesttype != (look->where == LOOK_NULL ? IS_NULL : IS_NOT_NULL))
		return false;
	return column->varattno == get_attnum(look->table_oid, look->where_column);
}

/* Returns whether the index is what the caller takes it for, and readies its keys. */
static bool
is_suitable(LookUp *look, Relation index)
{
	MemoryContext old;

	if (index->rd_rel->relkind != RELKIND_INDEX || index->rd_rel->relam != BTREE_AM_OID ||
		index->rd_index->indrelid != look->table_oid || !index->rd_index->indisvalid || index->rd_index->indcheckxmin ||
		IndexRelationGetNumberOfKeyAttributes(index) < look->nkeys || !has_all_rows(look, index))
		return false;
	for (int i = 0; i < look->nkeys; i++)
	{
		Oid type = index->rd_opcintype[i];
		Oid equal = get_opfamily_member(index->rd_opfamily[i], type, type, BTEqualStrategyNumber);

		if (index->rd_index->indkey.values[i] != look->attributes[i] || type != look->columns[i].type ||
			(index->rd_indoption[i] & INDOPTION_DESC) != 0 || !OidIsValid(equal))
			return false;
		old = MemoryContextSwitchTo(CacheMemoryContext);
		ScanKeyEntryInitialize(&look->keys[i], 0, (AttrNumber) (i + 1), BTEqualStrategyNumber, InvalidOid,
							   index->rd_indcollation[i], get_opcode(equal), (Datum) 0);
		MemoryContextSwitchTo(old);
	}
	return true;
}

/* Finds out about the table and the index, and opens them; returns false where the statement is to be run. */
static bool
resolve(LookUp *look, LookScan *scan)
{
	look->generation = 0;
	look->table_oid = omni_table(look->table);
	scan->table = try_relation_open(look->table_oid, AccessShareLock);
	if (scan->table == NULL)
		return false;
	look->role = GetUserId();
	look->generation = relations_generation();
	look->refused = true;
	if (!relation_is_plain(scan->table) || scan->table->rd_rel->relkind != RELKIND_RELATION ||
		scan->table->rd_rel->relhassubclass || !find_columns(look, RelationGetDescr(scan->table)) ||
		pg_class_aclcheck(look->table_oid, look->role, ACL_SELECT) != ACLCHECK_OK)
		return false;
	look->index_oid =
		look->index == NULL ? primary_key_index(scan->table) : get_relname_relid(look->index, omni_schema());
	scan->index = OidIsValid(look->index_oid) ? try_relation_open(look->index_oid, AccessShareLock) : NULL;
	if (scan->index == NULL || !is_suitable(look, scan->index))
		return false;
	look->refused = false;
	return true;
}

/* Opens what is known; returns false where it does not hold any more, or never did. */
static bool
reopen(LookUp *look, LookScan *scan)
{
	scan->table = try_relation_open(look->table_oid, AccessShareLock);
	if (scan->table == NULL)
		return false;
	scan->index = try_relation_open(look->index_oid, AccessShareLock);
	return scan->index != NULL && look->generation == relations_generation();
}

/* Closes the table and the index; the table stays locked as by a statement. */
static void
close_relations(LookScan *scan)
{
	if (scan->index != NULL)
		relation_close(scan->index, AccessShareLock);
	if (scan->table != NULL)
		relation_close(scan->table, NoLock);
	scan->index = scan->table = NULL;
}

/*
 * look_begin begins to look for the rows with the first nkeys keys; returns false where the caller must run a
 * statement.
 *
 * Under the snapshot, or, where that is NULL, under one taken now, as by a statement. Nothing that the extension has
 * not written may run until look_end(). Raises 55000 before setup().
 */
bool
look_begin(LookScan *scan, LookUp *look, const Datum *keys, int nkeys, Snapshot snapshot)
{
	ScanKeyData sought[LOOK_KEYS];

	scan->look = look;
	scan->table = scan->index = NULL;
	scan->snapshot = false;
	if (IsolationIsSerializable() || ExecutorCheckPerms_hook != NULL)
		return false;
	if (look->generation != relations_generation() || look->role != GetUserId() ||
		(!look->refused && !reopen(look, scan)))
	{
		close_relations(scan);
		look->refused = !resolve(look, scan);
	}
	if (look->refused)
	{
		close_relations(scan);
		return false;
	}

	if (snapshot == NULL)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
		scan->snapshot = true;
	}
	for (int i = 0; i < nkeys; i++)
	{
		sought[i] = look->keys[i];
		sought[i].sk_argument = keys[i];
	}
	scan->slot = table_slot_create(scan->table, NULL);
	scan->scan = index_scan_begin(scan->table, scan->index, snapshot == NULL ? GetActiveSnapshot() : snapshot, nkeys);
	index_rescan(scan->scan, sought, nkeys, NULL, 0);
	return true;
}

/* Sets the columns of the next row, in the look-up's order, good until the next call; returns false after the last. */
bool
look_next(LookScan *scan, bool backwards, Datum *values, bool *nulls)
{
	const LookUp *look = scan->look;

	if (!index_getnext_slot(scan->scan, backwards ? BackwardScanDirection : ForwardScanDirection, scan->slot))
		return false;
	for (int i = 0; i < look->ncolumns; i++)
		values[i] = slot_getattr(scan->slot, look->attributes[i], &nulls[i]);
	return true;
}

/* Ends what look_begin() began. */
void
look_end(LookScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->snapshot)
		PopActiveSnapshot();
	close_relations(scan);
}
