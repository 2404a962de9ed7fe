/*
 * form.h
 *	  Rows of results, formed fast; see core/form.c.
 */
#ifndef OMNICHANNEL_FORM_H
#define OMNICHANNEL_FORM_H

#include "access/tupdesc.h"
#include "utils/tuplestore.h"

/* Where a row is formed; all zero at first. */
typedef struct RowForm
{
	char *bytes; /* in the context that was current when they were needed */
	Size space;
} RowForm;

extern void row_put(RowForm *form, Tuplestorestate *store, TupleDesc desc, Datum *values, bool *nulls);

#endif /* OMNICHANNEL_FORM_H */
