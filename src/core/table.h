/*
 * table.h
 *	  What those who read and write tables without SQL say of them, and find out about them; see core/table.c.
 *
 * A statement that is kept (core/plan.c) is the rule. Where a measurement showed that it costs many times what its rows
 * do, one of these stands before it, and says so where only the statement will do:
 *
 * - look.h: rows are found by an index, one key or many, or a whole table is read;
 * - row.h: one row is inserted, or one that was found by look.h is changed; what is found out about the table is kept;
 * - direct.h: many rows are inserted, changed, or put in place of others, with all that an executor's state can do;
 * - routing/rows.h: the few tables of matching, all opened at once, for whose rows several sessions wait for one
 *   another.
 */
#ifndef OMNICHANNEL_TABLE_H
#define OMNICHANNEL_TABLE_H

#include "access/genam.h"
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "nodes/nodes.h"
#include "utils/relcache.h"

/* How many columns may be named. */
#define TABLE_COLUMNS 24

/* A column by its name, and the type that it must have. */
typedef struct TableColumn
{
	const char *name;
	Oid type; /* InvalidOid for any */
} TableColumn;

/* Which rows of its table an index holds. */
typedef enum IndexWhere
{
	INDEX_ALL,
	INDEX_NULL, /* those of which a column is NULL */
	INDEX_NOT_NULL
} IndexWhere;

extern bool relation_is_plain(Relation relation);
extern bool inserts_may_change(Oid table);
extern Form_pg_attribute table_column_find(TupleDesc desc, const TableColumn *column, int *next);
extern const char *table_default(TupleDesc desc, AttrNumber attribute);
extern bool index_where(Relation index, IndexWhere *where, AttrNumber *tested);
extern void page_prune(Relation relation, Buffer buffer);
extern bool heap_fetch_row(Relation table, Snapshot snapshot, const ItemPointerData *place, bool prune, Buffer *buffer,
						   TupleTableSlot *slot, bool *all_dead);
extern bool index_fetch_row(IndexScanDesc scan, ItemPointer place, Buffer *buffer, TupleTableSlot *slot);

/* core/expression.c */
extern bool expression_is_safe(Node *expression);

#endif /* OMNICHANNEL_TABLE_H */
