/*
 * table.h
 *	  What those who read and write tables without SQL say of them.
 */
#ifndef OMNICHANNEL_TABLE_H
#define OMNICHANNEL_TABLE_H

/* How many columns may be named. */
#define TABLE_COLUMNS 24

/* A column by its name, and the type that it must have. */
typedef struct TableColumn
{
	const char *name;
	Oid type;
} TableColumn;

#endif /* OMNICHANNEL_TABLE_H */
