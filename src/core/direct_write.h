/*
 * direct_write.h
 *	  What the files of the direct writer share.
 */
#ifndef OMNICHANNEL_DIRECT_WRITE_H
#define OMNICHANNEL_DIRECT_WRITE_H

#include "access/genam.h"
#include "access/skey.h"
#include "executor/execPartition.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "utils/snapmgr.h"

#include "core/direct.h"

/* A table that rows go to: the one that was opened, or a partition of it. */
typedef struct DirectTarget
{
	ResultRelInfo *info;
	bool ordinary;  /* nothing asks for SQL */
	TupleDesc desc; /* a copy, which slots need not be counted for */
	TupleTableSlot **slots;
	int *rows; /* which of the added rows each slot holds */
	int count;
	int room;
	struct DirectTarget *next;
} DirectTarget;

struct DirectWrite
{
	const DirectTable *table;
	EState *estate;
	ResultRelInfo *info;
	ModifyTableState *state;
	PartitionTupleRouting *routing; /* NULL for a plain table */
	DirectTarget *targets;
	CommandId command;
	int rows;       /* added since the last flush */
	bool *inserted; /* which of them were */
	int inserted_room;

	TupleTableSlot *row; /* the row at hand, as the opened table has it */
	AttrNumber attributes[TABLE_COLUMNS];
	ExprState **defaults;  /* by attribute; NULL for those that are given or have none */
	Datum *default_values; /* of defaults that are the same for all rows */
	bool *default_nulls;
	bool *default_constant;

	Relation key;   /* the primary key's index, or NULL */
	List *arbiters; /* its OID */
	ScanKeyData key_scan[INDEX_MAX_KEYS];
	IndexScanDesc scan;
	SnapshotData dirty;
	TupleTableSlot *found;
	TupleTableSlot *changed;
};

/* core/direct_insert.c */
extern bool direct_ordinary(Relation relation, DirectPurpose purpose);
extern void direct_prepare(DirectWrite *write, ResultRelInfo *info);
extern void direct_form(DirectWrite *write, const Datum *values, const bool *nulls);
pg_noreturn extern void direct_conflict(void);
extern bool direct_insert_new(DirectWrite *write, ResultRelInfo *info, TupleTableSlot *slot);
extern void direct_fill(DirectWrite *write, ResultRelInfo *info, TupleTableSlot *slot);

/* core/direct_find.c */
extern void direct_find_begin(DirectWrite *write, Snapshot snapshot);
extern bool direct_find(DirectWrite *write, const Datum *keys);
extern void direct_find_end(DirectWrite *write);

/* core/expression.c: expressions of columns and constraints, compiled once a backend where that is safe */
extern void expressions_use(EState *estate);
extern ExprState *expression_get(const char *node, EState *estate, bool *changeable);

#endif /* OMNICHANNEL_DIRECT_WRITE_H */
