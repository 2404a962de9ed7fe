/*
 * row.h
 *	  Single rows written without SQL; see core/row.c.
 */
#ifndef OMNICHANNEL_ROW_H
#define OMNICHANNEL_ROW_H

#include "core/look.h"

typedef struct RowTarget RowTarget;

/* A table that single rows are written to, as a static of the caller. */
typedef struct RowTable
{
	const char *name;
	bool change;     /* rows are changed in these columns, which are in no key; otherwise inserted with them */
	bool yields;     /* a row that another transaction has in its hands is left to it, not waited for */
	const char *now; /* a column that defaults to now() and is not given, or NULL; others that are not given are NULL */
	int ncolumns;
	const TableColumn *columns;

	/* private to row.c */
	uint64 generation; /* of what follows, or 0 */
	Oid role;
	Oid table_oid;
	bool refused;
	RowTarget *target; /* where the last row went, or NULL */
} RowTable;

/* What becomes of a row whose key another one has. */
typedef enum RowConflict
{
	ROW_RAISES,
	ROW_GIVES_WAY, /* its statement does nothing then */
	ROW_STANDS     /* the same, but nobody else can be writing that key */
} RowConflict;

extern TM_Result row_take(Relation relation, ItemPointer place, Snapshot snapshot, LockTupleMode mode);
extern bool row_insert(RowTable *row, const Datum *values, const bool *nulls, RowConflict conflict);
extern bool row_change(RowTable *row, LookScan *scan, const Datum *values, const bool *nulls);
extern bool row_change_at(RowTable *row, ItemPointer place, const Datum *values, const bool *nulls);

#endif /* OMNICHANNEL_ROW_H */
