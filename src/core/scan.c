/*
 * scan.c
 *	  Rows found by one column through its index, without a plan.
 *
 * To start and end the executor for one row costs several times what the row itself does: test/bench/prices.sh measures
 * quote() of a product that is not kept. So what the caches read on demand is read by index scans of the same snapshot.
 *
 * What a plan would see to is seen to here. Rights and row-level security are config_cache_get()'s, which has already
 * decided with whose rights its rows are read: only rows read with the owner's come this way. The table must be a plain
 * one that holds its rows itself, not one with children or one that Citus spreads over other nodes. The index must be a
 * valid btree whose first column is the one asked for, in the order and the collation of the type's own equality, over
 * all rows that can be found. Columns are found by name and must be of the type that the caller expects. Where any of
 * this does not hold, table_scan_open() says so, and the caller runs its statement instead.
 *
 * Where the index holds all columns, rows on pages that everyone sees are read from it alone, as index-only scans do.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "omnichannel.h"

static TableScan *scans = NULL;

/* table_scans_changed forgets what is known of a table, of all for InvalidOid. Sets flags only: it runs anywhere. */
void
table_scans_changed(Oid relation)
{
	for (TableScan *scan = scans; scan != NULL; scan = scan->next)
		if (!OidIsValid(relation) || relation == scan->table_oid || relation == scan->index_oid)
			scan->known = false;
}

/* Returns whether the table holds its rows itself. */
static bool
holds_its_rows(Relation table)
{
	return table->rd_rel->relkind == RELKIND_RELATION && !table->rd_rel->relhassubclass &&
		   !OidIsValid(get_extension_oid("citus", true));
}

/* Returns whether the index holds all rows that the scan is to find: it is whole, or leaves out NULLs only. */
static bool
holds_all_found(const TableScan *scan, Relation table, Relation index, AttrNumber key)
{
	List *predicate = RelationGetIndexPredicate(index);
	AttrNumber present = scan->present == NULL ? key : get_attnum(RelationGetRelid(table), scan->present);
	NullTest *test;

	if (predicate == NIL)
		return scan->present == NULL;
	test = linitial(predicate);
	return list_length(predicate) == 1 && IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL &&
		   IsA(test->arg, Var) && ((Var *) test->arg)->varattno == present;
}

/* Notes where the index holds the columns; returns whether it holds all of them. */
static bool
holds_all_columns(TableScan *scan, Relation table, Relation index)
{
	if (table->rd_tableam != GetHeapamTableAmRoutine())
		return false;
	for (int i = 0; i < scan->ncolumns; i++)
	{
		TableScanColumn *column = &scan->columns[i];

		column->place = 0;
		for (int j = 0; j < index->rd_index->indnatts; j++)
			if (index->rd_index->indkey.values[j] == column->number &&
				TupleDescAttr(RelationGetDescr(index), j)->atttypid ==
					TupleDescAttr(RelationGetDescr(table), column->number - 1)->atttypid)
				column->place = j + 1;
		if (column->place == 0)
			return false;
	}
	return true;
}

/* Finds the columns; returns whether all are there and of the types expected. */
static bool
find_columns(TableScan *scan, Relation table)
{
	TupleDesc desc = RelationGetDescr(table);

	scan->last_column = 0;
	for (int i = 0; i < scan->ncolumns; i++)
	{
		TableScanColumn *column = &scan->columns[i];
		AttrNumber number = get_attnum(RelationGetRelid(table), column->name);
		Oid type;

		if (number <= 0)
			return false;
		type = TupleDescAttr(desc, number - 1)->atttypid;
		if (OidIsValid(column->type) && column->type != type)
			return false;
		if (!OidIsValid(column->type))
		{
			Oid function;
			bool varlena;

			getTypeOutputInfo(type, &function, &varlena);
			fmgr_info_cxt(function, &column->output, CacheMemoryContext);
		}
		column->number = number;
		scan->last_column = Max(scan->last_column, number);
	}
	return true;
}

/* Finds an index that leads with the key; returns whether there is one. */
static bool
find_index(TableScan *scan, Relation table)
{
	AttrNumber key = get_attnum(RelationGetRelid(table), scan->key);
	Form_pg_attribute attribute;
	TypeCacheEntry *type;
	List *indexes;
	ListCell *cell;

	if (key <= 0)
		return false;
	attribute = TupleDescAttr(RelationGetDescr(table), key - 1);
	if (attribute->atttypid != scan->key_type ||
		(OidIsValid(attribute->attcollation) && !get_collation_isdeterministic(attribute->attcollation)))
		return false;
	type = lookup_type_cache(attribute->atttypid, TYPECACHE_EQ_OPR | TYPECACHE_BTREE_OPFAMILY);

	scan->index_oid = InvalidOid;
	scan->covered = false;
	indexes = RelationGetIndexList(table);
	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid && !index->rd_index->indcheckxmin &&
			index->rd_index->indkey.values[0] == key && index->rd_opfamily[0] == type->btree_opf &&
			index->rd_indcollation[0] == attribute->attcollation && holds_all_found(scan, table, index, key))
		{
			scan->covered = holds_all_columns(scan, table, index);
			if (scan->covered || !OidIsValid(scan->index_oid))
				scan->index_oid = RelationGetRelid(index);
		}
		index_close(index, AccessShareLock);
		if (scan->covered)
			break;
	}
	list_free(indexes);
	scan->equality = get_opcode(type->eq_opr);
	scan->collation = attribute->attcollation;
	return OidIsValid(scan->index_oid);
}

