/*
 * row_target.h
 *	  What is known of a table that single rows are written to; within core/row*.c.
 */
#ifndef OMNICHANNEL_ROW_TARGET_H
#define OMNICHANNEL_ROW_TARGET_H

#include "nodes/execnodes.h"

#include "core/row.h"

#define ROW_INDEXES 8

/* An index that a row is entered into. */
typedef struct RowIndex
{
	Oid oid;
	bool unique;
	int natts;
	AttrNumber attributes[INDEX_MAX_KEYS];
	IndexWhere where;
	AttrNumber tested;
	ExprState *selects; /* where it holds another selection of the rows, or NULL */
} RowIndex;

/* The table itself, or one of its partitions. */
struct RowTarget
{
	Oid oid;
	MemoryContext context;
	AttrNumber attributes[TABLE_COLUMNS];
	AttrNumber now;
	int nindexes;
	RowIndex indexes[ROW_INDEXES];
	int nchecks;
	ExprState **checks;
	int ngenerated;
	AttrNumber generated_columns[TABLE_COLUMNS];
	ExprState *generated[TABLE_COLUMNS];
};

extern RowTarget *row_target_make(const RowTable *row, Relation relation);

#endif /* OMNICHANNEL_ROW_TARGET_H */
