/*
 * direct.h
 *	  Rows written without SQL, many at a time, where nothing asks for SQL; see core/direct.c.
 */
#ifndef OMNICHANNEL_DIRECT_H
#define OMNICHANNEL_DIRECT_H

#include "nodes/execnodes.h"

#include "core/table.h"

/* What is to be done with a table; each asks for other rights. */
typedef enum DirectPurpose
{
	DIRECT_INSERT,     /* INSERT */
	DIRECT_INSERT_NEW, /* INSERT ... ON CONFLICT (primary key) DO NOTHING */
	DIRECT_CHANGE,     /* UPDATE ... WHERE primary key = ... */
	DIRECT_PUT,        /* INSERT ... ON CONFLICT (primary key) DO UPDATE */
} DirectPurpose;

/* A table of the extension as one statement would use it; a static of the caller. */
typedef struct DirectTable
{
	const char *name;
	DirectPurpose purpose;
	int nkeys; /* of the columns, the first so many are the primary key, in its order; of no matter for DIRECT_INSERT */
	int ncolumns; /* the table's others take their defaults, or stay */
	const TableColumn *columns;
} DirectTable;

typedef struct DirectWrite DirectWrite;

/* Sets new values of a row, given its present ones, both in the order of DirectTable.columns; keys must stay. */
typedef void (*DirectEdit)(Datum *values, bool *nulls, void *arg);

extern DirectWrite *direct_open(const DirectTable *table);
extern bool direct_add(DirectWrite *write, const Datum *values, const bool *nulls);
extern int direct_flush(DirectWrite *write, bool *inserted);
extern bool direct_change(DirectWrite *write, const Datum *keys, DirectEdit edit, void *arg);
extern void direct_put(DirectWrite *write, const Datum *values, const bool *nulls, DirectEdit edit, void *arg);
extern void direct_close(DirectWrite *write);

#endif /* OMNICHANNEL_DIRECT_H */
