/*
 * table.c
 *	  What all who read and write rows without SQL do alike.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/primnodes.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "omnichannel.h"
#include "core/prefetch.h"
#include "core/recent.h"
#include "core/table.h"

/* Returns whether the table asks for nothing that only SQL does, but for triggers of this extension. */
bool
relation_is_plain(Relation relation)
{
	char kind = relation->rd_rel->relkind;
	Oid *functions;
	int count = 0;
	bool plain = true;

	if ((kind != RELKIND_RELATION || relation->rd_rel->relam != HEAP_TABLE_AM_OID) && kind != RELKIND_PARTITIONED_TABLE)
		return false;
	if (relation->rd_rel->relrowsecurity || relation->rd_rules != NULL)
		return false;
	if (relation->trigdesc == NULL)
		return true;

	/* The catalog may tell of a change of the table, whose triggers are freed then: it is asked afterwards. */
	functions = palloc(sizeof(Oid) * (relation->trigdesc->numtriggers + 1));
	for (int i = 0; i < relation->trigdesc->numtriggers; i++)
		if (RI_FKey_trigger_type(relation->trigdesc->triggers[i].tgfoid) == RI_TRIGGER_NONE)
			functions[count++] = relation->trigdesc->triggers[i].tgfoid;
	for (int i = 0; i < count && plain; i++)
		plain = get_func_namespace(functions[i]) == omni_schema();
	pfree(functions);
	return plain;
}

/* Returns whether a table has a trigger that may change a row that is inserted. */
static bool
changes_inserts(Relation triggers, Oid table)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool changes = false;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (!changes && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		int16 type = ((Form_pg_trigger) GETSTRUCT(tuple))->tgtype;

		changes = TRIGGER_FOR_ROW(type) && TRIGGER_FOR_BEFORE(type) && TRIGGER_FOR_INSERT(type);
	}
	systable_endscan(scan);
	return changes;
}

/*
 * inserts_may_change returns whether a trigger of a table or of one of its partitions may change a row that is
 * inserted. It remembers the answer about one table.
 */
bool
inserts_may_change(Oid table)
{
	static Oid known = InvalidOid;
	static uint64 known_generation = 0;
	static bool change;
	Relation triggers;
	ListCell *cell;

	if (known == table && known_generation == relations_generation())
		return change;
	known_generation = relations_generation();
	known = InvalidOid;
	change = false;
	triggers = table_open(TriggerRelationId, AccessShareLock);
	foreach (cell, find_all_inheritors(table, NoLock, NULL))
		change = change || changes_inserts(triggers, lfirst_oid(cell));
	table_close(triggers, AccessShareLock);
	known = table;
	return change;
}

/*
 * Returns the attribute of this name and type, or NULL. Looks at *next first, which is 0 to begin with: columns are
 * mostly named in the table's order.
 */
Form_pg_attribute
table_column_find(TupleDesc desc, const TableColumn *column, int *next)
{
	for (int tried = 0; tried < desc->natts; tried++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, (*next)++ % desc->natts);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), column->name) == 0)
			return !OidIsValid(column->type) || attribute->atttypid == column->type ? attribute : NULL;
	}
	return NULL;
}

/* Returns an attribute's default as the catalogue has it, or NULL. */
const char *
table_default(TupleDesc desc, AttrNumber attribute)
{
	for (int i = 0; desc->constr != NULL && i < desc->constr->num_defval; i++)
		if (desc->constr->defval[i].adnum == attribute)
			return desc->constr->defval[i].adbin;
	return NULL;
}

/* Says which rows an index holds, by the test of a column; returns false where it is another selection. */
bool
index_where(Relation index, IndexWhere *where, AttrNumber *tested)
{
	List *predicate = RelationGetIndexPredicate(index);
	const NullTest *test;

	*where = INDEX_ALL;
	*tested = InvalidAttrNumber;
	if (predicate == NIL)
		return true;
	test = linitial(predicate);
	if (list_length(predicate) != 1 || !IsA(test, NullTest) || test->argisrow || !IsA(test->arg, Var))
		return false;
	*where = test->nulltesttype == IS_NULL ? INDEX_NULL : INDEX_NOT_NULL;
	*tested = ((const Var *) test->arg)->varattno;
	return true;
}

/*
 * page_prune clears a pinned page of a heap of the versions that nobody sees any more, if it is nearly full; whoever
 * reads pages without an index scan has to, or updates go to ever more pages.
 *
 * An index scan does whatever page has less room than its fillfactor leaves; a table whose rows are changed again and
 * again leaves much, so that it would prune at every look for the sake of one version of a row, which takes as long as
 * the look.
 */
void
page_prune(Relation relation, Buffer buffer)
{
	if (PageGetHeapFreeSpace(BufferGetPage(buffer)) < BLCKSZ / 10)
		heap_page_prune_opt(relation, buffer);
}

/*
 * heap_fetch_row fetches into a slot of the table the row at a place that an index gave, or a newer version of it on
 * its page; returns false where the snapshot, an MVCC one, sees none, and whether nobody does in *all_dead. With prune
 * it clears the page first, as an index scan does. The caller releases the buffer, at first invalid.
 */
bool
heap_fetch_row(Relation table, Snapshot snapshot, const ItemPointerData *place, bool prune, Buffer *buffer,
			   TupleTableSlot *slot, bool *all_dead)
{
	HeapTuple tuple = &((BufferHeapTupleTableSlot *) slot)->base.tupdata;
	ItemPointerData tid = *place;
	bool found;

	*buffer = recent_release_and_read(*buffer, table, ItemPointerGetBlockNumber(&tid));
	prefetch(PageGetItemId(BufferGetPage(*buffer), ItemPointerGetOffsetNumber(&tid)));
	if (prune)
		page_prune(table, *buffer);
	LockBuffer(*buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&tid, table, *buffer, snapshot, tuple, all_dead, true);
	LockBuffer(*buffer, BUFFER_LOCK_UNLOCK);
	if (found)
	{
		tuple->t_tableOid = RelationGetRelid(table);
		ExecStoreBufferHeapTuple(tuple, slot, *buffer);
	}
	return found;
}

/* index_fetch_row does so with a place that index_getnext_tid() gave. */
bool
index_fetch_row(IndexScanDesc scan, ItemPointer place, Buffer *buffer, TupleTableSlot *slot)
{
	bool all_dead;
	bool found;

	pgstat_count_heap_fetch(scan->indexRelation);
	found = heap_fetch_row(scan->heapRelation, scan->xs_snapshot, place, true, buffer, slot, &all_dead);
	if (!found && !scan->xactStartedInRecovery)
		scan->kill_prior_tuple = all_dead;
	return found;
}
