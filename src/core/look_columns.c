/*
 * look_columns.c
 *	  The columns of rows that are found on leaves, taken from where they lie.
 *
 * A slot takes all columns up to the last that is wanted, each by what a description of a hundred bytes says of it. Of
 * rows that are read by the hundred, as the prices of a page are, that takes as long as to find them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/itup.h"
#include "access/tupmacs.h"

#include "core/look.h"

struct LookPlace
{
	int16 length; /* as attlen */
	uint8 mask;   /* of an address: zero where it is aligned */
	bool by_value;
	int8 column; /* of the look-up, or -1 */
};

/*
 * look_places_find notes where the columns lie in rows described so; numbers says which column of the table each
 * attribute is, NULL that it is that.
 */
void
look_places_find(LookUp *look, TupleDesc desc, const AttrNumber *numbers)
{
	if (look->places != NULL)
		pfree(look->places);
	look->places = NULL;
	look->places = MemoryContextAlloc(CacheMemoryContext, Max(desc->natts, 1) * sizeof(LookPlace));
	look->nplaces = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		LookPlace *place = &look->places[i];

		place->length = attribute->attlen;
		place->mask = att_align_nominal(1, attribute->attalign) - 1;
		place->by_value = attribute->attbyval;
		place->column = -1;
		for (int j = 0; j < look->ncolumns; j++)
			if (look->attributes[j] == (numbers == NULL ? i + 1 : numbers[i]))
			{
				place->column = (int8) j;
				look->nplaces = i + 1;
			}
	}
}

/* Returns the place from which on something may lie that is to be aligned so. */
static inline const char *
aligned(const char *data, uint8 mask)
{
	return (const char *) (((uintptr_t) data + mask) & ~(uintptr_t) mask);
}

/* Sets the columns of a row from its data, which are aligned; null says which attributes are NULL, or is NULL. */
static inline void
columns_of_data(const LookUp *look, const char *data, const bits8 *null, Datum *values, bool *nulls)
{
	const LookPlace *places = look->places;
	int n = look->nplaces;

	for (int i = 0; i < n; i++)
	{
		int length = places[i].length;
		int column = places[i].column;

		if (null != NULL && att_isnull(i, null))
		{
			if (column >= 0)
				nulls[column] = true;
			continue;
		}
		if (length == -1)
		{
			/* Mostly the header is short, and not aligned; what stands before a long one is zero. */
			if (*data == '\0')
				data = aligned(data, places[i].mask);
			if (column >= 0)
			{
				nulls[column] = false;
				values[column] = PointerGetDatum(data);
			}
			data += likely(VARATT_IS_1B(data) && !VARATT_IS_1B_E(data)) ? VARSIZE_1B(data) : VARSIZE_ANY(data);
			continue;
		}
		data = aligned(data, places[i].mask);
		if (column >= 0)
		{
			nulls[column] = false;
			values[column] = fetch_att(data, places[i].by_value, length);
		}
		data += length >= 0 ? length : (int) strlen(data) + 1;
	}
}

/* look_columns_of_index sets the columns from a row of the index. */
void
look_columns_of_index(const LookUp *look, IndexTuple row, Datum *values, bool *nulls)
{
	columns_of_data(look, (const char *) row + IndexInfoFindDataOffset(row->t_info),
					IndexTupleHasNulls(row) ? (const bits8 *) row + sizeof(IndexTupleData) : NULL, values, nulls);
}

/*
 * look_columns_of_row sets the columns from a row of the table; returns false where it lacks some, having been written
 * before they were added.
 */
bool
look_columns_of_row(const LookUp *look, HeapTuple row, Datum *values, bool *nulls)
{
	const HeapTupleHeader header = row->t_data;

	if (HeapTupleHeaderGetNatts(header) < look->nplaces)
		return false;
	columns_of_data(look, (const char *) header + header->t_hoff, HeapTupleHasNulls(row) ? header->t_bits : NULL,
					values, nulls);
	return true;
}
