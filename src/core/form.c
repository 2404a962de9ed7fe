/*
 * form.c
 *	  Rows of results, formed fast.
 *
 * tuplestore_putvalues() goes over the columns twice and through a function for each. For a row of many short columns
 * that is a good part of what a function costs that returns a million of them, as test/bench/prices.sh measures. Rows
 * that are values themselves are left to heap_form_tuple(): what their headers hold, servers change in minor versions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"

#include "core/bytes.h"
#include "core/form.h"

/* A first row mostly fits. */
#define ROW_BYTES 256

/* Makes room for so many bytes from a place on; returns the place where it is now, and sets the room's end. */
static pg_noinline char *
row_grow(RowForm *form, char *place, Size bytes, char **end)
{
	Size used = place - form->bytes;

	form->space = Max(form->space * 2, used + bytes);
	form->bytes = repalloc_huge(form->bytes, form->space);
	*end = form->bytes + form->space;
	return form->bytes + used;
}

/* Returns the place from which on something may be put that is to be aligned so. */
static inline char *
row_align(char *place, char alignment)
{
	char *aligned = (char *) att_align_nominal((uintptr_t) place, alignment);

	while (place < aligned)
		*place++ = '\0';
	return place;
}

/* Columns whose NULLs fit into a word. */
#define ROW_COLUMNS 64

/*
 * row_put does what tuplestore_putvalues() does, by means of a form that takes one row after the other, in the context
 * that is current at the first.
 */
void
row_put(RowForm *form, Tuplestorestate *store, TupleDesc desc, Datum *values, bool *nulls)
{
	const int n = desc->natts;
	const bool has_nulls = memchr(nulls, 1, n * sizeof(bool)) != NULL;
	const Size header = MAXALIGN(SizeofHeapTupleHeader + (has_nulls ? BITMAPLEN(n) : 0));
	HeapTupleData tuple = {0};
	uint16 infomask = has_nulls ? HEAP_HASNULL : 0;
	uint64 present = 0;
	HeapTupleHeader row;
	char *place;
	char *end;

	if (n > ROW_COLUMNS)
	{
		tuplestore_putvalues(store, desc, values, nulls);
		return;
	}
	if (form->bytes == NULL)
	{
		form->space = Max(MAXALIGN(SizeofHeapTupleHeader + BITMAPLEN(n)), ROW_BYTES);
		form->bytes = palloc(form->space);
	}
	memset(form->bytes, 0, header);
	place = form->bytes + header;
	end = form->bytes + form->space;
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (nulls[i])
			continue;
		present |= UINT64CONST(1) << i;
		if (attribute->attbyval)
		{
			if (unlikely((Size) (end - place) < 2 * sizeof(Datum)))
				place = row_grow(form, place, 2 * sizeof(Datum), &end);
			place = row_align(place, attribute->attalign);
			store_att_byval(place, values[i], attribute->attlen);
			place += attribute->attlen;
		}
		else if (attribute->attlen == -1 && !VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
		{
			const char *value = DatumGetPointer(values[i]);
			Size size = VARSIZE_ANY(value);

			infomask |= HEAP_HASVARWIDTH;
			if (unlikely((Size) (end - place) < size + sizeof(Datum)))
				place = row_grow(form, place, size + sizeof(Datum), &end);
			if (VARATT_IS_SHORT(value))
				bytes_copy(place, value, size);
			else if (VARATT_CAN_MAKE_SHORT(value) && attribute->attstorage != TYPSTORAGE_PLAIN)
			{
				size -= VARHDRSZ - VARHDRSZ_SHORT;
				SET_VARSIZE_SHORT(place, size);
				bytes_copy(place + VARHDRSZ_SHORT, VARDATA(value), size - VARHDRSZ_SHORT);
			}
			else
			{
				place = row_align(place, attribute->attalign);
				bytes_copy(place, value, size);
			}
			place += size;
		}
		else
		{
			tuplestore_putvalues(store, desc, values, nulls);
			return;
		}
	}

	row = (HeapTupleHeader) form->bytes;
	for (int i = 0; has_nulls && i < BITMAPLEN(n); i++)
		row->t_bits[i] = (bits8) (present >> i * BITS_PER_BYTE);
	HeapTupleHeaderSetNatts(row, n);
	row->t_hoff = (uint8) header;
	row->t_infomask = infomask;
	tuple.t_len = (uint32) (place - form->bytes);
	tuple.t_data = row;
	tuplestore_puttuple(store, &tuple);
}
