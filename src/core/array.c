/*
 * array.c
 *	  Arrays for statements over many rows, and as arguments.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "omnichannel.h"

/* Returns an array datum of a type's values. nulls says which of them are NULL; none is, where it is NULL. */
Datum
array_of(Datum *elements, bool *nulls, int count, Oid type)
{
	int dims[1] = {count};
	int bounds[1] = {1};
	int16 length;
	bool by_value;
	char align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(elements, nulls, 1, dims, bounds, type, length, by_value, align));
}

/* Returns an array datum of ids. */
Datum
id_array(const int64 *ids, int count)
{
	Datum *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(ids[i]);
	return array_of(elements, NULL, count, INT8OID);
}

/* id_compare orders ids. For qsort and bsearch. */
int
id_compare(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/*
 * Returns the customers that the argument of a function names, a bigint[], in the current context. Raises 22023, with
 * the hint, where it is NULL or one of them is.
 */
int64 *
customers_argument(FunctionCallInfo fcinfo, int argument, const char *hint, int *count)
{
	Datum *elements;
	int64 *ids;

	if (PG_ARGISNULL(argument) || array_contains_nulls(PG_GETARG_ARRAYTYPE_P(argument)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a customer must not be NULL"),
						errhint("%s", hint)));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, NULL, count);
	ids = palloc(sizeof(int64) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		ids[i] = DatumGetInt64(elements[i]);
	return ids;
}
