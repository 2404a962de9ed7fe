/*
 * mapping_fit.h
 *	  A mapping fitted to the columns of one table.
 */
#ifndef OMNICHANNEL_MAPPING_FIT_H
#define OMNICHANNEL_MAPPING_FIT_H

#include "contact/mapping.h"

/* What a column's type is to us: domains are what they are based on. */
typedef enum ColumnType
{
	COLUMN_TEXT,
	COLUMN_PADDED,
	COLUMN_INT2,
	COLUMN_INT4,
	COLUMN_INT8,
	COLUMN_TIMESTAMPTZ,
	COLUMN_TIMESTAMP,
	COLUMN_DATE,
	COLUMN_JSONB,
	COLUMN_OTHER
} ColumnType;

typedef struct FittedPart
{
	const char *text;
	AttrNumber column; /* 0 for a constant */
	Oid type_oid;
	ColumnType type;
	FmgrInfo output;
} FittedPart;

struct FittedMapping
{
	Oid relation; /* the hash key */
	uint64 generation;
	MemoryContext context;
	const Tracking *tracking;
	FittedPart *parts[MAPPING_FIELDS];
	bool settings;      /* a text of it depends on the session's settings */
	uint64 names_asked; /* relations_generation() when mapping_names_rows() was asked, or 0 */
	bool names_rows;
};

extern FittedPart *mapping_fit_item(const Tracking *tracking, MappingField field, Relation relation);

#endif /* OMNICHANNEL_MAPPING_FIT_H */