/*
 * table_scan_open readies a scan for table_scan_find(), or one without a key for all rows in their physical order.
 *
 * Returns false where the rows must be read by a statement instead.
 *
 * Needs an active snapshot, and the caller to have decided on the reader's rights. The table stays locked as after a
 * SELECT. Close it with table_scan_close(), unless an error has done so. Raises 55000 before setup().
 */
bool
table_scan_open(TableScan *scan)
{
	Relation table;

	if (!scan->registered)
	{
		scan->next = scans;
		scans = scan;
		scan->registered = true;
	}
	if (!scan->known)
		scan->table_oid = omni_table(scan->table);
	table = table_open(scan->table_oid, AccessShareLock);

	/* Under the lock, so that what is found stays so. */
	while (!scan->known)
	{
		scan->known = true;
		scan->usable =
			holds_its_rows(table) && find_columns(scan, table) && (scan->key == NULL || find_index(scan, table));
	}
	if (!scan->usable)
	{
		table_close(table, NoLock);
		return false;
	}
	scan->relation = table;
	if (scan->key == NULL)
	{
		scan->slot = table_slot_create(table, NULL);
		scan->whole = table_beginscan_strat(table, GetActiveSnapshot(), 0, NULL, true, false);
		return true;
	}
	scan->index = index_open(scan->index_oid, AccessShareLock);
	scan->slot = table_slot_create(table, NULL);
	scan->scan = index_scan_begin(table, scan->index, GetActiveSnapshot(), 1);
	scan->scan->xs_want_itup = scan->covered;
	scan->map = InvalidBuffer;
	return true;
}

/* table_scan_find begins with the rows whose key equals the value. */
void
table_scan_find(TableScan *scan, Datum value)
{
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, scan->collation, scan->equality, value);
	index_rescan(scan->scan, &key, 1, NULL, 0);
}

/* Goes to the next row that the snapshot sees, in the index alone where its page is all visible. */
static bool
next_covered(TableScan *scan)
{
	ItemPointer place;

	while ((place = index_getnext_tid(scan->scan, ForwardScanDirection)) != NULL)
	{
		BlockNumber block = ItemPointerGetBlockNumber(place);

		if (VM_ALL_VISIBLE(scan->relation, block, &scan->map))
		{
			PredicateLockPage(scan->relation, block, scan->scan->xs_snapshot);
			return true;
		}
		if (index_fetch_heap(scan->scan, scan->slot))
			return true;
	}
	return false;
}

/*
 * table_scan_next fills the columns of the next row, in the order in which they are declared; false after the last.
 *
 * Values are good until the next call; those of a column without a type are its text, in the current context.
 */
bool
table_scan_next(TableScan *scan, Datum *values, bool *nulls)
{
	TupleTableSlot *slot = scan->slot;

	CHECK_FOR_INTERRUPTS();
	if (scan->key == NULL ? !table_scan_getnextslot(scan->whole, ForwardScanDirection, slot)
		: scan->covered   ? !next_covered(scan)
						  : !index_getnext_slot(scan->scan, ForwardScanDirection, slot))
		return false;
	if (!scan->covered)
		slot_getsomeattrs(slot, scan->last_column);
	for (int i = 0; i < scan->ncolumns; i++)
	{
		TableScanColumn *column = &scan->columns[i];

		if (scan->covered)
			values[i] = index_getattr(scan->scan->xs_itup, column->place, scan->scan->xs_itupdesc, &nulls[i]);
		else
		{
			nulls[i] = slot->tts_isnull[column->number - 1];
			values[i] = slot->tts_values[column->number - 1];
		}
		if (!nulls[i] && !OidIsValid(column->type))
			values[i] = CStringGetTextDatum(OutputFunctionCall(&column->output, values[i]));
	}
	return true;
}

/* table_scan_close ends what table_scan_open() began. */
void
table_scan_close(TableScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->key == NULL)
		table_endscan(scan->whole);
	else
	{
		if (BufferIsValid(scan->map))
			ReleaseBuffer(scan->map);
		index_endscan(scan->scan);
		index_close(scan->index, NoLock);
	}
	table_close(scan->relation, NoLock);
}
